"""Poses: annotation files, the skeleton of 18 joints, drawings of it. Coordinates are (x, y) pixels, NaN is missing."""

from __future__ import annotations

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
from augment.pose.skeleton import JOINTS, LIMBS, MIRROR, mirror, normalise, pose_distance, seen, usable

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
