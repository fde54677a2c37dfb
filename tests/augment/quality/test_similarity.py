"""L1, SSIM and the mask of a person against hand-worked values and plain oracles."""

from __future__ import annotations

import numpy as np
from drawn import SIZE, standing

from augment.quality.similarity import joints_mask, l1, masked, ssim

RNG = np.random.default_rng(0)


def images(count: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    """Smooth random pictures, uint8 [count, H, W, 3]."""
    small = RNG.integers(30, 220, (count, size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
    return small.repeat(4, 1).repeat(4, 2)


def ssim_oracle(x: np.ndarray, y: np.ndarray, span: float) -> float:
    """Wang et al. 2004, equation 13, pixel by pixel with an 11x11 Gaussian window; mean where the window fits."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = []
    for channel in range(3):
        a, b = x[..., channel].astype(float), y[..., channel].astype(float)
        for row in range(5, a.shape[0] - 5):
            for column in range(5, a.shape[1] - 5):
                p, q = (m[row - 5 : row + 6, column - 5 : column + 6] for m in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_l1_of_black_and_white_is_two() -> None:
    black, white = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 255, np.uint8)
    np.testing.assert_allclose(l1(black, white), [2.0])
    np.testing.assert_allclose(l1(white, white), [0.0])
    half = white.copy()
    half[:, :4] = 0
    np.testing.assert_allclose(l1(half, white), [1.0])


def test_ssim_is_the_formula_with_the_generated_range() -> None:
    made, real = images(2), images(2)
    made[0] = made[0] // 2 + 40  # a narrow range of its own
    spans = [int(i.max()) - int(i.min()) for i in made]
    expected = [ssim_oracle(r, m, span) for r, m, span in zip(real, made, spans, strict=True)]
    np.testing.assert_allclose(ssim(made, real), expected, atol=1e-6)
    expected = [ssim_oracle(r, m, 255) for r, m in zip(real, made, strict=True)]
    np.testing.assert_allclose(ssim(made, real, authors=False), expected, atol=1e-6)
    assert abs(ssim(made, real) - ssim(made, real, authors=False)).max() > 1e-3


def test_ssim_of_the_same_image_and_of_a_constant_one() -> None:
    real = images(1)
    np.testing.assert_allclose(ssim(real, real), [1.0])
    np.testing.assert_allclose(ssim(np.full_like(real, 9), real), [0.0])


def test_mask_is_limbs_eight_pixels_wide() -> None:
    xy = np.full((18, 2), np.nan, np.float32)
    assert not joints_mask(xy, (64, 32)).any()
    xy[9] = [16, 20]  # a knee alone: a disc of radius 4
    rows, columns = np.mgrid[:64, :32]
    inside = (rows - 20) ** 2 + (columns - 16) ** 2 < 16
    mask = joints_mask(xy, (64, 32))
    assert mask[inside].all()
    assert mask.sum() <= inside.sum() + 8  # closing fills the corners of the disc
    xy[10] = [16, 50]  # and its ankle: all that is nearer than 4 to the line
    mask = joints_mask(xy, (64, 32))
    assert mask[20:51, 13:20].all()
    assert not mask[20:51, :12].any()
    assert not mask[20:51, 21:].any()
    assert not mask[:16].any()
    assert not mask[55:].any()
    np.testing.assert_array_equal(masked(np.full((1, 64, 32, 3), 7, np.uint8), mask[None])[0, ..., 0] == 7, mask)


def test_mask_covers_the_trunk() -> None:
    mask = joints_mask(standing(), SIZE)
    assert mask[45, 24]  # beside the line from shoulder to hip
    assert 0.15 < mask.mean() < 0.5
    assert not mask[:, 58:].any()
