"""Kills jobs at numbered points and gives them again: what comes out must be what comes out of an undisturbed one.

    python tests/faults/kill.py                      # each job, SIGKILL, SIGTERM and SIGINT, 20 points each
    python tests/faults/kill.py --points 2 1 1 --jobs generate poses

A point is a moment of a write: before it, in it (the file half there), after it; all writes of a job are counted, so
that point 7 is point 7 again. Each process is forked off one that has loaded everything, which takes no time.
"""

from __future__ import annotations

import argparse
import concurrent.futures.thread
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_jobs import GROWING, JOBS, command, stand_in, state, write_inputs

from augment.commands.main import main as patn_augment
from reid_eval import writing

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}
MOMENTS = ("before", "in", "after")
LONGEST = 600.0  # seconds, after which a process hangs; on a busy machine all takes its time


@dataclass
class Report:
    """What was done, and what fell."""

    kills: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    failures: list[str] = field(default_factory=list)


class Counter:
    """Stands in for `atomic_path`: counts writes, and sends this process a signal at a moment of one of them."""

    def __init__(self, number: int = 0, point: int = -1) -> None:
        self.number, self.point, self.writes = number, point, 0
        self.real, self.lock = writing.atomic_path, threading.Lock()

    @contextlib.contextmanager
    def __call__(self, path: Path | str, *, durable: bool = True) -> Iterator[Path]:
        with self.lock:
            first = len(MOMENTS) * self.writes
            self.writes += 1
        self.at(first)
        with self.real(path, durable=durable) as temporary:
            yield temporary
            if first + 1 == self.point and self.number == signal.SIGKILL:
                os.truncate(temporary, temporary.stat().st_size // 2)
            self.at(first + 1)
        self.at(first + 2)

    def at(self, point: int) -> None:
        if point == self.point:
            os.kill(os.getpid(), self.number)

    def put_in(self) -> None:
        """Everywhere where `atomic_path` was imported to."""
        for module in list(sys.modules.values()):
            if getattr(module, "atomic_path", None) is self.real:
                module.atomic_path = self  # type: ignore[attr-defined]


def in_child(work: Callable[[], None], log: Path) -> int:
    """The process number of a fork that does `work` and ends as Python ends."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        concurrent.futures.thread._python_exit()  # as the interpreter does: threads that wait for ever are found
        threading._shutdown()
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of a process, negative for a signal; None if it hangs, and is killed."""
    for _ in range(int(LONGEST / 0.01)):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


class Harness:
    """All jobs in one folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.report = root, Report()
        write_inputs(root)
        stand_in()
        self.log = root / "log.txt"
        self.wanted: dict[str, dict[str, str]] = {}
        self.moments: dict[str, int] = {}

    def undisturbed(self, job: str) -> None:
        """Do a job once, for comparison, and count its moments."""
        out, counter = self.root / f"{job}-whole", Counter()
        out.mkdir()
        told = self.root / f"{job}.count"

        def work() -> None:
            counter.put_in()
            patn_augment(command(job, self.root, out))
            told.write_text(str(len(MOMENTS) * counter.writes))

        if (code := ended(in_child(work, self.log))) != 0:
            raise SystemExit(f"{job} ends with {code} by itself:\n{self.log.read_text()[-2000:]}")
        self.wanted[job], self.moments[job] = state(out), int(told.read_text())

    def kill(self, job: str, name: str, point: int) -> None:
        """Kill a job at a point, look at what is there, give it again, and compare."""
        out = self.root / "killed"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        counter = Counter(SIGNALS[name], point)

        def work() -> None:
            counter.put_in()
            patn_augment(command(job, self.root, out))

        code = ended(in_child(work, self.log))
        self.report.kills[f"{job} {name}"] = self.report.kills.get(f"{job} {name}", 0) + 1
        what = f"{job}, {name} at point {point} of {self.moments[job]} ({MOMENTS[point % 3]} a write)"
        self.expect(what, code == CODES[name], f"ended with {code}")
        self.expect(what, not (bad := self.half_written(job, out)), f"half-written: {bad}")
        if name != "SIGKILL":
            self.expect(what, not (left := parts(out)), f"left behind: {left}")
        again = ended(in_child(lambda: patn_augment(command(job, self.root, out)), self.log))
        self.expect(what, again == 0, f"given again it ended with {again}")
        self.expect(what, not (found := differences(self.wanted[job], state(out))), f"differs in the end: {found}")

    def half_written(self, job: str, out: Path) -> list[str]:
        """Files under their own names that are not what they come to."""
        wanted = self.wanted[job]
        return [
            name
            for name, found in state(out).items()
            if ".part-" not in name and not name.startswith(GROWING) and name in wanted and wanted[name] != found
        ]

    def start_at_once(self, job: str, shards: int, each: int) -> None:
        """Start several processes of each part of a generation at one instant; all end well, with one whole folder."""
        out = self.root / "at-once"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        gate = out / "go"
        arguments = command(job, self.root, out)

        def work(shard: int) -> None:
            while not gate.exists():
                time.sleep(0.001)
            patn_augment([*arguments, "--shard", f"{shard}/{shards}"])

        pids = [in_child(lambda shard=shard: work(shard), self.log) for shard in range(shards) for _ in range(each)]
        gate.touch()
        codes = [ended(pid) for pid in pids]
        gate.unlink()
        self.report.starts += len(pids)
        what = f"{job}, {each} processes for each of {shards} parts at once"
        self.expect(what, not any(codes), f"ended with {codes}")
        self.expect(what, not (found := differences(self.wanted[job], state(out))), f"differs in the end: {found}")

    def expect(self, what: str, well: bool, else_: str) -> None:
        if not well:
            self.report.failures.append(f"{what}: {else_}")
            print(self.report.failures[-1], flush=True)


def parts(out: Path) -> list[str]:
    return [path.name for path in out.rglob(".part-*")]


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))


def spread(moments: int, points: int, shift: int) -> list[int]:
    """So many points, evenly spread over all writes, the moments of a write in turn from `shift` on."""
    writes, each = moments // len(MOMENTS), len(MOMENTS)
    if points >= moments:
        return list(range(moments))
    return sorted({each * int((k + 0.5) * writes / points) + (k + shift) % each for k in range(points)})


def run(jobs: list[str], points: dict[str, int], starts: int, root: Path) -> Report:
    """Do it all; `starts` rounds of four simultaneous processes."""
    harness = Harness(root)
    for job in jobs:
        harness.undisturbed(job)
        for shift, (name, count) in enumerate(points.items(), start=1):
            for point in spread(harness.moments[job], count, shift):
                harness.kill(job, name, point)
            print(f"{job} {name}: {harness.report.kills.get(f'{job} {name}', 0)} kills", flush=True)
    for number in range(starts):
        if (job := ("gated", "generate")[number % 2]) in harness.wanted:
            harness.start_at_once(job, *((2, 2), (4, 1), (1, 4))[number % 3])
    return harness.report


def main() -> None:
    """The command line of this file."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs=3, default=(20, 20, 20), metavar=tuple(SIGNALS))
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--starts", type=int, default=12, help="rounds of four processes that start at once")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # In the background of a script SIGINT is ignored from the start, and would be by the jobs, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        report = run(options.jobs, dict(zip(SIGNALS, options.points, strict=True)), options.starts, Path(folder))
    told: dict[str, Any] = {**vars(report), "seconds": round(time.monotonic() - began, 1)}
    if options.json:
        options.json.write_text(json.dumps(told))
    print(f"{sum(report.kills.values())} kills, {report.starts} simultaneous starts, {told['seconds']} s")
    print("\n".join(report.failures) or "nothing lost, nothing false")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
