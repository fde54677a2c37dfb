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
from augment.generators.patn.feature_losses import PerceptualLoss
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import DiscriminatorState, TrainState, build_state
from augment.generators.patn.step import LOSS_NAMES, train_step
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
        values = [total.item(), l1.item(), perceptual.item(), gan_pp.item(), gan_pb.item(), *losses]
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
    assert first[3:].tolist() == [0, 0, 0, 0]
    assert all(map(torch.equal, before.values(), state.appearance.network.state_dict().values()))
    second = train_step(state, batch(1), s)
    assert (second[3:] > 0).all()
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
