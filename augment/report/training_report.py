"""The page of a generator's training: losses, rate, sample sheets, settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from augment.generators.patn.train import CHECKPOINT, CULPRIT, WEIGHTS
from augment.quality.plots import LogLine, read_log, shown_panels
from augment.report.charts import Chart, Point, Series, draw, legend
from augment.report.detect import LOG
from augment.report.page_settings import Settings
from augment.report.run_facts import flat, read_run
from augment.report.thumbnails import Thumbnails

MOST_POINTS = 400
"""Of a curve: more than there are pixels says nothing."""
MOST_SHEETS = 24
_SHEET = re.compile(r"step_(\d{1,18})\.png")
_NAMES = {
    "l1": "L1",
    "gan_appearance": "appearance",
    "gan_shape": "shape",
    "d_appearance": "appearance",
    "d_shape": "shape",
    "pairs_per_second": "pairs/s",
}


def training_page(root: Path, settings: Settings) -> tuple[dict[str, Any], dict[str, Any], Thumbnails]:
    """What the page of a training shows.

    Raises:
        InputError: a log that cannot be read.
    """
    run, lines = read_run(root / "run.json"), read_log(root / LOG)
    thumbs = Thumbnails(height=1200)
    sheets = _sheets(root)
    numbers = thumbs.add([path for _, path in sheets])
    recipe = run.table("recipe")
    last = lines[-1]
    context = {
        "title": root.resolve().name,
        "command": run.command,
        "facts": _facts(lines),
        "about": [("State", _state(root)), *([("Device", d)] if (d := run.text("device")) else []),
                  *([("Versions", run.versions)] if run.versions else [])],
        "charts": [_chart(title, names, lines) for title, names in shown_panels(lines).items()],
        "sheets": [(step, number) for (step, _), number in zip(sheets, numbers, strict=True) if number is not None],
        "settings": flat(recipe),
        "next": f"patn-augment measure {root.resolve() / WEIGHTS}" if (root / WEIGHTS).is_file() else None,
        "last": last,
    }  # fmt: skip
    return context, {"kind": "training", "seed": settings.seed}, thumbs


def _state(root: Path) -> str:
    if (root / CULPRIT).is_file():
        return f"diverged: {CULPRIT} says where"
    if (root / WEIGHTS).is_file():
        return f"finished: {WEIGHTS}"
    return "not finished: the same command resumes it" if (root / CHECKPOINT).is_file() else "no checkpoint yet"


def _facts(lines: list[LogLine]) -> list[tuple[str, str, str]]:
    first, last = lines[0], lines[-1]
    rates = [line.pairs_per_second for line in lines if line.pairs_per_second is not None]
    facts = [(f"{last.pairs:,}", "pairs seen", f"{len(lines):,} lines in the log")]
    if last.l1 is not None:
        before = f"{first.l1:.3f} at the first line" if first.l1 is not None else ""
        facts.append((f"{last.l1:.3f}", "L1 at the end", before))
    if rates:
        facts.append((f"{rates[-1]:,.1f}", "pairs a second", f"{min(rates):,.1f} to {max(rates):,.1f}"))
    return facts


def _sheets(root: Path) -> list[tuple[int, Path]]:
    """(step, file) of the sample sheets, the first, the last, and evenly between."""
    folder = root / "sheets"
    found = sorted(
        (int(match[1]), path) for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _SHEET.fullmatch(path.name))
    )  # fmt: skip
    if len(found) <= MOST_SHEETS:
        return found
    return [found[round(at * (len(found) - 1) / (MOST_SHEETS - 1))] for at in range(MOST_SHEETS)]


def _chart(title: str, names: tuple[str, ...], lines: list[LogLine]) -> dict[str, Any]:
    step = max(1, -(-len(lines) // MOST_POINTS))
    shown = [*lines[::step], *([lines[-1]] if (len(lines) - 1) % step else [])]
    series = tuple(
        Series(_NAMES[name], tuple(Point(line.pairs, value) for line in shown
               if (value := getattr(line, name)) is not None), marks=len(shown) <= 40, number=number)
        for number, name in enumerate(names)
    )  # fmt: skip
    file = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    keys = legend(series) if len(series) > 1 else []
    return {"title": title, "svg": draw(Chart(title, "pairs seen", title, series)), "series": keys, "file": file}
