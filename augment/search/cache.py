"""Features that were computed once, on disk: half precision, one row a photo, in one SQLite file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reid_eval.runtime import InputError

_SCHEMA = "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
T = TypeVar("T")
_ASK = 500  # SQLite takes 999 parameters at a time in its older builds


class FeatureCache:
    """Rows of features by a key that names all that they depend on.

    Several processes may use one file; what is written is there whole or not at all.

    Args:
        path: the file; made with its folder if it is absent.

    Raises:
        InputError: it is no such file, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
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
            raise InputError(
                f"cannot use the feature cache {self.path} ({error}): delete it, or name another"
            ) from None


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
