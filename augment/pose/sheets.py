"""PNG sheets of poses: images with their skeletons, and poses without images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from augment.pictures import grid, save_sheet
from augment.pose.draw import draw_skeleton, skeleton_image
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of
from reid_eval.datasets.images import read_image


def skeleton_sheet(
    root: Path, paths: Sequence[str], table: Keypoints, target: Path, count: int = 40, columns: int = 10
) -> None:
    """PNG of images spread over a folder, with their skeletons, the poorest ones included as they come.

    Args:
        root: the folder.
        paths: of its images, relative to `root`; those without a row in `table` are left out.
        table: their joints.
        target: the file to write.
        count: of images, at most.
        columns: of the sheet.
    """
    known = [(path, row) for path, row in zip(paths, table.rows(paths).tolist(), strict=True) if row >= 0]
    which = _spread(len(known), count)
    cells = [_fitted(read_image(root / path), table.xy[row]) for path, row in (known[i] for i in which)]
    save_sheet(grid([cells[i : i + columns] for i in range(0, len(cells), columns)], scale=1), target)


def library_sheet(
    library: Keypoints, target: Path, size: tuple[int, int] | None = None, count: int = 120, columns: int = 12
) -> None:
    """PNG of poses of a library, spread over it; `size` (H, W) is the frame of rows that do not tell theirs."""
    which = _spread(len(library), count)
    cells = [skeleton_image(library.xy[row], frame_of(library.names[row]) or size or (128, 64)) for row in which]
    save_sheet(grid([cells[i : i + columns] for i in range(0, len(cells), columns)], scale=1), target)


def comparison_sheet(
    images: Sequence[NDArray[np.uint8]],
    above: NDArray[np.floating],
    below: NDArray[np.floating],
    target: Path,
    columns: int = 16,
    rows: int = 3,
) -> None:
    """PNG of images spread over a set, each twice: with its joints of one source, and under it with those of another.

    Args:
        images: N of one size, uint8 RGB `[H, W, 3]`.
        above, below: `[N, 18, 2]` (x, y) pixels, NaN missing.
        target: the file to write.
        columns, rows: of the sheet, at most; a row of images is two rows of pictures.
    """
    which = _spread(len(images), columns * rows)
    if len(which) > columns:
        which = which[: len(which) - len(which) % columns]
    bands = [
        [draw_skeleton(images[i], joints[i], scale=2) for i in which[start : start + columns]]
        for start in range(0, len(which), columns)
        for joints in (above, below)
    ]
    save_sheet(grid(bands, scale=1, padding=0), target)


def _spread(available: int, count: int) -> list[int]:
    """At most `count` whole numbers below `available`, evenly spaced."""
    which: list[int] = np.linspace(0, available - 1, min(count, available)).round().astype(int).tolist()
    return which


def _fitted(image: NDArray[np.uint8], xy: NDArray[np.float32], height: int = 256) -> NDArray[np.uint8]:
    """An image with its skeleton, enlarged by a whole number to about `height` (or reduced to it)."""
    old = image.shape[0], image.shape[1]
    if old[0] > height:
        new = height, max(1, round(old[1] * height / old[0]))
        image = np.asarray(cv2.resize(image, (new[1], new[0]), interpolation=cv2.INTER_AREA), np.uint8)
        xy = scale_joints(xy, old, new)
    return draw_skeleton(image, xy, scale=max(1, height // image.shape[0]))
