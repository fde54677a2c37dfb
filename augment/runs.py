"""Where runs are written, caches kept and recipes found, and which versions made a result."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from reid_eval.foreign import parse_json, read_foreign, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import InputError, RunError, write_bytes, write_json
from reid_eval.writing import disk_errors

RUNS = Path("runs")
CACHE_ADVICE = "set PATN_AUGMENT_CACHE to a folder that can be written"
ALWAYS = "required"
"""Instead of an extra: packages that are always asked for."""
Say = Callable[[str], None]
_REQUIRED = re.compile(r"([\w.-]+)(.*)")
_EXTRA = re.compile(r"""extra *== *['"]([\w.-]+)""")
_RECORDED = ("patn-augment", "torch", "numpy", "pandas", "pillow")


def new_run_dir(kind: str, runs_root: Path | str = RUNS) -> Path:
    """Make and return `runs/KIND-0001`, or the number after the highest there is; two processes never share one."""
    root = Path(runs_root)
    root.mkdir(parents=True, exist_ok=True)
    taken = [path.name.rpartition("-")[2] for path in root.glob(f"{kind}-*")]
    number = max((int(text) for text in taken if text.isdecimal()), default=0)
    while True:
        number += 1
        path = root / f"{kind}-{number:04d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def trim_log(path: Path, step: int) -> None:
    """Drop the lines of a training's log (JSON with a `step` each) that the steps done do not know: those will be done,
    and logged, again. What is no such line goes, too: half a line where the run was killed, or what somebody wrote.

    Raises:
        InputError: what is there is no file that can be read.
    """
    if not path.exists():
        return
    try:
        lines = read_foreign(path, MOST_TABLE_BYTES).split(b"\n")
    except OSError as error:
        raise InputError(f"can't go on with the log {path} ({reason_of(error)}): remove it") from None
    write_bytes(path, b"".join(line + b"\n" for line in lines if _is_done(line, step)))


def _is_done(line: bytes, step: int) -> bool:
    try:
        return bool(parse_json(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def cache_dir() -> Path:
    """The user's cache: `PATN_AUGMENT_CACHE`, else `XDG_CACHE_HOME/patn-augment`, else `~/.cache/patn-augment`.

    The folder is made if need be.

    Raises:
        RunError: there is no such place, or it cannot be made.
    """
    path = cache_place()
    try:
        with cache_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file where a folder should be
        raise RunError(f"cannot make the cache {path} ({error.strerror}): {CACHE_ADVICE}") from None
    return path


def cache_place() -> Path:
    """Where `cache_dir` is, whether or not it is there.

    Raises:
        RunError: there is no such place.
    """
    if own := os.environ.get("PATN_AUGMENT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "patn-augment"


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Errors of the disk that the cache is on say how to put it elsewhere.

    Raises:
        RunError: there was one.
    """
    try:
        with disk_errors(path):
            yield
    except RunError as error:
        raise RunError(f"{error}; or {CACHE_ADVICE}") from error


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise RunError(f"this user has no home folder for the cache: {CACHE_ADVICE}") from None


def package_version(name: str) -> str:
    """Version of an installed package, `unknown` if pip does not know it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def package_versions() -> dict[str, str]:
    """Versions that a manifest records: Python, this package, and the libraries that bear on the bytes of an image."""
    return {"python": platform.python_version(), **{name: package_version(name) for name in _RECORDED}}


def required_packages() -> dict[str, dict[str, str]]:
    """What this package asks for, from pip's record: `ALWAYS` or an extra, to name of a package, to its versions.

    Empty where pip does not know this package.
    """
    found: dict[str, dict[str, str]] = {}
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("patn-augment") or []:
            asked, _, marker = line.partition(";")
            name, versions = _REQUIRED.match(asked.strip()).groups()  # type: ignore[union-attr]
            extra = _EXTRA.search(marker)
            found.setdefault(extra[1] if extra else ALWAYS, {})[name] = versions.strip()
    return found


def describe_run(path: Path, facts: dict[str, Any], with_command: bool = True) -> None:
    """Write what made a result: the command line (which names files), versions and the given facts."""
    command = {"command": ["patn-augment", *sys.argv[1:]]} if with_command else {}
    write_json(path, {**facts, **command, "versions": package_versions()})


def recipes_folder() -> Path:
    """The folder of the recipes that ship: inside the installed package, at the top of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"
