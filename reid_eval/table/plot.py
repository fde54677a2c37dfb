"""Plots of a table against the share of real images: scores, a column of panels a backbone, and gains in mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reid_eval.plotting import new_figure, save_plot
from reid_eval.table.grid import Grid
from reid_eval.table.stats import METRICS, Difference, Entry

_MARKERS = "osD^v<>*"
MARKERS = len(_MARKERS)
"""Rows that a plot can tell apart."""


def write_plot(grid: Grid, entries: Mapping[tuple[str, str, str, str], Entry], *paths: Path) -> bool:
    """Draw the scores to each of the paths, as its suffix says; False where matplotlib is not installed.

    Error bars are one deviation over seeds. The same table gives the same bytes.
    """
    try:
        figure = new_figure(figsize=(1.6 + 4.6 * len(grid.backbones), 6.6), layout="constrained")
    except ImportError:
        return False
    panels = figure.subplots(len(METRICS), len(grid.backbones), squeeze=False, sharex="col", sharey="row")
    for axes, (metric, printed) in zip(panels, METRICS.items(), strict=True):
        for axis, backbone in zip(axes, grid.backbones, strict=True):
            for number, row in enumerate(grid.rows):
                _line(axis, grid, [entries[backbone, row, column, metric] for column in grid.columns], number)
            _shares(axis, grid.columns)
        axes[0].set_ylabel(f"{printed}, %")
    for top, bottom, backbone in zip(panels[0], panels[-1], grid.backbones, strict=True):
        top.set_title(backbone)
        bottom.set_xlabel("share p of the real training images")
    if any(entry.values for entry in entries.values()):
        panels[0][-1].legend()
    for path in paths:
        save_plot(figure, path)
    return True


def write_gains(grid: Grid, entries: Mapping[tuple[str, str, str, str], Entry], *paths: Path) -> bool:
    """Draw what the rows gain in mAP over those that they are compared with, with the 95% intervals of the differences.

    The same table gives the same bytes; False, and nothing written, where matplotlib is not installed or no difference
    is known.
    """
    gains = {place: entry for place, entry in entries.items() if entry.metric == "mAP" and entry.difference}
    if not gains:
        return False
    try:
        figure = new_figure(figsize=(1.2 + 4.6 * len(grid.backbones), 4.0), layout="constrained")
    except ImportError:
        return False
    columns = [name for name in grid.columns if any(entry.column == name for entry in gains.values())]
    axes = figure.subplots(1, len(grid.backbones), squeeze=False, sharey=True)[0]
    for axis, backbone in zip(axes, grid.backbones, strict=True):
        axis.axhline(0, color="black", linewidth=0.8)
        for number, row in enumerate(grid.rows):
            found = [(place, gains.get((backbone, row, name, "mAP"))) for place, name in enumerate(columns)]
            _gains(axis, [(place, entry.difference) for place, entry in found if entry], number, grid)
        _shares(axis, columns)
        axis.set_title(backbone)
        axis.set_xlabel("share p of the real training images")
    axes[0].set_ylabel(f"mAP less {grid.baseline}, points")
    shown = [axis.get_legend_handles_labels() for axis in axes]
    named = {label: handle for handles, labels in shown for handle, label in zip(handles, labels, strict=True)}
    figure.legend(named.values(), named, fontsize="small", loc="outside lower center", ncols=4)
    for path in paths:
        save_plot(figure, path)
    return True


def _gains(axis: Any, found: list[tuple[int, Difference | None]], number: int, grid: Grid) -> None:
    known = [(place + _apart(number, grid), gap) for place, gap in found if gap]
    if not known:
        return
    bars = [[100 * (gap.mean - gap.low) for _, gap in known], [100 * (gap.high - gap.mean) for _, gap in known]]
    axis.errorbar(
        [place for place, _ in known],
        [100 * gap.mean for _, gap in known],
        bars,
        color=f"C{number}",
        marker=_MARKERS[number],
        markersize=5,
        linewidth=1.3,
        linestyle="--" if grid.rows[number] == grid.ceiling else "-",
        capsize=2.5,
        label=grid.label(grid.rows[number]),
    )


def _shares(axis: Any, columns: Sequence[str]) -> None:
    axis.set_xticks(range(len(columns)), [column.replace(" ", "\n") for column in columns])
    axis.grid(alpha=0.3)


def _apart(number: int, grid: Grid) -> float:
    """Rows are set a little apart, or their bars hide each other."""
    return (number - (len(grid.rows) - 1) / 2) * 0.08


def _line(axis: Any, grid: Grid, entries: list[Entry], number: int) -> None:
    if not any(entry.values for entry in entries):
        return
    axis.errorbar(
        [place + _apart(number, grid) for place in range(len(entries))],
        [100 * entry.mean for entry in entries],  # NaN where nothing is computed yet: the line breaks there
        [100 * (entry.sd or 0) for entry in entries],
        marker=_MARKERS[number],
        markersize=4,
        linewidth=1.3,
        capsize=2.5,
        label=grid.label(entries[0].row),
    )
