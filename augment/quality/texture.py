"""Is an image as sharp as the photo, and is that texture or a grid that the decoder printed?

Images are uint8 RGB `[N, H, W, 3]`. A transposed convolution prints grids of period 2, 4 and 8 (Odena et al.,
Deconvolution and Checkerboard Artifacts, Distill 2016), JPEG one of period 8. Gradients would take such a grid for
texture, so sharpness is measured without the frequencies where it lies, and the grid by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.quality.extras import Unavailable
from augment.quality.similarity import MASK_RADIUS

Images = NDArray[np.uint8]
Masks = NDArray[np.bool_]

PERIODS = (2, 4, 8)
SMALLEST = 64
"""Pixels a side: the frequencies of period 8 are then 8 bins apart, with room for a neighbourhood between them."""
_NOTCH = 1  # bins to each side: a grid that only the person shows is as wide as that in the spectrum
_NEAR, _FAR = 3, 5  # bins: the neighbourhood of a peak, which a Hann window widens by 2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BATCH = 256


@dataclass(frozen=True)
class Sharpness:
    """Mean absolute gradient of generated over that of real images; NaN where no pixel counts."""

    inside: float
    outside: float


def sharpness(generated: Images, real: Images, inside: Masks, outside: Masks) -> Sharpness:
    """Gradient energy of generated over real images, without what repeats every 2, 4 or 8 pixels.

    The energy is the mean absolute difference of neighbours, along both axes, of luma (0.299 R + 0.587 G + 0.114 B).
    Beforehand the frequencies of those periods, with the bins around them, are taken out of both images alike: 7 % of
    the spectrum. A difference counts where both of its pixels lie in the mask, so outlines do not. Energies are
    added up over all images before they are divided: images that are flat by nature do not blow up the ratio.

    Args:
        generated, real: uint8 `[N, H, W, 3]`; cut to multiples of 8 pixels.
        inside: bool `[N, H, W]`, the person.
        outside: bool `[N, H, W]`, what is surely not the person.

    Returns:
        1 is right; a blurred image is below, one above 1.05 shows what the photo has not.

    Raises:
        Unavailable: a side of less than `SMALLEST` pixels.
    """
    totals = np.zeros((2, 2))
    for rows in _blocks(generated):
        masks = [_cut(mask[rows]) for mask in (inside, outside)]
        for which, images in enumerate((generated, real)):
            plain = _notched(_cut(images[rows]) @ _LUMA)
            totals[which] += [_energy(plain, mask) for mask in masks]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = totals[0] / totals[1]
    return Sharpness(*(float(value) if np.isfinite(value) else float("nan") for value in ratio))


def gradient(images: Images, masks: Masks) -> float:
    """Mean absolute gradient of luma inside the masks, without periods 2, 4 and 8: how much there is to see.

    As `sharpness`, for images that are not of one scene: of which each has a mask of its own.

    Args:
        images: uint8 `[N, H, W, 3]`.
        masks: bool `[N, H, W]`.

    Returns:
        Grey levels a pixel; NaN where no pixel counts.

    Raises:
        Unavailable: a side of less than `SMALLEST` pixels.
    """
    total, count = 0.0, 0
    for rows in _blocks(images):
        mask = _cut(masks[rows])
        total += _energy(_notched(_cut(images[rows]) @ _LUMA), mask)
        across, down = mask[:, :, 1:] & mask[:, :, :-1], mask[:, 1:] & mask[:, :-1]
        count += int(across.sum()) + int(down.sum())
    return total / count if count else float("nan")


def surroundings(masks: Masks) -> Masks:
    """Where the person is surely not: bool `[N, H, W]`, further away from a tube around joints than it is thick.

    Limbs are drawn 8 pixels wide, people are broader; what lies within 8 pixels of that may be either.
    """
    import cv2

    square = np.ones((4 * MASK_RADIUS + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), square) == 0 for mask in masks]) if len(masks) else masks


def grid(images: Images) -> float:
    """The highest peak at the frequencies of periods 2, 4 and 8 over its neighbourhood: 1 is none.

    Power spectra (Hann window, the three channels added up) are averaged over the images, so that what is in one of
    them at one place only does not count. The neighbourhood is the geometric mean of the bins 3 to 5 away, along the
    axis alone for a frequency that lies on one: there upright people and level ground have their power.

    Args:
        images: uint8 `[N, H, W, 3]`, N of 1 or more; the fewer, the higher by chance (1.6 with 256 drawn photos).

    Raises:
        Unavailable: a side of less than `SMALLEST` pixels.
    """
    return max(peaks(images).values())


def peaks(images: Images) -> dict[int, float]:
    """`grid`, by period in pixels."""
    power = _power(images)
    height, width = power.shape
    found = dict.fromkeys(PERIODS, 0.0)
    for i in range(8):
        for j in range(8):
            if i or j:
                row, column = i * height // 8, j * width // 8
                near = [power[(row + a) % height, (column + b) % width] for a, b in _ring(i, j)]
                peak = power[row, column] / np.exp(np.mean(np.log(np.maximum(near, 1e-12))))
                period = 8 // int(np.gcd.reduce([i, j, 8]))
                found[period] = max(found[period], float(peak))
    return found


def _ring(i: int, j: int) -> Iterator[tuple[int, int]]:
    """Steps in bins from the frequency (i/8, j/8) to its neighbourhood."""
    for a in range(-_FAR, _FAR + 1):
        for b in range(-_FAR, _FAR + 1):
            on_axis = (i or not a) and (j or not b)
            if on_axis and max(abs(a), abs(b)) >= _NEAR:
                yield a, b


def _power(images: Images) -> NDArray[np.float64]:
    """Mean power spectrum `[H, W]`, of the images cut to multiples of 8 pixels."""
    total: NDArray[np.float64] | float = 0.0
    for rows in _blocks(images):
        part = _cut(images[rows]).astype(np.float32)
        part -= part.mean((1, 2), keepdims=True)
        window = np.hanning(part.shape[1] + 1)[:-1, None] * np.hanning(part.shape[2] + 1)[:-1]
        spectrum = np.fft.rfft2(part * window[..., None].astype(np.float32), axes=(1, 2))
        total = total + (np.abs(spectrum) ** 2).sum((0, 3), dtype=np.float64)
    half = np.asarray(total) / len(images)
    mirrored = np.roll(half[::-1], 1, 0)[:, part.shape[2] // 2 - 1 : 0 : -1]  # of the negative frequencies
    return np.concatenate([half, mirrored], 1)


def _notched(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[N, H, W]` without the frequencies of `PERIODS` and those around them; the lowest stay."""
    height, width = luma.shape[1:]
    spectrum = np.fft.rfft2(luma)
    rows, columns = np.arange(height), np.arange(width // 2 + 1)
    hit = (_off(rows, height // 8) <= _NOTCH)[:, None] & (_off(columns, width // 8) <= _NOTCH)
    low = (_off(rows, height) <= _NOTCH)[:, None] & (columns <= _NOTCH)
    spectrum[:, hit & ~low] = 0
    return np.asarray(np.fft.irfft2(spectrum, s=(height, width)), dtype=np.float32)


def _off(bins: NDArray[np.int_], spacing: int) -> NDArray[np.int_]:
    """How far each bin is from the nearest multiple of `spacing`."""
    return np.asarray(np.minimum(bins % spacing, -bins % spacing))


def _energy(luma: NDArray[np.float32], mask: Masks) -> float:
    across, down = mask[:, :, 1:] & mask[:, :, :-1], mask[:, 1:] & mask[:, :-1]
    return float(np.abs(np.diff(luma, axis=2))[across].sum() + np.abs(np.diff(luma, axis=1))[down].sum())


def _cut(stack: NDArray[Any]) -> NDArray[Any]:
    height, width = stack.shape[1] // 8 * 8, stack.shape[2] // 8 * 8
    return stack[:, :height, :width]


def _blocks(images: Images) -> Iterator[slice]:
    if min(images.shape[1:3]) < SMALLEST:
        raise Unavailable(f"needs images of {SMALLEST} pixels a side, these are {images.shape[1]}x{images.shape[2]}")
    for start in range(0, len(images), _BATCH):
        yield slice(start, start + _BATCH)
