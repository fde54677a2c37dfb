"""Which images of a folder get joints, and where the files about them may lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from reid_eval.datasets import IMAGE_SUFFIXES, read_dataset
from reid_eval.datasets.names import is_image
from reid_eval.datasets.reader import MARKET_FOLDERS, detect_layout
from reid_eval.datasets.tables import check_paths
from reid_eval.runtime import InputError, check_target

SPLITS = ("train", "query", "gallery")


class FolderImages(NamedTuple):
    """The images of a folder, and what it was taken for."""

    root: Path
    paths: list[str]
    """POSIX, relative to `root`, sorted."""
    layout: str | None
    """Of the data set, one of `reid_eval.datasets.LAYOUTS`; None: no data set, all images at any depth."""

    @property
    def message(self) -> str:
        """One line for the user."""
        if self.layout is None:
            return f"{self.root} is no data set: all {len(self.paths)} images in it, at any depth."
        return f"{self.root} is a data set ({self.layout}): {len(self.paths)} images of {', '.join(SPLITS)}."


def folder_images(root: Path) -> FolderImages:
    """The images of a data set, or all images below a folder that is plainly none.

    A folder is a data set if its folders or lists are those of a known layout (`reid_eval.datasets`); whatever is
    wrong with it then is an error. Images directly in the folder, or deeper than in its folders, are no layout.

    Raises:
        InputError: a data set with a fault, in the words of its reader; a folder that holds a data set in one of its
            folders; no image.
    """
    layout = _layout(root)
    if layout is not None:
        data = read_dataset(root, layout)
        listed = {path for split in SPLITS for path in data.split(split)["path"]}
        return FolderImages(root, sorted(listed), layout)
    found = (path.relative_to(root) for path in root.rglob("*") if is_image(path.name) and path.is_file())
    paths = sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
    if not paths:
        raise InputError(f"{root} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    check_paths(root, paths)
    return FolderImages(root, paths, None)


def _layout(root: Path) -> str | None:
    """What the folder looks like, None for no data set."""
    try:
        return detect_layout(root)
    except InputError:
        if any(root.glob(f"*/{MARKET_FOLDERS['train']}")):
            raise  # the reader asks whether that one is meant
        return None


def row_names(paths: Sequence[str]) -> list[str]:
    """What the rows of images are called: the file name where it is the only one of that name, else the path."""
    uses = Counter(path.rpartition("/")[2] for path in paths)
    return [name if uses[name := path.rpartition("/")[2]] == 1 else path for path in paths]


def annotation_place(root: Path, estimator: str, out: Path | None = None, resume: bool = False) -> Path:
    """Where the joints of a folder's images are written: `out`, or where commands find them.

    Raises:
        InputError: the file is there already, and the run is no resumed one; another file lies there that would be
            read together with it.
    """
    if out is None:
        out = root / f"keypoints-{estimator}.csv"
        others = [path.name for path in sorted(root.glob("keypoints-*.csv")) if path != out]
        if others:
            raise InputError(
                f"{root} has {others[0]} already, and files of that name are read together: name another file",
                "out",
            )
    if out.exists() and not resume:
        raise InputError(f"{out} is there already: name another file, or remove it", "out")
    return out


def sheet_place(folder: FolderImages, out: Path, sheet: Path | None = None, *, resumed: bool = False) -> Path:
    """Where the contact sheet is written: `sheet`, or beside `out`; beside the folder if `out` lies in it.

    A picture in the folder would be taken for one of its images. Where nothing was named and a sheet is there already,
    the new one has a number. Where a finished run is `resumed`, a `sheet` that is there is its own, drawn before it was
    killed, and is drawn again.

    Raises:
        InputError: `sheet` lies where the folder's images do, or is there already; the sheet's folder cannot be
            written to.
    """
    root = folder.root.resolve()
    if sheet is None:
        sheet = out.with_suffix(".sheet.png")
        if out.resolve().is_relative_to(root):
            beside = folder.root.parent if folder.root.name not in ("", "..") else root.parent
            sheet = beside / f"{root.name}.{sheet.name}"
        sheet = _unused(sheet)
    elif sheet.exists() and not resumed:
        raise InputError(f"{sheet} is there already: name another file, or remove it", "sheet")
    elif _among_images(folder, sheet):
        raise InputError(
            f"sheet {sheet} would lie among the images of {folder.root} and be taken for one: name a place outside",
            "sheet",
        )
    check_target(sheet, "sheet")
    if sheet.parent.is_dir() and not os.access(sheet.parent, os.W_OK):
        raise InputError(f"cannot write the contact sheet into {sheet.parent}: name another place", "sheet")
    return sheet


def _unused(file: Path) -> Path:
    numbered = (file.with_name(f"{file.stem}-{number}{file.suffix}") for number in count(2))
    return file if not file.exists() else next(other for other in numbered if not other.exists())


def _among_images(folder: FolderImages, file: Path) -> bool:
    root, place = folder.root.resolve(), file.resolve().parent
    if not place.is_relative_to(root):
        return False
    if folder.layout in (None, "folders"):  # any image counts there, or makes its folder an identity
        return True
    return place.relative_to(root) in {PurePosixPath(path).parent for path in folder.paths}
