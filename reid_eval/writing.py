"""Files that appear whole or not at all, what killed writers leave beside them, and disks that fail.

A file is written under a name that begins with `PART`, then renamed. Its writer holds a lock on it meanwhile, which the
system frees when the process ends, however it ends: what nobody holds is left over, and goes when the same file is
written again, or when `sweep_parts` is told to look.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reid_eval.stopping import check_stopped

try:
    import fcntl
except ImportError:  # Windows: what killed writers leave stays there
    fcntl = None  # type: ignore[assignment]

PART = ".part-"
"""How names of files begin that are being written."""
_HELD = ".held"
"""The file in a temporary folder that its process holds."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_GONE = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN)
_WRITING = (*_FULL, errno.EROFS)
"""What no reading gives."""
_LONGEST_SUFFIX = 16


def _read_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


# Read once: reading means setting, which threads that save at the same time must not do.
_UMASK = _read_umask()


class RunError(RuntimeError):
    """What no argument mends: a disk that is full or gone, files that vanished under a run. Exit code 1.

    The message is one line: what, where, what to do.
    """


def disk_error(error: Exception, path: Path | str | None = None, *, writing: bool = False) -> RunError | None:
    """An error of a disk (full, read-only, gone, closed to us) in one line; None for any other error.

    Args:
        error: what was raised.
        path: the file, where the error does not name it.
        writing: it was raised while something was written, and not perhaps read.
    """
    number = error.errno if isinstance(error, OSError) else None
    if "No space left on device" in str(error):  # not every library passes the number on
        number = errno.ENOSPC
    if number not in (*_FULL, *_CLOSED, *_GONE):
        return None
    named = getattr(error, "filename", None) if path is None else path
    verb = "write" if writing or number in _WRITING else "use"
    advice = "name a folder that can be written" if verb == "write" else "look at its permissions"
    if number in _FULL:
        advice = "make room, or name a folder on another disk"
    elif number in _GONE:
        advice = "see whether the disk is still there"
    what = f"cannot {verb} {os.fsdecode(named)}" if named else f"cannot {verb} a file"
    room = f" ({_room(Path(os.fsdecode(named)))})" if named else ""
    return RunError(f"{what}: {os.strerror(number or 0)}{room}: {advice}, then give the same command again")


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Errors of the disk that `path` is on, in one line.

    Raises:
        RunError: there was one.
    """
    try:
        yield
    except OSError as error:
        if told := disk_error(error, getattr(error, "filename", None) or path, writing=True):
            raise told from error
        raise


def _room(path: Path) -> str:
    """`3.1 MB free of 8.0 MB`, of the disk that a file is or would be on."""
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            usage = shutil.disk_usage(place)
            return f"{usage.free / 1e6:,.1f} MB free of {usage.total / 1e6:,.1f} MB"
    return "its disk is not there"


@contextmanager
def atomic_path(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` only if the block ends without an error.

    The temporary file keeps the suffix of `path`, so that writers which look at it (Pillow, pandas) behave.
    With `durable` the bytes are fsynced before the rename, and what a killed process left of this file goes; turn it
    off for files that a manifest can re-make, of which there are many.

    Raises:
        RunError: the disk is full, read-only or gone.
    """
    path = Path(path)
    check_stopped()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if durable:
            sweep_parts(path.parent, path.name)
        handle, temporary = _new_part(path)
    try:
        yield temporary
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp gives 0600; data sets are meant to be shared
        temporary.replace(path)
    except Exception as error:
        told = disk_error(error, path, writing=True)
        named, number = (getattr(error, name, None) for name in ("filename", "errno"))
        if told and (named in (None, str(temporary)) or number in _WRITING):  # else it failed to read something
            raise told from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(handle)


def sweep_parts(folder: Path | str, name: str | None = None, *, deep: bool = False) -> None:
    """Remove what killed processes left half-written in a folder; what is being written stays.

    Args:
        folder: where to look.
        name: of this file only; None: of all files.
        deep: in folders of the folder, too.
    """
    prefix = PART if name is None else _prefix(name)
    for place, _, names in os.walk(folder):  # which takes no harm from folders that vanish meanwhile
        for one in names:
            if one.startswith(prefix):
                _remove_dead(os.path.join(place, one))  # noqa: PTH118
        if not deep:
            return


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder, gone afterwards; what killed processes left under that prefix goes before."""
    _sweep_scratch(Path(tempfile.gettempdir()), prefix)
    folder, handle = _new_scratch(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _new_scratch(prefix: str) -> tuple[Path, int | None]:
    """A new temporary folder and the handle that holds it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        if fcntl is None:
            return folder, None
        try:
            handle = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # swept between these two lines
            continue
        with suppress(OSError):  # a file system without locks: there nothing is swept
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return folder, handle
        os.close(handle)


def _sweep_scratch(root: Path, prefix: str) -> None:
    """Remove this user's temporary folders of a prefix that no process holds."""
    if fcntl is None:
        return
    for folder in root.glob(f"{prefix}*"):
        with suppress(OSError):  # gone, not ours, held, or without locks
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if not any(folder.iterdir()):
                folder.rmdir()  # just made, and then its maker makes another one; or left so
                continue
            handle = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)


def _new_part(path: Path) -> tuple[int, Path]:
    """A new file beside `path` and the handle that holds it."""
    suffix = path.suffix if len(path.suffix.encode()) <= _LONGEST_SUFFIX else ""
    while True:
        handle, name = tempfile.mkstemp(prefix=_prefix(path.name), suffix=suffix, dir=path.parent)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: there nothing is swept
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink == 0:  # swept between these two lines
                os.close(handle)
                continue
        return handle, Path(name)


def _prefix(name: str) -> str:
    return f"{PART}{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}-"


def _remove_dead(path: str) -> None:
    """Remove a file unless a process holds it. Anything but a plain file stays."""
    if fcntl is None:
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone, or not ours
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)  # noqa: PTH108
    except OSError:
        pass  # somebody writes it, or it cannot be locked or removed
    finally:
        os.close(handle)


def write_bytes(path: Path | str, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as sorted, indented JSON, atomically: the same value gives the same bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
