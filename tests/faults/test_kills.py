"""The short form of `kill.py`: a few kills of each job, and processes that start at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_jobs import JOBS

HERE = Path(__file__).parent
POINTS = (2, 1, 1)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("faults") / "report.json"
    arguments = ["--points", *map(str, POINTS), "--starts", "1", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, str(HERE / "kill.py"), *arguments], capture_output=True, text=True, check=False
    )
    assert out.is_file(), done.stderr
    told: dict[str, Any] = json.loads(out.read_text())
    return told


@pytest.mark.parametrize("job", JOBS)
def test_killed_and_given_again_it_comes_to_the_same(job: str, report: dict[str, Any]) -> None:
    counts = [count for name, count in report["kills"].items() if name.startswith(f"{job} ")]
    assert counts == list(POINTS)
    assert [one for one in report["failures"] if one.startswith(f"{job}, ")] == []


def test_processes_that_start_at_once(report: dict[str, Any]) -> None:
    assert report["starts"] == 4
    assert report["failures"] == []
