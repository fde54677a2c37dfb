"""Pairs from a data set on disk: the images and joints of one split, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from augment.patn import TensorPairs
from augment.poses.keypoints import load_annotations
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
    xy = joints.xy[rows[rows >= 0]] * _scales(data.root, paths, size)[:, None]
    return TensorPairs(load_images(data.root, paths, size), xy, table["pid"].to_numpy(copy=True), seed, device)


def _scales(root: Path, paths: list[str], size: tuple[int, int]) -> np.ndarray:
    """`[N, 2]` factors (x, y) from each image's own pixels to `size`; only headers are read."""
    scales = np.empty((len(paths), 2), dtype=np.float32)
    for i, path in enumerate(paths):
        with Image.open(root / path) as image:
            scales[i] = size[1] / image.width, size[0] / image.height
    return scales
