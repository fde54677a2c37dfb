"""What a path holds that a page can be made of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from augment.folder.layout import MANIFEST, UNFINISHED
from reid_eval.comparison_file import EVALUATION
from reid_eval.runtime import InputError
from reid_eval.table.grid import GRID

Kind = Literal["folder", "training", "reid", "table"]
LOG, RESULT = "train.jsonl", "result.json"


class Found(NamedTuple):
    """A folder, and what it is."""

    kind: Kind
    root: Path


def find_kind(path: Path) -> Found:
    """What is at a path: the folder, or a file that tells of it (`result.json`, `train.jsonl` ...).

    Raises:
        InputError: nothing of these.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    root = path if path.is_dir() else path.parent.parent if path.parent.name == "augmentation" else path.parent
    if (root / MANIFEST).is_file() or (root / UNFINISHED).is_file():
        return Found("folder", root)
    if any(root.glob(f"*{GRID}")):
        return Found("table", root)
    if (root / RESULT).is_file() or any(root.glob(f"*{EVALUATION}")):
        return Found("reid", root)
    if (root / LOG).is_file():
        return Found("training", root)
    if (root / "records").is_dir() and (root / "table.md").is_file():
        raise InputError(
            f"{root} is a table of an earlier version: run its command once more, nothing is trained again"
        )
    raise InputError(
        f"{path} is none of what a report can be made of: an augmented folder ({MANIFEST}), a training ({LOG}), a "
        f"re-ID run ({RESULT}, or the folder of its networks, *{EVALUATION}) or a table (table{GRID})"
    )
