"""Generated against real image: L1, SSIM, and the mask of a person drawn from joints.

Images are uint8 RGB `[N, H, W, 3]`; every function gives one value an image. After the authors' evaluation
(tengteng95/Pose-Transfer, `tool/getMetrics_market.py` and `tool/pose_utils.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from augment.pose.skeleton import LIMBS, seen
from augment.quality.extras import need

Images = NDArray[np.uint8]
Values = NDArray[np.float64]

# Limbs of the authors' mask: those of the skeleton, and six that close the trunk and the head.
MASK_LIMBS = (*LIMBS, (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17))
MASK_RADIUS = 4
_CLOSING = 5


def l1(generated: Images, real: Images) -> Values:
    """Mean absolute difference of images scaled to [-1, 1], `[N]` in [0, 2]; lower is better."""
    difference = np.abs(generated.astype(np.float64) - real.astype(np.float64)) * (2 / 255)
    return np.asarray(difference.mean(axis=(1, 2, 3)))


def ssim(generated: Images, real: Images, *, authors: bool = True) -> Values:
    """Structural similarity (Wang et al., 2004) with Gaussian weights of sigma 1.5, mean over channels and pixels.

    Args:
        generated, real: uint8 `[N, H, W, 3]`, at least 11 pixels a side.
        authors: take the data range of each *generated* image, its largest value less its smallest, as the authors do;
            else 255. A generated image of one value has no data range: its SSIM is 0 here, not a number there.

    Returns:
        `[N]` in [-1, 1]; higher is better.
    """
    function = _skimage_ssim()
    values = []
    for made, true in zip(generated, real, strict=True):
        span = int(made.max()) - int(made.min()) if authors else 255
        values.append(
            function(
                true, made, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1,
                data_range=span,
            )
            if span
            else 0.0
        )  # fmt: skip
    return np.array(values, dtype=np.float64)


def joints_mask(xy: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The person as the authors' mask has it: limbs 8 pixels wide, discs at joints, then a closing by 5x5.

    Args:
        xy: `[18, 2]`, (x, y) pixels, NaN missing.
        size: (H, W).

    Returns:
        bool `[H, W]`.
    """
    draw, morphology = need("skimage.draw", "quality"), need("skimage.morphology", "quality")
    mask = np.zeros(size, dtype=bool)
    there, points = seen(xy), np.asarray(xy, dtype=np.float64)[:, ::-1]  # (y, x)
    for a, b in MASK_LIMBS:
        along = points[a] - points[b]
        length = np.hypot(*along)
        if there[a] and there[b] and length > 0:
            aside = MASK_RADIUS * np.array([-along[1], along[0]]) / length
            corners = np.stack([points[a] + aside, points[a] - aside, points[b] - aside, points[b] + aside])
            mask[draw.polygon(corners[:, 0], corners[:, 1], shape=size)] = True
    for joint in np.flatnonzero(there):
        mask[draw.disk(points[joint], MASK_RADIUS, shape=size)] = True
    square = np.ones((_CLOSING, _CLOSING), dtype=bool)
    return np.asarray(morphology.erosion(morphology.dilation(mask, square), square))


def joints_masks(poses: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """`joints_mask` of each: `[N, 18, 2]` to bool `[N, H, W]`."""
    return np.stack([joints_mask(xy, size) for xy in poses]) if len(poses) else np.empty((0, *size), bool)


def masked(images: Images, masks: NDArray[np.bool_]) -> Images:
    """Images with everything outside their masks black: `[N, H, W, 3]` and `[N, H, W]`."""
    return np.asarray(images * masks[..., None], dtype=np.uint8)


@lru_cache(1)
def _skimage_ssim() -> Callable[..., float]:
    function: Callable[..., float] = need("skimage.metrics", "quality").structural_similarity
    return function
