"""mAP and rank-1 against the share of real images, a column of panels a backbone, error bars of one deviation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_eval.plotting import new_figure, save_plot
from reid_eval.table.grid import Grid
from reid_eval.table.stats import METRICS, Entry

_MARKERS = "osD^v<>*"
MARKERS = len(_MARKERS)
"""Rows that a plot can tell apart."""


def write_plot(grid: Grid, entries: Mapping[tuple[str, str, str, str], Entry], *paths: Path) -> bool:
    """Draw the table to each of the paths, as its suffix says; False where matplotlib is not installed.

    The same table gives the same bytes.
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
            axis.set_xticks(range(len(grid.columns)), [column.replace(" ", "\n") for column in grid.columns])
            axis.grid(alpha=0.3)
        axes[0].set_ylabel(f"{printed}, %")
    for top, bottom, backbone in zip(panels[0], panels[-1], grid.backbones, strict=True):
        top.set_title(backbone)
        bottom.set_xlabel("share p of the real training images")
    if any(entry.values for entry in entries.values()):
        panels[0][-1].legend()
    for path in paths:
        save_plot(figure, path)
    return True


def _line(axis: Any, grid: Grid, entries: list[Entry], number: int) -> None:
    if not any(entry.values for entry in entries):
        return
    # Rows are set a little apart, or their bars hide each other.
    apart = (number - (len(grid.rows) - 1) / 2) * 0.08
    axis.errorbar(
        [place + apart for place in range(len(entries))],
        [100 * entry.mean for entry in entries],  # NaN where nothing is computed yet: the line breaks there
        [100 * (entry.sd or 0) for entry in entries],
        marker=_MARKERS[number],
        markersize=4,
        linewidth=1.3,
        capsize=2.5,
        label=grid.label(entries[0].row),
    )
