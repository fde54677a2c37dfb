"""Runs cases in one process: `python tests/fuzz/run.py --minutes 10`, `--count 10000`, or `--line LINE` of the corpus.

Hypothesis draws the cases (doors.py, strategies.py). Every spoilt file must end in a result or in one line on standard
error and exit code 2 (1 where a command says so of what it found), within a time and a memory, without a character that
a terminal obeys. What falls is made small and appended to `corpus.jsonl`, which is done again in every test run; a case
that kills the process or hangs is, too, as it was.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from case import Case, laid
from doors import DOORS, cases, readers
from ground import Ground
from hypothesis import HealthCheck, Phase, given, seed, settings

CORPUS = Path(__file__).resolve().parent / "corpus.jsonl"
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MOST_SECONDS = 20.0
HANGS = 60
MOST_BYTES = 6 << 30  # of address space beyond what the libraries have
EACH = 25  # cases of a door at a time
LONGEST_LINE = 4000  # of the corpus, where a case is not there for a fault


@dataclass
class Outcome:
    """What a case came to; `fault` says what is wrong with that."""

    code: int
    seconds: float
    told: str
    fault: str = ""


@dataclass
class DoorTally:
    """Of the cases of a door; times and memory are of those that were refused."""

    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    """Of the longest."""
    kilobytes: int = 0
    """By which the largest raised the process's peak: what earlier cases took is not seen again."""

    def add(self, outcome: Outcome, kilobytes: int) -> None:
        """Count a case."""
        self.cases += 1
        if outcome.code == 2:
            self.refused += 1
            self.seconds = max(self.seconds, outcome.seconds)
            self.kilobytes = max(self.kilobytes, kilobytes)


@dataclass
class Tally:
    """Of many cases."""

    codes: Counter[str] = field(default_factory=Counter)
    doors: dict[str, DoorTally] = field(default_factory=dict)
    faults: dict[str, Case] = field(default_factory=dict)
    """By what is wrong, without numbers and names."""
    messages: dict[str, Case] = field(default_factory=dict)
    """Door and message of the refused, without numbers and names, and the shortest case that came to it."""

    def table(self) -> str:
        """A line a door, in Markdown."""
        lines = ["| door | cases | refused | longest, s | most memory, MB |", "|---|---:|---:|---:|---:|"]
        lines += [
            f"| {name} | {one.cases} | {one.refused} | {one.seconds:.1f} | {one.kilobytes / 1024:.0f} |"
            for name, one in sorted(self.doors.items())
        ]
        return "\n".join(lines)


class FallsError(Exception):
    """A case has a fault."""


def run(words: list[str]) -> Outcome:
    """The command line, or a reader, in this process."""
    from augment.commands.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", write_through=True) for _ in range(2))
    start, code, fault = time.monotonic(), 0, ""
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        try:
            if words[0].startswith("read:"):
                _read(words)
            else:
                main(words)
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            fault = traceback.format_exc()
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]  # type: ignore[attr-defined]
    seconds = time.monotonic() - start
    told = texts[1]
    lines = [line for line in told.splitlines() if line and not line.endswith("s left")]
    if not fault and "--debug" in told:
        fault = f"unexpected: {told[:500]}"
    elif not fault and code == 2 and len(lines) != 1 and "Usage:" not in told:
        fault = f"{len(lines)} lines: {told[:500]!r}"
    elif not fault and code not in (0, 2) and not (code == 1 and words[0] in ("verify", "gate")):
        fault = f"exit code {code}: {told[:500]!r}"
    if _OBEYED.search("".join(texts)):
        fault += " obeyed by a terminal"
    if seconds > MOST_SECONDS:
        fault += f" {seconds:.1f} s"
    return Outcome(code, seconds, told, fault)


def _read(words: list[str]) -> None:
    """A reader that no command calls alone: an `InputError` is what a command would print."""
    from reid_eval.runtime import InputError
    from reid_eval.shown import one_line

    try:
        readers()[words[0]](Path(words[1]))
    except InputError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(2)


def done(case: Case, root: Path) -> Outcome:
    """One case, all that it leaves removed."""
    faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    try:
        with laid(case, root) as words:
            outcome = run(words)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if any((folder / "OWNED").exists() for folder in (root, Path.cwd())):
        outcome.fault += " a program ran"
    return outcome


class Runner:
    """Does cases and counts."""

    def __init__(self, ground: Ground, now: Path | None = None) -> None:
        self.ground, self.now, self.tally = ground, now, Tally()

    def do(self, case: Case) -> Outcome:
        """A case, counted; its line stands in the file `now` meanwhile."""
        if self.now:
            self.now.write_text(case.line())
        before = peak()
        outcome = done(case, self.ground.root)
        tally = self.tally
        tally.codes[f"{case.door}: {outcome.code}"] += 1
        tally.doors.setdefault(case.door, DoorTally()).add(outcome, peak() - before)
        if outcome.code == 2:
            key = f"{case.door}: {kind_of(outcome.told)}"
            if key not in tally.messages or len(case.line()) < len(tally.messages[key].line()):
                tally.messages[key] = case
        return outcome

    def door(self, name: str, number: int | None, most: int, shrinks: bool) -> None:
        """Cases of a door: those of a seed, or always the same; the first fault of a new kind is kept."""
        fell: list[tuple[str, str, Case]] = []

        def falls(case: Case) -> None:
            outcome = self.do(case)
            if outcome.fault and (kind := kind_of(outcome.fault)) not in self.tally.faults:
                fell.append((kind, outcome.fault, case))
                raise FallsError(kind)

        phases = [Phase.generate, *([Phase.shrink] if shrinks else [])]
        test = settings(
            max_examples=most, deadline=None, database=None, phases=phases, derandomize=number is None,
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False,
        )(given(cases(name, self.ground))(falls))  # fmt: skip
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                (test if number is None else seed(number)(test))()
        except Exception:
            if not fell:
                raise
        if fell:
            kind, fault, case = fell[-1]
            self.tally.faults[kind] = case
            print(f"== {name}: {fault}\n{case.line()[:2000]}", flush=True)


def kind_of(text: str) -> str:
    """What a message says, without the names and numbers in it."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return re.sub(r"\d+|'[^']*'|\"[^\"]*\"|/\S*|`[^`]*`", "#", last)[:160]


def peak() -> int:
    """KiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_memory() -> None:
    """No case may take more than `MOST_BYTES` beyond what is taken now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, resource.RLIM_INFINITY))


def corpus() -> list[Case]:
    """What ships: what once fell, and a case for many a message; without those of doors that need what is not here."""
    lines = CORPUS.read_text().splitlines() if CORPUS.exists() else []
    return [case for case in map(Case.of_line, lines) if case.door in DOORS]


def keep(found: list[Case]) -> None:
    """Append cases to the corpus that it does not have."""
    known = set(CORPUS.read_text().splitlines()) if CORPUS.exists() else set()
    with CORPUS.open("a") as file:
        file.writelines(f"{line}\n" for line in dict.fromkeys(case.line() for case in found) if line not in known)


def rounds(doors: list[str], total: int | None, minutes: float | None) -> Iterator[tuple[str, int, int]]:
    """(door, round, cases), doors in turns, until the number of cases or the time is reached."""
    end = time.monotonic() + 60 * minutes if minutes else None
    left = -(-total // len(doors)) if total else None
    for number in count():
        most = EACH if left is None else min(EACH, left - EACH * number)
        if most <= 0:
            return
        for door in doors:
            if end is not None and time.monotonic() > end:
                return
            yield door, number, most


def work(given: argparse.Namespace, folder: Path, now: Path) -> int:
    """All cases; prints what fell, a table of the doors, and a line of counts."""
    np.seterr(all="ignore")
    os.chdir(folder)
    runner = Runner(Ground(folder), now)
    if given.line:
        outcome = runner.do(Case.of_line(given.line))
        print(outcome.code, f"{outcome.seconds:.2f} s", outcome.told, outcome.fault)
        return bool(outcome.fault)
    doors = given.door or list(DOORS)
    for door in doors:
        runner.door(door, None, 1, False)  # libraries are loaded before memory is limited
    limit_memory()
    for case in [] if given.no_corpus else corpus():
        outcome = runner.do(case)
        if outcome.fault:
            runner.tally.faults[f"corpus: {kind_of(outcome.fault)}"] = case
            print(f"== of the corpus, {case.door}: {outcome.fault}\n{case.line()[:2000]}", flush=True)
    for door, number, most in rounds(doors, given.count, given.minutes):
        runner.door(door, None if given.seed is None else given.seed + number, most, given.keep)
    tally = runner.tally
    if given.keep:
        keep(list(tally.faults.values()))
    if given.messages:
        print("\n".join(sorted(tally.messages)))
    if given.gather:
        _gather(tally, given.gather)
    print("; ".join(f"{name} {times}" for name, times in sorted(tally.codes.items())))
    print(tally.table())
    print(_summary(tally))
    return bool(tally.faults)


def _summary(tally: Tally) -> str:
    """A line of counts."""
    refused = sum(one.refused for one in tally.doors.values())
    slowest = max((one.seconds, name) for name, one in tally.doors.items())
    largest = max((one.kilobytes, name) for name, one in tally.doors.items())
    return (
        f"{sum(tally.codes.values())} cases, {len(tally.faults)} faults; {refused} refused, of which the slowest took "
        f"{slowest[0]:.1f} s ({slowest[1]}), the largest {largest[0] / 1024:.0f} MB ({largest[1]}); most memory of the "
        f"process {peak() / 1024:.0f} MB; {len(tally.messages)} messages"
    )


def _gather(tally: Tally, most: int) -> None:
    """Keep a case each for the messages of every door, the shortest cases first."""
    for door in DOORS:
        found = [case for key, case in tally.messages.items() if key.startswith(f"{door}: ")]
        short = sorted((case for case in found if len(case.line()) < LONGEST_LINE), key=lambda case: len(case.line()))
        keep(short[:most])


def main() -> int:
    """The cases in a process of their own: one that dies or hangs is told with its case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--count", type=int, help="Cases, of all doors together.")
    parser.add_argument("--seed", type=int, help="Other cases; default: always the same.")
    parser.add_argument("--door", choices=list(DOORS), action="append")
    parser.add_argument("--keep", action="store_true", help="Make small what falls, and append it to the corpus.")
    parser.add_argument("--gather", type=int, metavar="N", help="Append N cases a door of other messages, too.")
    parser.add_argument("--messages", action="store_true", help="Print what was said.")
    parser.add_argument("--no-corpus", action="store_true")
    parser.add_argument("--line", help="One case of the corpus.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="patn-fuzz-") as folder:
        now = Path(folder, "now.json")
        ground = Path(folder, "ground")
        ground.mkdir()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = work(given, ground, now)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, 1):
            line = now.read_text() if now.exists() else ""
            print(f"== the process ended with {code} in: {line[:5000]}")
            if line and given.keep:
                keep([Case.of_line(line)])
        return code


if __name__ == "__main__":
    sys.exit(main())
