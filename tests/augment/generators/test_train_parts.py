"""Losses, pool and pairs."""

from __future__ import annotations

import collections
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.generators.patn.batch import step_generator
from augment.generators.patn.feature_losses import PerceptualLoss, load_perceptual
from augment.generators.patn.image_pool import ImagePool
from augment.generators.patn.losses import feature_loss, gan_loss, generator_loss, grid_loss, l1_loss
from augment.pairs.tensors import TensorPairs, usable_rows
from reid_eval.runtime import InputError

# Losses


def test_gan_losses_by_hand() -> None:
    scores = torch.tensor([0.0, 2.0, -3.0])
    probability = torch.sigmoid(scores)
    assert gan_loss(scores, True, "bce").item() == pytest.approx(-probability.log().mean().item(), abs=1e-6)
    assert gan_loss(scores, False, "bce").item() == pytest.approx(-(1 - probability).log().mean().item(), abs=1e-6)
    assert gan_loss(scores, True, "lsgan").item() == pytest.approx((1 + 1 + 16) / 3)
    assert gan_loss(scores, False, "lsgan").item() == pytest.approx((0 + 4 + 9) / 3)
    assert gan_loss(torch.tensor([-200.0, 200.0]), True, "bce").item() == 100  # their sigmoid would round to 0
    assert gan_loss(scores.bfloat16(), True, "bce").dtype == torch.float32
    assert gan_loss(scores, True, "hinge").item() == pytest.approx((1 + 0 + 4) / 3)
    assert gan_loss(scores, False, "hinge").item() == pytest.approx((1 + 3 + 0) / 3)
    assert generator_loss(scores, "hinge").item() == pytest.approx(1 / 3)
    assert generator_loss(scores, "bce") == gan_loss(scores, True, "bce")
    with pytest.raises(InputError, match="one of bce, lsgan, hinge, got 'wgan'"):
        gan_loss(scores, True, "wgan")


def test_feature_loss_leaves_the_scores_aside() -> None:
    generated = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, 1)]
    real = [torch.ones(1, 2, 2, 2), torch.full((1, 3, 1, 1), 3.0), torch.full((1, 1, 1, 1), 100.0)]
    assert feature_loss(generated, real).item() == (1 + 3) / 2


def noise(batch: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(batch, 3, 132, 68, generator=generator), 5, 1)
    return smooth.clamp(-1, 1)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_grid_loss_sees_what_a_decoder_prints(period: int) -> None:
    image = noise()
    plain = grid_loss(image, image).item()
    assert plain == 0
    printed = image.clone()
    printed[:, :, ::period, ::period] += 0.1
    assert grid_loss(printed, image) > 5
    assert grid_loss(image, printed).item() == pytest.approx(0, abs=1e-4)  # what the target has, too
    assert grid_loss(printed, printed) == 0
    assert grid_loss(0.5 * image, image).item() == pytest.approx(0, abs=1e-3)  # blur and contrast are not its business


def test_grid_loss_descends_and_leaves_the_target_alone() -> None:
    target = noise().requires_grad_(True)
    image = noise() + 0.1 * (torch.arange(64) % 4 == 0)
    image.requires_grad_(True)
    before = grid_loss(image, target)
    before.backward()
    assert target.grad is None
    assert image.grad is not None
    after = grid_loss(image.detach() - 0.01 * image.grad / image.grad.abs().max(), target)
    assert after < before


def test_grid_loss_of_a_flat_image_is_finite() -> None:
    flat = torch.zeros(2, 3, 128, 64, requires_grad=True)
    loss = grid_loss(flat, noise(2))
    loss.backward()
    assert loss.isfinite()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_l1_with_mask() -> None:
    generated, target = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    generated[..., 0, 0] = 1.0  # the masked pixel is perfect
    mask = torch.tensor([[[[1, 0], [0, 0]]]])
    assert l1_loss(generated, target).item() == l1_loss(generated, target, mask, 0.0).item() == 0.75
    assert l1_loss(generated, target, mask, 2.0).item() == pytest.approx(3 / (3 + 3))
    assert l1_loss(generated, target, None, 2.0).item() == 0.75


def vgg_file(path: Path, prefix: str = "features.") -> Path:
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3))
    torch.save({f"{prefix}{k}": v for k, v in layers.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("prefix", ["features.", ""])
def test_perceptual_from_a_file(tmp_path: Path, prefix: str) -> None:
    loss = load_perceptual(str(vgg_file(tmp_path / "vgg.pth", prefix)))
    assert loss is not None
    assert loss.source == "vgg.pth"
    image, target = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True)
    assert loss(image, image).item() == 0
    loss(image, target).backward()
    assert image.grad is not None
    assert target.grad is None
    assert not any(p.requires_grad for p in loss.parameters())
    assert set(loss.state_dict()) == {f"features.{n}.{w}" for n in (0, 2) for w in ("weight", "bias")}


def test_perceptual_off_and_unobtainable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_perceptual("off") is None
    choices = "choose lite0 .*, torchvision .*, a file .*, or off for perceptual"

    def no_network(*_: object, **__: object) -> None:
        raise OSError("name resolution failed\nmore")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    with pytest.raises(InputError, match=rf"could not download VGG-19 .*\(name resolution failed\); {choices}"):
        load_perceptual("torchvision")
    with pytest.raises(InputError, match=rf"nowhere.pth: no such file; {choices}"):
        load_perceptual("nowhere.pth")
    torch.save({"features.0.weight": torch.ones(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=rf"no VGG-19: needs features.0.*{choices}"):
        load_perceptual(str(tmp_path / "other.pth"))


def test_perceptual_normalisation() -> None:
    loss = PerceptualLoss(
        {
            "0.weight": torch.zeros(64, 3, 3, 3),
            "0.bias": torch.zeros(64),
            "2.weight": torch.zeros(64, 64, 3, 3),
            "2.bias": torch.zeros(64),
        },
        "zeros",
    )
    with torch.no_grad():
        loss.features[0].weight[0, 0, 1, 1] = 1  # channel 0 of the features: normalised red, if positive
        loss.features[2].weight[0, 0, 1, 1] = 1
    bright, mean = torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 2 * 0.485 - 1)
    assert loss(bright, mean).item() == pytest.approx((1 - 0.485) / 0.229 / 64, rel=1e-5)


# Pool


def plain_pool(size: int, seed: int, batches: list[torch.Tensor]) -> list[torch.Tensor]:
    """Pair by pair, as Shrivastava et al. describe it."""
    draw, kept, out = random.Random(seed), [], []
    for batch in batches:
        for pair in batch:
            if len(kept) < size:
                kept.append(pair)
                out.append(pair)
            elif draw.uniform(0, 1) > 0.5:
                slot = draw.randrange(size)
                out.append(kept[slot])
                kept[slot] = pair
            else:
                out.append(pair)
    return out


@pytest.mark.parametrize(("size", "batch"), [(1, 4), (3, 5), (5, 2), (50, 8)])
def test_pool_equals_pair_by_pair(size: int, batch: int) -> None:
    batches = list(torch.arange(20 * batch).float().reshape(20, batch, 1, 1, 1))
    pool = ImagePool(size, seed=4)
    got = torch.cat([pool.query(b) for b in batches])
    assert torch.equal(got, torch.stack(plain_pool(size, 4, batches)))


def test_pool_of_zero_resumes_and_detaches(tmp_path: Path) -> None:
    x = torch.rand(2, 1, 2, 2, requires_grad=True)
    assert torch.equal(ImagePool(0, 0).query(x), x)
    assert not ImagePool(3, 0).query(x).requires_grad
    batches = list(torch.rand(12, 4, 1, 2, 2))
    one = ImagePool(3, seed=9)
    for b in batches[:6]:
        one.query(b)
    torch.save(one.state_dict(), tmp_path / "pool.pt")
    other = ImagePool(3, seed=0)
    other.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
    for b in batches[6:]:
        assert torch.equal(one.query(b), other.query(b))


# Pairs


def people(counts: dict[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pids = np.array([pid for pid, n in counts.items() for _ in range(n)])
    images = np.zeros((len(pids), 3, 8, 4), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(pids))
    return images, np.ones((len(pids), 18, 2), dtype=np.float32), pids


def test_all_ordered_pairs_equally_likely() -> None:
    images, keypoints, pids = people({5: 2, -1: 3, 0: 3, 2: 3, 9: 1})
    shuffled = np.random.default_rng(0).permutation(len(pids))
    images, keypoints, pids = images[shuffled], keypoints[shuffled], pids[shuffled]
    source = TensorPairs(images, keypoints, pids, seed=1)
    assert (source.n_identities, source.n_images, source.n_pairs, source.size) == (2, 5, 2 + 6, (8, 4))
    drawn = collections.Counter()
    for step in range(20):
        condition, target = source.rows(step, 400)
        drawn.update(zip(condition.tolist(), target.tolist(), strict=True))
    wanted = {
        (a, b) for a in range(len(pids)) for b in range(len(pids)) if a != b and pids[a] == pids[b] and pids[a] > 0
    } - {(a, b) for a in range(len(pids)) for b in range(len(pids)) if pids[a] == 9}
    assert set(drawn) == wanted
    assert all(abs(n - 1000) < 150 for n in drawn.values())  # about five standard deviations


def test_batch_holds_what_its_rows_say() -> None:
    images, keypoints, pids = people({3: 4, 4: 2})
    keypoints[:, 0, 0] = np.arange(6)
    masks = np.zeros((6, 8, 4), dtype=np.uint8)
    masks[:, 2:] = 255
    batch = TensorPairs(images, keypoints, pids, masks=masks).sample(0, 5)
    assert isinstance(batch.fed, dict)
    condition, target = batch.fed["condition_rows"], batch.fed["target_rows"]
    assert ((batch.image[:, 0, 0, 0] + 1) * 127.5).round().tolist() == condition
    assert ((batch.target_image[:, 0, 0, 0] + 1) * 127.5).round().tolist() == target
    assert batch.condition_keypoints[:, 0, 0].tolist() == condition
    assert batch.target_keypoints[:, 0, 0].tolist() == target
    assert batch.target_mask is not None
    assert batch.target_mask.shape == (5, 1, 8, 4)
    assert batch.image.dtype == torch.float32
    assert batch.image.min() == -1


def test_depends_only_on_seed_and_step() -> None:
    images, keypoints, pids = people({1: 50})
    source = TensorPairs(images, keypoints, pids, seed=3)
    torch.manual_seed(0)
    first = source.rows(7, 16)
    torch.manual_seed(1)
    source.rows(8, 16)
    assert torch.equal(torch.stack(first), torch.stack(TensorPairs(images, keypoints, pids, seed=3).rows(7, 16)))
    assert not torch.equal(first[0], source.rows(8, 16)[0])
    assert not torch.equal(first[0], TensorPairs(images, keypoints, pids, seed=4).rows(7, 16)[0])
    assert step_generator(0, 1).initial_seed() != step_generator(1, 0).initial_seed()


def test_authors_rule_for_usable_images() -> None:
    _, keypoints, pids = people({1: 20, 0: 1, -1: 1})
    for joint in range(18):
        keypoints[joint, joint, joint % 2] = np.nan
    rows = usable_rows(torch.from_numpy(keypoints), torch.from_numpy(pids))
    assert rows.tolist() == [n for n in range(20) if n not in (2, 5, 8, 11)]
    assert usable_rows(torch.from_numpy(keypoints), torch.from_numpy(pids), keep_distractors=True)[-1] == 20


def test_bad_arrays() -> None:
    images, keypoints, pids = people({1: 2})
    with pytest.raises(InputError, match=r"images must be uint8 \[N, 3, H, W\], got torch.float32"):
        TensorPairs(images.astype(np.float32), keypoints, pids)
    with pytest.raises(InputError, match=r"keypoints must be float \[2, 18, 2\], got .* \(1, 18, 2\)"):
        TensorPairs(images, keypoints[:1], pids)
    with pytest.raises(InputError, match=r"pids must be int \[2\]"):
        TensorPairs(images, keypoints, pids.astype(np.float64))
    with pytest.raises(InputError, match=r"masks must be \(2, 8, 4\), got \(2, 4, 8\)"):
        TensorPairs(images, keypoints, pids, masks=np.zeros((2, 4, 8), dtype=np.uint8))
    with pytest.raises(InputError, match="no identity has two usable images among 2"):
        TensorPairs(images, keypoints, np.array([1, 2]))
