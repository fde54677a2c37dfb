"""Pairs from a data set on disk: the images and joints of one split, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from augment.patn import TensorPairs
from augment.poses.keypoints import load_annotations
from augment.render import image_size, scale_joints
from reid_eval.datasets import load_images, read_dataset
from reid_eval.runtime import InputError


def folder_pairs(
    root: Path | str,
    *,
    split: str = "train",
    size: tuple[int, int] = (128, 64),
    keypoints: Path | str | None = None,
    layout: str = "auto",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TensorPairs:
    """Read one split; images without joints are left out, and there must be some with.

    Args:
        root: the data set.
        split: `train`, `query` or `gallery`.
        size: (H, W) that images are resized to, and their joints with them.
        keypoints: annotation file; default: the data set's own.
        layout: as for `read_dataset`.
        seed: of the pairs.
        device: where images are held.

    Raises:
        InputError: no such data set or keypoints, or no identity with two usable images.
    """
    data = read_dataset(root, layout)
    images = data.split(split)
    joints = load_annotations(root, keypoints)
    rows = joints.rows(images["path"].tolist())
    table = images[rows >= 0]
    if table.empty:
        raise InputError(f"{root}: no image of the {split} split has a keypoints row: give --keypoints FILE")
    paths = table["path"].tolist()
    own = [image_size(data.root / path) for path in paths]
    xy = np.stack([scale_joints(joints.xy[row], old, size) for row, old in zip(rows[rows >= 0], own, strict=True)])
    return TensorPairs(load_images(data.root, paths, size), xy, table["pid"].to_numpy(copy=True), seed, device)
