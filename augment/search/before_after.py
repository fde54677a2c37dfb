"""A picture of what generated views change: queries, their views, and the first of the gallery before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from augment.pictures import grid
from augment.pose.keypoints import Keypoints
from augment.search.embed import Embedded
from augment.search.fusion import Floats
from augment.search.normalized import PoseNormalized
from augment.search.searched_photos import as_tensors, photos_of
from reid_eval.datasets import ReidData
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError

FIRST = 5
CELL, FRAME = (128, 64), 3  # (H, W) of a picture and its frame, pixels
RIGHT, WRONG, NEITHER = (0, 150, 60), (215, 40, 40), (255, 255, 255)


def before_after(
    data: ReidData, keypoints: Keypoints, found: Embedded, search: PoseNormalized, queries: int = 6
) -> Image.Image:
    """Two rows a query: the first five by the photo alone, and with the views; right ones framed green, others red.

    What the query's own camera took of the same person is left out, as Market-1501's protocol does.

    Args:
        data: the data set.
        keypoints: of its images.
        found: from `augment.search.embed.embed` with query and gallery, and `alone` kept.
        search: what made it.
        queries: how many, evenly spaced among those that have views and a right image in the gallery.

    Raises:
        InputError: no such query, or `found` without the features of photos alone.
    """
    if found.alone is None:
        raise InputError("these features were read from a file, which does not keep those of photos alone")
    rows, gallery = (np.flatnonzero(found.splits == split) for split in ("query", "gallery"))
    other = _may_match(found, rows, gallery)
    good = rows[(other & (found.pids[gallery] == found.pids[rows, None])).any(1) & found.joints_used[rows]]
    if not len(good):
        raise InputError("no query has both generated views and a right image by another camera in the gallery")
    shown = good[np.linspace(0, len(good) - 1, min(queries, len(good))).round().astype(int)]
    lines = []
    for row in shown.tolist():
        photo = photos_of(data, keypoints, [str(found.names[row])])
        views = search.views(torch.stack(as_tensors(photo.read())), photo.joints)[0].permute(0, 2, 3, 1).cpu().numpy()
        beside: list[NDArray[np.uint8] | None] = [_framed(view, NEITHER) for view in views]
        for number, features in enumerate((found.alone, found.features)):
            first = _first(found, features, row, gallery)
            pictures = [_framed(read_image(data.root / found.names[one]), _colour(found, row, one)) for one in first]
            own = _framed(photo.read()[0], NEITHER) if not number else None
            lines.append([own, *(beside if number else [None] * len(beside)), *pictures])
    return grid(
        [[_blank() if cell is None else cell for cell in line] for line in lines],
        column_captions=["query", *(f"view {n + 1}" for n in range(len(beside))), *(str(n + 1) for n in range(FIRST))],
        row_captions=["photo alone", "with views"] * len(shown),
        scale=1,
        font_size=11,
        padding=3,
    )


def _may_match(found: Embedded, rows: NDArray[np.int64], gallery: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What is ranked for each query, bool `[Q, G]`: no junk, and not its person by its own camera."""
    same = (found.pids[gallery] == found.pids[rows, None]) & (found.camids[gallery] == found.camids[rows, None])
    return ~same & (found.pids[gallery] != -1)


def _first(found: Embedded, features: Floats, row: int, gallery: NDArray[np.int64]) -> Sequence[int]:
    """The nearest gallery images of a query."""
    ranked = gallery[_may_match(found, np.array([row]), gallery)[0]]
    order: list[int] = ranked[np.argsort(-(features[ranked] @ features[row]), kind="stable")].tolist()
    return order[:FIRST]


def _colour(found: Embedded, row: int, other: int) -> tuple[int, int, int]:
    return RIGHT if found.pids[row] == found.pids[other] else WRONG


def _framed(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    inside = ImageOps.pad(Image.fromarray(picture), CELL[::-1], Image.Resampling.BICUBIC, color=NEITHER)
    return np.asarray(ImageOps.expand(inside, FRAME, colour), np.uint8)


def _blank() -> NDArray[np.uint8]:
    return np.full((CELL[0] + 2 * FRAME, CELL[1] + 2 * FRAME, 3), 255, np.uint8)
