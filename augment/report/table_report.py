"""The page of a table of re-ID trainings: scores with intervals and single seeds, differences, leaks, CMC, rankings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from augment.report.charts import Chart, Point, Series, draw, legend
from augment.report.curves import cmc_chart, cmc_of_ranks
from augment.report.page_settings import Settings
from augment.report.rankings_shown import shown_rankings
from augment.report.run_facts import RunFacts, flat, read_run
from augment.report.thumbnails import Thumbnails
from augment.table.study import LISTS
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.rankings import RankedQuery, choose_queries, photo_of, read_lists
from reid_eval.runtime import InputError
from reid_eval.table import Grid, Record, Records, read_grid
from reid_eval.table.grid import GRID
from reid_eval.table.printed import comma_separated, footnotes, latex, markdown
from reid_eval.table.stats import METRICS, Difference, Entry, query_scores, summarise

SHOWN = 8
"""Queries of each kind whose rankings are shown."""
Entries = Mapping[tuple[str, str, str, str], Entry]


def table_page(root: Path, settings: Settings) -> tuple[dict[str, Any], dict[str, Any], Thumbnails]:
    """What the page of a table shows, of the records that are there.

    Raises:
        InputError: a layout or records that cannot be read.
    """
    path = root / f"table{GRID}"
    path = path if path.is_file() else sorted(root.glob(f"*{GRID}"))[0]
    grid = read_grid(path)
    records = Records(root / "records").found(list(grid.keys.values()))
    found = summarise(grid, records)
    entries = {(entry.backbone, entry.row, entry.column, entry.metric): entry for entry in found}
    run, thumbs = read_run(root / "run.json"), Thumbnails()
    data = _data(run, records)
    notes = [*grid.notes, *footnotes(grid, records)]
    context = {
        "title": grid.title,
        "folder": root.resolve().name,
        "command": run.command,
        "facts": _facts(grid, records),
        "leaks": [note for note in notes if note.startswith("LEAK") or " is leaky " in note or "is unknown at" in note],
        "notes": notes,
        "panels": [_panel(grid, entries, name, metric) for name in grid.backbones for metric in METRICS],
        "cmc": _cmc(grid, records),
        "skipped": _skipped(records, data),
        "downloads": {
            "csv": comma_separated(grid, found),
            "tex": latex(grid, entries, notes),
            "md": markdown(grid, entries, notes),
        },
        "rankings": _rankings(grid, records, root, data, thumbs, settings.seed),
        "baseline": grid.baseline,
        "settings": flat(run.table("recipe")),
        "versions": run.versions,
    }  # fmt: skip
    return context, {"kind": "table", "seed": settings.seed}, thumbs


def _data(run: RunFacts, records: Mapping[str, Record]) -> ReidData | None:
    """The data set, for names and pictures of queries; None where it is not there any more, or is another one."""
    root, first = run.text("data"), next(iter(records.values()), None)
    if root is None or first is None:
        return None
    source = run.table("recipe").get("data")
    layout = source.get("layout") if isinstance(source, dict) else None
    try:
        data = read_dataset(root, layout if isinstance(layout, str) else "auto")
    except (InputError, OSError):
        return None
    return data if data.query["pid"].tolist() == first.queries.pids else None


def _facts(grid: Grid, records: Mapping[str, Record]) -> list[tuple[str, str, str]]:
    keys = set(grid.keys.values())
    facts = [(f"{len(keys & set(records)):,}", f"{grid.unit} there", f"of {len(keys):,}")]
    facts.append(
        (f"{len(grid.seeds)}", "seeds" if len(grid.seeds) > 1 else "seed", ", ".join(map(str, grid.seeds[:8])))
    )
    if records:
        scores = next(iter(records.values())).scores
        facts.append((f"{scores.n_query - scores.n_skipped:,}", "queries that count", f"{scores.n_skipped:,} skipped"))
        facts.append((f"{scores.n_gallery:,}", "gallery images", f"{scores.steps:,} steps a training"))
    return facts


def _panel(grid: Grid, entries: Entries, backbone: str, metric: str) -> dict[str, Any]:
    """One network and metric: the chart, the scores, the differences."""
    printed = METRICS[metric]
    series = []
    for number, row in enumerate(grid.rows):
        apart = (number - (len(grid.rows) - 1) / 2) * 0.09
        points = [
            _point(place + apart, entries[backbone, row, column, metric]) for place, column in enumerate(grid.columns)
        ]
        if any(points):
            series.append(Series(grid.label(row), tuple(p for p in points if p), number=number))
    title = f"{backbone}: {printed}"
    chart = Chart(
        title, "share p of the real training images" if grid.unit == "trainings" else "trained on", f"{printed}, %",
        tuple(series), tuple((float(place), column) for place, column in enumerate(grid.columns)),
    )  # fmt: skip
    every = [(row, [entries[backbone, row, column, metric] for column in grid.columns]) for row in grid.rows]
    return {
        "backbone": backbone,
        "metric": printed,
        "title": title,
        "svg": draw(chart),
        "series": legend(tuple(series)),
        "file": f"{backbone}-{metric}".replace(":", "-").replace("/", "-"),
        "columns": grid.columns,
        "scores": [(grid.label(row), [_score(entry) for entry in cells]) for row, cells in every],
        "differences": [
            (grid.label(row), [_difference(entry.difference) for entry in cells]) for row, cells in every
            if any(entry.difference for entry in cells)
        ],
    }  # fmt: skip


def _point(x: float, entry: Entry) -> Point | None:
    """A cell's mean, one deviation to each side, and its seeds; percent."""
    if not entry.values:
        return None
    mean, sd = 100 * entry.mean, None if entry.sd is None else 100 * entry.sd
    low, high = (None, None) if sd is None else (mean - sd, mean + sd)
    seeds = tuple(100 * value for value in entry.values) if len(entry.values) > 1 else ()
    told = f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"
    return Point(
        x, mean, low, high, seeds, f"{told} at p = {entry.column}, {len(entry.values)} of {entry.expected} seeds"
    )


def _score(entry: Entry) -> dict[str, Any]:
    if not entry.expected:
        return {"text": "–", "seeds": ""}
    if not entry.values:
        return {"text": "…", "seeds": "not computed yet"}
    text = f"{100 * entry.mean:.1f}" if entry.sd is None else f"{100 * entry.mean:.1f} ± {100 * entry.sd:.1f}"
    return {"text": text, "seeds": ", ".join(f"{100 * value:.1f}" for value in entry.values)}


def _difference(found: Difference | None) -> dict[str, Any]:
    """Coloured, and called better or worse, only where the interval leaves 0 out."""
    if found is None:
        return {"text": "", "interval": "", "state": "none", "word": ""}
    state = "up" if found.low > 0 else "down" if found.high < 0 else "open"
    return {
        "text": f"{100 * found.mean:+.1f}",
        "interval": f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]",
        "state": state,
        "word": {"up": "better", "down": "worse", "open": ""}[state],
    }


def _cmc(grid: Grid, records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """A chart a network and column: a curve a row, the mean over seeds."""
    charts = []
    for backbone in grid.backbones:
        for column in grid.columns:
            curves = {}
            for row in grid.rows:
                keys = [grid.key(backbone, row, column, seed) or "" for seed in grid.seeds]
                there = [cmc_of_ranks(records[key].queries.first_ranks) for key in keys if key in records]
                if there:
                    curves[grid.label(row)] = there
            if curves:
                chart = cmc_chart(f"{backbone}, p = {column}: CMC", curves)
                series = legend(chart.series)
                charts.append({"backbone": backbone, "column": column, "svg": draw(chart), "series": series})
    return charts


def _skipped(records: Mapping[str, Record], data: ReidData | None) -> list[str]:
    """Queries that count for nothing, by name, or by number where the data set is not there."""
    first = next(iter(records.values()), None)
    if first is None:
        return []
    rows = [row for row, rank in enumerate(first.queries.first_ranks) if rank == 0]
    paths = None if data is None else data.query["path"].tolist()
    return [f"query {row}, person {first.queries.pids[row]}" if paths is None else str(paths[row]) for row in rows]


def _rankings(
    grid: Grid, records: Mapping[str, Record], root: Path, data: ReidData | None, thumbs: Thumbnails, seed: int
) -> dict[str, Any]:
    """Rankings of the pair of cells whose difference is told first: the last row against its baseline."""
    if data is None:
        return {"groups": [], "why": "the data set is not where it was, so there are no pictures of rankings"}
    pair = _pair(grid, records, root)
    if pair is None:
        return {"groups": [], "why": "no two trainings that are compared have kept their rankings: those of cells that "
                "were computed by an earlier version are not there"}  # fmt: skip
    (ours, theirs), (backbone, row, baseline, column, number) = pair
    both = {grid.label(baseline): theirs, grid.label(row): ours}
    lists = {
        name: read_lists(root / LISTS / f"{one.key}.npz", len(data.query), len(data.gallery))
        for name, one in both.items()
    }
    chosen = choose_queries(
        data.query["path"].tolist(), query_scores(ours, "mAP"), query_scores(theirs, "mAP"), SHOWN, seed
    )
    groups = {
        kind: [_ranked(at, both, lists, data) for at in rows.tolist()] for kind, rows in chosen.items() if len(rows)
    }
    told = f"{backbone}, p = {column}, seed {number}: {grid.label(row)} against {grid.label(baseline)}"
    return {
        "groups": shown_rankings(groups, (grid.label(baseline), grid.label(row)), data.root, thumbs),
        "why": None,
        "of": told,
    }


def _pair(
    grid: Grid, records: Mapping[str, Record], root: Path
) -> tuple[tuple[Record, Record], tuple[Any, ...]] | None:
    for row in reversed(grid.rows):
        baseline = grid.baseline_of(row)
        for backbone in grid.backbones if baseline else ():
            for column in grid.columns:
                for seed in grid.seeds:
                    keys = [grid.key(backbone, name, column, seed) or "" for name in (row, baseline or "")]
                    kept = all(key in records and (root / LISTS / f"{key}.npz").is_file() for key in keys)
                    if keys[0] != keys[1] and kept:
                        return (records[keys[0]], records[keys[1]]), (backbone, row, baseline, column, seed)
    return None


def _ranked(at: int, both: Mapping[str, Record], lists: Mapping[str, Any], data: ReidData) -> RankedQuery:
    query = photo_of(data, "query", at)
    shown = {
        name: [photo_of(data, "gallery", int(place), query.pid) for place in found[at] if place >= 0]
        for name, found in lists.items()
    }
    scores = {name: float(np.nan_to_num(query_scores(one, "mAP")[at])) for name, one in both.items()}
    ranks = {name: one.queries.first_ranks[at] for name, one in both.items()}
    return RankedQuery(query=query, precision=scores, first_rank=ranks, lists=shown)
