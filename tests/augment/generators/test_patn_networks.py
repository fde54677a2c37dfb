from __future__ import annotations

import pytest
import torch
from torch import nn

from augment.generators.patn.blocks import Dropout, norm_layer
from augment.generators.patn.builders import BUILDERS, build_discriminators, build_generator, patn_tiny
from augment.generators.patn.discriminators import PATNDiscriminator, init_discriminator
from augment.generators.patn.generator import PATNGenerator
from reid_eval.runtime import InputError

SMALL = {"ngf": 4, "n_blocks": 3, "pose_channels": 18}


def meta(name: str, **overrides: object) -> PATNGenerator:
    with torch.device("meta"):
        return BUILDERS[name](**overrides)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def fill(module: nn.Module) -> None:
    """Weights that depend on no random generator: sines, scaled so that activations neither die nor explode."""
    with torch.no_grad():
        for n, p in enumerate(module.parameters()):
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * (1.7 + 0.01 * n) + n)
            fan = max(p[0].numel(), 1) if p.ndim > 1 else 4
            p.copy_((wave / fan**0.5 + (1.0 if p.ndim == 1 else 0.0)).reshape(p.shape))


def inputs(batch: int = 2, size: tuple[int, int] = (16, 8), joints: int = 18) -> tuple[torch.Tensor, ...]:
    ramp = torch.arange(batch * joints * size[0] * size[1], dtype=torch.float32)
    maps = (torch.sin(ramp * 0.37) * 0.5 + 0.5).reshape(batch, joints, *size)
    return maps[:, :3] * 2 - 1, maps, maps.flip(0)


def test_parameter_counts() -> None:
    assert parameters(meta("patn_market")) == 41_365_763
    # InstanceNorm drops the gains and shifts and brings one bias a channel of the normalised or masking convolution
    norms = [m for m in meta("patn_market").modules() if isinstance(m, nn.BatchNorm2d)]
    assert parameters(meta("patn_fashion")) == 41_365_763 - sum(m.num_features for m in norms) + 9 * 256
    assert parameters(meta("patn_tiny")) * 2 <= 7.5e6


@pytest.mark.parametrize(("dropout", "second"), [(0.5, 6), (0.0, 5)])
def test_keys_are_the_authors(dropout: float, second: int) -> None:
    keys = set(meta("patn_market", dropout=dropout).state_dict())
    block = "model.att.8.conv_block_stream"
    for key in (
        "model.stream1_down.1.weight",
        "model.stream1_down.7.weight",
        "model.stream2_down.8.running_var",
        f"{block}1.1.weight",
        f"{block}1.{second}.weight",
        f"{block}1.{second + 1}.bias",
        f"{block}2.2.bias",
        f"{block}2.{second}.weight",
        "model.stream1_up.0.weight",
        "model.stream1_up.4.running_mean",
        "model.stream1_up.7.bias",
    ):
        assert key in keys
    assert f"{block}2.{second + 1}.weight" not in keys  # the pose path ends in a convolution
    assert "model.stream1_down.1.bias" not in keys
    assert len(keys) == 2 * 3 * 6 + 2 * 6 + 2 + 9 * (4 + 3 * 5)


def test_instance_norm_keys() -> None:
    keys = set(meta("patn_fashion").state_dict())
    assert "model.stream1_down.1.bias" in keys
    assert not [k for k in keys if "running" in k or k.startswith("model.stream1_down.2")]


def test_channels_of_pose_code() -> None:
    state = meta("patn_market").state_dict()
    assert state["model.stream2_down.1.weight"].shape == (64, 36, 7, 7)
    assert state["model.att.0.conv_block_stream2.1.weight"].shape == (256, 256, 3, 3)
    assert state["model.att.1.conv_block_stream2.1.weight"].shape == (512, 512, 3, 3)
    assert state["model.att.1.conv_block_stream2.6.weight"].shape == (256, 512, 3, 3)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_forward_and_masks(norm: str) -> None:
    generator = build_generator("patn_tiny", **SMALL, norm=norm).eval()
    image, condition, target = inputs()
    out, masks = generator.attention(image, condition, target)
    assert out.shape == image.shape
    assert out.abs().max() <= 1
    assert [tuple(m.shape) for m in masks] == [(2, 16, 4, 2)] * 3
    assert all(m.min() > 0 and m.max() < 1 for m in masks)
    assert torch.equal(out, generator(image, condition, target))


def test_forward_is_the_equations() -> None:
    """The whole pass once more, written from section 3.1 with the parts' own modules."""
    generator = build_generator("patn_tiny", **SMALL).eval()
    image, condition, target = inputs()
    net = generator.model
    code, pose = net.stream1_down(image), net.stream2_down(torch.cat((condition, target), 1))
    for block in net.att:
        path = block.conv_block_stream2(pose)
        code = code + block.conv_block_stream1(code) * torch.sigmoid(path)
        pose = torch.cat((path, code), 1)
    torch.testing.assert_close(generator(image, condition, target), net.stream1_up(code))


@pytest.mark.parametrize(
    ("norm", "golden"),
    [
        ("batch", [0.729261, 0.46135, 0.831337, 0.882639, 0.842803, -0.337686, 0.501519, 0.891093, 0.884572, 0.791813]),
        (
            "instance",
            [0.73799, 0.772827, 0.588625, 0.553675, 0.885894, 0.700745, 0.691154, 0.424909, 0.577951, 0.915577],
        ),
    ],
)
def test_golden_values(norm: str, golden: list[float]) -> None:
    generator = PATNGenerator(**SMALL, norm=norm).eval()
    fill(generator)
    with torch.no_grad():
        out = generator(*inputs())
    torch.testing.assert_close(out.flatten()[::77], torch.tensor(golden), atol=1e-4, rtol=0)


def test_initialisation() -> None:
    torch.manual_seed(0)
    state = patn_tiny().state_dict()
    weights, gains = state["model.att.1.conv_block_stream2.1.weight"], state["model.att.1.conv_block_stream1.2.weight"]
    assert abs(weights.std() - 0.02) < 1e-3
    assert 0 < abs(gains - 1).max() < 0.1
    assert not state["model.att.1.conv_block_stream1.2.bias"].any()


def test_discriminators() -> None:
    torch.manual_seed(0)
    appearance, shape = build_discriminators()
    assert (parameters(appearance), parameters(shape)) == (3_930_368, 3_977_408)
    assert appearance(torch.zeros(1, 6, 128, 64)).shape == (1, 256, 32, 16)
    assert appearance.architecture["in_channels"] == 6
    assert shape.architecture["in_channels"] == 21
    gains = torch.cat([m.weight for m in shape.modules() if isinstance(m, nn.BatchNorm2d)])
    assert 0 <= gains.min() < 0.1 < 0.9 < gains.max() <= 1
    init_discriminator(shape, "ones")
    assert all((m.weight == 1).all() for m in shape.modules() if isinstance(m, nn.BatchNorm2d))
    deep = PATNDiscriminator(6, ndf=2, n_downsampling=3)
    assert deep(torch.zeros(2, 6, 16, 16)).shape == (2, 8, 2, 2)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="unknown generator 'patn_big': use one of patn_fashion, patn_market"):
        build_generator("patn_big")
    with pytest.raises(InputError, match="unexpected keyword argument 'blocks'"):
        build_generator("patn_tiny", blocks=2)
    with pytest.raises(InputError, match="n_blocks must be at least 1, got 0"):
        build_generator("patn_tiny", n_blocks=0)
    with pytest.raises(InputError, match=r"dropout.*got 1.0"):
        build_generator("patn_tiny", dropout=1.0)
    with pytest.raises(InputError, match="norm must be one of batch, instance, got 'layer'"):
        norm_layer("layer", 3)
    with pytest.raises(InputError, match="uniform or ones, got 'zeros'"):
        build_discriminators(ndf=2, batchnorm_gain="zeros")
    with pytest.raises(InputError, match="discriminator needs"):
        build_discriminators(ndf=0)


def test_bad_shapes() -> None:
    generator = build_generator("patn_tiny", **SMALL).eval()
    image, condition, target = inputs(size=(18, 8))
    with pytest.raises(InputError, match="18x8: height and width must be divisible by 4"):
        generator(image, condition, target)
    image, condition, target = inputs()
    with pytest.raises(InputError, match=r"image must be \[B, 3, H, W\], got \(2, 18, 16, 8\)"):
        generator(condition, condition, target)
    with pytest.raises(InputError, match=r"target_map must be \(2, 18, 16, 8\), got \(1, 18, 16, 8\)"):
        generator(image, condition, target[:1])


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_fast_dropout_is_dropout(layout: torch.memory_format) -> None:
    layer, x = Dropout(0.5), torch.ones(3, 5, 63, 41).contiguous(memory_format=layout).requires_grad_()
    torch.manual_seed(3)
    out = layer(x)
    assert out.is_contiguous(memory_format=layout)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert abs(out.mean() - 1) < 0.03  # four standard deviations are 0.02
    kept = (out > 0).float()
    for shift, dim in ((1, 0), (1, 1), (1, 2), (1, 3), (8, 3)):  # neighbours decide apart
        assert abs((kept * kept.roll(shift, dim)).mean() - 0.25) < 0.03
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    torch.manual_seed(3)
    assert torch.equal(out, layer(x))
    assert not torch.equal(out, layer(x))
    assert torch.equal(layer.eval()(x), x)
    assert set(Dropout(0.2)(x).unique().tolist()) == {0.0, 1.25}
