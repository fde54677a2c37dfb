"""A quality report as JSON, CSV and a table; the only writer of all three."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from augment.quality.catalogue import METRICS
from augment.quality.metrics import Report, Result
from reid_eval.runtime import write_json, write_text

COLUMNS = ("metric", "value", "spread", "before", "count", "unit", "better", "source")


def rows(report: Report) -> list[dict[str, Any]]:
    """One dict a metric, with `COLUMNS`; a number that is none is None."""
    return [_row(result) for result in report.results]


def _row(result: Result) -> dict[str, Any]:
    metric = METRICS[result.name]
    values = (result.name, result.value, result.spread, result.before, result.count, metric.unit, metric.better)
    row = dict(zip(COLUMNS, (*values, metric.source), strict=True))
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}


def write_quality_json(path: Path, report: Report, facts: dict[str, Any]) -> None:
    """Write values, reasons of what is missing, and what was measured."""
    write_json(path, {**facts, "metrics": rows(report), "left_out": report.left_out})


def write_quality_csv(path: Path, report: Report) -> None:
    """Write a line a metric."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(report))
    write_text(path, buffer.getvalue())


def print_quality(report: Report) -> None:
    """Print a table, and a line for each metric that could not be had."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("metric", "value", "±", "before", "of", "better", "unit")
    for result in report.results:
        metric = METRICS[result.name]
        cells = [_number(result.value), _number(result.spread), _number(result.before)]
        table.add_row(metric.title, *cells, str(result.count), metric.better, metric.unit)
    console.print(table)
    for name, reason in report.left_out.items():
        console.print(f"{METRICS[name].title}: not measured, {reason}", markup=False, highlight=False)


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}" if abs(value) < 100 else f"{value:.1f}"
