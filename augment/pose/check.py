"""Do joints and images of a data set belong together? Asked once, before anything is generated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from augment.pose.geometry import plausible
from augment.pose.keypoints import Keypoints, Match
from reid_eval.datasets import ReidData
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError

_SPLITS = ("train", "query", "gallery")


def check_keypoints(data: ReidData, keypoints: Keypoints) -> Match:
    """Match the rows to the images of all splits and look whether joints lie inside their images.

    Returns:
        Images without a row and rows without an image, for the user to be told; `rows` are those of `data.train`;
        `judged` are the joints, with whether each pose is plausible in its image.

    Raises:
        InputError: one row, known by its file name alone, fits a training and a test image; a joint outside its image;
            no training image has a usable row, or a plausible one.
    """
    rows = {split: keypoints.rows(data.split(split)["path"].tolist()) for split in _SPLITS}
    both = set(rows["train"].tolist()) & {*rows["query"].tolist(), *rows["gallery"].tolist()} - {-1}
    if both:
        name = keypoints.names[min(both)]
        raise InputError(
            f"keypoints row {name!r} fits a training and a test image of that name ({len(both)} such rows): "
            "write these rows with their folders"
        )
    paths = [path for split in _SPLITS for path in data.split(split)["path"]]
    every = np.concatenate([rows[split] for split in _SPLITS])
    judged = _judged(keypoints, every, _check_inside(data, keypoints, paths, every))
    used = set(every.tolist())
    found = Match(
        rows["train"],
        tuple(path for path, row in zip(paths, every, strict=True) if row < 0),
        tuple(name for row, name in enumerate(keypoints.names) if row not in used),
        judged,
    )
    if not (rows["train"] >= 0).any():
        raise InputError(
            f"none of the {len(rows['train'])} training images, such as {data.train['path'].iloc[0]}, has a row in the "
            f"keypoints, whose {len(keypoints.names)} rows name {', '.join(keypoints.names[:1]) or 'nothing'} and so "
            "on: give the keypoints of the training images",
            "keypoints",
        )
    if not keypoints.usable[rows["train"][rows["train"] >= 0]].any():
        raise InputError(
            "no training image has usable keypoints (both shoulders and both hips): give the right keypoints "
            f"({found.message or 'every row lacks some of them'})",
            "keypoints",
        )
    if not judged.usable[rows["train"][rows["train"] >= 0]].any():
        raise InputError(
            "no training image has a plausible pose: all are too small in their images, not upright, or have limbs "
            "that are too long for their torsos; look at them, and give the right keypoints",
            "keypoints",
        )
    return found


def _judged(keypoints: Keypoints, rows: np.ndarray, heights: np.ndarray) -> Keypoints:
    """The joints with whether they are plausible; `heights` are those of the images that have rows, in their order."""
    known = np.full(len(keypoints), np.nan)
    known[rows[rows >= 0]] = heights
    return Keypoints(keypoints.names, keypoints.xy, plausible(keypoints.xy, known))


def _check_inside(data: ReidData, keypoints: Keypoints, paths: list[str], rows: np.ndarray) -> np.ndarray:
    """Compare joints with the sides of their images; returns the heights of images with a row."""
    known = [(path, row) for path, row in zip(paths, rows, strict=True) if row >= 0]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda item: image_size(data.root / item[0]), known))
    limits = np.array([(width, height) for height, width in sizes], dtype=np.float32).reshape(-1, 1, 2)
    xy = keypoints.xy[[row for _, row in known]]
    outside = ((xy < -0.5) | (xy > limits - 0.5)).any((1, 2))
    if outside.any():
        names = [known[i][0] for i in np.flatnonzero(outside)[:5]]
        first = int(np.flatnonzero(outside)[0])
        width, height = limits[first, 0].astype(int)
        raise InputError(
            f"{int(outside.sum())} images have joints outside of them, such as {', '.join(names)} ({width}x{height} "
            "pixels): the keypoints were made for images of another size; make them for these"
        )
    return limits[:, 0, 1]
