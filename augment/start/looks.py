"""What a folder holds: layout, people, cameras, images, joints and what is suspicious about them. Plain values."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.pose.geometry import torso, upright
from augment.pose.keypoints import Keypoints, find_annotations, load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.datasets.images import image_size, read_image
from reid_eval.datasets.names import is_image
from reid_eval.datasets.reader import MARKET_FOLDERS
from reid_eval.runtime import InputError

SPLITS = ("train", "query", "gallery")
SIZED, DECODED = 2000, 48
"""Images whose size is read, and whose pixels are, at most; evenly spaced over the splits."""
MOST_LISTED = 200_000
"""Files of an unknown folder that are counted."""
SMALL_TRUNK = 0.1
"""Shoulders to hips, as a share of the image's height: a person who fills the image has about 0.3."""
_NAMED, _FOLDERS = 5, 8

LAYOUTS_DRAWN = (
    "Market-1501 and its kin:   bounding_box_train/0002_c1s1_000451_03.jpg, query/..., bounding_box_test/...",
    "                           (the number before _ is the person, the one after c is the camera)",
    "one folder a person:       train/PERSON/*.jpg, query/PERSON/*.jpg, gallery/PERSON/*.jpg, or PERSON/*.jpg alone",
    "MSMT17's release:          list_train.txt, list_query.txt, list_gallery.txt beside train/ and test/",
)
"""What the layouts look like, for whoever has another."""


def look_at(root: Path, layout: str = "auto", keypoints: Path | None = None) -> dict[str, Any]:
    """What a folder holds; a folder that is no data set is described, not refused.

    Args:
        root: the folder.
        layout: as for `read_dataset`.
        keypoints: annotation file; None: the data set's own.

    Returns:
        `layout` (None: no known one), and then `problem`, `found` and `inside` (a data set in one of its folders), or
        `splits`, `images`, `keypoints`.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder: give the folder of your images")
    try:
        data = read_dataset(root, layout)
    except InputError as error:
        return {"layout": None, "problem": str(error), **_survey(root)}
    return {
        "layout": data.layout,
        "has_cameras": data.has_cameras,
        "splits": {split: _split(data.split(split)) for split in SPLITS},
        "images": _images(data),
        "keypoints": _joints(data, keypoints),
    }


def _split(table: pd.DataFrame) -> dict[str, int]:
    people = table[table["pid"] > 0]
    counts = people["pid"].value_counts()
    return {
        "images": len(table),
        "generated": int((table["source"] == "generated").sum()),
        "people": len(counts),
        "cameras": int(table["camid"].nunique()),
        "people_with_one_image": int((counts == 1).sum()),
        "without_person": int((table["pid"] <= 0).sum()),
    }


def _survey(root: Path) -> dict[str, Any]:
    """Pictures by folder, in a folder that nobody could read as a data set."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    files = 0
    for at, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += len(names)
        place = Path(at).relative_to(root).as_posix()
        for name in names:
            if is_image(name) and not name.startswith("."):
                counts[place] += 1
                examples[place] = min(examples.get(place, name), name)
        if files > MOST_LISTED:
            break
    found = [{"folder": place, "images": count, "example": examples[place]} for place, count in counts.most_common()]
    inside = sorted(path.parent for path in root.glob(f"*/{MARKET_FOLDERS['train']}"))
    return {
        "found": found[:_FOLDERS],
        "folders_with_images": len(found),
        "images_found": sum(counts.values()),
        "inside": str(inside[0]) if inside else None,
    }


def _images(data: ReidData) -> dict[str, Any]:
    """Sizes and faults of some images."""
    paths = [path for split in SPLITS for path in data.split(split)["path"]]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda path: _tried_size(data.root / path), spread(paths, SIZED)))
        decoded = spread(paths, DECODED)
        faults = [name for name, ok in zip(decoded, pool.map(lambda p: _reads(data.root / p), decoded), strict=True)
                  if not ok]  # fmt: skip
    common = Counter(size for size in sizes if size).most_common()
    bytes_of = [(data.root / path).stat().st_size for path in decoded if (data.root / path).is_file()]
    return {
        "looked_at": len(sizes),
        "sizes": [{"height": size[0], "width": size[1], "images": count} for size, count in common[:_NAMED]],
        "other_sizes": max(0, len(common) - _NAMED),
        "wider_than_high": sum(bool(size and size[1] > size[0]) for size in sizes),
        "decoded": len(decoded),
        "unreadable": sorted({*faults, *(p for p, s in zip(spread(paths, SIZED), sizes, strict=True) if s is None)}),
        "mean_bytes": round(float(np.mean(bytes_of))) if bytes_of else 0,
    }


def _joints(data: ReidData, override: Path | None) -> dict[str, Any]:
    """Annotation files, how they fit the images, and what is suspicious in those of the training split."""
    files = find_annotations(data.root, override)
    if not files:
        return {"files": []}
    told: dict[str, Any] = {"files": [str(path) for path in files]}
    try:
        table = load_annotations(data.root, override)
        every = [path for split in SPLITS for path in data.split(split)["path"]]
        rows = table.rows(every)
        train = data.train["path"].tolist()
        own = table.rows(train)
    except InputError as error:
        return {**told, "problem": str(error)}
    lacking = [path for path, row in zip(every, rows.tolist(), strict=True) if row < 0]
    usable = (own >= 0) & table.usable[own]
    return {
        **told,
        "rows": len(table),
        "images_without_row": len(lacking),
        "rows_without_image": len(table) - len(set(rows.tolist()) - {-1}),
        "train_usable": int(usable.sum()),
        "train_unusable": int((~usable).sum()),
        "suspicious": suspicious(data.root, train, table, own),
        "people_with_two_usable": _pairable(data.train, usable),
    }


def _pairable(table: pd.DataFrame, usable: NDArray[np.bool_]) -> int:
    """People whom a training can learn from: two usable images each."""
    counts = table.loc[usable & (table["pid"] > 0).to_numpy(), "pid"].value_counts()
    return int((counts > 1).sum())


def suspicious(root: Path, paths: Sequence[str], table: Keypoints, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Joints of images that are most likely a detector's mistake, or another image's.

    Args:
        root: the data set.
        paths: of images; `SIZED` of them are looked at.
        table: joints.
        rows: of each path in it, -1 without.

    Returns:
        `looked_at`, and to each fault the names of the images that have it: `outside` their image, `not_upright`,
        `small` (trunk below `SMALL_TRUNK` of the image's height), `same_as_another` (a pose to the last digit).
    """
    chosen = [(path, row) for path, row in spread(list(zip(paths, rows.tolist(), strict=True)), SIZED) if row >= 0]
    sizes = [_tried_size(root / path) for path, _ in chosen]
    found: dict[str, list[str]] = {"outside": [], "not_upright": [], "small": [], "same_as_another": []}
    met: Counter[bytes] = Counter(table.xy[row].tobytes() for _, row in chosen if table.usable[row])
    for (path, row), size in zip(chosen, sizes, strict=True):
        xy = table.xy[row]
        if size and ((xy < -0.5) | (xy > np.array([size[1], size[0]]) - 0.5)).any():
            found["outside"].append(path)
        if not table.usable[row]:
            continue
        if not upright(xy):
            found["not_upright"].append(path)
        if size and float(torso(xy)) < SMALL_TRUNK * size[0]:
            found["small"].append(path)
        if met[xy.tobytes()] > 1:
            found["same_as_another"].append(path)
    return {"looked_at": len(chosen), **found}


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly spaced."""
    which = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int).tolist() if len(items) else []
    return [items[i] for i in which]


def _tried_size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except (InputError, OSError, ValueError):
        return None


def _reads(path: Path) -> bool:
    try:
        read_image(path)
    except (InputError, OSError, ValueError):
        return False
    return True
