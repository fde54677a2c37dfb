"""The page of a re-ID run: scores of both trainings, what became of each group of queries, CMC curves, rankings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.report.charts import draw, legend
from augment.report.curves import cmc_chart
from augment.report.detect import RESULT
from augment.report.page_settings import Settings
from augment.report.rankings_shown import shown_rankings
from augment.report.run_facts import RunFacts, flat, read_run
from augment.report.thumbnails import Thumbnails
from augment.runs import Say
from reid_eval.comparison_file import EVALUATION, SIDES, Evaluation, read_evaluation
from reid_eval.result_file import ResultFile, RunScores, read_result
from reid_eval.results import METRICS, mean_sd
from reid_eval.runtime import InputError

RANKS = (1, 5, 10)


def reid_page(root: Path, settings: Settings, say: Say) -> tuple[dict[str, Any], dict[str, Any], Thumbnails]:
    """What the page of a re-ID run shows; `root` holds `result.json`, or what `save` kept.

    Raises:
        InputError: files that cannot be read.
    """
    run = read_run(root / "run.json")
    result = read_result(root / RESULT) if (root / RESULT).is_file() else None
    evaluation = _evaluation(root, run, result is not None, say)
    thumbs = Thumbnails()
    context: dict[str, Any] = {
        "title": root.resolve().name,
        "about": _about(run, result, evaluation),
        "command": run.command,
        "scores": None if result is None else _scores(result),
        "seeds": [] if result is None else [one.seed for one in result.original],
        "searched": None if result is None else _searched(result),
        "breakdown": {} if result is None else _breakdown(result),
        "chart": _chart(result, evaluation),
        "points_only": evaluation is None,
        "settings": [] if result is None else flat(result.original[0].settings),
        "skipped": [] if evaluation is None else evaluation.skipped,
        "rankings": [],
        "rankings_seed": None if evaluation is None else evaluation.seed,
        "lost": None,
    }
    if evaluation is not None and evaluation.rankings:
        folder = Path(evaluation.root)
        context["rankings"] = shown_rankings(evaluation.rankings, SIDES, folder, thumbs)
        context["lost"] = None if folder.is_dir() else str(folder)
    return context, {"kind": "reid", "seed": settings.seed}, thumbs


def _evaluation(root: Path, run: RunFacts, optional: bool, say: Say) -> Evaluation | None:
    """The curves and rankings: in the folder, or where the run put them."""
    inside = sorted(root.glob(f"*{EVALUATION}"))
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside[:5])
        say(f"{root} has several evaluations ({names}): the first is shown")
    path = inside[0] if inside else Path(told) if (told := run.text("evaluation")) else None
    if path is None:
        return None
    try:
        return read_evaluation(path)
    except InputError as error:
        if not optional:
            raise
        say(f"Note: without curves and rankings: {error}")
        return None


def _about(run: RunFacts, result: ResultFile | None, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    lines = []
    if result is not None:
        first, made = result.original[0], result.augmented[0]
        lines += [
            ("Network", f"{first.backbone}, from {first.init}, preset {first.preset}"),
            ("Training", f"{first.steps:,} steps each; {first.n_train:,} images, or {made.n_train:,} of which "
             f"{made.n_generated:,} are generated"),
            ("Test", f"{first.n_query - first.n_skipped:,} queries that count, {first.n_skipped:,} skipped, "
             f"{first.n_gallery:,} gallery images"),
            ("Computed", f"on {first.device}, {'bfloat16' if first.amp == 'bf16' else 'float32'}, "
             f"{sum(one.seconds for one in [*result.original, *result.augmented]):,.0f} s in all"),
        ]  # fmt: skip
    elif evaluation is not None:
        lines.append(("Network", evaluation.backbone))
    for name, what in (("data", "Original"), ("augmented", "Augmented")):
        if told := run.text(name):
            lines.append((what, told))
    if run.versions:
        lines.append(("Versions", run.versions))
    return lines


def _scores(result: ResultFile) -> list[dict[str, Any]]:
    """A row a metric: both sides, the gain, and the gains seed by seed; percent."""
    rows = []
    for metric, printed in METRICS.items():
        sides = [[100 * getattr(one, metric) for one in side] for side in (result.original, result.augmented)]
        gains = [b - a for a, b in zip(*sides, strict=True)]
        (mean, sd), told = mean_sd(gains), [_told(*mean_sd(side)) for side in sides]
        same = len(gains) > 1 and (all(gain > 0 for gain in gains) or all(gain < 0 for gain in gains))
        rows.append(
            {
                "name": printed,
                "sides": told,
                "gain": _told(mean, sd, sign=True),
                "gains": [f"{gain:+.1f}" for gain in gains],
                "state": ("up" if mean > 0 else "down") if same else "open",
            }
        )
    return rows


def _told(mean: float, sd: float | None, sign: bool = False) -> str:
    text = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return text if sd is None else f"{text} ± {sd:.1f}"


def _searched(result: ResultFile) -> dict[str, Any] | None:
    """The same networks searched with in another way."""
    every = [*result.original, *result.augmented]
    if any(one.searched is None for one in every):
        return None
    rows = []
    for metric, printed in METRICS.items():
        sides = [[100 * getattr(one.searched, metric) for one in side] for side in (result.original, result.augmented)]
        rows.append((printed, [_told(*mean_sd(side)) for side in sides]))
    first = every[0].searched
    assert first is not None
    return {"name": first.name, "rows": rows}


def _breakdown(result: ResultFile) -> dict[str, list[tuple[str, int, list[str]]]]:
    """Kind of group to (group, queries that count, rank-1 and mAP of both sides), percent, means over seeds."""
    found: dict[str, list[tuple[str, int, list[str]]]] = {}
    for kind, groups in result.original[0].breakdown.items():
        for group, part in groups.items():
            cells = [
                _mean([one.breakdown.get(kind, {}).get(group) for one in side], metric)
                for metric in ("rank1", "mAP")
                for side in (result.original, result.augmented)
            ]
            found.setdefault(kind, []).append((group, part.queries - part.skipped, cells))
    return found


def _mean(parts: list[Any], metric: str) -> str:
    values = [getattr(part, metric) for part in parts if part is not None and getattr(part, metric) is not None]
    return f"{100 * sum(values) / len(values):.1f}" if values else "–"


def _chart(result: ResultFile | None, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """The CMC curves; of a run that kept none, the three ranks that its result has."""
    if evaluation is not None:
        curves = {f"trained on {side} images": evaluation.cmc[side] for side in SIDES}
        chart = cmc_chart("CMC", curves)
    elif result is not None:
        sides = zip(SIDES, (result.original, result.augmented), strict=True)
        points = {f"trained on {side} images": [_ranks(one) for one in runs] for side, runs in sides}
        chart = cmc_chart("CMC", points, RANKS)
    else:
        return None
    return {"svg": draw(chart), "series": legend(chart.series), "file": "cmc"}


def _ranks(one: RunScores) -> list[float]:
    return [float(getattr(one, f"rank{rank}")) for rank in RANKS]
