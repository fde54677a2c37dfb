"""A bounded run of the fuzzer: some cases of every door, in a process whose memory is limited; and what once fell.

`FUZZ_MINUTES=10` makes it a long run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
LINES = [line.partition("#")[0].strip() for line in (HERE / "fell.txt").read_text().splitlines()]
FELL = [line for line in LINES if line]


def test_spoilt_files_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    minutes = os.environ.get("FUZZ_MINUTES")
    words = ["--minutes", minutes] if minutes else ["--count", "2"]
    words += ["--first", os.environ.get("FUZZ_FIRST", "0"), *(word for one in FELL for word in ("--repeat", one))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATN_AUGMENT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(HERE / "run.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    print(done.stdout[-5000:])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) cases, 0 faults", done.stdout)
    assert found
    assert int(found[1]) >= 36 + len(FELL)
    assert {": 0 ", ": 2 "} <= set(re.findall(r": [02] ", done.stdout))  # some are harmless, some are refused


def test_a_fault_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: a traceback, two lines and an escape sequence are faults."""
    monkeypatch.syspath_prepend(str(HERE))
    import run

    from augment.commands import main as commands
    from reid_eval.runtime import InputError

    def broken(error: Exception | None, text: str = "") -> run.Outcome:
        def main(**_: object) -> None:
            print(text)
            if error:
                raise error

        monkeypatch.setattr(commands.cli, "main", main)
        return run.run(["verify"])

    assert "unexpected" in broken(KeyError("x")).fault
    assert "obeyed" in broken(None, "\x1b[2J").fault
    assert broken(InputError("a\nb")).fault == ""  # main makes one line of it
    assert broken(InputError("a")).code == 2
    assert "exit code 130" in broken(KeyboardInterrupt()).fault  # type: ignore[arg-type]
