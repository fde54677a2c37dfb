"""Who works on a part of a folder: one process at a time, the others wait for it and are told so.

OUT/../.OUT.part-0-of-1.lock    beside the folder, held while a process works on that part

The system frees the lock when the process ends, however it ends, and a file server does when it learns that a host is
down; a lock file that nobody holds means nothing. On a file system without locks the file itself is the lock: one of a
dead process of this host is taken over, one of another host has to be removed by hand, which the message says.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from reid_eval.foreign import read_foreign
from reid_eval.shown import one_line

_LONGEST = 200  # bytes of a folder's name that leave room for ours
_MOST_BYTES = 4096  # of a lock's file: a number and a name


@contextmanager
def part_lock(out: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the lock of a part (index, count) of the folder `out`; wait for whoever holds it."""
    path = _prefix(out).with_name(f"{_prefix(out).name}{shard[0]}-of-{shard[1]}.lock")
    lock = FileLock(path)
    held = _acquire(lock, path, out)
    try:
        if held and not isinstance(lock, SoftFileLock):  # which tells of its holder itself
            sign_lock(path)
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, out: Path) -> bool:
    """Wait for the lock; False where none can be had: then two processes are as parts that overlap."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(
            f"{out}: {holder_of(path)} is making this part: waiting for it. If it is gone, stop this one and remove "
            f"{path}",
            file=sys.stderr,
            flush=True,
        )
        lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError):  # no right to write beside the folder, or no locks
        return False
    return True


def remove_locks(out: Path) -> None:
    """Remove the lock files of a finished folder: whoever still waits for one sees that there is nothing to do."""
    prefix = _prefix(out)
    with suppress(OSError):
        for path in prefix.parent.iterdir():
            if path.name.startswith(prefix.name) and path.name.endswith(".lock"):
                with suppress(OSError):
                    path.unlink()


def _prefix(out: Path) -> Path:
    out = out.absolute()
    name = os.fsencode(out.name)
    known = out.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:16]
    return out.with_name(f".{known}.part-")


def sign_lock(path: Path) -> None:
    """Write who holds a lock into its file."""
    with suppress(OSError):
        path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")


def holder_of(path: Path) -> str:
    """`process 12 of host a`, as far as the file of a lock tells."""
    try:
        process, host = read_foreign(path, _MOST_BYTES).decode().split("\n")[:2]
    except (OSError, ValueError):
        return "another process"
    return f"process {process[:20]} of {one_line(host, 80)}" if process.isdecimal() else "another process"
