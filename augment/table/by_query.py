"""Where a search gains and where it fails: scores by what a query shows, and by how much of its pose is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.pose.bins import pose_bins
from augment.pose.skeleton import seen
from augment.search.searched_photos import photos_of
from augment.table.study import Study
from augment.table.table_grid import PHOTO
from reid_eval.runtime import write_text
from reid_eval.table import Grid, Record
from reid_eval.table.stats import METRICS, query_scores

_JOINTS = ((18, "all 18"), (16, "16 or 17"), (13, "13 to 15"), (0, "12 or fewer"))
"""Joints that are known: at least so many, and what that is called."""


def query_groups(study: Study) -> dict[str, list[str]]:
    """Kinds of group to a label for each query: the side it shows, and the joints known."""
    photos = photos_of(study.reid, study.data.joints(), study.reid.query["path"].tolist())
    counts = seen(photos.joints).sum(1)
    return {
        "side": [str(label) for label in pose_bins(photos.joints)],
        "joints known": [next(label for least, label in _JOINTS if count >= least) for count in counts],
    }


def write_by_query(study: Study, grid: Grid, records: Mapping[str, Record], path: Path) -> Path:
    """Write mAP and rank-1 of the recipe's `test_by_query` and of the photo alone by group of queries, as Markdown.

    Means over the finished seeds, on the first column's networks; percent.
    """
    names = (PHOTO, *study.recipe.test_by_query)
    column, lines = grid.columns[0], [f"# {grid.title}, by query", ""]
    for kind, labels in query_groups(study).items():
        for backbone in grid.backbones:
            for metric, printed in METRICS.items():
                scores = [_mean(grid, records, backbone, name, column, metric) for name in names]
                if any(score is not None for score in scores):
                    lines += [f"## {backbone}, {printed}, by {kind}", "", *_table(kind, labels, names, scores), ""]
    seeds = sum(grid.key(grid.backbones[0], PHOTO, column, seed) in records for seed in grid.seeds)
    lines.append(f"- Networks trained on: {column}; {seeds} seeds. Queries without a correct image count for nothing.")
    write_text(path, "\n".join(lines) + "\n")
    return path


def _mean(
    grid: Grid, records: Mapping[str, Record], backbone: str, row: str, column: str, metric: str
) -> NDArray[np.float64] | None:
    """Each query's mean over the finished seeds, `[Q]`; None where there is none."""
    keys = [grid.key(backbone, row, column, seed) or "" for seed in grid.seeds]
    found = [query_scores(records[key], metric) for key in keys if key in records]
    return np.mean(found, axis=0) if found else None


def _table(kind: str, labels: list[str], names: tuple[str, ...], scores: list[NDArray[np.float64] | None]) -> list[str]:
    order = [label for _, label in _JOINTS] if kind == "joints known" else ["front", "side", "back", "unknown"]
    lines = [_line(kind, "queries", *names), _line(*["---"] * (len(names) + 2))]
    for label in order:
        chosen = np.array([one == label for one in labels])
        first = next(score for score in scores if score is not None)
        count = int((chosen & ~np.isnan(first)).sum())
        if count:
            means = ["..." if score is None else f"{100 * np.nanmean(score[chosen]):.1f}" for score in scores]
            lines.append(_line(label, str(count), *means))
    return lines


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
