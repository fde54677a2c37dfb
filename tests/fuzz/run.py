"""Runs cases in this process: `python tests/fuzz/run.py --minutes 10`, or `--door plan --case 7` for one.

Every spoilt file must end in a result or in one line on standard error and exit code 2 (1 where a command says so of
what it found), within a time and a memory, without a character that a terminal obeys.
"""

from __future__ import annotations

import argparse
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
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from doors import DOORS, Ground, clean, rng_of

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MOST_SECONDS = 20.0
MOST_BYTES = 6 << 30  # of address space beyond what the libraries have


@dataclass
class Outcome:
    """What a case came to; `fault` says what is wrong with that."""

    code: int
    seconds: float
    told: str
    fault: str = ""


@dataclass
class Tally:
    """Of many cases."""

    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    """Of those that were refused."""
    largest: tuple[int, str] = (0, "")
    """KiB by which one that was refused raised the process's peak."""


def run(words: list[str]) -> Outcome:
    """The command line in this process."""
    from augment.commands.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", write_through=True) for _ in range(2))
    start, code, fault = time.monotonic(), 0, ""
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        try:
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


def case(ground: Ground, door: str, number: int) -> Outcome:
    """One case, all that it leaves removed."""
    words, left = DOORS[door](ground, rng_of(door, number))
    before = set(ground.root.iterdir())
    try:
        outcome = run(words)
    finally:
        clean(left)
        clean([path for path in ground.root.iterdir() if path not in before])
    if outcome.code == 2 and (ground.root / "OWNED").exists():
        outcome.fault += " a program ran"
    return outcome


def cases(doors: list[str], first: int, count: int | None, minutes: float | None) -> Iterator[tuple[str, int]]:
    """Numbers of cases, door by door in turns."""
    end = time.monotonic() + 60 * minutes if minutes else None
    number = first
    while (count is None or number < first + count) and (end is None or time.monotonic() < end):
        for door in doors:
            yield door, number
        number += 1


def peak() -> int:
    """KiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_memory() -> None:
    """No case may take more than `MOST_BYTES` beyond what is taken now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, resource.RLIM_INFINITY))


def main() -> int:
    """The long run; prints what fell, and a line of counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--door", choices=list(DOORS), action="append")
    parser.add_argument("--case", type=int)
    parser.add_argument("--repeat", action="append", metavar="DOOR NUMBER", help="These cases first.")
    given = parser.parse_args()
    doors = given.door or list(DOORS)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="patn-fuzz-") as folder:
        os.chdir(folder)
        ground = Ground(Path(folder))
        if given.case is not None:
            outcome = case(ground, doors[0], given.case)
            print(outcome.code, f"{outcome.seconds:.2f} s", outcome.told, outcome.fault)
            return bool(outcome.fault)
        for door in doors:
            case(ground, door, given.first)  # libraries are loaded before memory is limited
        limit_memory()
        count = given.count or (None if given.minutes else 50)
        again = [(one.rpartition(" ")[0], int(one.rpartition(" ")[2])) for one in given.repeat or ()]
        for door, number in chain(again, cases(doors, given.first, count, given.minutes)):
            before = peak()
            outcome = case(ground, door, number)
            tally.codes[f"{door}: {outcome.code}"] += 1
            if outcome.code == 2:
                tally.slowest = max(tally.slowest, (outcome.seconds, f"{door} {number}"))
                tally.largest = max(tally.largest, (peak() - before, f"{door} {number}"))
            if outcome.fault:
                tally.faults.append(f"{door} {number}")
                print(f"== {door} {number}: {outcome.fault}", flush=True)
    print("; ".join(f"{name} {count}" for name, count in sorted(tally.codes.items())))
    print(
        f"{sum(tally.codes.values())} cases, {len(tally.faults)} faults; of the refused the slowest took "
        f"{tally.slowest[0]:.1f} s ({tally.slowest[1]}), the largest {tally.largest[0] / 1024:.0f} MB "
        f"({tally.largest[1]}); most memory of the process {peak() / 1024:.0f} MB"
    )
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
