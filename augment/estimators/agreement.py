"""Does an image show the pose it should? How well poses agree with it, and whether others would agree better.

A pose agrees with an image as far as its joints are likely to lie where it says: 1 if all of them do, 0 if none does.
An estimator with heat maps says so itself (`agreement`); from the joints of any other one it is the object keypoint
similarity of COCO, with one width for all joints. What tells a wrong pose is not a low agreement alone, which an
estimator in doubt gives to every pose, but that poses nobody asked for agree better.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from augment.estimators.base import Estimator, Image
from augment.pose.geometry import scale_joints
from augment.pose.library import frame_of, shipped_library
from augment.pose.skeleton import seen

WIDTH = 1 / 32
"""Standard deviation of the kernel around a joint, share of the image's height: 4 pixels of 128."""
REFERENCE_SHARE = 0.9
"""The references' agreement that the asked pose is held against: that which this share of them stays below."""


@runtime_checkable
class HasAgreement(Protocol):
    """An estimator that knows more than joints: how likely each lies anywhere."""

    def agreement(
        self, images: Sequence[Image], poses: NDArray[np.floating], width: float = WIDTH
    ) -> NDArray[np.float64]:
        """`[N, P]` in [0, 1] for `[N, P, 18, 2]` poses of N images, as `agreement` below."""
        ...


def agreement(
    estimator: Estimator, images: Sequence[Image], poses: NDArray[np.floating], width: float = WIDTH
) -> NDArray[np.float64]:
    """How well poses agree with images.

    Args:
        estimator: finds joints.
        images: N of them, uint8 RGB `[H, W, 3]`, one person each.
        poses: `[N, P, 18, 2]`, P for each image, (x, y) pixels, NaN missing.
        width: of the kernel around a joint, share of the height.

    Returns:
        float64 `[N, P]` in [0, 1]: mean over the joints that the pose has; 0 for a pose without any.
    """
    if isinstance(estimator, HasAgreement):
        return estimator.agreement(images, poses, width)
    found, _ = estimator(images)
    heights = np.array([image.shape[0] for image in images], np.float64)
    return similarity(found, poses, heights, width)


def similarity(
    found: NDArray[np.floating], poses: NDArray[np.floating], heights: NDArray[np.floating], width: float = WIDTH
) -> NDArray[np.float64]:
    """Object keypoint similarity of the joints found and poses; a joint that was not found counts as 0.

    Args:
        found: `[N, 18, 2]`, (x, y) pixels, NaN missing.
        poses: `[N, P, 18, 2]`.
        heights: `[N]`, of the images, pixels.
        width: of the kernel, share of the height.

    Returns:
        float64 `[N, P]`, see `agreement`.
    """
    squares = ((np.asarray(poses, np.float64) - np.asarray(found, np.float64)[:, None]) ** 2).sum(-1)
    near = np.exp(-squares / (2 * (width * heights[:, None, None]) ** 2))
    return over_asked(np.nan_to_num(near, nan=0.0), poses)


def over_asked(values: NDArray[np.floating], poses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of `[..., 18]` values over the joints that `[..., 18, 2]` poses have; 0 where they have none."""
    there = seen(poses)
    return np.asarray((values * there).sum(-1) / np.maximum(there.sum(-1), 1), np.float64)


def pose_errors(
    estimator: Estimator, images: NDArray[np.uint8], poses: NDArray[np.floating], references: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How much better than the poses asked for others agree with images.

    Args:
        estimator: finds joints.
        images: uint8 RGB `[N, H, W, 3]`.
        poses: `[N, P, 18, 2]`, asked for: P for each image, each judged for itself.
        references: `[R, 18, 2]`, other poses that people take, in pixels of these images.

    Returns:
        float64 `[N, P]` in [-1, 1]: agreement of the references (the `REFERENCE_SHARE` quantile) less that of the pose.
        Clearly negative: this pose, and hardly another one. About 0: nothing to see. Positive: rather another pose.
    """
    count = poses.shape[1]
    others = np.broadcast_to(references, (len(images), *references.shape))
    scores = agreement(estimator, list(images), np.concatenate([poses, others], axis=1))
    usual = np.quantile(scores[:, count:], REFERENCE_SHARE, axis=1)
    return np.asarray(usual[:, None] - scores[:, :count])


@lru_cache
def reference_poses(size: tuple[int, int]) -> NDArray[np.float32]:
    """Poses of the library that ships for images of `size` (H, W): `[R, 18, 2]` (x, y) pixels, not to be written to."""
    library = shipped_library()
    frames = [frame_of(name) or size for name in library.names]
    poses = np.stack([scale_joints(xy, frame, size) for xy, frame in zip(library.xy, frames, strict=True)])
    poses.flags.writeable = False  # the same array for all who ask
    return poses
