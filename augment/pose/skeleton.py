"""The 18 joints of OpenPose (COCO model): names, limbs, mirror image, and the space in which poses are compared.

Every array here is float, `[..., 18, 2]`, in (x, y) pixels with x to the right and y down; a missing joint is NaN.
The sides are the person's own: seen from the front, the right shoulder lies at the smaller x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Joints 14-17 are right eye, left eye, right ear, left ear. The label list in the authors' `pose_utils.py` calls them
# Leye, Reye, Lear, Rear, but data disagree: in pets_mini joint 14 lies on the same side of joint 15 as joint 2 (Rsho)
# of joint 5 (Lsho) in 97% of the images (ears, 16 and 17: 96%), as often as the right hip does of the left (97%), and
# ear 16 is on average 2.4 pixels from eye 14 but 4.0 from eye 15. Nothing is permuted when files are read or written.
JOINTS = (
    "nose",
    "neck",
    "Rsho",
    "Relb",
    "Rwri",
    "Lsho",
    "Lelb",
    "Lwri",
    "Rhip",
    "Rkne",
    "Rank",
    "Lhip",
    "Lkne",
    "Lank",
    "Reye",
    "Leye",
    "Rear",
    "Lear",
)
JOINT_COUNT = len(JOINTS)
SHOULDERS = (2, 5)
HIPS = (8, 11)
HEAD = (0, 14, 15, 16, 17)

LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)

# MIRROR[i] is the joint that takes the place of joint i in a mirrored image.
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)


def seen(xy: Array) -> NDArray[np.bool_]:
    """Which joints are there: `[..., 18, 2]` to bool `[..., 18]`."""
    return np.asarray(~np.isnan(xy).any(axis=-1))


def usable(xy: Array) -> NDArray[np.bool_]:
    """The authors' rule for a pose to generate from: both shoulders and both hips seen; `[..., 18, 2]` to `[...]`."""
    return np.asarray(seen(xy)[..., list(SHOULDERS + HIPS)].all(axis=-1))


def mirror(xy: Array, width: int) -> Array:
    """The pose of the horizontally flipped image, `[..., 18, 2]`: x becomes `width - 1 - x` and left becomes right."""
    flipped = xy[..., list(MIRROR), :].copy()
    flipped[..., 0] = width - 1 - flipped[..., 0]
    return flipped


def normalise(xy: Array) -> NDArray[np.float64]:
    """Take place and size out of usable poses: the middle of the hips at 0, the torso of length 1.

    Args:
        xy: `[..., 18, 2]`, each with both shoulders and both hips.

    Returns:
        `[..., 18, 2]` float64 in torso lengths (middle of the shoulders to middle of the hips), missing joints NaN.

    Raises:
        ValueError: a pose lacks a shoulder or a hip.
    """
    if not usable(xy).all():
        raise ValueError("normalise needs poses with both shoulders and both hips; filter with usable() first")
    points = np.asarray(xy, dtype=np.float64)
    root = points[..., list(HIPS), :].mean(axis=-2, keepdims=True)
    return (points - root) / np.maximum(torso(points), 1.0)[..., None, None]


def torso(xy: Array) -> NDArray[np.float64]:
    """Length of the torso in pixels, `[..., 18, 2]` to `[...]`: middle of the shoulders to middle of the hips."""
    points = np.asarray(xy, dtype=np.float64)
    trunk = points[..., list(SHOULDERS), :].mean(axis=-2) - points[..., list(HIPS), :].mean(axis=-2)
    return np.asarray(np.linalg.norm(trunk, axis=-1))


def upright(xy: Array) -> NDArray[np.bool_]:
    """Whether a usable pose can be a pedestrian's, `[..., 18, 2]` to `[...]`; what fails is a detector's mistake.

    The shoulders' middle lies above the hips', by more than it lies aside; no joint of the head is below it; no joint
    is over 4 torso lengths away from the hips.
    """
    shape = normalise(xy)
    top = shape[..., list(SHOULDERS), :].mean(axis=-2)
    head = np.nan_to_num(shape[..., list(HEAD), 1], nan=-np.inf).max(axis=-1)
    reach = np.nan_to_num(np.abs(shape)).max(axis=(-2, -1))
    return np.asarray((-top[..., 1] > np.abs(top[..., 0])) & (head <= top[..., 1]) & (reach <= 4))


def pose_distance(a: Array, b: Array) -> NDArray[np.float64]:
    """Distance between normalised poses: root mean square over the joints that both have.

    Args:
        a: `[N, 18, 2]` from `normalise`.
        b: `[M, 18, 2]` from `normalise`.

    Returns:
        `[N, M]` float64 in torso lengths, rounded to 1e-6 so that comparisons come out the same on every machine. Two
        poses without a common joint are at distance 0: nothing says that they differ.
    """
    ma, mb = seen(a).astype(np.float64), seen(b).astype(np.float64)
    za, zb = np.nan_to_num(np.asarray(a, np.float64)), np.nan_to_num(np.asarray(b, np.float64))
    squares = (za**2).sum(-1) @ mb.T + ma @ (zb**2).sum(-1).T
    squares -= 2 * za.reshape(len(za), 2 * JOINT_COUNT) @ zb.reshape(len(zb), 2 * JOINT_COUNT).T
    common = ma @ mb.T
    return np.sqrt(np.maximum(squares, 0) / np.maximum(common, 1)).round(6)
