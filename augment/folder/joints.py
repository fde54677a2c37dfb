"""Joints of everybody in an augmented folder: what its annotation files say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.folder.copies import copied_path
from augment.folder.layout import TEST_FOLDERS
from augment.plan.file import TRAIN
from augment.pose.keypoints import Keypoints, empty_keypoints
from reid_eval.datasets import ReidData


def train_annotations(
    keypoints: Keypoints, plan: pd.DataFrame, generated: Sequence[NDArray[np.float32]], layout: str
) -> Keypoints:
    """Joints of the augmented training split: kept images as they were, generated ones in their target pose.

    Args:
        keypoints: of the data set.
        plan: the plan.
        generated: `[18, 2]` of each generated image, in the plan's order, in its own pixels.
        layout: of the data set; in `folders` the rows carry the path, since names may repeat.
    """
    kept = plan[plan["action"] == "keep"]
    made = plan.loc[plan["action"] == "generate", "output"].tolist()
    rows = keypoints.rows(kept["image"].tolist())
    pairs = [(path, keypoints.xy[row]) for path, row in zip(kept["output"].tolist(), rows, strict=True) if row >= 0]
    pairs += zip(made, generated, strict=True)
    return _table({_row_name(path, layout): xy for path, xy in pairs})


def test_annotations(keypoints: Keypoints, data: ReidData) -> Keypoints:
    """Joints of query and gallery. A name that is in both, with different joints, is written with its folder."""
    by_name: dict[str, list[tuple[str, NDArray[np.float32]]]] = {}
    for split in TEST_FOLDERS:
        paths = data.split(split)["path"].tolist()
        for path, row in zip(paths, keypoints.rows(paths).tolist(), strict=True):
            if row >= 0:
                target = copied_path(path, split, data.layout)
                by_name.setdefault(_row_name(target, data.layout), []).append((target, keypoints.xy[row]))
    table: dict[str, NDArray[np.float32]] = {}
    for name, entries in by_name.items():
        same = all(np.array_equal(entries[0][1], xy, equal_nan=True) for _, xy in entries)
        table.update({name: entries[0][1]} if same else dict(entries))
    return _table(table)


def told_apart(train: Keypoints, test: Keypoints) -> Keypoints:
    """`train`, its rows written with their folder where `test` has one of the same name (as in MSMT17, where both
    splits number their people from 0)."""
    shared = set(train.names) & set(test.names)
    names = (f"{TRAIN}/{name}" if name in shared else name for name in train.names)
    return Keypoints(tuple(names), train.xy)


def _row_name(path: str, layout: str) -> str:
    return path if layout == "folders" else path.rpartition("/")[2]


def _table(poses: dict[str, NDArray[np.float32]]) -> Keypoints:
    names = sorted(poses)
    return Keypoints(tuple(names), np.stack([poses[name] for name in names])) if names else empty_keypoints()
