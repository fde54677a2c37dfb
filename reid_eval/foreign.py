"""The one way in for files that somebody else may have made: regular files of a stated size, JSON with limits.

What is refused raises `OSError` or `ValueError` with one line that says why; readers of formats add what file it was
and what to do. The limits stand in `reid_eval.limits`; YAML is read
by `reid_eval.foreign_yaml`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from reid_eval.limits import (
    LARGEST_INTEGER,
    LONGEST_NUMBER,
    MOST_DEPTH,
    MOST_ROWS,
    MOST_SMALL_BYTES,
    MOST_TABLE_BYTES,
    MOST_VALUES,
)


def open_regular(path: Path | str, most: int | None = None) -> IO[bytes]:
    """Open a regular file, or a link to one, for reading; never waits, as a pipe or a device would make it.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: it is none, cannot be read, or is larger.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):  # before it is opened: opening a device can do something
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - handed on
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and (most is None or found.st_size <= most):
        return file
    file.close()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, at most {most} are read", str(path))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # what became a pipe meanwhile keeps nobody waiting


def is_file(path: Path | str) -> bool:
    """Whether there is a regular file; False for names that no file can have, at which pathlib raises."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def read_foreign(path: Path | str, most: int = MOST_SMALL_BYTES) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path, most) as file:
        data = file.read(most + 1)
    if len(data) > most:  # it grew
        raise OSError(errno.EFBIG, f"at most {most} bytes are read", str(path))
    return data


def read_lines(path: Path | str) -> list[str]:
    """The lines of a text in UTF-8, without their ends.

    Raises:
        OSError: as `open_regular`, with `MOST_TABLE_BYTES`.
        ValueError: not UTF-8, or more than `MOST_ROWS` lines.
    """
    data = read_foreign(path, MOST_TABLE_BYTES)
    check_rows(data)
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def iter_lines(path: Path | str) -> Iterator[str]:
    """As `read_lines`, but without holding all of them: a large file takes little more memory than its bytes.

    Raises:
        OSError, ValueError: as `read_lines`; what is no UTF-8 is found on the way.
    """
    data = read_foreign(path, MOST_TABLE_BYTES)
    check_rows(data)
    start, coding = 0, "utf-8-sig"
    while start < len(data):
        end = data.find(b"\n", start + _PIECE) + 1 or len(data)  # no character and no `\r\n` is cut there
        try:
            yield from data[start:end].decode(coding).splitlines()
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None
        start, coding = end, "utf-8"


def check_rows(data: bytes) -> None:
    """Refuse a text of more than `MOST_ROWS` lines, by whatever ends them.

    Raises:
        ValueError: it has more.
    """
    if sum(map(data.count, _LINE_ENDS)) > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS} lines")


def reason_of(error: Exception) -> str:
    """One line of what an exception says; of an `OSError` without the path, which messages tell anyway."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def parse_json(data: bytes | str) -> Any:
    """A value in JSON.

    Raises:
        ValueError: not JSON, or JSON of more than `MOST_DEPTH` levels or `MOST_VALUES` values, with a key twice, a
            number that is not finite, of more than `LONGEST_NUMBER` characters, or a whole one beyond 64 bits.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        if sum(map(text.count, "[{,")) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(value)
    check_unicode(text, value)
    return value


def read_json(path: Path | str, most: int = MOST_SMALL_BYTES) -> Any:
    """A JSON file's value.

    Raises:
        OSError: as `open_regular`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_foreign(path, most))


def check_unicode(text: str, value: Any) -> None:
    """Refuse lone surrogates and NULs, which escapes such as `\\ud800` make: no file could be named so, no terminal
    print it.

    Args:
        text: that was parsed.
        value: what it came to, not nested too deeply.

    Raises:
        ValueError: there is one.
    """
    try:
        text.encode()
        told = json.dumps(value, ensure_ascii=False, default=str) if "\\" in text else ""
        told.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character (a lone surrogate)") from None
    if "\\u0000" in told or "\0" in text:
        raise ValueError("it holds a NUL")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER or abs(value := int(text)) > LARGEST_INTEGER:
        raise ValueError(f"the number {text[:20]}... is too large")
    return value


def _float(text: str) -> float:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"the number {text[:20]}... has {len(text)} characters")
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text} is too large")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the key {first_twice(key for key, _ in pairs)!r} is there twice")
    return found


def first_twice(keys: Iterable[str]) -> str:
    """The first key that is there twice, its first 40 characters; empty without one."""
    seen: set[str] = set()
    return next((key for key in keys if key in seen or seen.add(key)), "")[:40]  # type: ignore[func-returns-value]


_PIECE = 1 << 20
_LINE_ENDS = tuple(end.encode() for end in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")  # of str.splitlines
_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_no_number, object_pairs_hook=_object
)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")
