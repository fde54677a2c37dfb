"""Helpers of other folders, and the drawn data set."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_jobs  # it puts folders of helpers on the path
import pytest


@pytest.fixture(autouse=True)
def _heeded_signals() -> Iterator[None]:
    """In the background of a script SIGINT is ignored from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def jobs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data set and recipes of all jobs."""
    root = tmp_path_factory.mktemp("jobs")
    fault_jobs.write_inputs(root)
    return root


@pytest.fixture
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for what takes seconds to load."""
    fault_jobs.stand_in(monkeypatch.setattr, monkeypatch.setitem)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk in memory, with options such as `size=64k`; again, to change them. Skips without the right."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        again = ["-o", f"remount,{options}"] if os.path.ismount(place) else ["-o", options]
        done = subprocess.run(["mount", "-t", "tmpfs", *again, "none", str(place)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no right to mount")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)
