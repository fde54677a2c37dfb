"""A word for the pose of an image, to break scores down by: which way the person faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augment.pose.geometry import torso
from augment.pose.keypoints import find_annotations, load_annotations
from augment.pose.skeleton import SHOULDERS, usable

if TYPE_CHECKING:
    from augment.pose.skeleton import Array
    from reid_eval.datasets import ReidData

SIDE = 0.25
"""Shoulders less than this apart, in torso lengths, are seen from the side; frontal ones are about 0.7 apart."""


def pose_bins(xy: Array) -> NDArray[np.str_]:
    """`front`, `back`, `side` or `unknown` (a shoulder or a hip is missing): [N, 18, 2] to [N].

    From the front a person's right shoulder lies at the smaller x, from behind at the larger.
    """
    right, left = (xy[:, joint, 0] for joint in SHOULDERS)
    known = usable(xy)
    width = np.where(known, left - right, 0) / np.maximum(np.where(known, torso(xy), 1), 1)
    facing = np.where(width > 0, "front", "back")
    return np.where(known, np.where(np.abs(width) < SIDE, "side", facing), "unknown")


def query_bins(data: ReidData) -> dict[str, list[str]]:
    """Pose bins of a data set's queries, `{"pose": [Q labels]}`; empty where it has no keypoints of them."""
    if not find_annotations(data.root):
        return {}
    keypoints = load_annotations(data.root)
    rows = keypoints.rows(data.query["path"].tolist())
    if (rows < 0).all():
        return {}
    bins = np.where(rows < 0, "unknown", pose_bins(keypoints.xy[np.maximum(rows, 0)]))
    return {"pose": bins.tolist()}
