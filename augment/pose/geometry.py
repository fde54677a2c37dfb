"""What is done with joints: scaled and mirrored as images are, and compared in a space without place and size.

Arrays are as in `augment.pose.skeleton`: float `[..., 18, 2]`, (x, y) pixels, NaN missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.pose.skeleton import HEAD, HIPS, JOINT_COUNT, MIRROR, SHOULDERS, Array, seen, usable


def scale_joints(xy: NDArray[np.float32], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float32]:
    """Joints `[..., 18, 2]` of an image of size `old` (H, W), after it is resized to `new`; pixel centres are kept."""
    if old == new:
        return xy
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    return np.asarray((xy + 0.5) * factor - 0.5, dtype=np.float32)


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


LEAST_TORSO = 12 / 128
"""Of a torso, in heights of its image: two standard deviations of a joint's Gaussian (6 pixels of 128). Below that the
maps of shoulders and hips run into each other, and a generator is shown a blot. A standing person has it from about
3/10 of the image's height on."""
MOST_TORSOS = {
    (2, 3): 1.29, (5, 6): 1.29,
    (3, 4): 1.01, (6, 7): 1.01,
    (8, 9): 1.70, (11, 12): 1.70,
    (9, 10): 1.71, (12, 13): 1.71,
    (2, 5): 1.80, (8, 11): 1.33,
}  # fmt: skip
"""Joints to the longest that the way between them may be, in torso lengths: twice what adults have (Drillis & Contini
1966, in body heights: upper arm 0.186, forearm 0.146, thigh 0.245, shin 0.246, shoulders 0.259, hips 0.191, from the
shoulders to the hips 0.288). Seen from any side a limb only looks shorter; twice is for a torso that leans by 60
degrees towards the camera or away from it."""


def plausible(xy: Array, heights: NDArray[np.floating] | None = None) -> NDArray[np.bool_]:
    """Whether usable poses can be those of people, large enough to be drawn from: `[N, 18, 2]` to `[N]`.

    A pose that is not `upright`, of which a limb is longer than `MOST_TORSOS`, or whose torso is shorter than
    `LEAST_TORSO`, is a detector's mistake as a rule. A pose that lacks a shoulder or a hip is not plausible.

    Args:
        xy: (x, y) pixels, NaN missing.
        heights: `[N]`, of the images in pixels, NaN where it is not known; None: of no image.
    """
    fine = usable(xy)
    people = np.asarray(xy, np.float64)[fine]
    length = torso(people)
    good = upright(people) if len(people) else np.zeros(0, bool)
    for (a, b), most in MOST_TORSOS.items():
        limb = np.linalg.norm(people[:, a] - people[:, b], axis=-1)
        good &= ~(limb > most * length)  # NaN, where a joint is missing, is no mistake
    if heights is not None:
        good &= ~(length < LEAST_TORSO * np.asarray(heights, np.float64)[fine])
    fine[fine] = good
    return fine


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
