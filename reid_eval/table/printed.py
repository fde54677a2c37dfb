"""A table as Markdown, CSV, LaTeX (booktabs) and a plot. The same grid and records give the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

import numpy as np

from reid_eval.runtime import write_text
from reid_eval.table.cells import Record
from reid_eval.table.grid import Grid
from reid_eval.table.stats import (
    LEVEL,
    METRICS,
    POWER,
    Difference,
    Entry,
    detectable,
    paired_p,
    share_of,
    summarise,
    surviving,
)

MISSING = "..."
"""Printed for a cell that is not computed yet."""
ABSENT = "-"
"""Printed where a row has no such column."""
_CSV_SCORES = ("backbone", "row", "label", "column", "metric", "seeds", "expected", "mean", "sd")
CSV_COLUMNS = (*_CSV_SCORES, "difference", "low", "high", "pairs")
Entries = Mapping[tuple[str, str, str, str], Entry]


def write_report(grid: Grid, records: Mapping[str, Record], folder: Path, name: str = "table") -> list[Path]:
    """Write NAME`.md`, `.csv`, `.tex` and, where matplotlib is there, `.png` and `.svg`; returns their paths.

    With differences to show also NAME`-gains.png` and `.svg`. Without plots where there are more rows than a plot can
    tell apart.
    """
    from reid_eval.table.plot import MARKERS, write_gains, write_plot

    found = summarise(grid, records)
    entries = {(entry.backbone, entry.row, entry.column, entry.metric): entry for entry in found}
    notes = [*grid.notes, *footnotes(grid, records), *power_notes(found), *ceiling_notes(grid, entries)]
    texts = {
        folder / f"{name}.md": markdown(grid, entries, notes),
        folder / f"{name}.csv": comma_separated(grid, found),
        folder / f"{name}.tex": latex(grid, entries, notes),
    }
    for path, text in texts.items():
        write_text(path, text)
    written = list(texts)
    for stem, write in ((name, write_plot), (f"{name}-gains", write_gains)):
        plots = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        if len(grid.rows) <= MARKERS and write(grid, entries, *plots):
            written += plots
    return written


def footnotes(grid: Grid, records: Mapping[str, Record]) -> list[str]:
    """What was measured with what, from the records themselves."""
    keys = set(grid.keys.values())
    used = [records[key] for key in sorted(keys & set(records))]
    notes = []
    if len(used) < len(keys):
        notes.append(
            f"Unfinished: {len(used)} of {len(keys)} {grid.unit} are there; `{MISSING}` marks what is missing."
        )
    if used:
        first = used[0].scores
        devices = sorted({f"{record.made['device_name']} ({_precision(record)})" for record in used})
        notes.append(
            f"Percent, mean ± sample deviation over {len(grid.seeds)} seed{'s' * (len(grid.seeds) > 1)} "
            f"({', '.join(map(str, grid.seeds))}); {first.n_query - first.n_skipped} queries, {first.n_gallery} "
            f"gallery images; {_steps(used)}. "
            f"Device: {', '.join(devices)}."
        )
        if skipped := first.n_skipped:
            notes.append(f"{skipped} queries have no correct image in the gallery and count for nothing.")
    if grid.baseline is not None and len(grid.rows) > 1:
        notes.append(
            f"Differences are paired (same seed, same queries) against `{grid.baseline}`; in brackets the 95% "
            "bootstrap interval over test identities and seeds. With few seeds it is narrower than the spread of "
            "trainings deserves."
        )
    return notes


def _steps(records: list[Record]) -> str:
    """The number of steps, in words."""
    steps = sorted({record.scores.steps for record in records})
    settings = [record.facts.get("settings") for record in records]
    stops = {one.get("stop_accuracy", 0) for one in settings if isinstance(one, dict)} - {0}
    if not stops:
        return f"{' or '.join(map(str, steps))} steps for every training, whatever its number of images"
    accuracy = " or ".join(f"{100 * stop:g}%" for stop in sorted(stops))
    budgets = sorted({int(record.facts["steps"]) for record in records if "steps" in record.facts})
    early = sum(record.scores.steps < int(record.facts.get("steps", 0)) for record in records)
    taken = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else str(steps[0])
    return (
        f"{taken} steps, until {accuracy} of the training images were classified right or "
        f"{' or '.join(map(str, budgets))} steps were taken ({early} of {len(records)} stopped before)"
    )


def power_notes(entries: Iterable[Entry]) -> list[str]:
    """How many comparisons a table makes, how many hold together, and which difference it could have seen."""
    notes = []
    for metric, printed in METRICS.items():
        found = [entry.difference for entry in entries if entry.metric == metric and entry.difference]
        several = [one for one in found if one.pairs > 1]
        if not several:
            continue
        gaps = [100 * detectable(float(np.std(one.gaps, ddof=1)), one.pairs) for one in several]
        apart = sum(one.low > 0 or one.high < 0 for one in several)
        counts = sorted({one.pairs for one in several})
        held, over = surviving([paired_p(one.gaps) for one in several]), f"over {' or '.join(map(str, counts))} seeds; "
        if len(several) == 1:
            told = (
                f"1 difference {over}its bootstrap interval {'leaves out' if apart else 'has in it'} 0; it "
                f"{'holds' if held else 'does not hold'} at 5% (paired t-test over seeds). A true difference of "
                f"{gaps[0]:.1f} points"
            )
        else:
            told = (
                f"{len(several)} differences {over}{apart} of the bootstrap intervals leave out 0, as about "
                f"{len(several) * (1 - LEVEL):.1f} would where there is nothing; {held} hold together at 5% (paired "
                "t-tests over seeds, Holm's correction). A true difference of "
                f"{min(gaps):.1f} to {max(gaps):.1f} points (median {median(gaps):.1f})"
            )
        notes.append(
            f"{printed}: {told} would have been found by such a "
            f"test alone {100 * POWER:.0f} times in 100: smaller ones may be there unseen."
        )
    return notes


def ceiling_notes(grid: Grid, entries: Entries) -> list[str]:
    """What share of the ceiling's gain in mAP the other rows reach, where that gain is surely above 0."""
    if grid.ceiling is None:
        return []
    notes = []
    for backbone in grid.backbones:
        for column in grid.columns:
            most = entries[backbone, grid.ceiling, column, "mAP"].difference
            if most is None:
                continue
            where = f"{backbone}, {column}: `{grid.ceiling}` gains {_difference(most)} mAP"
            if most.low <= 0:
                notes.append(f"{where}; of a gain that may be none no share is told.")
                continue
            others = [row for row in grid.rows if row != grid.ceiling]
            shares = [(row, share_of(entries[backbone, row, column, "mAP"].difference, most)) for row in others]
            told = ", ".join(f"{grid.label(row)} {_share(share)}" for row, share in shares if share)
            notes.append(f"{where}; of that, {told}." if told else f"{where}.")
    return notes


def _share(share: tuple[float, float, float]) -> str:
    mean, low, high = (f"{100 * value:.0f}" for value in share)  # an end may be inf
    return f"{mean}%" if low == high else f"{mean}% [{low}, {high}]"


def _precision(record: Record) -> str:
    return "bfloat16" if record.made.get("amp") == "bf16" else "float32"


def markdown(grid: Grid, entries: Entries, notes: Iterable[str]) -> str:
    """The table as GitHub Markdown: scores, then differences, then notes."""
    lines = [f"# {grid.title}", ""]
    for backbone in grid.backbones:
        for metric, printed in METRICS.items():
            lines += [
                f"## {backbone}, {printed}",
                "",
                *_pipes(["", *grid.columns], _scores(grid, entries, backbone, metric)),
            ]
            differences = _differences(grid, entries, backbone, metric)
            if differences:
                lines += ["", f"{printed} minus `{grid.baseline}`:", ""]
                lines += _pipes(["", *grid.columns], differences)
            lines.append("")
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def _pipes(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _scores(grid: Grid, entries: Entries, backbone: str, metric: str) -> list[list[str]]:
    return [
        [grid.label(row), *(_score(entries[backbone, row, column, metric]) for column in grid.columns)]
        for row in grid.rows
    ]


def _differences(grid: Grid, entries: Entries, backbone: str, metric: str) -> list[list[str]]:
    """Rows that have a difference to show; none without a baseline."""
    table = []
    for row in grid.rows:
        cells = [entries[backbone, row, column, metric].difference for column in grid.columns]
        if any(cells):
            table.append([grid.label(row), *(_difference(cell) for cell in cells)])
    return table


def _score(entry: Entry) -> str:
    if not entry.expected:
        return ABSENT
    if not entry.values:
        return MISSING
    text = f"{100 * entry.mean:.1f}" if entry.sd is None else f"{100 * entry.mean:.1f} ± {100 * entry.sd:.1f}"
    return text if len(entry.values) == entry.expected else f"{text} ({len(entry.values)}/{entry.expected})"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def comma_separated(grid: Grid, entries: Iterable[Entry]) -> str:
    """A line an entry, shares 0..1 with six decimals; empty where nothing is known yet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for entry in entries:
        gap = entry.difference
        scores = [entry.mean if entry.values else None, entry.sd]
        gaps = [gap.mean, gap.low, gap.high] if gap else [None] * 3
        writer.writerow(
            [entry.backbone, entry.row, grid.label(entry.row), entry.column, entry.metric]
            + [len(entry.values), entry.expected]
            + ["" if value is None else f"{value:.6f}" for value in (*scores, *gaps)]
            + [gap.pairs if gap else 0]
        )
    return buffer.getvalue()


def latex(grid: Grid, entries: Entries, notes: Iterable[str]) -> str:
    """One booktabs table: a group of rows for each backbone and metric; notes as comments."""
    lines = [f"% {grid.title}", *(f"% {note}" for note in notes), "% \\usepackage{booktabs}"]
    lines += ["\\begin{tabular}{l" + "c" * len(grid.columns) + "}", "\\toprule"]
    lines.append(" & ".join(["", *map(_tex, grid.columns)]) + " \\\\")
    for backbone in grid.backbones:
        for metric, printed in METRICS.items():
            lines += [
                "\\midrule",
                f"\\multicolumn{{{len(grid.columns) + 1}}}{{l}}{{{_tex(f'{backbone}, {printed}')}}} \\\\",
            ]
            lines += [" & ".join(map(_tex, row)) + " \\\\" for row in _scores(grid, entries, backbone, metric)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _tex(text: str) -> str:
    for plain, escaped in (("\\", "\\textbackslash "), ("_", "\\_"), ("%", "\\%"), ("&", "\\&"), ("#", "\\#")):
        text = text.replace(plain, escaped)
    return text.replace("±", "$\\pm$").replace("×", "$\\times$")
