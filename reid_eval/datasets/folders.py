"""One folder an identity: the layout of people who made their own data set.

There are no camera numbers, so camid is 1 everywhere and stands for "unknown". Market's protocol drops gallery images
that share pid and camera with the query; taken literally it would drop every correct answer here. `has_cameras` of the
data is therefore False, the evaluation keeps all of them, and near-duplicate frames of the query count as hits: the
scores are higher than, and not comparable with, those of data sets with cameras.
"""

from __future__ import annotations

import os
from pathlib import Path

from reid_eval.datasets.names import is_generated, is_image
from reid_eval.datasets.tables import ReidData, make_table
from reid_eval.runtime import InputError, first_five

SPLIT_FOLDERS = {
    "train": ("train", "bounding_box_train"),
    "query": ("query", "test/query"),
    "gallery": ("gallery", "test/gallery", "test", "bounding_box_test"),
}
RESERVED = {"train", "query", "gallery", "test", "bounding_box_train", "bounding_box_test"}
Images = dict[str, list[str]]


def read_folders(root: Path) -> ReidData:
    """Read `train/ID/*.jpg`, `query/ID/*.jpg`, `gallery/ID/*.jpg`, or `ID/*.jpg` at the root.

    - `test/query/ID` and `test/gallery/ID` do as well, and `test/ID` stands for the gallery beside `query/ID`.
    - `test/ID` without any query: the first image (by name) of each identity that has several becomes its query.
    - identities at the root, or `train/ID` alone: all are training data, and query and gallery are empty.

    Names need not be numbers: pids are the ranks of all sorted names, from 1; `ReidData.identities` maps them back.
    `seq` is 0, and `frame` the rank of the image within its identity and split, from 0.

    Raises:
        InputError: a split is missing or empty, or images lie outside any identity's folder.
    """
    found = {split: _find(root, names) for split, names in SPLIT_FOLDERS.items()}
    if not any(found.values()):
        return _tables(root, {"train": _images(root, "")})
    if found["train"] is None:
        raise InputError(
            f"{root} has no folder train: the layout folders needs train, and query with gallery to evaluate"
        )
    splits = {split: _images(root, folder) for split, folder in found.items() if folder is not None}
    if "gallery" in splits and "query" not in splits:
        if not str(found["gallery"]).startswith("test"):
            raise InputError(f"{root} has a folder {found['gallery']} but no folder query: evaluation needs both")
        splits["query"], splits["gallery"] = _first_as_query(root, splits["gallery"])
    if "query" in splits and "gallery" not in splits:
        raise InputError(f"{root} has a folder query but no folder gallery: evaluation needs both")
    return _tables(root, splits)


def has_identity_folders(root: Path) -> bool:
    """Whether a folder directly in `root` holds an image."""
    return root.is_dir() and any(_image_names(folder) for folder in _sub_folders(root))


def _find(root: Path, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if (root / name).is_dir()), None)


def _sub_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_image(entry.name) and not entry.is_dir())


def _images(root: Path, folder: str) -> Images:
    """Identity name to the sorted relative paths of its images; identities without an image are left out."""
    stray = _image_names(root / folder)
    if stray:
        raise InputError(
            f"{root / folder}: {len(stray)} images lie outside any identity's folder: {first_five(stray)}; "
            "put each into a folder named after its person"
        )
    images: Images = {}
    for path in _sub_folders(root / folder):
        names = _image_names(path) if path.name not in RESERVED else []
        if names:
            images[path.name] = [f"{path.relative_to(root).as_posix()}/{name}" for name in names]
    if not images:
        raise InputError(
            f"{root / folder} holds no images: expected folders named after identities, with images in them"
        )
    return images


def _first_as_query(root: Path, test: Images) -> tuple[Images, Images]:
    query = {name: paths[:1] for name, paths in test.items() if len(paths) > 1}
    if not query:
        raise InputError(f"{root / 'test'}: no identity has two images, so none can be both query and gallery")
    return query, {name: paths[1:] if name in query else paths for name, paths in test.items()}


def _tables(root: Path, splits: dict[str, Images]) -> ReidData:
    names = sorted({name for images in splits.values() for name in images})
    pids = {name: rank for rank, name in enumerate(names, start=1)}

    def rows(images: Images) -> list[tuple[object, ...]]:
        return [
            (path, pids[name], 1, 0, frame, "generated" if is_generated(path) else "real")
            for name, paths in images.items()
            for frame, path in enumerate(paths)
        ]

    train, query, gallery = (make_table(rows(splits.get(split, {})), root) for split in SPLIT_FOLDERS)
    return ReidData(root, "folders", train, query, gallery, {pid: name for name, pid in pids.items()})
