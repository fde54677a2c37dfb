"""mAP against the share of real images, a panel a backbone, error bars of one deviation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_eval.runtime import atomic_path
from reid_eval.table.grid import Grid
from reid_eval.table.stats import Entry

_MARKERS = "osD^v<>*"
MARKERS = len(_MARKERS)
"""Rows that a plot can tell apart."""


def write_plot(grid: Grid, entries: Mapping[tuple[str, str, str, str], Entry], path: Path, metric: str = "mAP") -> bool:
    """Draw the table as PNG; False where matplotlib is not installed. The same table gives the same bytes."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(1.6 + 4.6 * len(grid.backbones), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(grid.backbones), squeeze=False, sharey=True)[0]
    for axis, backbone in zip(axes, grid.backbones, strict=True):
        for number, row in enumerate(grid.rows):
            _line(axis, grid, [entries[backbone, row, column, metric] for column in grid.columns], number)
        axis.set_xticks(range(len(grid.columns)), [column.replace(" ", "\n") for column in grid.columns])
        axis.set_title(backbone)
        axis.set_xlabel("share p of the real training images")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"{metric}, %")
    if any(entry.values for entry in entries.values()):
        axes[-1].legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
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
