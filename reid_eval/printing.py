"""Comparisons as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reid_eval.results import METRICS, Comparison, RunResult, mean_sd
from reid_eval.runtime import first_five
from reid_eval.settings import TrainSettings

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def format_comparison(comparison: Comparison, width: int = 100) -> str:
    """The comparison as a plain-text table, percent, with what it was measured with; `mean ± sd` for several seeds."""
    from rich.table import Table

    shown = ("rank1", "rank5", "rank10", "mAP")
    table = Table("training images", "n", *(METRICS[metric] for metric in shown), title=_title(comparison))
    _add(table, comparison, shown, "")
    if (searched := comparison.searched) and (first := comparison.original[0].searched):
        table.add_section()
        _add(table, searched, shown, f", {first.name}")
    return _printed(table, width) + _printed(_footnote(comparison), width)


def _add(table: RichTable, comparison: Comparison, shown: tuple[str, ...], how: str) -> None:
    """Three rows: both training sets, and the gain."""
    for label, results in (("original", comparison.original), ("augmented", comparison.augmented)):
        scores = [_percent(*mean_sd([getattr(result, metric) for result in results])) for metric in shown]
        table.add_row(label + how, _count(results[0]), *scores)
    table.add_section()
    table.add_row("gain", "", *(_percent(*comparison.gains[metric], sign=True) for metric in shown))


def format_breakdown(comparison: Comparison, width: int = 100) -> str:
    """mAP and rank-1 by group of queries, original against augmented, percent, mean over seeds."""
    from rich.table import Table

    texts = []
    for kind, groups in comparison.original[0].breakdown.items():
        table = Table(kind, "queries", "rank-1", "", "mAP", "", title=f"By {kind} of the query: original, augmented")
        for group, part in groups.items():
            sides = [[r.breakdown[kind][group] for r in side] for side in (comparison.original, comparison.augmented)]
            means = [
                "-" if part.queries == part.skipped else _percent(float(np.mean([getattr(p, key) for p in side])), None)
                for key in ("rank1", "mAP")
                for side in sides
            ]
            left_out = f" ({part.skipped} left out)" if part.skipped else ""
            table.add_row(group, f"{part.queries - part.skipped}{left_out}", *means)
        texts.append(_printed(table, width))
    return "".join(texts)


def _printed(what: RichTable | str, width: int) -> str:
    import io

    from rich.console import Console

    plain = {"markup": False, "emoji": False, "highlight": False}  # names of files and folders are no markup
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, **plain)  # type: ignore[arg-type]
    console.print(what)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def _title(comparison: Comparison) -> str:
    first = comparison.original[0]
    return f"{first.backbone}, init {first.init}, preset {first.preset}"


def _footnote(comparison: Comparison) -> str:
    results = comparison.original + comparison.augmented
    first, seeds = comparison.original[0], [result.seed for result in comparison.original]
    lines = [
        f"Percent; {first.n_query - first.n_skipped} queries, {first.n_gallery} gallery images; both trained for "
        f"{first.steps} steps of {first.settings.batch_size} images; seed{'s' * (len(seeds) > 1)} "
        f"{', '.join(map(str, seeds))}; {first.device}, "
        f"{'bfloat16' if first.amp == 'bf16' else 'float32'}; {sum(result.seconds for result in results):.0f} s."
    ]
    if first.n_skipped:
        lines.append(
            f"{first.n_skipped} of {first.n_query} queries have no correct image in the gallery, by another camera "
            f"where cameras are known, and count for nothing: {first_five(first.skipped)}."
        )
    if first.searched is not None:
        lines.append(f"{first.searched.name}: {first.searched.facts['about']}.")
    if first.settings.rerank:
        lines.append("Ranked by k-reciprocal encoding (k1 20, k2 6, lambda 0.3).")
    if comparison.augmented[0].n_generated and (told := _generated(first.settings)):
        lines.append(f"Generated images: {told}.")
    if first.preset == "quick":
        lines.append("Quick preset: small and short, to see that it works. Use the preset ide or bot for figures.")
    if len(seeds) == 1:
        lines.append("One seed: a gain of a few points may be chance; several seeds give mean ± sd.")
    return "\n".join(lines)


def _generated(settings: TrainSettings) -> str:
    """How they enter the training, where that is not the default."""
    told = {key: value for key, value in settings.facts().items() if key.startswith("generated_")}
    return ", ".join(f"{key.removeprefix('generated_')} {value}" for key, value in told.items())


def _count(result: RunResult) -> str:
    return f"{result.n_train} ({result.n_generated} generated)" if result.n_generated else str(result.n_train)


def _percent(mean: float, sd: float | None, sign: bool = False) -> str:
    text = f"{100 * mean:+.1f}" if sign else f"{100 * mean:.1f}"
    return text if sd is None else f"{text} ± {100 * sd:.1f}"
