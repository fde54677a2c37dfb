"""Charts of rankings: CMC curves, and scores with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from augment.report.charts import Chart, Point, Series

LAST = 20
"""Ranks that a CMC curve is drawn to."""


def cmc_chart(title: str, curves: Mapping[str, Sequence[Sequence[float]]], ranks: Sequence[int] | None = None) -> Chart:
    """CMC curves, each the mean over seeds.

    Args:
        title: of the chart.
        curves: name to a curve a seed, shares 0..1.
        ranks: of the values; default: 1, 2, 3 ...
    """
    series = []
    for number, (name, seeds) in enumerate(curves.items()):
        if not len(seeds):
            continue
        values = 100 * np.array([curve[:LAST] for curve in seeds], dtype=float)
        at = list(ranks or range(1, values.shape[1] + 1))
        points = [
            Point(rank, float(column.mean()), single=tuple(map(float, column)) if len(column) > 1 else (),
                  note=f"rank {rank}: {column.mean():.1f}%")
            for rank, column in zip(at, values.T, strict=True)
        ]  # fmt: skip
        series.append(Series(name, tuple(points), marks=True, number=number))
    ticks = tuple((float(rank), str(rank)) for rank in (1, 5, 10, 15, 20))
    return Chart(title, "rank k", "matching rate, %", tuple(series), ticks)


def cmc_of_ranks(first_ranks: Sequence[int], last: int = LAST) -> list[float]:
    """The CMC curve of queries' first correct ranks (from 1; 0 for a query that does not count), shares 0..1."""
    ranks = np.asarray(first_ranks)
    counted = ranks[ranks > 0]
    if not len(counted):
        return [0.0] * last
    return [float((counted <= rank).mean()) for rank in range(1, last + 1)]
