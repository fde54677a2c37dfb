"""How much of a command's time its networks take: `poses`, `quality`, `gate`, and `generate` with and without its gate.

    python tests/bench/bench_share.py                 all of them
    python tests/bench/bench_share.py --only poses --images 2000

Each command runs in this process, on a fifth of the images and on all of them. Every call of a network is kept, and
carried out again without anything between: the time of that over the command's is the share. Reading, drawing maps,
measuring, writing and the command's own start are the rest; the start is not in the difference of the two runs.
Networks are torch's (`--backend torch`), since calls of others cannot be kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from bench_commands import timed
from torch import nn

from augment.commands.main import main as patn_augment
from augment.synth.dataset import SynthSettings, write_dataset
from reid_eval.runtime import hide_progress

Row = dict[str, Any]


class Call(NamedTuple):
    """Of a network, with the precision it had."""

    network: nn.Module
    given: tuple[Any, ...]
    named: dict[str, Any]
    bf16: bool

    def again(self) -> None:
        """The same work."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            self.network(*self.given, **self.named)


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """All calls of networks, whoever makes them; of a network within another only the outer one."""
    calls: list[Call] = []
    within, plain = threading.local(), nn.Module.__call__

    def call(network: nn.Module, *given: Any, **named: Any) -> Any:
        if getattr(within, "one", False):
            return plain(network, *given, **named)
        within.one = True
        try:
            calls.append(Call(network, given, named, torch.is_autocast_enabled("cpu")))
            return plain(network, *given, **named)
        finally:
            within.one = False

    with patch.object(nn.Module, "__call__", call):
        yield calls


def share(name: str, little: list[str], words: list[str], folder: Path) -> Row:
    """Of one command's time, and of what it takes longer for all than for little: its start is not in that."""
    lines = [[word.replace("OUT", tempfile.mktemp(dir=folder)) for word in line] for line in (little, little, words)]
    start(lines[0])
    found = []
    for line in lines[1:]:
        with recorded() as calls:
            whole = timed(lambda line=line: start(line))  # type: ignore[misc]
        calls[0].again()
        found.append((whole, timed(lambda calls=calls: [call.again() for call in calls])))  # type: ignore[misc]
    (less, less_alone), (whole, alone) = found
    row = {"what": name, "seconds": whole, "networks": alone, "share": alone / whole,
           "growing": whole - less, "networks_growing": alone - less_alone,
           "share_growing": (alone - less_alone) / (whole - less)}  # fmt: skip
    print(f"{name:20s} {whole:6.1f} s, networks {alone:6.1f} s: {100 * row['share']:3.0f} %; without its start "
          f"{row['growing']:6.1f} s, networks {row['networks_growing']:6.1f} s: {100 * row['share_growing']:3.0f} %",
          flush=True)  # fmt: skip
    return row


def start(words: list[str]) -> None:
    """A command in this process. `gate` ends with 1 where it rejects anything."""
    try:
        with redirect_stdout(io.StringIO()):
            patn_augment(words)
    except SystemExit as end:
        if end.code != 1 or words[0] != "gate":
            raise


def commands(folder: Path, images: int) -> dict[str, tuple[list[str], list[str]]]:
    """Of each its words, on a fifth and on all of about so many drawn images."""
    places = {folder / "small": images // 5, folder / "large": images}
    engine = ["--backend", "torch", "--weights", "patn-synth", "--ratio", "0.5"]
    for place, count in places.items():
        write_dataset(place, SynthSettings(train_ids=count // 12, test_ids=4, images_per_id=12), torch.device("cpu"))
        start(["generate", str(place), *engine, "--out", f"{place}-made"])
    of_each: dict[str, Callable[[Path], list[str]]] = {
        "generate": lambda place: ["generate", str(place), *engine, "--out", "OUT"],
        "generate --gate": lambda place: ["generate", str(place), *engine, "--gate", "--out", "OUT"],
        "poses": lambda place: ["poses", str(place), "--estimator", "synth", "--out", "OUT.csv"],
        "gate": lambda place: ["gate", f"{place}-made"],
        "quality FOLDER": lambda place: ["quality", f"{place}-made"],
        "quality --weights": lambda place: ["quality", "--weights", "patn-synth", "--pairs", str(places[place] // 2)],
    }
    small, large = places
    return {name: (words(small), words(large)) for name, words in of_each.items()}


def bench_shares(images: int = 1200, only: str | None = None) -> list[Row]:
    """All commands, or one; prints a line each."""
    hide_progress()
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, {"PATN_AUGMENT_CACHE": f"{name}/cache"}):
        folder = Path(name)
        every = commands(folder, images)
        return [share(what, *words, folder) for what, words in every.items() if only in (None, what)]


def main() -> None:
    """Read the words, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1200, help="About so many, at least 120.")
    parser.add_argument("--only")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = bench_shares(given.images, given.only)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
