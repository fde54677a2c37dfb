"""`read_dataset`: a folder of person images to tables, whatever its layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from reid_eval.datasets.folders import has_identity_folders, read_folders
from reid_eval.datasets.msmt17 import has_lists, read_lists, renumber_test
from reid_eval.datasets.names import GRAMMARS, guess_grammar, is_image
from reid_eval.datasets.tables import ReidData, check_data, make_table
from reid_eval.runtime import InputError, first_five

MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
LAYOUTS = ("market1501", "dukemtmc", "msmt17", "cuhk03-np", "folders")


def read_dataset(root: Path | str, layout: str = "auto") -> ReidData:
    """Read a re-ID data set: names only, no image is opened (`check_images` does that).

    Layouts:
        market1501: `bounding_box_train`, `query`, `bounding_box_test` of `0002_c1s1_000451_03.jpg`
            (and our generated `0002_c1s1_000451_03_gen0007.jpg`).
        dukemtmc: the same folders of `0005_c2_f0046985.jpg`.
        cuhk03-np: the same folders of `0001_c1_1.png`.
        msmt17: the same folders of `0000_c1_0002.jpg` or `0000_013_01_0303morning_0015_0.jpg`, or the release with
            `list_train.txt`, `list_query.txt` and `list_gallery.txt`. Its identities count from 0, and train and test
            are numbered apart, so pid is the number in the name + 1, and test pids follow the training ones.
        folders: one folder an identity, in `train`, `query` and `gallery` (or `test`), or all at the root: then
            everything is training data. There are no camera numbers: camid is 1 everywhere, `has_cameras` is False
            and the evaluation cannot leave out same-camera pictures of the query, so near-duplicates count as hits
            and its scores are not comparable with the other layouts'. See `reid_eval.datasets.folders`.

    Files that are hidden or not images (`Thumbs.db`) are ignored; links to files are followed. `auto` looks at the
    folders and names.

    Raises:
        InputError: unknown layout; missing root or split folder; empty split; names that do not follow the grammar;
            identities shared by train and test.
    """
    root = Path(root).expanduser()
    if layout not in ("auto", *LAYOUTS):
        raise InputError(f"layout {layout!r}: choose from auto, {', '.join(LAYOUTS)}")
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise InputError(f"data set folder {root} {what}: give the folder that holds bounding_box_train")
    layout = detect_layout(root) if layout == "auto" else layout
    return check_data(_reader(root, layout)(root))


def _reader(root: Path, layout: str) -> Callable[[Path], ReidData]:
    if layout == "folders":
        return read_folders
    if layout == "msmt17" and has_lists(root):
        return read_lists
    return lambda root: _read_market_like(root, layout)


def detect_layout(root: Path) -> str:
    """The layout of an existing folder, from its sub-folders and the names in `bounding_box_train`.

    Raises:
        InputError: it looks like none of them.
    """
    if has_lists(root):
        return "msmt17"
    if any((root / MARKET_FOLDERS[split]).is_dir() for split in ("train", "gallery")):
        names = scan(root, MARKET_FOLDERS["train"]) or scan(root, MARKET_FOLDERS["gallery"])
        if not names and has_identity_folders(root / MARKET_FOLDERS["train"]):
            return "folders"
        return guess_grammar(names) or "market1501"
    if any(has_identity_folders(root / folder) for folder in ("", "train", "query", "gallery", "test")):
        return "folders"
    raise InputError(f"{root} holds no data set: {_missing_hint(root)}")


def _missing_hint(root: Path) -> str:
    inside = sorted(path.parent for path in root.glob("*/" + MARKET_FOLDERS["train"]))
    if inside:
        return f"did you mean {inside[0]}?"
    return (
        f"expected the folders {', '.join(MARKET_FOLDERS.values())}, or one folder of images an identity "
        "(under train, query and gallery, or directly)"
    )


def scan(root: Path, folder: str) -> list[str]:
    """Sorted paths, relative to `root` and POSIX, of the images directly in `root/folder`; empty where it is absent."""
    if not (root / folder).is_dir():
        return []
    with os.scandir(root / folder) as entries:
        return sorted(f"{folder}/{entry.name}" for entry in entries if is_image(entry.name) and not entry.is_dir())


def _read_market_like(root: Path, layout: str) -> ReidData:
    absent = [folder for folder in MARKET_FOLDERS.values() if not (root / folder).is_dir()]
    if absent:
        raise InputError(
            f"{root} has no folder {', '.join(absent)}: {layout} needs {', '.join(MARKET_FOLDERS.values())}"
        )
    rows: dict[str, list[tuple[object, ...]]] = {split: [] for split in MARKET_FOLDERS}
    unread: list[str] = []
    for split, folder in MARKET_FOLDERS.items():
        paths = scan(root, folder)
        if not paths:
            raise InputError(f"{root / folder} holds no images: {split} is empty")
        for path in paths:
            parsed = GRAMMARS[layout].parse(path)
            if parsed is None:
                unread.append(path)
            else:
                rows[split].append((path, *parsed))
    if unread:
        raise InputError(
            f"{root}: {len(unread)} file names do not follow {layout}'s grammar ({GRAMMARS[layout].example}): "
            f"{first_five(unread)}; rename or remove them, or give the right layout ({', '.join(LAYOUTS)})"
        )
    train, query, gallery = (make_table(rows[split], root) for split in MARKET_FOLDERS)
    if layout == "msmt17":
        query, gallery = renumber_test(train, query, gallery)
    return ReidData(root, layout, train, query, gallery)
