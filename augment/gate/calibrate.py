"""Sets the gate's thresholds on real images, and measures what thresholds set so do to images of other people.

Right examples: an image and its own pose; two images of one person in one camera. Wrong ones: an image and the pose of
another image; images of two people. A threshold is as lenient as it can be while it tells right from wrong about as
well as any, and it rejects no more than two per cent of the right ones, or what the user allows.

The rates of rejection are those of thresholds that one half of the identities sets, measured on the other half, both
ways round. The thresholds themselves are then set on both. Time and memory grow with the number of images, not with its
square: each image is compared with a fixed number of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.estimators.agreement import pose_errors, reference_poses
from augment.estimators.base import Estimator
from augment.gate.judge import GateThresholds, statistics
from augment.plan.donors import stable_hash
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.quality.likeness import colour_drift, part_colours
from reid_eval.datasets import ReidData, load_images
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError, progress

COUNT = 256
FALSE_ALARMS = 0.02
VERSION = 3
"""Of the way thresholds are set; 1 measured the pose by distances of joints; 2 measured rates on the images that had
set the thresholds, and did not record the image size."""
_SLACK = 0.03
_NO_LIMIT = 1e9  # JSON knows no infinity
_BATCH = 32
_OTHERS = 4
"""Poses of other images that an image is held against."""
_PARTNERS = 32
"""Images whose colours an image is held against."""
_TOGETHER = 4
"""Images of one identity taken together: a few hundred of thousands drawn one by one hardly show anybody twice."""
_LEAST_IMAGES = 8
_LEAST_IDENTITIES = 4
"""Two people to tell apart in either half."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Numbers of right and of wrong examples among real images.

    Attributes:
        images: how many images they are of.
        pose_right, pose_wrong: pose errors of own poses and of those of other images.
        colour_same, colour_other: colour drift between images of one person and of two.
        statistics: `[images, 3]`, see `augment.gate.judge.statistics`.
    """

    images: int
    pose_right: NDArray[np.float64]
    pose_wrong: NDArray[np.float64]
    colour_same: NDArray[np.float64]
    colour_other: NDArray[np.float64]
    statistics: NDArray[np.float64]


def calibrate(
    data: ReidData,
    keypoints: Keypoints,
    estimator: Estimator,
    *,
    size: tuple[int, int] = (128, 64),
    count: int = COUNT,
    seed: int = 0,
    sha256: str | None = None,
    name: str | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> GateThresholds:
    """Thresholds from up to `count` real training images, and how well thresholds set so tell images of other people.

    Args:
        data: the data set.
        keypoints: of its images.
        estimator: the one that the gate will use.
        size: (H, W) at which the generator works; the thresholds hold for it.
        count: images to look at, chosen by hash. With too few identities or images for two halves there are no rates,
            and the note says so.
        seed: of the choice.
        sha256: of the estimator's weights, for the record.
        name: what the user called the estimator.
        false_alarms: the share of right examples that the tests of pose and of colour may each reject.

    Raises:
        InputError: fewer than eight usable images of people.
    """
    halves, note = _halves(_usable(data, keypoints), count, seed)
    looked_at = [look_at(data, keypoints, estimator, half, size) for half in halves]
    examples = _together(looked_at)
    pose, colour = _limits(examples, false_alarms)
    rates = _held_out(looked_at, false_alarms) if len(looked_at) == 2 else None
    contrast, saturated, noise = examples.statistics.T
    return GateThresholds(
        pose=pose,
        colour=colour,
        contrast=round(float(contrast.min()) / 2, 4),
        saturated=round(min(0.95, 2 * float(saturated.max()) + 0.05), 4),
        noise=round(float(noise.max()) * 1.5, 4),
        size=size,
        estimator=name or estimator.name,
        estimator_sha256=sha256,
        images=examples.images,
        rates=rates,
        note=note,
    )


def threshold(right: NDArray[np.floating], wrong: NDArray[np.floating], false_alarms: float = FALSE_ALARMS) -> float:
    """The largest value that tells right from wrong within 3 points of the best, or a larger one that rejects fewer.

    Args:
        right: numbers of right examples, the lower the better; NaN is left out.
        wrong: of wrong ones.
        false_alarms: the share of right examples that may be rejected.

    Returns:
        The threshold; what is larger is rejected. Without right or without wrong examples nothing is.
    """
    right, wrong = np.sort(right[~np.isnan(right)]), np.sort(wrong[~np.isnan(wrong)])
    steps = np.unique(np.concatenate([right, wrong]))
    if not len(right) or not len(wrong):
        return float(steps[-1]) if len(steps) else _NO_LIMIT
    told = _above(wrong, steps) - _above(right, steps)
    lenient = steps[told >= told.max() - _SLACK][-1]
    return round(float(max(lenient, np.quantile(right, 1 - false_alarms))), 5)


def _above(values: NDArray[np.floating], steps: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of sorted `values` above each step."""
    return np.asarray((len(values) - np.searchsorted(values, steps, side="right")) / len(values), np.float64)


def _limits(examples: Examples, false_alarms: float) -> tuple[float, float]:
    """Thresholds of pose and colour."""
    return (
        threshold(examples.pose_right, examples.pose_wrong, false_alarms),
        threshold(examples.colour_same, examples.colour_other, false_alarms),
    )


def _together(parts: Sequence[Examples]) -> Examples:
    names = ("pose_right", "pose_wrong", "colour_same", "colour_other", "statistics")
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return Examples(sum(part.images for part in parts), *joined)


def _held_out(halves: Sequence[Examples], false_alarms: float) -> dict[str, float | None]:
    """Rates of thresholds set on one half, measured on the other; mean of both ways round."""
    ways = [rejection_rates(b, *_limits(a, false_alarms)) for a, b in (halves, halves[::-1])]
    known = {name: [share for way in ways if (share := way[name]) is not None] for name in ways[0]}
    return {name: round(float(np.mean(shares)), 4) if shares else None for name, shares in known.items()}


def rejection_rates(examples: Examples, pose: float, colour: float) -> dict[str, float | None]:
    """The shares of examples that thresholds of pose and colour reject; None where there is no such example."""
    return {
        "pose_right": _rejected(examples.pose_right, pose),
        "pose_wrong": _rejected(examples.pose_wrong, pose),
        "colour_same": _rejected(examples.colour_same, colour),
        "colour_other": _rejected(examples.colour_other, colour),
    }


def _rejected(values: NDArray[np.floating], limit: float) -> float | None:
    known = values[~np.isnan(values)]
    return float((known > limit).mean()) if len(known) else None


def _usable(data: ReidData, keypoints: Keypoints) -> pd.DataFrame:
    """Training images of people whose pose is known."""
    train = data.train[data.train["pid"] > 0]
    rows = keypoints.rows(train["path"].tolist())
    good = train[(rows >= 0) & np.append(keypoints.usable, False)[rows]]
    if len(good) < _LEAST_IMAGES:
        raise InputError(f"{data.root}: {len(good)} usable training images are too few to set the gate's thresholds on")
    return good


def _halves(usable: pd.DataFrame, count: int, seed: int) -> tuple[list[pd.DataFrame], str | None]:
    """Images of two halves of the identities; or of all of them, and why there are no halves."""
    people = sorted(set(usable["pid"].tolist()), key=lambda pid: stable_hash(seed, "gate", pid))
    if len(people) < _LEAST_IDENTITIES:
        why = (
            f"it takes {_LEAST_IDENTITIES} identities to set thresholds on one half of them and measure on the other, "
            f"there are {len(people)}"
        )
        return [_choose(usable, count, seed)], why
    first = usable["pid"].isin(people[: (len(people) + 1) // 2])
    halves = [_choose(usable[first], (count + 1) // 2, seed), _choose(usable[~first], count // 2, seed)]
    if min(map(len, halves)) < _LEAST_IMAGES:
        why = (
            f"it takes {_LEAST_IMAGES} images of either half of the identities to set thresholds on one and measure on "
            f"the other, there are {len(halves[0])} and {len(halves[1])}"
        )
        return [_choose(usable, count, seed)], why
    return halves, None


def _choose(usable: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Up to `count` images by hash, a few of each identity, in an order that has nothing to do with who they show."""
    keys = [stable_hash(seed, "gate", path) for path in usable["path"]]
    people = {pid: stable_hash(seed, "gate", pid) for pid in set(usable["pid"].tolist())}
    ranked = usable.assign(key=keys, person=[people[pid] for pid in usable["pid"].tolist()]).sort_values("key")
    ranked["turn"] = ranked.groupby("pid").cumcount() // _TOGETHER
    chosen = ranked.sort_values(["turn", "person", "key"]).head(count).sort_values("key")
    return chosen[usable.columns].reset_index(drop=True)


def look_at(
    data: ReidData,
    keypoints: Keypoints,
    estimator: Estimator,
    chosen: pd.DataFrame,
    size: tuple[int, int],
) -> Examples:
    """Measure real images.

    Args:
        data: the data set.
        keypoints: of its images.
        estimator: finds joints.
        chosen: rows of the training table, in an order that has nothing to do with who they show.
        size: (H, W) at which they are looked at.
    """
    paths = chosen["path"].tolist()
    images = load_images(data.root, paths, size).transpose(0, 2, 3, 1)
    rows = keypoints.rows(paths)
    poses = np.stack(
        [scale_joints(keypoints.xy[row], image_size(data.root / p), size) for p, row in zip(paths, rows, strict=True)]
    )
    right, wrong = _pose_examples(estimator, images, poses)
    colours = np.stack([part_colours(image, xy) for image, xy in zip(images, poses, strict=True)])
    same, other = colour_examples(colours, *(chosen[name].to_numpy() for name in ("pid", "camid")))
    return Examples(len(images), right, wrong, same, other, np.array([statistics(image) for image in images]))


def _pose_examples(
    estimator: Estimator, images: NDArray[np.uint8], poses: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors of the own pose, and of those of the `_OTHERS` images before it."""
    asked = np.stack([np.roll(poses, shift, axis=0) for shift in range(_OTHERS + 1)], axis=1)
    references = reference_poses(images.shape[1:3])
    parts = []
    with progress("Setting the gate", len(images)) as bar:
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            parts.append(pose_errors(estimator, images[part], asked[part], references))
            bar.advance(len(parts[-1]))
    errors = np.concatenate(parts)
    return errors[:, 0], errors[:, 1:].ravel()


def colour_examples(
    colours: NDArray[np.float64], pids: NDArray[np.integer], camids: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drift between images of one person in one camera (in any, where no camera saw anybody twice), and of two people.

    Each image is held against up to 32 others of either kind.

    Args:
        colours: `[N, 4, 3]` from `part_colours`, in an order that has nothing to do with who they show.
        pids, camids: `[N]`.
    """
    a, b = _neighbours(np.lexsort((camids, pids)))  # each person's images side by side
    same_person = pids[a] == pids[b]
    same_camera = same_person & (camids[a] == camids[b])
    same = same_camera if same_camera.any() else same_person
    c, d = _neighbours(np.arange(len(pids)))
    other = pids[c] != pids[d]
    return colour_drift(colours[a[same]], colours[b[same]]), colour_drift(colours[c[other]], colours[d[other]])


def _neighbours(order: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Pairs of entries at most `_PARTNERS` places apart."""
    shifts = range(1, min(_PARTNERS, len(order) - 1) + 1)
    empty = order[:0]
    return (
        np.concatenate([empty, *(order[:-shift] for shift in shifts)]),
        np.concatenate([empty, *(order[shift:] for shift in shifts)]),
    )
