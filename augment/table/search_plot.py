"""The gain by the number of generated views, and the controls beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.table.search_recipe import Search, Views, poses_asked
from augment.table.study import Study, images_beside
from augment.table.table_grid import PHOTO
from reid_eval.plotting import new_figure, save_plot
from reid_eval.table import Grid, Record
from reid_eval.table.stats import METRICS, Entry, summarise


def write_search_plot(study: Study, grid: Grid, records: Mapping[str, Record], *paths: Path) -> bool:
    """Draw mAP and rank-1 against the number of views, a column of panels a backbone; controls as lines across.

    The networks are those of the first column. False where matplotlib is not installed, or no two numbers of views are
    searched with. The same table gives the same bytes.
    """
    curve = _curve(study)
    if len(curve) < 2:
        return False
    try:
        figure = new_figure(figsize=(1.0 + 4.2 * len(grid.backbones), 9.0), layout="constrained")
    except ImportError:
        return False
    controls = _controls(study, curve)
    entries = {(e.backbone, e.metric, e.row): e for e in summarise(grid, records) if e.column == grid.columns[0]}
    panels = figure.subplots(len(METRICS), len(grid.backbones), squeeze=False)
    for axes, (metric, printed) in zip(panels, METRICS.items(), strict=True):
        for axis, backbone in zip(axes, grid.backbones, strict=True):
            own = {row: one for (name, of, row), one in entries.items() if (name, of) == (backbone, metric)}
            _panel(axis, own, curve, controls)
            axis.set_title(backbone)
        axes[0].set_ylabel(f"{printed}, %")
    for path in paths:
        save_plot(figure, path, dpi=110)
    return True


def _curve(study: Study) -> dict[int, str]:
    """Number of views to the search: of the images that most searches look at, ranked and fused in the usual way."""
    usual = [search for search in study.recipe.test if poses_asked(search) and isinstance(search, Views)]
    usual = [search for search in usual if _is_usual(search)]
    looked = [images_beside(search) for search in usual]
    found = {poses_asked(s): s.name for s in usual if looked.count(images_beside(s)) == max(map(looked.count, looked))}
    return {0: PHOTO, **dict(sorted(found.items()))} if found else {}


def _controls(study: Study, curve: Mapping[int, str]) -> list[str]:
    rows = [search for search in study.recipe.test if _is_usual(search) and search.kind != "photo"]
    return [search.name for search in rows if search.name not in curve.values()]


def _is_usual(search: Search) -> bool:
    default = type(search).model_fields["pose_weight"].default
    return search.calibrate and not search.rerank and search.gallery == "market1501" and search.pose_weight == default


def _panel(axis: Any, entries: Mapping[str, Entry], curve: Mapping[int, str], controls: list[str]) -> None:
    shown = {count: entries[row] for count, row in curve.items() if entries[row].values}
    places = {count: place for place, count in enumerate(curve)}
    axis.errorbar(
        [places[count] for count in shown],
        [100 * entry.mean for entry in shown.values()],
        [100 * (entry.sd or 0) for entry in shown.values()],
        marker="o", color="C0", linewidth=2, capsize=3, label="generated views",
    )  # fmt: skip
    there = sorted((100 * entries[row].mean, row) for row in controls if entries[row].values)
    low, high = axis.get_ylim()
    low, high = min([low, *(value - 1 for value, _ in there)]), max([high, *(value + 1 for value, _ in there)])
    axis.set_ylim(low, high)
    # Names stand to the right, in the order of their lines, and apart.
    places_of = _apart([value for value, _ in there], (high - low) / 24)
    for number, ((value, row), place) in enumerate(zip(there, places_of, strict=True)):
        colour = f"C{1 + number % 9}"
        axis.axhline(value, color=colour, linewidth=1, linestyle="--", zorder=0)
        axis.annotate(
            row, (1, value), (1.05, place), xycoords=("axes fraction", "data"), textcoords=("axes fraction", "data"),
            va="center", fontsize=8, color=colour, arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7},
        )  # fmt: skip
    axis.set_xlim(-0.3, len(curve) - 0.7)
    axis.set_xticks(list(places.values()), [str(count) for count in places])
    axis.set_xlabel("generated views of each image")
    axis.grid(alpha=0.25, axis="x")


def _apart(values: list[float], least: float) -> list[float]:
    """Ascending values moved so that neighbours are at least so far apart, the whole about where it was."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + least) if placed else value)
    drift = sum(placed) / len(placed) - sum(values) / len(values) if values else 0.0
    return [place - drift for place in placed]
