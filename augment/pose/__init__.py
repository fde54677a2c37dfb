"""Poses of people: the skeleton of 18 joints, the annotation files that hold them, what is computed and drawn of them.

In: annotation files, or joints as float `[N, 18, 2]`, (x, y) pixels, NaN missing. Out: tables of joints matched to
images, Gaussian maps, distances, a library of poses, drawings. Nothing of augment lies below.
"""

from __future__ import annotations

from augment.pose.geometry import mirror, normalise, pose_distance
from augment.pose.keypoints import (
    Keypoints,
    Match,
    empty_keypoints,
    find_annotations,
    load_annotations,
    match,
    merge,
    read_keypoints,
    write_keypoints,
)
from augment.pose.skeleton import JOINTS, LIMBS, MIRROR, seen, usable

__all__ = [
    "JOINTS",
    "LIMBS",
    "MIRROR",
    "Keypoints",
    "Match",
    "empty_keypoints",
    "find_annotations",
    "load_annotations",
    "match",
    "merge",
    "mirror",
    "normalise",
    "pose_distance",
    "read_keypoints",
    "seen",
    "usable",
    "write_keypoints",
]
