"""The one reader and writer of torch's own files (`.pt`, `.pth`): tensors and plain values, never code."""

from __future__ import annotations

import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_eval.foreign import open_regular
from reid_eval.limits import MOST_WEIGHTS_BYTES
from reid_eval.runtime import InputError
from reid_eval.writing import atomic_path

_CODE = re.compile(r"unsupported (global|class)|GLOBAL", re.IGNORECASE)


def read_torch(path: Path | str) -> Any:
    """What `torch.save` wrote, on the CPU; nothing in it is run.

    Raises:
        InputError: missing, no regular file, too large, damaged, or holding code or objects of other kinds than
            tensors and plain values.
    """
    import torch

    try:
        with open_regular(path, MOST_WEIGHTS_BYTES) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_unpacked(file)
            found = torch.load(file, map_location="cpu", weights_only=True)
            _check_tensors(found)
            return found
    except InputError as error:
        raise InputError(f"{path} {error}: get it again") from None
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes raise many types; torch's words advise what must not be done
        if _CODE.search(str(error)):
            raise InputError(f"{path} holds code or objects, not only tensors: refused; it was not run") from None
        raise InputError(f"{path} is not a readable PyTorch file: get it again") from None


def _check_tensors(found: Any) -> None:
    """A tensor must not be larger than its bytes, as one is that repeats them by strides of 0: a copy would be huge."""
    import torch

    ahead, seen = [found], set()
    while ahead:
        one = ahead.pop()
        if isinstance(one, torch.Tensor):
            if not one.is_sparse and one.numel() * one.element_size() > one.untyped_storage().nbytes():
                raise InputError("holds a tensor that is larger than its bytes")
        elif isinstance(one, (dict, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            ahead += one.values() if isinstance(one, dict) else one


def _check_unpacked(file: Any) -> None:
    """A zip file's parts must not unpack to more than it may hold itself; torch writes them unpacked."""
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise InputError("is a packed archive, which torch does not write")
        if sum(part.file_size for part in parts) > MOST_WEIGHTS_BYTES:
            raise InputError(f"has parts of more than {MOST_WEIGHTS_BYTES} bytes")
    file.seek(0)


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
