"""What every command of the project needs: errors, progress, seeds, devices, files that are never half-written
(`reid_eval.writing`).

It lives in `reid_eval` because `reid_eval` stands alone; `augment.runs` adds run directories on top.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_eval.foreign import open_regular
from reid_eval.limits import LONGEST_NAME
from reid_eval.shown import one_line
from reid_eval.stopping import check_stopped
from reid_eval.writing import RunError, atomic_path, sweep_parts, write_bytes, write_json, write_text

if TYPE_CHECKING:
    import torch

__all__ = [
    "InputError",
    "ProgressBar",
    "RunError",
    "atomic_path",
    "check_target",
    "first_five",
    "hide_progress",
    "kept_generators",
    "no_progress",
    "progress",
    "resolve_device",
    "seed_everything",
    "sha256_bytes",
    "sha256_file",
    "sweep_parts",
    "write_bytes",
    "write_json",
    "write_text",
]


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, what to do. Exit code 2.

    `argument` is the parameter that would mend it, if one would: a command line names its option for it.
    """

    def __init__(self, message: str = "", argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


def first_five(items: Sequence[Any]) -> str:
    """`a, b, c, d, e, ...`: the first five, with dots where more follow."""
    return ", ".join(str(item) for item in items[:5]) + (", ..." if len(items) > 5 else "")


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def check_target(path: Path | str, argument: str | None = None) -> None:
    """Refuse the name of a file or folder that could not be written after all the work.

    Args:
        path: of the file or folder to write.
        argument: the parameter that gave it.

    Raises:
        InputError: the name has more than `LONGEST_NAME` bytes: parts are written under longer names.
    """
    size = len(os.fsencode(Path(path).name))
    if size > LONGEST_NAME:
        raise InputError(
            f"the name {Path(path).name[:40]}... has {size} bytes, at most {LONGEST_NAME} will do", argument
        )


def resolve_device(name: str = "auto") -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1`, `mps` into a usable device; `auto` prefers CUDA.

    Raises:
        InputError: the name is not a device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r} is not a device: use auto, cpu, cuda, cuda:N or mps", "device") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use the device cpu",
            "device",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("device mps: this machine has no MPS device; use the device cpu", "device")
    return device


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the global random generators of Python, numpy and torch (every device) as they were."""
    import numpy as np
    import torch

    python, arrays, host = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(host)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (every device); within `kept_generators`, unless the process is ours alone."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


_progress_hidden = False


def hide_progress() -> None:
    """Show no progress bars in this process from now on: for workers that share one terminal."""
    global _progress_hidden
    _progress_hidden = True


@contextmanager
def no_progress() -> Iterator[None]:
    """No progress bars as long as this lasts."""
    global _progress_hidden
    before, _progress_hidden = _progress_hidden, True
    try:
        yield
    finally:
        _progress_hidden = before


class ProgressBar:
    """Counts work done and shows count, rate and time left on standard error.

    On a terminal it is a rich bar; elsewhere (a log file, CI) one line every `log_every` seconds, so that a long
    run is never silent and never floods a log.
    """

    def __init__(self, what: str, total: int, unit: str, log_every: float = 15.0) -> None:
        self.what, self.total, self.unit, self.log_every = one_line(what, 80), total, unit, log_every
        self.done = 0
        self._first = 0
        self._start = self._last_log = time.monotonic()
        self._rich: Any = None
        self._task: Any = None
        if sys.stderr.isatty() and not _progress_hidden:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._rich.add_task(self.what, total=total, rate="", note="")

    def __enter__(self) -> ProgressBar:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._rich is not None:
            self._rich.stop()
        elif self._last_log > self._start:
            self._log("")

    @property
    def made(self) -> int:
        """Units that this run did, those skipped by `skip` not counted."""
        return self.done - self._first

    @property
    def rate(self) -> float:
        """Units a second since the start, work skipped by `skip` not counted."""
        return self.made / max(time.monotonic() - self._start, 1e-9)

    def skip(self, count: int) -> None:
        """Count work that an earlier run did, without letting it flatter the rate."""
        self._first += count
        self.advance(count)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more units done; `note` is shown at the end of the line (a loss, a stage).

        Raises:
            KeyboardInterrupt: a signal asked the process to stop, see `reid_eval.stopping`.
        """
        check_stopped()
        self.done += count
        note = one_line(note, 80)
        if self._rich is not None:
            self._rich.update(self._task, completed=self.done, rate=f"{self.rate:.1f} {self.unit}/s", note=note)
        elif not _progress_hidden and time.monotonic() - self._last_log >= self.log_every:
            self._log(note)

    def _log(self, note: str) -> None:
        self._last_log = time.monotonic()
        left = f"{(self.total - self.done) / self.rate:.0f}" if self.made else "?"
        line = f"{self.what}: {self.done}/{self.total}, {self.rate:.1f} {self.unit}/s, {left} s left {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)


def progress(what: str, total: int, unit: str = "images") -> ProgressBar:
    """A progress bar as a context manager: `with progress("Rendering", 640) as bar: bar.advance(8)`."""
    return ProgressBar(what, total, unit)
