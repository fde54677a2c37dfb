"""`table --jobs`: a signal ends it at once, with all that it started, and nobody else is said to be at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fault_jobs  # it puts folders of helpers on the path
import pytest
import yaml
from drawn import draw_dataset
from small_tables import tiny

AT_ONCE = 5.0  # seconds
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def long_table(tmp_path: Path) -> list[str]:
    """A table whose two trainings take hours, by real workers, which know no stand-ins."""
    data = draw_dataset(tmp_path / "data", {2: 4, 7: 4}, {101: 4, 102: 4})
    train = {"size": [64, 32], "batch_size": 4, "max_steps": 1_000_000, "bn_batches": 0}
    recipe = tiny(data, rows=[{"kind": "leave_out"}, {"kind": "duplicate"}], columns=[0.5], seeds=[0], plan_seeds=[0],
                  backbones=["inception_v2"], train=train)  # fmt: skip
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(recipe))
    return [sys.executable, "-m", "augment", "table", str(tmp_path / "table.yaml"), "--out", str(tmp_path / "out"),
            "--jobs", "2", "--device", "cpu"]  # fmt: skip


def hear_ctrl_c() -> None:
    """A shell has its background jobs ignore SIGINT, and so would the table if these tests are one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_work(process: subprocess.Popen[str], records: Path) -> list[int]:
    """The children of a table both of whose trainings are on their way."""
    for _ in range(2400):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        if len(list(records.glob(".*.lock"))) == 2:
            time.sleep(1)  # into the trainings
            return children(process.pid)
        time.sleep(0.05)
    pytest.fail("no work after two minutes")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
@pytest.mark.parametrize(("number", "whole_group", "code"), [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130),
                                                             (signal.SIGTERM, False, 143)])  # fmt: skip
def test_a_signal_ends_a_table_and_its_workers(
    long_table: list[str], tmp_path: Path, number: signal.Signals, whole_group: bool, code: int
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        long_table, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    workers: list[int] = []
    try:
        workers = wait_for_work(process, tmp_path / "out/records")
        assert len(workers) >= 2
        began = time.monotonic()
        (os.killpg if whole_group else os.kill)(process.pid, number)  # a terminal's Ctrl-C reaches all of the group
        _, told = process.communicate(timeout=60)
        assert process.returncode == code, told
        while any(map(is_alive, workers)) and time.monotonic() - began < AT_ONCE:
            time.sleep(0.05)  # multiprocessing's own helper sees only afterwards that its parent has ended
        assert [pid for pid in workers if is_alive(pid)] == []
        assert time.monotonic() - began < AT_ONCE
        words = [line for line in told.splitlines() if line.strip() and not line.endswith("left")]
        assert words == ["Interrupted." if number == signal.SIGINT else "Terminated."]
        assert not list((tmp_path / "out").rglob(".part-*"))
    finally:
        for pid in (process.pid, *workers):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


assert fault_jobs
