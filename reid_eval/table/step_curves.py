"""Scores against steps of the trainings that were looked at on the way: `curve.md`, `curve.csv` and `curve.png`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_eval.runtime import atomic_path, write_text
from reid_eval.table.cells import Point, Record
from reid_eval.table.grid import Grid
from reid_eval.table.stats import seeds_interval

CSV_COLUMNS = ("backbone", "row", "column", "steps", "seeds", "mean", "sd", "difference", "low", "high")


@dataclass(frozen=True)
class CurvePoint:
    """Mean Average Precision, 0..1, of a row and column after so many steps, over the seeds.

    A training that stopped earlier stays at its last score.
    """

    backbone: str
    row: str
    column: str
    steps: int
    values: tuple[float, ...]
    differences: tuple[float, ...]
    """Against the baseline at the same step, of seeds that both have; empty without."""


def curve_points(grid: Grid, records: Mapping[str, Record]) -> list[CurvePoint]:
    """All points of a table's curves, in its order; none where no training was looked at."""
    found = []
    for backbone in grid.backbones:
        for row in grid.rows:
            for column in grid.columns:
                own = _curves(grid, records, backbone, row, column)
                baseline = grid.baseline_of(row)
                theirs = _curves(grid, records, backbone, baseline, column) if baseline else {}
                theirs = {seed: curve for seed, curve in theirs.items() if curve is not own.get(seed)}
                for steps in _steps(own):
                    values = {seed: _at(curve, steps) for seed, curve in own.items()}
                    gaps = [value - _at(theirs[seed], steps) for seed, value in values.items() if seed in theirs]
                    found.append(CurvePoint(backbone, row, column, steps, tuple(values.values()), tuple(gaps)))
    return found


def _curves(
    grid: Grid, records: Mapping[str, Record], backbone: str, row: str, column: str
) -> dict[int, tuple[Point, ...]]:
    keys = {seed: grid.key(backbone, row, column, seed) or "" for seed in grid.seeds}
    return {seed: records[key].curve for seed, key in keys.items() if key in records and records[key].curve}


def _steps(curves: Mapping[int, tuple[Point, ...]]) -> list[int]:
    """Steps that are looked at in all trainings, and the last of the longest."""
    ends = [curve[-1].steps for curve in curves.values()]
    looked = {point.steps for curve in curves.values() for point in curve[:-1]}
    return sorted(looked | {max(ends)}) if ends else []


def _at(curve: tuple[Point, ...], steps: int) -> float:
    """The last score that was known after so many steps."""
    return [point.mAP for point in curve if point.steps <= steps or point is curve[0]][-1]


def write_curves(grid: Grid, records: Mapping[str, Record], folder: Path) -> list[Path]:
    """Write `curve.md`, `.csv` and, where matplotlib is there, `.png`; returns their paths, none without curves."""
    points = curve_points(grid, records)
    if not points:
        return []
    write_text(folder / "curve.md", _markdown(grid, points))
    write_text(folder / "curve.csv", _comma_separated(points))
    paths = [folder / "curve.md", folder / "curve.csv"]
    return [*paths, *([folder / "curve.png"] if _plot(grid, points, folder / "curve.png") else [])]


def _markdown(grid: Grid, points: list[CurvePoint]) -> str:
    lines = [f"# {grid.title}: mAP against steps", ""]
    for backbone in grid.backbones:
        for column in grid.columns:
            here = [point for point in points if (point.backbone, point.column) == (backbone, column)]
            steps = sorted({point.steps for point in here})
            if not here:
                continue
            lines += [f"## {backbone}, p = {column}", "", f"| steps | {' | '.join(map(str, steps))} |"]
            lines.append("| --- |" + " --- |" * len(steps))
            for row in dict.fromkeys(point.row for point in here):
                at = {point.steps: point for point in here if point.row == row}
                lines.append(f"| {grid.label(row)} | {' | '.join(_score(at.get(step)) for step in steps)} |")
                if any(point.differences for point in at.values()):
                    name = f"{grid.label(row)} minus {grid.baseline_of(row)}"
                    lines.append(f"| {name} | {' | '.join(_gap(at.get(step)) for step in steps)} |")
            lines.append("")
    lines += [
        f"- Percent, mean over {_seeds_there(grid, points)}; in brackets the 95% interval of "
        "the mean difference over seeds alone (Student's t), paired by seed.",
        "- Each point is the network as it would be if the training ended there, at the learning rate it has there. "
        "A training that stopped earlier stays at its last score.",
    ]
    return "\n".join(lines) + "\n"


def _seeds_there(grid: Grid, points: list[CurvePoint]) -> str:
    """How many seeds the means are of, which are fewer than the table's while it is being made."""
    there, asked = sorted({len(point.values) for point in points}), len(grid.seeds)
    told = str(there[0]) if len(there) == 1 else f"{there[0]} to {there[-1]}"
    if there == [asked]:
        return f"{asked} seed{'s' * (asked > 1)}"
    return f"{told} of {asked} seeds (`curve.csv` says of how many each)"


def _score(point: CurvePoint | None) -> str:
    return f"{100 * float(np.mean(point.values)):.1f}" if point else ""


def _gap(point: CurvePoint | None) -> str:
    if point is None or not point.differences:
        return ""
    mean = 100 * float(np.mean(point.differences))
    ends = seeds_interval(point.differences)
    return f"{mean:+.1f}" if ends is None else f"{mean:+.1f} [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]"


def _comma_separated(points: list[CurvePoint]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for point in points:
        sd = float(np.std(point.values, ddof=1)) if len(point.values) > 1 else None
        gap = float(np.mean(point.differences)) if point.differences else None
        ends = seeds_interval(point.differences) or (None, None)
        numbers = [float(np.mean(point.values)), sd, gap, *ends]
        told = ["" if number is None else f"{number:.6f}" for number in numbers]
        writer.writerow([point.backbone, point.row, point.column, point.steps, len(point.values), *told])
    return buffer.getvalue()


def _plot(grid: Grid, points: list[CurvePoint], path: Path) -> bool:
    """A panel a column of the first backbone; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    columns = list(dict.fromkeys(point.column for point in points))
    figure = Figure(figsize=(1.6 + 3.4 * len(columns), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, column in zip(axes, columns, strict=True):
        for backbone in grid.backbones:
            for row in grid.rows:
                here = [p for p in points if (p.backbone, p.row, p.column) == (backbone, row, column)]
                name = grid.label(row) if len(grid.backbones) == 1 else f"{backbone}, {grid.label(row)}"
                axis.plot(
                    [p.steps for p in here],
                    [100 * float(np.mean(p.values)) for p in here],
                    marker="o",
                    ms=3,
                    label=name,
                ) if here else None
        axis.set_title(f"p = {column}")
        axis.set_xlabel("steps")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mAP, %")
    axes[-1].legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    return True
