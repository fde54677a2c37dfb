"""Pairs from a data set on disk: the images and joints of one split, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from augment.patn import TensorPairs
from augment.poses.keypoints import load_annotations
from reid_eval.datasets import load_images, read_dataset
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.recipe import FolderSource


def folder_pairs(source: FolderSource, device: torch.device | str) -> TensorPairs:
    """Read `source.split` of `source.root`; images without joints are left out, and there must be some with.

    Raises:
        InputError: no such data set or keypoints, or no identity with two usable images.
    """
    data = read_dataset(source.root, source.layout)
    split = data.split(source.split)
    keypoints = load_annotations(source.root, source.keypoints)
    rows = keypoints.rows(split["path"].tolist())
    table = split[rows >= 0]
    if table.empty:
        raise InputError(
            f"{source.root}: no image of the {source.split} split has a keypoints row: give --keypoints FILE"
        )
    paths = table["path"].tolist()
    images = load_images(data.root, paths, source.size)
    xy = keypoints.xy[rows[rows >= 0]] * _scales(data.root, paths, source.size)[:, None]
    return TensorPairs(images, xy, table["pid"].to_numpy(copy=True), source.seed, device)


def _scales(root: object, paths: list[str], size: tuple[int, int]) -> np.ndarray:
    """`[N, 2]` factors (x, y) from each image's own pixels to `size`; only headers are read."""
    scales = np.empty((len(paths), 2), dtype=np.float32)
    for i, path in enumerate(paths):
        with Image.open(f"{root}/{path}") as image:
            scales[i] = size[1] / image.width, size[0] / image.height
    return scales
