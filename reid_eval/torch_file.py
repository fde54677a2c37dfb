"""What `torch.save` writes, with the same bytes for the same values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_eval.writing import atomic_path


def save_torch(path: Path | str, value: Any) -> None:
    """Write nested dicts, lists and tuples of tensors, numbers, texts and None, atomically: equal values, equal bytes.

    `torch.save` alone writes the name of the file into it, and whether two equal texts are one object: after resuming
    they are not. Subclasses of dict are written as dicts.

    Raises:
        RunError: the disk is full, read-only or gone.
    """
    import torch

    # Through a file of ours: then a full disk is an OSError, and the name is not in it
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(_plain(value), file)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value
