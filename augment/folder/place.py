"""Where an augmented folder may be written; asked before any work, since a minute later is late."""

from __future__ import annotations

from pathlib import Path

from augment.folder.layout import MANIFEST
from augment.folder.manifest import folder_files, read_job
from reid_eval.runtime import InputError
from reid_eval.writing import PART


def refuse_inside(out: Path, root: Path) -> None:
    """Refuse a folder within the data set it is made of: the next reader would find both.

    Raises:
        InputError: it is.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out} lies in the data set {root} and would be taken for a part of it: name a place outside")


def check_place(out: Path, root: Path | None, resume: bool) -> None:
    """Refuse a place where no new folder can be made.

    Args:
        out: folder to write.
        root: of the data set, None where it is not known.
        resume: an augmented folder may be there already.

    Raises:
        InputError: within the data set, a file, a folder of something else, or an augmented folder and not `resume`.
    """
    if root is not None:
        refuse_inside(out, root)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder to write")
    if not out.is_dir() or resume:
        return
    if read_job(out) is not None:
        state = "finished" if (out / MANIFEST).is_file() else "unfinished"
        raise InputError(f"{out} holds an augmented folder already, {state}: resume it, or name another", "resume")
    if foreign := next((name for name in folder_files(out) if PART not in name), None):
        raise InputError(f"{out} is not empty and no augmented folder ({foreign}): name another folder")
