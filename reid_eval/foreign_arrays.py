"""The one reader of `.npz` files that somebody else may have made. As `reid_eval.foreign`, which see."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reid_eval.foreign import open_regular, reason_of
from reid_eval.limits import MOST_ARRAYS, MOST_ARRAYS_BYTES

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ForeignArrays:
    """The arrays of an open file, read when they are asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        """An array.

        Raises:
            ValueError: there is none of that name, it holds objects, or its header says other than its bytes.
        """
        try:
            part = self._archive.getinfo(f"{name}.npy")
        except KeyError:
            raise ValueError(f"it has no array {name}") from None
        with self._archive.open(part) as file:
            _check_header(file, part.file_size, name)
        with self._archive.open(part) as file:
            found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return found


@contextmanager
def open_arrays(path: Path | str) -> Iterator[ForeignArrays]:
    """A file that `numpy.savez` wrote. An array takes no more memory than it has bytes in the file, and runs no code.

    Raises:
        OSError: as `open_regular`, with `MOST_ARRAYS_BYTES`.
        ValueError: it is no such file, is packed, or holds more than `MOST_ARRAYS` arrays.
        Exception: whatever zipfile and numpy raise on damaged bytes.
    """
    with open_regular(path, MOST_ARRAYS_BYTES) as file, zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > MOST_ARRAYS:
            raise ValueError(f"it holds {len(parts)} arrays, at most {MOST_ARRAYS} are read")
        if any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts):
            raise ValueError("it is packed")
        if sum(part.file_size for part in parts) > MOST_ARRAYS_BYTES:
            raise ValueError(f"it holds more than {MOST_ARRAYS_BYTES} bytes")
        yield ForeignArrays(archive)


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    """numpy takes memory for what a header says before it looks whether there is as much.

    Raises:
        ValueError: it says something else than the bytes that follow.
    """
    read = _HEADERS.get(np.lib.format.read_magic(file))
    if read is None:
        raise ValueError(f"array {name} is of a version that numpy does not write for plain arrays")
    try:
        shape, _, dtype = read(file)
    except Exception as error:  # numpy has Python's own parser at it
        raise ValueError(f"array {name} has no header ({reason_of(error)})") from None
    if dtype.hasobject:
        raise ValueError(f"array {name} holds objects")
    if min(shape, default=0) < 0 or not dtype.itemsize or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"array {name} should have {list(shape)} values of {dtype.itemsize} bytes, and has not")
