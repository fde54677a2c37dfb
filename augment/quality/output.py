"""A quality report as plain values, CSV and a table; the only writer of all three."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.quality.catalogue import METRICS
from augment.quality.extras import Unavailable
from augment.quality.metrics import Report, Result
from reid_eval.runtime import write_text
from reid_eval.shown import shown

COLUMNS = ("metric", "value", "spread", "before", "photos", "count", "unit", "better", "source")


def rows(report: Report) -> list[dict[str, Any]]:
    """One dict a metric, with `COLUMNS`; a number that is none is None."""
    return [_row(result) for result in report.results]


def _row(result: Result) -> dict[str, Any]:
    metric = METRICS[result.name]
    values = (
        result.name,
        result.value,
        result.spread,
        result.before,
        result.photos,
        result.count,
        metric.unit,
        metric.better,
    )
    row = dict(zip(COLUMNS, (*values, metric.source), strict=True))
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}


def quality_facts(report: Report, facts: dict[str, Any]) -> dict[str, Any]:
    """For a JSON file: values, reasons of what is missing, and what was measured."""
    left_out = {name: str(why) for name, why in report.left_out.items()}
    return {**facts, "metrics": rows(report), "left_out": left_out}


def write_quality_csv(path: Path, report: Report) -> None:
    """Write a line a metric."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(report))
    write_text(path, buffer.getvalue())


def print_quality(report: Report, ways: Mapping[str, str] | None = None) -> None:
    """Print a table, without columns that would be empty, and a line for each metric that could not be had.

    Args:
        report: the figures.
        ways: how the user gives what a metric needs, by the names of `Unavailable.needs`.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)
    optional = [name for name in ("spread", "before", "photos") if any(r[name] is not None for r in rows(report))]
    headers = {"spread": "±", "before": "before", "photos": "photos"}
    table = Table("metric", "value", *(headers[name] for name in optional), "of", "better", "unit")
    for result in report.results:
        metric = METRICS[result.name]
        cells = [_number(getattr(result, name)) for name in ("value", *optional)]
        table.add_row(metric.title, *cells, str(result.count), metric.better, metric.unit)
    console.print(table)
    for name, why in report.left_out.items():
        line = f"{METRICS[name].title}: not measured, {with_way(why, ways or {})}"
        console.print(shown(line))


def with_way(why: Unavailable, ways: Mapping[str, str]) -> str:
    """What is missing, and in brackets how the user gives it."""
    way = ways.get(why.needs or "")
    return f"{why} ({way})" if way else str(why)


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}" if abs(value) < 100 else f"{value:.1f}"
