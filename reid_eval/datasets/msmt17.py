"""MSMT17's own release: list files instead of split folders, identities counted from 0 on both sides.

Source: Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR 2018.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from reid_eval.datasets.names import GRAMMARS
from reid_eval.datasets.tables import ReidData, make_table
from reid_eval.foreign import read_lines, reason_of
from reid_eval.runtime import InputError, first_five

LISTS = {"train": "list_train.txt", "query": "list_query.txt", "gallery": "list_gallery.txt"}
_NUMBER = re.compile(r"[0-9]{1,18}")
IMAGE_FOLDERS = {
    "train": ("train", "mask_train_v2"),
    "query": ("test", "mask_test_v2"),
    "gallery": ("test", "mask_test_v2"),
}


def has_lists(root: Path) -> bool:
    """Whether `root` looks like the release: it has `list_train.txt`."""
    return (root / LISTS["train"]).is_file()


def read_lists(root: Path) -> ReidData:
    """Read the release: lines `0000/0000_000_01_0303morning_0008_0.jpg 0` below `train` and `test`.

    `list_val.txt` is left out, as torchreid and fast-reid do. V2's `mask_train_v2` and `mask_test_v2` are known too.

    Raises:
        InputError: a list or folder is missing, a list is empty, or lines do not follow the grammar.
    """
    tables = [make_table(_rows(root, split), root) for split in LISTS]
    query, gallery = renumber_test(*tables)
    return ReidData(root, "msmt17", tables[0], query, gallery)


def _rows(root: Path, split: str) -> list[tuple[object, ...]]:
    file = root / LISTS[split]
    if not file.is_file():
        raise InputError(f"{root} has no {file.name}: msmt17's release needs {', '.join(LISTS.values())}")
    folder = next((name for name in IMAGE_FOLDERS[split] if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(f"{root} has no folder {' or '.join(IMAGE_FOLDERS[split])}, which {file.name} refers to")
    try:
        lines = [line for line in read_lines(file) if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file}: {reason_of(error)}") from None
    if not lines:
        raise InputError(f"{file} is empty: {split} has no images")
    rows: list[tuple[object, ...]] = []
    unread: list[str] = []
    for line in lines:
        name, _, pid = line.rpartition(" ")
        inside = not name.startswith(("/", "\\")) and ".." not in name.replace("\\", "/").split("/")
        parsed = GRAMMARS["msmt17"].parse(name) if _NUMBER.fullmatch(pid) and inside else None
        if parsed is None:
            unread.append(repr(line[:200]))
        else:
            rows.append((f"{folder}/{name}", *parsed._replace(pid=int(pid) + 1)))
    if unread:
        raise InputError(
            f"{file}: {len(unread)} lines are not `0000/0000_000_01_0303morning_0008_0.jpg 0`: {first_five(unread)}"
        )
    return rows


def renumber_test(train: pd.DataFrame, query: pd.DataFrame, gallery: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Query and gallery with pids that follow the training ones: in the release, both sides count from 0."""
    offset = int(train["pid"].max())
    return query.assign(pid=query["pid"] + offset), gallery.assign(pid=gallery["pid"] + offset)
