"""Draws skeletons on images, in OpenPose's colours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from augment.pose.skeleton import LIMBS, seen

# One RGB colour a joint, once round the colour circle as in OpenPose's own pictures; limb i takes colour i.
COLOURS = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
_SHIFT = 4  # cv2 takes coordinates in sixteenths of a pixel


def draw_skeleton(
    image: NDArray[np.uint8], xy: NDArray[np.floating], *, scale: int = 1, thickness: int | None = None
) -> NDArray[np.uint8]:
    """Draw one person's joints and limbs on a copy of an image.

    Args:
        image: uint8 RGB `[H, W, 3]`.
        xy: `[18, 2]`, (x, y) in pixels of `image`; a missing joint is NaN, and its limbs are left out.
        scale: enlarge the image by this whole number first, so that lines stay fine.
        thickness: of limbs, in pixels of the result; default: a hundredth of its height, at least 1.

    Returns:
        uint8 RGB `[H * scale, W * scale, 3]`.
    """
    canvas = np.ascontiguousarray(image.repeat(scale, axis=0).repeat(scale, axis=1))
    thick = thickness or max(1, round(canvas.shape[0] / 100))
    there = seen(xy)
    points = np.nan_to_num(((np.asarray(xy, dtype=np.float64) + 0.5) * scale - 0.5) * (1 << _SHIFT)).round().astype(int)
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):  # one colour is left over
        if there[a] and there[b]:
            dim = tuple(channel * 3 // 5 for channel in colour)
            cv2.line(canvas, points[a].tolist(), points[b].tolist(), dim, thick, cv2.LINE_AA, _SHIFT)
    for joint, colour in enumerate(COLOURS):
        if there[joint]:
            radius = int(thick * 0.9 * (1 << _SHIFT))
            cv2.circle(canvas, points[joint].tolist(), radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return canvas


def skeleton_image(
    xy: NDArray[np.floating], size: tuple[int, int], *, scale: int = 1, background: int = 24
) -> NDArray[np.uint8]:
    """A skeleton on a dark ground: uint8 RGB `[H * scale, W * scale, 3]` for `size` (H, W) in pixels."""
    return draw_skeleton(np.full((*size, 3), background, dtype=np.uint8), xy, scale=scale)
