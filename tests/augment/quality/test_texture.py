"""Sharpness and grid on constructed images whose answers are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from augment.quality.extras import Unavailable
from augment.quality.texture import grid, peaks, sharpness, surroundings

N, H, W = 16, 128, 64
ROWS, COLUMNS = np.mgrid[:H, :W]
PERSON = np.broadcast_to(((ROWS - 64) / 50) ** 2 + ((COLUMNS - 32) / 14) ** 2 < 1, (N, H, W))
CHECKERS = np.where((ROWS % 4 < 2) ^ (COLUMNS % 4 < 2), 1.0, -1.0)


def waves(amplitude: float = 40.0, bins: tuple[int, int] = (20, 13)) -> np.ndarray:
    """A plane wave of so many periods an image along each axis, another phase in each image: float [N, H, W, 3]."""
    phase = 2 * np.pi * (bins[0] * ROWS / H + bins[1] * COLUMNS / W)
    one = np.stack([128 + amplitude * np.cos(phase + number) for number in range(N)])
    return one[..., None].repeat(3, 3)


def photos(seed: int = 0) -> np.ndarray:
    """Noise with the falling spectrum of photographs, 128 ± 30: float [N, H, W, 3]."""
    rng = np.random.default_rng(seed)
    u, v = np.fft.fftfreq(H)[:, None], np.fft.fftfreq(W)
    spectrum = np.fft.fft2(rng.normal(size=(N, 3, H, W))) / np.maximum(np.hypot(u, v), 1 / H)
    images = np.fft.ifft2(spectrum).real.transpose(0, 2, 3, 1)
    return 128 + 30 * (images - images.mean()) / images.std()


def pixels(images: np.ndarray) -> np.ndarray:
    return images.round().clip(0, 255).astype(np.uint8)


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    out = []
    for image in pixels(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


def ratio(made: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    found = sharpness(pixels(made), pixels(real), PERSON, ~PERSON)
    return found.inside, found.outside


def test_an_image_is_as_sharp_as_itself() -> None:
    assert ratio(photos(), photos()) == (1.0, 1.0)
    assert ratio(photos(), photos(1)) == pytest.approx((1, 1), abs=0.03)


def test_blur_lowers_sharpness_to_what_it_leaves_of_a_wave() -> None:
    """A Gaussian of sigma s leaves exp(-2 (pi s f)^2) of a wave of f periods a pixel, at any brightness."""
    sharp, s = waves(), 0.9
    left = np.exp(-2 * (np.pi * s) ** 2 * ((20 / H) ** 2 + (13 / W) ** 2))
    blurred = gaussian_filter(sharp, (0, s, s, 0), mode="wrap")
    assert 0.3 < left < 0.5
    assert ratio(blurred - 20, sharp) == pytest.approx((left, left), rel=0.02)
    assert ratio(waves(20), waves(40)) == pytest.approx((0.5, 0.5), rel=0.01)


def test_inside_and_outside_are_apart() -> None:
    real = photos()
    flat = np.where(PERSON[..., None], 128, real)
    inside, outside = ratio(flat, real)
    assert inside < 0.2  # what the notch spreads over the image
    assert outside == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("pattern", "period"), [(CHECKERS, 4), ((ROWS + COLUMNS) % 2 * 2.0 - 1, 2)])
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_printed_grid_is_no_sharpness(pattern: np.ndarray, period: int, everywhere: bool) -> None:
    real = photos()
    blurred = gaussian_filter(real, (0, 1.5, 1.5, 0))
    printed = blurred + 6 * (pattern * (PERSON | everywhere))[..., None]
    before, after = ratio(blurred, real)[0], ratio(printed, real)[0]
    plain = [np.abs(np.diff(image, axis=2))[PERSON[:, :, 1:]].mean() for image in (blurred, printed, real)]
    without_notch = (plain[1] - plain[0]) / plain[2]
    assert without_notch > 0.15
    assert after - before < (0.01 if everywhere else 0.3) * without_notch
    assert grid(pixels(blurred)) < 3
    assert grid(pixels(printed)) > 30
    assert max(found := peaks(pixels(printed)), key=lambda p: found[p]) == period


def test_blocks_of_jpeg_fool_neither() -> None:
    made = gaussian_filter(photos(), (0, 4, 4, 0))
    made = 128 + (made - 128) * 30 / made.std()
    target = jpeg(made, 50)
    assert grid(pixels(made)) < 1.5 < 5 < grid(target)  # the photo's own value stands beside the generated one's
    assert ratio(target, target) == (1.0, 1.0)
    blocks = 6.0 * ((ROWS % 8 == 0) | (COLUMNS % 8 == 0))[None, ..., None]  # of equal height: what all images share
    assert ratio(photos(1), photos() + blocks) == pytest.approx((1, 1), abs=0.03)
    printed = pixels(target + 3 * CHECKERS[None, ..., None])
    assert peaks(printed)[4] > 10 * peaks(target)[4]


def test_peaks_are_those_of_the_formula() -> None:
    """One bin by hand: the wave of period 4 along y, over the geometric mean of its neighbours along that axis."""
    images = pixels(photos() + 2 * np.cos(np.pi / 2 * ROWS)[None, ..., None])
    x = images - images.mean((1, 2), keepdims=True)
    window = np.outer(
        0.5 - 0.5 * np.cos(2 * np.pi * np.arange(H) / H), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(W) / W)
    )
    power = (np.abs(np.fft.fft2(x * window[..., None], axes=(1, 2))) ** 2).sum(3).mean(0)
    near = [power[H // 4 + step, 0] for step in (-5, -4, -3, 3, 4, 5)]
    assert peaks(images)[4] == pytest.approx(power[H // 4, 0] / np.exp(np.log(near).mean()), rel=1e-4)


def test_sizes() -> None:
    with pytest.raises(Unavailable, match="needs images of 64 pixels a side, these are 128x48"):
        grid(np.zeros((1, 128, 48, 3), np.uint8))
    odd = pixels(photos())[:, :125, :]  # cut to 120 rows
    masks = np.ones((N, 125, W), bool)
    assert sharpness(odd, odd, masks, ~masks).inside == 1.0
    assert np.isnan(sharpness(odd, odd, masks, ~masks).outside)


def test_surroundings_leave_a_margin() -> None:
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 30, 30] = True
    far = surroundings(mask)[0]
    assert not far[22:39, 22:39].any()
    assert far.sum() == 64 * 64 - 17 * 17
