"""Features that were computed once, on disk: half precision, one row a photo, in one SQLite file."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from augment.runs import cache_errors
from reid_eval.runtime import InputError

_SCHEMA = "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
T = TypeVar("T")
_ASK = 500  # SQLite takes 999 parameters at a time in its older builds
_OF_DISKS = {"full": errno.ENOSPC, "readonly": errno.EROFS, "disk I/O": errno.EIO}
"""What SQLite says of a disk; Python 3.10 does not pass its codes on."""


class FeatureCache:
    """Rows of features by a key that names all that they depend on.

    Several processes may use one file; what is written is there whole or not at all.

    Args:
        path: the file; made with its folder if it is absent.

    Raises:
        InputError: it is no such file, or can be none.
        RunError: its disk is full, read-only, closed to us or gone; also later, when rows are read or written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            with cache_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot use the feature cache {self.path} ({error.strerror}): name another") from None
        self._run(lambda base: base.execute(_SCHEMA))

    def read(self, keys: Sequence[bytes], parts: int) -> list[NDArray[np.float16] | None]:
        """The rows of those keys, float16 `[parts, D]` each; None where there is none, or none that can be used."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _ASK):
            part = list(keys[start : start + _ASK])
            found |= self._run(lambda base, part=part: _select(base, part))  # type: ignore[misc]
        return [_row(found.get(key), parts) for key in keys]

    def write(self, keys: Sequence[bytes], rows: NDArray[np.floating]) -> None:
        """Keep the rows of those keys, `[N, ...]`, as half precision."""
        values = [(key, row.astype(np.float16).tobytes()) for key, row in zip(keys, rows, strict=True)]
        self._run(lambda base: base.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(sqlite3.connect(self.path, timeout=60)) as base, base:
                return work(base)
        except sqlite3.Error as error:
            with cache_errors(self.path):
                self._raise_of_disk(str(error))
            raise InputError(
                f"cannot use the feature cache {self.path} ({error}): delete it, or name another"
            ) from None

    def _raise_of_disk(self, said: str) -> None:
        """Raise what the system would have: SQLite tells of it in its own words."""
        number = next((number for word, number in _OF_DISKS.items() if word in said), None)
        closed = next((place for place in (self.path, self.path.parent) if not os.access(place, os.W_OK)), None)
        if "unable to open" in said and closed is not None and not self.path.is_dir():
            number = errno.EACCES
        if number is not None:
            raise OSError(number, os.strerror(number), str(self.path))


def _row(value: object, parts: int) -> NDArray[np.float16] | None:
    """A stored row; what somebody has damaged is as good as not there."""
    if not isinstance(value, bytes) or not value or len(value) % (2 * parts):
        return None
    row = np.frombuffer(value, np.float16).reshape(parts, -1)
    return row if np.isfinite(row).all() else None


def _select(base: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
    marks = ",".join("?" * len(keys))
    return dict(base.execute(f"SELECT key, value FROM features WHERE key IN ({marks})", keys).fetchall())


def row_key(*parts: bytes) -> bytes:
    """The key of a row: a hash of all that its features depend on, each part with its length."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
