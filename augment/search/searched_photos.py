"""Photos that are searched with or for: files with joints, read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.pose.keypoints import Keypoints
from augment.pose.skeleton import usable
from reid_eval.datasets import ReidData
from reid_eval.datasets.images import held_at_once, read_image
from reid_eval.runtime import InputError

CALIBRATION_IMAGES = 128
"""Training images that a calibration is measured on: its means are then known to a tenth of a deviation."""


@dataclass(frozen=True, eq=False)
class Photos:
    """Images of a data set.

    Attributes:
        root: folder of the data set.
        names: paths in it, `[N]`.
        joints: float32 `[N, 18, 2]`, (x, y) pixels of each image, NaN missing.
    """

    root: Path
    names: tuple[str, ...]
    joints: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> NDArray[np.bool_]:
        """bool `[N]`: both shoulders and both hips are there, so that views can be generated."""
        return usable(self.joints)

    def part(self, start: int, stop: int) -> Photos:
        """Those from `start` to before `stop`."""
        return Photos(self.root, self.names[start:stop], self.joints[start:stop])

    def parts(self, count: int) -> Iterator[Photos]:
        """All of them, at most `count` at a time, fewer where they are large: see `held_at_once`."""
        for part in held_at_once([self.root / name for name in self.names], count):
            yield self.part(part.start, part.stop)

    def read(self) -> list[NDArray[np.uint8]]:
        """The images, uint8 RGB `[H, W, 3]`, each of its own size.

        Raises:
            InputError: one cannot be read.
        """
        return [read_image(self.root / name) for name in self.names]


def photos_of(data: ReidData, keypoints: Keypoints, names: Sequence[str]) -> Photos:
    """Images of a data set with their joints; those without a row in `keypoints` have none."""
    rows = keypoints.rows(list(names))
    joints = np.full((len(names), 18, 2), np.nan, np.float32)
    joints[rows >= 0] = keypoints.xy[rows[rows >= 0]]
    return Photos(data.root, tuple(names), joints)


def calibration_photos(data: ReidData, keypoints: Keypoints, count: int = CALIBRATION_IMAGES) -> Photos:
    """Up to `count` training images with usable joints, evenly spaced in the order of their table."""
    photos = photos_of(data, keypoints, data.train.loc[data.train["source"] != "generated", "path"].tolist())
    rows = np.flatnonzero(photos.known)
    rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)] if len(rows) else rows
    return Photos(photos.root, tuple(photos.names[row] for row in rows), photos.joints[rows])


def as_tensors(images: Sequence[NDArray[np.uint8]] | Tensor) -> list[Tensor]:
    """uint8 `[3, H, W]` each.

    Raises:
        InputError: images that are not uint8 RGB.
    """
    found = list(images) if isinstance(images, Tensor) else [torch.as_tensor(i).permute(2, 0, 1) for i in images]
    for image in found:
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            raise InputError(f"images must be uint8 RGB, got {image.dtype} {list(image.shape)}")
    return found


def same_shape(images: Sequence[Tensor], places: Sequence[int], size: int) -> list[list[int]]:
    """`places` in batches of at most `size` images of one shape, in a fixed order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place in places:
        groups.setdefault(tuple(images[place].shape), []).append(place)
    return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]
