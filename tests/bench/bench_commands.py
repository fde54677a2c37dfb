"""Whole commands, measured as a user starts them: how soon they answer, and one machine's Ray against none.

    python tests/bench/bench_commands.py            start-up, the first image, the bare `generate`
    python tests/bench/bench_commands.py --ray      and `generate --ray local` in turns with `generate`

The first image is timed from the start of the command until its file is there. A cold start draws the data set and
measures the engines; a warm one finds both in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]
COMMAND = [sys.executable, "-m", "augment"]


def bench_start(times: int = 5) -> list[Row]:
    """Seconds until `--help` is written and `import augment` is done: medians."""
    ways = {"patn-augment --help": [*COMMAND, "--help"], "import augment": [sys.executable, "-c", "import augment"]}
    rows = []
    for name, line in ways.items():
        run(line)  # reads the files into the system's cache
        took = [timed(lambda line=line: run(line)) for _ in range(times)]  # type: ignore[misc]
        rows.append({"what": name, "seconds": statistics.median(took), "worst": max(took)})
        print(f"{name:44s} {rows[-1]['seconds']:6.2f} s (worst of {times}: {max(took):.2f} s)", flush=True)
    bare = timed(lambda: run([sys.executable, "-c", "pass"]))
    print(f"{'python -c pass':44s} {bare:6.2f} s", flush=True)
    return rows


def bench_first_image() -> list[Row]:
    """The bare `generate --ratio 0.5`, cold and warm: seconds until its first image, and until its end."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        for state in ("cold", "warm"):
            out = Path(folder) / state
            first, last = generate(["--ratio", "0.5", "--out", str(out)], out, cache)
            rows.append({"what": f"generate --ratio 0.5, {state}", "first_image": first, "seconds": last})
            print(f"{rows[-1]['what']:44s} first image {first:.2f} s, all 192 {last:.1f} s", flush=True)
    return rows


def bench_ray(ratio: float = 4.0, times: int = 2) -> list[Row]:
    """`generate --ray local` in turns with `generate`: images a second of the whole command, and in its middle."""
    ways: dict[str, list[str]] = {"one process": [], "--ray local": ["--ray", "local"]}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        words = ["--ratio", str(ratio), "--mode", "add"]
        generate(["--ratio", "0.1", "--out", f"{folder}/first"], Path(folder) / "first", cache)
        for _ in range(times):
            for name, more in ways.items():
                out = Path(folder) / "out"
                start = time.time()
                generate([*words, "--out", str(out), *more], out, cache)
                written = sorted(path.stat().st_mtime for path in images(out))
                found[name].append((len(written) / (time.time() - start), rate_between(written)))
                shutil.rmtree(out)
    rows = []
    for name, rates in found.items():
        whole, steady = (statistics.median(column) for column in zip(*rates, strict=True))
        rows.append({"what": name, "images": len(written), "whole": whole, "in_the_middle": steady})
        print(f"generate, {name:34s} {whole:6.2f} images/s with its start, {steady:6.2f} in the middle", flush=True)
    steady, whole = (rows[1][key] / rows[0][key] for key in ("in_the_middle", "whole"))
    print(f"with Ray {steady:.3f} of the rate without, start and end not counted; {whole:.3f} with both")
    return rows


def rate_between(written: list[float]) -> float:
    """Images a second of the middle half: one worker begins, and ends, before another."""
    edge = len(written) // 4
    inner = written[edge : len(written) - edge]
    return (len(inner) - 1) / (inner[-1] - inner[0])


def generate(words: list[str], out: Path, cache: Path) -> tuple[float, float]:
    """Seconds until the first image of a `generate` is there, and until its end."""
    environment = {**os.environ, "PATN_AUGMENT_CACHE": str(cache)}
    start = time.time()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*COMMAND, "generate", *words], env=environment, stdout=said, stderr=said)
        while process.poll() is None:
            time.sleep(0.05)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return min(path.stat().st_mtime for path in images(out)) - start, time.time() - start


def images(out: Path) -> list[Path]:
    """That were generated."""
    return list((out / "bounding_box_train").glob("*_gen*.jpg"))


def run(line: list[str]) -> None:
    """A process, to its end."""
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def timed(work: Any) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Read the words, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = [*bench_start(), *bench_first_image(), *(bench_ray() if given.ray else [])]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
