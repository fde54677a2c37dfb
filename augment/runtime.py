"""Where runs are written and caches kept, and which versions made them; the rest comes from `reid_eval.runtime`."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from reid_eval.runtime import InputError, progress, resolve_device, seed_everything

__all__ = [
    "InputError",
    "cache_dir",
    "new_run_dir",
    "newest_augmented",
    "package_version",
    "package_versions",
    "progress",
    "resolve_device",
    "seed_everything",
]

RUNS = Path("runs")
MANIFEST = "augmentation/manifest.json"
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


def newest_augmented(runs_root: Path | str = RUNS) -> Path | None:
    """The run whose augmented folder was finished last, or None; unfinished folders have no manifest."""
    finished = [(path.stat().st_mtime_ns, path.parent.parent) for path in Path(runs_root).glob(f"*/{MANIFEST}")]
    return max(finished)[1] if finished else None


def cache_dir() -> Path:
    """The user's cache: `PATN_AUGMENT_CACHE`, else `XDG_CACHE_HOME/patn-augment`, else `~/.cache/patn-augment`.

    The folder is made if need be.
    """
    if own := os.environ.get("PATN_AUGMENT_CACHE"):
        path = Path(own)
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patn-augment"
    path.mkdir(parents=True, exist_ok=True)
    return path


def package_version(name: str) -> str:
    """Version of an installed package, `unknown` if pip does not know it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def package_versions() -> dict[str, str]:
    """Versions that a manifest records: Python, this package, and the libraries that bear on the bytes of an image."""
    return {"python": platform.python_version(), **{name: package_version(name) for name in _RECORDED}}
