"""Shapes, parameter counts and weights of the backbones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reid_eval.backbones import BACKBONES, build, check_backbone
from reid_eval.backbones.inception_v2 import BLOCKS, InceptionV2
from reid_eval.backbones.resnet import resnet50_trunk
from reid_eval.runtime import InputError


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "width"), [("resnet50", 2048), ("inception_v2", 1024), ("torchreid:osnet_x0_25", 512)]
)
def test_features_and_logits_in_both_modes(name: str, width: int) -> None:
    net = build(name, 7)
    for mode in (True, False):
        features, logits = net.train(mode)(torch.rand(2, 3, 64, 32) * 2 - 1)
        assert features.shape == (2, width)
        assert logits.shape == (2, 7)
    assert net.width == width
    assert not any("mean" in key and "running" not in key for key in net.state_dict())


def test_resnet50_parameters_and_strides() -> None:
    """25,557,032 published, less the classifier's 2048 * 1000 + 1000."""
    trunk, _ = resnet50_trunk()
    assert parameters(trunk) == 25_557_032 - 2_049_000
    maps = {}
    for stride in (1, 2):
        trunk, _ = resnet50_trunk(stride)
        trunk.layer4.register_forward_hook(lambda *a, s=stride: maps.update({s: a[2].shape[2:]}))
        trunk.eval()(torch.zeros(1, 3, 128, 64))
    assert maps == {1: (8, 4), 2: (4, 2)}
    with pytest.raises(InputError, match="last_stride 3: expected 1 or 2"):
        build("resnet50", 2, last_stride=3)


def test_inception_v2_parameters() -> None:
    """10,270,240 in the Caffe port (11,295,240 with 1000 classes), whose convolutions also have biases."""
    trunk = InceptionV2()
    biases = sum(module.out_channels for module in trunk.modules() if isinstance(module, nn.Conv2d))
    assert parameters(trunk) == 10_260_224
    assert parameters(trunk) + biases == 11_295_240 - 1_025_000


def test_inception_v2_widths_and_maps() -> None:
    trunk = InceptionV2().eval()
    shapes = {}
    for name, block in trunk.blocks.items():
        block.register_forward_hook(lambda *a, n=name: shapes.update({n.removeprefix("inception_"): a[2].shape[1:]}))
    stem = []
    trunk.stem.register_forward_hook(lambda *a: stem.append(a[2].shape[1:]))
    assert trunk(torch.zeros(1, 3, 224, 224)).shape == (1, 1024)
    assert stem == [(192, 28, 28)]
    assert shapes == {
        "3a": (256, 28, 28),
        "3b": (320, 28, 28),
        "3c": (576, 14, 14),
        "4a": (576, 14, 14),
        "4b": (576, 14, 14),
        "4c": (608, 14, 14),
        "4d": (608, 14, 14),
        "4e": (1056, 7, 7),
        "5a": (1024, 7, 7),
        "5b": (1024, 7, 7),
    }
    assert [name for name, block in BLOCKS.items() if block.pool == "max"] == ["3c", "4e", "5b"]
    assert trunk(torch.zeros(1, 3, 131, 67)).shape == (1, 1024)


def test_unknown_names() -> None:
    with pytest.raises(
        InputError,
        match=r"backbone 'vgg': did you mean timm:vgg19\? choose from resnet50, inception_v2, or torchreid:NAME",
    ):
        build("vgg", 2)
    with pytest.raises(InputError, match=r"'torchreid:vgg': torchreid's models are .*osnet_x1_0"):
        check_backbone("torchreid:vgg")
    with pytest.raises(InputError, match="torchreid:pcb_p6 gives several part features"):
        build("torchreid:pcb_p6", 2)
    with pytest.raises(InputError, match="last_stride is for resnet50"):
        build("torchreid:osnet_x0_25", 2, last_stride=1)
    with pytest.raises(InputError, match="last_stride 3: expected 1 or 2"):
        build("inception_v2", 2, last_stride=3)
    assert list(BACKBONES) == ["resnet50", "inception_v2"]


def test_imagenet_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network() -> dict[str, torch.Tensor]:
        raise OSError("no network\nand more")

    monkeypatch.setitem(build.__globals__["IMAGENET"], "resnet50", no_network)
    with pytest.raises(InputError, match=r"cannot be downloaded \(no network\): use init scratch or a weights file"):
        build("resnet50", 2, init="imagenet")
    with pytest.raises(InputError, match="torchvision has no ImageNet weights for inception_v2: use init scratch"):
        build("inception_v2", 2, init="imagenet")


def test_weights_from_a_file(tmp_path: Path) -> None:
    net = build("inception_v2", 3)
    torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "a.pth")
    trunk = {key: value.clone() for key, value in net.trunk.state_dict().items()}
    save_file({**trunk, "fc.weight": torch.zeros(2, 2)}, tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        other = build("inception_v2", 5, init=str(tmp_path / file))
        assert all(torch.equal(value, trunk[key]) for key, value in other.trunk.state_dict().items())


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    state = build("inception_v2", 3).state_dict()
    first = next(iter(state))
    state["trunk.other"] = state.pop(first)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"1 missing: stem.0.0.weight; 1 unexpected: other"):
        build("inception_v2", 3, init=str(tmp_path / "a.pth"))
    with pytest.raises(InputError, match="no such file; choose scratch, imagenet, wheel or a weights file's path"):
        build("inception_v2", 3, init="imagnet")
    (tmp_path / "b.pth").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"b\.pth is not a readable PyTorch file"):
        build("inception_v2", 3, init=str(tmp_path / "b.pth"))
    torch.save([1, 2], tmp_path / "c.pth")
    with pytest.raises(InputError, match="expected a dict of tensors"):
        build("inception_v2", 3, init=str(tmp_path / "c.pth"))
