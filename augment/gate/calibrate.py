"""Sets the gate's thresholds on real images, and reads and writes the file that holds them (the only one to do so).

Right examples: an image and its own pose; two images of one person in one camera. Wrong ones: an image and the pose of
another image; images of two people. A threshold is as lenient as it can be while it tells right from wrong about as
well as any, and it rejects no more than two per cent of the right ones, or what the user allows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from reid_eval.runtime import InputError, progress, write_json

COUNT = 256
FALSE_ALARMS = 0.02
_SLACK = 0.03
_NO_LIMIT = 1e9  # JSON knows no infinity
_BATCH = 32
_OTHERS = 4
VERSION = 2
"""1 measured the pose by distances of joints."""


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
    """Thresholds from up to `count` real training images.

    Args:
        data: the data set.
        keypoints: of its images.
        estimator: the one that the gate will use.
        size: (H, W) at which the generator works; images are judged at it.
        count: images to look at, chosen by hash.
        seed: of the choice.
        sha256: of the estimator's weights, for the record.
        name: what the user called the estimator.
        false_alarms: the share of right examples that the tests of pose and of colour may each reject.

    Raises:
        InputError: fewer than eight usable images of people.
    """
    chosen = _choose(data, keypoints, count, seed)
    paths = chosen["path"].tolist()
    images = load_images(data.root, paths, size).transpose(0, 2, 3, 1)
    rows = keypoints.rows(paths)
    poses = np.stack(
        [scale_joints(keypoints.xy[row], image_size(data.root / p), size) for p, row in zip(paths, rows, strict=True)]
    )
    right, wrong = _pose_examples(estimator, images, poses)
    pose, pose_rates = threshold(right, wrong, false_alarms)
    colours = np.stack([part_colours(image, xy) for image, xy in zip(images, poses, strict=True)])
    same, other = _colour_examples(colours, chosen)
    colour, colour_rates = threshold(same, other, false_alarms)
    contrast, saturated, noise = np.array([statistics(image) for image in images]).T
    return GateThresholds(
        pose=pose,
        colour=colour,
        contrast=round(float(contrast.min()) / 2, 4),
        saturated=round(min(0.95, 2 * float(saturated.max()) + 0.05), 4),
        noise=round(float(noise.max()) * 1.5, 4),
        estimator=name or estimator.name,
        estimator_sha256=sha256,
        images=len(images),
        rates={
            "pose_right": pose_rates[0],
            "pose_wrong": pose_rates[1],
            "colour_same": colour_rates[0],
            "colour_other": colour_rates[1],
        },
    )


def threshold(
    right: NDArray[np.floating], wrong: NDArray[np.floating], false_alarms: float = FALSE_ALARMS
) -> tuple[float, tuple[float, float]]:
    """The largest value that tells right from wrong within 3 points of the best, or a larger one that rejects fewer.

    Args:
        right: numbers of right examples, the lower the better; NaN is left out.
        wrong: of wrong ones.
        false_alarms: the share of right examples that may be rejected.

    Returns:
        The threshold (what is larger is rejected) and the shares of right and wrong examples that it rejects.
    """
    right, wrong = right[~np.isnan(right)], wrong[~np.isnan(wrong)]
    steps = np.unique(np.concatenate([right, wrong]))
    if not len(right) or not len(wrong):
        limit = float(steps.max()) if len(steps) else _NO_LIMIT
        return limit, (0.0, 0.0)
    told = (wrong[None] > steps[:, None]).mean(1) - (right[None] > steps[:, None]).mean(1)
    lenient = steps[told >= told.max() - _SLACK].max()
    limit = round(float(max(lenient, np.quantile(right, 1 - false_alarms))), 5)
    return limit, (round(float((right > limit).mean()), 4), round(float((wrong > limit).mean()), 4))


def _choose(data: ReidData, keypoints: Keypoints, count: int, seed: int) -> pd.DataFrame:
    train = data.train[data.train["pid"] > 0]
    rows = keypoints.rows(train["path"].tolist())
    good = train[(rows >= 0) & np.append(keypoints.usable, False)[rows]]
    if len(good) < 8:
        raise InputError(f"{data.root}: {len(good)} usable training images are too few to set the gate's thresholds on")
    keys = [stable_hash(seed, "gate", path) for path in good["path"]]
    return good.assign(key=keys).sort_values("key").head(count).drop(columns="key").reset_index(drop=True)


def _pose_examples(
    estimator: Estimator, images: NDArray[np.uint8], poses: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors of the own pose, and of those of the `_OTHERS` images before it (in the order of hashes)."""
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


def _colour_examples(
    colours: NDArray[np.float64], chosen: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drift between images of one person in one camera, and between those of two people."""
    drift = colour_drift(colours[:, None], colours[None])
    pids, camids = (chosen[name].to_numpy() for name in ("pid", "camid"))
    upper = np.triu(np.ones_like(drift, dtype=bool), 1)
    same_person, same_camera = pids[:, None] == pids[None], camids[:, None] == camids[None]
    same = drift[upper & same_person & same_camera]
    if not len(same):
        same = drift[upper & same_person]
    return same, drift[upper & ~same_person]


def write_thresholds(path: Path, thresholds: GateThresholds) -> None:
    """Write thresholds as JSON."""
    write_json(path, {"version": VERSION, **thresholds.to_dict()})


def read_thresholds(path: Path) -> GateThresholds:
    """Read a file of `calibrate-gate`.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        if value.pop("version") != VERSION:
            raise ValueError("set by another version of patn-augment: set it anew")
        return GateThresholds(**value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds no thresholds of the gate ({error}): see patn-augment calibrate-gate") from None
