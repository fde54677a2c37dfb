"""Mutation testing: `python tests/mutants/run.py`, or `--area plan`; what survives is what no test sees.

The parts that must not be wrong (plan, ranking, keypoints, checkpoint, manifest) are changed in one place at a time
(operators.py), and the tests that run the changed lines are asked, the quickest first, in a forked process. Results are
kept in `runs/mutants`, by module and change, so that a stopped run goes on: what is killed stays killed until its
module changes, what survived is asked again by the test files that changed.

mutmut 3.8 changes no decorated function (every property) and nothing at the level of modules (the bounds of the numbers
in a manifest), cannot leave texts of messages alone, and works from a copy of the tree; hence our own.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from areas import AREAS, Area
from asked import ROOT, ask, watched
from operators import Module, Mutant

KEPT = ROOT / "runs/mutants"
SLOW = 1.0
"""Seconds of a processor: tests that take longer are not asked."""


def digest(*texts: str) -> str:
    """Of texts."""
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:16]


def test_files(area: Area) -> dict[str, str]:
    """Digests of the files that an area's tests are in, by path; each is of what the tests share, too."""
    tests, folders = [], set[Path]()
    for place in (ROOT / test for test in area.tests):
        tests += [place] if place.is_file() else sorted(place.glob("test_*.py"))
        folders.add(place if place.is_dir() else place.parent)
    shared = sorted(path for folder in folders for path in folder.glob("*.py") if not path.name.startswith("test_"))
    texts = [path.read_text() for path in shared]
    return {path.relative_to(ROOT).as_posix(): digest(path.read_text(), *texts) for path in tests}


class Store:
    """Results of an area, a line each; of a survivor also the test files that let it pass."""

    def __init__(self, area: str) -> None:
        self.path = KEPT / f"{area}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known: dict[str, dict[str, Any]] = {record["key"]: record for record in map(json.loads, lines)}

    def outcome(self, key: str) -> str | None:
        """What is known of a mutant."""
        return self.known[key]["outcome"] if key in self.known else None

    def open_files(self, key: str, files: dict[str, str]) -> set[str]:
        """Test files that have still to be asked."""
        if self.outcome(key) in ("killed", "timeout"):
            return set()
        passed = self.known[key]["passed"] if key in self.known else {}
        return {path for path, text in files.items() if passed.get(path) != text}

    def put(self, key: str, files: dict[str, str], outcome: str) -> None:
        """Add a result."""
        self.known[key] = {"key": key, "outcome": outcome, "passed": files if outcome == "survived" else {}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(self.known[key]) + "\n")


def baseline(name: str, area: Area, key: str) -> dict[str, Any]:
    """Which test runs which line; kept until modules or tests change."""
    path = KEPT / f"{name}.lines.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["key"] == key:
            return found
    found = {"key": key, **watched(area.tests, list(area.modules))}
    found["tests"] = {test: one for test, one in found["tests"].items() if one["seconds"] <= SLOW}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def load(libraries: list[str]) -> None:
    """Import what the tests need, once for all forks; nothing of the project."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in libraries:
            try:
                importlib.import_module(name)
            except Exception:  # of some other library's own making; the fork imports it if it must
                continue


def chosen(tests: dict[str, Any], module: str, mutant: Mutant) -> list[str]:
    """The tests that run a mutant's lines, the quickest first; all of them for what runs at import."""
    lines = range(mutant.lines[0], mutant.lines[1] + 1)
    at_import = mutant.function == "(module)" or (mutant.function[0].isupper() and "." not in mutant.function)
    ran = [test for test, found in tests.items()
           if at_import or any(line in lines for line in found["lines"][str(ROOT / module)])]  # fmt: skip
    return sorted(ran, key=lambda test: (tests[test]["seconds"], test))


def run_area(name: str, sample: int | None, seed: int, end: float) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by module, and the survivors; what there is no time for is `open`."""
    area = AREAS[name]
    sources = {module: (ROOT / module).read_text() for module in area.modules}
    files = test_files(area)
    found = baseline(name, area, digest(*files.values(), *sources.values()))
    modules = {module: Module(source, area.modules[module]) for module, source in sources.items()}
    all_ = [(module, mutant) for module, parsed in modules.items() for mutant in parsed.mutants]
    if sample and sample < len(all_):
        all_ = sorted(random.Random(seed).sample(all_, sample), key=lambda one: (one[0], one[1].number))
    store, counts, survivors = Store(name), {module: Counter[str]() for module in modules}, []
    ready = False
    for place, (module, mutant) in enumerate(all_):
        key = digest(module, sources[module], mutant.operator, str(mutant), str(mutant.number))
        outcome, still = store.outcome(key), store.open_files(key, files)
        if still and time.monotonic() < end:
            tests = [test for test in chosen(found["tests"], module, mutant) if test.partition("::")[0] in still]
            if tests and not ready:
                load(found["libraries"])
                _control(name, modules, found["tests"])
                ready = True
            allowed = 15 + 5 * sum(found["tests"][test]["seconds"] for test in tests)
            with modules[module].changed(mutant.number) as tree:
                outcome = ask(module, tree, tests, allowed) if tests else "survived"
            store.put(key, files, outcome)
        counts[module][outcome or "open"] += 1
        if outcome == "survived":
            survivors.append(f"{module}:{mutant} [{mutant.operator}]")
        if sys.stderr.isatty():
            print(f"\r{name}: {place + 1} of {len(all_)}, {len(survivors)} survive", end="", file=sys.stderr)
    return counts, survivors


def _control(name: str, modules: dict[str, Module], tests: dict[str, Any]) -> None:
    """Without any change all tests pass in the order and the way in which mutants are asked; else kills were false."""
    module, parsed = next(iter(modules.items()))
    order = sorted(tests, key=lambda test: (tests[test]["seconds"], test))
    if (outcome := ask(module, parsed.tree, order, 600)) != "survived":
        raise RuntimeError(f"{name}: the unchanged module {module} is {outcome}")


def row(name: str, counts: Counter[str]) -> str:
    """A line of the table."""
    done = sum(counts.values()) - counts["open"]
    share = f"{100 * (done - counts['survived']) / done:.1f}" if done else "-"
    cells = (done, counts["killed"], counts["survived"], counts["timeout"], f"{share} %", counts["open"])
    return f"| {name} | " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> int:
    """Prints the table and the survivors; 1 if an area has less than `--least` percent killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--area", choices=list(AREAS), action="append")
    parser.add_argument("--sample", type=int, help="So many mutants an area, drawn by the seed; default: all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Stop after; the same command goes on.")
    parser.add_argument("--least", type=float, default=85.0)
    given = parser.parse_args()
    os.chdir(ROOT)
    end = time.monotonic() + 60 * given.minutes
    rows, listed, good = [], [], True
    for name in given.area or AREAS:
        counts, survivors = run_area(name, given.sample, given.seed, end)
        total = sum(counts.values(), Counter[str]())
        rows += [row(f"**{name}**", total), *(row(f"`{module}`", one) for module, one in counts.items())]
        listed += survivors
        done = total["killed"] + total["timeout"] + total["survived"]
        good = good and done > 0 and 100 * total["survived"] <= (100 - given.least) * done
    columns = ("module", "mutants", "killed", "survived", "timeout", "killed or timed out", "open")
    print("", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows, "", *listed, sep="\n")
    return not good


if __name__ == "__main__":
    sys.exit(main())
