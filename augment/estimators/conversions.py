"""What estimators share: crops enlarged and back, joints of other skeletons as OpenPose's 18, what is credible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image
from augment.pose.skeleton import JOINT_COUNT, SHOULDERS

# Where each OpenPose joint stands among the 17 of COCO (nose, eyes, ears, shoulders, elbows, wrists, hips, knees,
# ankles; left before right), -1 for the neck, which COCO lacks.
FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
# The same among the 33 of MediaPipe's BlazePose.
FROM_BLAZEPOSE = (0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
_BORDER = 0.2  # of the height, repeated on every side: detectors want some room around a person


class Enlarged(NamedTuple):
    """A small crop made large, and what `shrink` needs to go back."""

    image: Image
    scale: float
    border: int
    """On every side, in pixels of the crop."""


def enlarge(image: Image, height: int = ENLARGED_HEIGHT, border: float = _BORDER) -> Enlarged:
    """Repeat an image's borders, then enlarge it so that the image itself is at least `height` pixels high.

    Args:
        image: uint8 RGB `[H, W, 3]`.
        height: an image as high or higher keeps its size.
        border: share of the image's height.
    """
    room = round(image.shape[0] * border)
    wide = cv2.copyMakeBorder(image, room, room, room, room, cv2.BORDER_REPLICATE)
    scale = max(1.0, height / image.shape[0])
    if scale > 1:
        size = (round(wide.shape[1] * scale), round(wide.shape[0] * scale))
        wide = cv2.resize(wide, size, interpolation=cv2.INTER_CUBIC)
    return Enlarged(np.asarray(wide, dtype=np.uint8), scale, room)


def shrink(xy: NDArray[np.floating], enlarged: Enlarged) -> NDArray[np.float32]:
    """Pixels of an enlarged image as pixels of the image it was made of (pixel centres at integers)."""
    return np.asarray((xy + 0.5) / enlarged.scale - 0.5 - enlarged.border, dtype=np.float32)


def to_openpose(xy: NDArray[np.floating], scores: NDArray[np.floating], order: Sequence[int] = FROM_COCO) -> Found:
    """Joints of another skeleton in OpenPose's order, the neck in the middle of the shoulders.

    Args:
        xy: `[..., J, 2]`.
        scores: `[..., J]`.
        order: 18 places among the J, -1 for the neck.

    Returns:
        float32 `[..., 18, 2]` and `[..., 18]`; the neck has the lower score of the two shoulders.
    """
    joints = np.asarray(xy, np.float32)[..., list(order), :]
    score = np.asarray(scores, np.float32)[..., list(order)]
    neck = order.index(-1)
    joints[..., neck, :] = joints[..., list(SHOULDERS), :].mean(axis=-2)
    score[..., neck] = score[..., list(SHOULDERS)].min(axis=-1)
    return joints, score


def keep_credible(
    xy: NDArray[np.floating], scores: NDArray[np.floating], threshold: float, sizes: Sequence[tuple[int, ...]]
) -> Found:
    """Call joints missing that score below the threshold or lie clearly outside; bring the others inside.

    Args:
        xy: `[N, 18, 2]`, (x, y) pixels of each image; NaN missing.
        scores: `[N, 18]`.
        threshold: the lowest score of a joint that counts.
        sizes: (H, W, ...) of each image; a joint more than a tenth of the larger side outside is missing.
    """
    limits = np.array([(size[1], size[0]) for size in sizes], dtype=np.float32).reshape(-1, 1, 2)
    slack = 0.1 * limits.max(axis=-1, keepdims=True)
    known = np.asarray(xy, np.float32)
    with np.errstate(invalid="ignore"):
        outside = ((known < -slack) | (known > limits - 1 + slack)).any(-1)
    gone = outside | ~(scores >= threshold) | np.isnan(known).any(-1)
    inside = np.clip(known, 0, limits - 1)
    return np.where(gone[..., None], np.nan, inside).astype(np.float32), np.asarray(scores, np.float32)


def best_person(candidates: Sequence[tuple[NDArray[np.floating], NDArray[np.floating], float]]) -> Found:
    """Of several people in one image the one with the highest score; nobody gives 18 missing joints."""
    if not candidates:
        return np.full((JOINT_COUNT, 2), np.nan, np.float32), np.zeros(JOINT_COUNT, np.float32)
    xy, scores, _ = max(candidates, key=lambda one: one[2])
    return np.asarray(xy, np.float32), np.asarray(scores, np.float32)


def stacked(people: Sequence[Found]) -> Found:
    """One person an image as one table: `[N, 18, 2]` and `[N, 18]`, also of none."""
    if not people:
        return np.empty((0, JOINT_COUNT, 2), np.float32), np.empty((0, JOINT_COUNT), np.float32)
    return np.stack([xy for xy, _ in people]), np.stack([scores for _, scores in people])
