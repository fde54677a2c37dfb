"""Images that get into an augmented folder as they are: kept ones, and the test splits; and what is swept out of it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from augment.folder.layout import PART, RECORDS, TEST_FOLDERS, UNFINISHED
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError, atomic_path, progress

LINKS = ("copy", "hard", "symlink")


def list_copies(data: ReidData, plan: pd.DataFrame) -> list[tuple[str, str]]:
    """(path in the data set, path in the augmented folder) of every image that is not generated.

    Raises:
        InputError: two images would get one name.
    """
    kept = plan[plan["action"] == "keep"]
    pairs = list(zip(kept["image"].tolist(), kept["output"].tolist(), strict=True))
    for split in TEST_FOLDERS:
        pairs += [(path, copied_path(path, split, data.layout)) for path in data.split(split)["path"].tolist()]
    twice = [target for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if twice:
        raise InputError(f"{len(twice)} images would get the same name, such as {twice[0]}: rename them")
    return pairs


def place(root: Path, out: Path, pairs: Sequence[tuple[str, str]], link: str) -> None:
    """Copy or link images from `root` into `out`; what is there already stays.

    Args:
        root: of the data set.
        out: augmented folder.
        pairs: from `list_copies`.
        link: `copy`, `hard`, or `symlink` (relative, so that both folders may move together).

    Raises:
        InputError: an image cannot be read, or a link cannot be made.
    """
    put: Callable[[Path, Path], None] = {"copy": _copy, "hard": _hard_link, "symlink": _symlink}[link]

    def put_pair(pair: tuple[str, str]) -> None:
        source, target = root / pair[0], out / pair[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            put(source, target)
        except FileExistsError:
            pass  # there already, or another shard was faster
        except OSError as error:
            if is_there(source, target):
                return  # another shard put it there, finished the folder and swept away what this one was writing
            hint = "" if link == "copy" else "; copy them instead"
            argument = None if link == "copy" else "link"
            raise InputError(f"cannot {link} {source} to {target}: {error.strerror}{hint}", argument) from None

    with ThreadPoolExecutor(4) as pool, progress("Copying" if link == "copy" else "Linking", len(pairs)) as bar:
        for _ in pool.map(put_pair, pairs):
            bar.advance()


def is_there(source: Path, target: Path) -> bool:
    """Whether an image that is not generated is in place, in full: as long as the original."""
    try:
        return target.stat().st_size == source.stat().st_size
    except OSError:
        return False


def sweep(out: Path) -> None:
    """Remove what a finished folder has no use for: marks and records of work, what killed runs left half-written.

    Another process may be at work: one that loses a file it is writing finds the folder finished.
    """
    for path in out.glob(f"**/{PART}*"):
        path.unlink(missing_ok=True)
    (out / UNFINISHED).unlink(missing_ok=True)
    shutil.rmtree(out / RECORDS, ignore_errors=True)


def copied_path(path: str, split: str, layout: str) -> str:
    """Where an image of a test split goes in the augmented folder."""
    tail = path.split("/")[-2:] if layout == "folders" else path.split("/")[-1:]
    return "/".join([TEST_FOLDERS[split], *tail])


def _copy(source: Path, target: Path) -> None:
    if is_there(source, target):
        return
    with atomic_path(target, durable=False) as temporary:
        shutil.copyfile(source, temporary)


def _hard_link(source: Path, target: Path) -> None:
    os.link(source.resolve(), target)


def _symlink(source: Path, target: Path) -> None:
    target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
