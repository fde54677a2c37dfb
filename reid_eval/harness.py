"""One run: train, extract, rank. A comparison: original against augmented, under the same budget."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from reid_eval.datasets import ReidData, check_images
from reid_eval.runtime import InputError
from reid_eval.settings import PRESETS, TrainSettings, preset_name, settings_from

__all__ = [
    "METRICS",
    "PRESETS",
    "Comparison",
    "RunResult",
    "TrainSettings",
    "compare",
    "format_comparison",
    "run",
    "settings_from",
]

METRICS = {"rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "mAP": "mAP", "mINP": "mINP"}
"""Field of `RunResult` to its name in print."""


@dataclass(frozen=True)
class RunResult:
    """What one training and evaluation gave. Scores are 0..1."""

    name: str
    backbone: str
    init: str
    preset: str
    seed: int
    rank1: float
    rank5: float
    rank10: float
    mAP: float
    mINP: float
    n_train: int
    n_generated: int
    """Generated images among the `n_train`."""
    n_query: int
    n_gallery: int
    n_skipped: int
    """Queries without a correct image in the gallery, which count for nothing."""
    steps: int
    train_accuracy: float
    """Accuracy on the last tenth of the training images seen."""
    seconds: float
    amp: str
    """`bf16` or `off`."""
    device: str
    settings: TrainSettings

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps."""
        return {**asdict(self), "settings": self.settings.to_dict()}


@dataclass(frozen=True)
class Comparison:
    """Runs on the original and on the augmented training images, one of each for every seed, in the same order."""

    original: list[RunResult]
    augmented: list[RunResult]

    @property
    def gains(self) -> dict[str, tuple[float, float | None]]:
        """Metric to the mean gain (augmented - original, seed by seed) and its sample deviation, None for one seed."""
        return {metric: _mean_sd(self.gain(metric)) for metric in METRICS}

    def gain(self, metric: str) -> list[float]:
        """Gain in `metric` for every seed."""
        pairs = zip(self.original, self.augmented, strict=True)
        return [getattr(augmented, metric) - getattr(original, metric) for original, augmented in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps."""
        return {
            "original": [result.to_dict() for result in self.original],
            "augmented": [result.to_dict() for result in self.augmented],
            "gains": {metric: {"mean": mean, "sd": sd} for metric, (mean, sd) in self.gains.items()},
        }


def check_test(data: ReidData) -> None:
    """Check that `data` can be evaluated on.

    Raises:
        InputError: it has no query or no gallery.
    """
    absent = [split for split in ("query", "gallery") if data.split(split).empty]
    if absent:
        raise InputError(
            f"{data.root} has no {' and no '.join(absent)}: an evaluation needs people that were not trained on; "
            "add the folders query and bounding_box_test (or gallery, for one folder an identity)"
        )


def run(
    data: ReidData,
    settings: TrainSettings,
    *,
    name: str,
    test: ReidData | None = None,
    steps: int | None = None,
) -> RunResult:
    """Train on `data.train`, then rank the gallery for every query.

    Args:
        data: where the training images are.
        settings: see `TrainSettings` and `PRESETS`.
        name: of this run, kept in the result.
        test: where query and gallery are, if not in `data`.
        steps: optimisation steps instead of `settings.epochs` passes.

    Raises:
        InputError: no query or gallery, unreadable images, or settings that this machine or data set cannot take.
    """
    from reid_eval.backbones import check_backbone
    from reid_eval.features import distances, extract_files
    from reid_eval.ranking import evaluate
    from reid_eval.train import train

    test = test or data
    check_test(test)
    check_backbone(settings.backbone)
    start = time.perf_counter()
    trained = train(data, settings, steps)
    query, gallery = (
        extract_files(
            trained.model,
            test.root,
            table["path"].tolist(),
            settings.size,
            batch_size=settings.eval_batch_size,
            flip=settings.eval_flip,
            amp=trained.amp,
        )
        for table in (test.query, test.gallery)
    )
    cameras = (test.query["camid"], test.gallery["camid"]) if test.has_cameras else (None, None)
    table = distances(query, gallery, settings.distance)
    ranking = evaluate(table, test.query["pid"], test.gallery["pid"], *cameras)
    return RunResult(
        name=name,
        backbone=settings.backbone,
        init=settings.init,
        preset=preset_name(settings),
        seed=settings.seed,
        rank1=ranking.rank(1),
        rank5=ranking.rank(5),
        rank10=ranking.rank(10),
        mAP=ranking.mAP,
        mINP=ranking.mINP,
        n_train=len(data.train),
        n_generated=int((data.train["source"] == "generated").sum()),
        n_query=len(test.query),
        n_gallery=len(test.gallery),
        n_skipped=len(ranking.skipped),
        steps=trained.steps,
        train_accuracy=trained.accuracy,
        seconds=time.perf_counter() - start,
        amp=trained.amp,
        device=str(trained.model.mean.device),
        settings=settings,
    )


def compare(
    original: ReidData, augmented: ReidData, settings: TrainSettings, seeds: list[int] | None = None
) -> Comparison:
    """Train on both data sets under the same budget and judge both on the original's query and gallery.

    The budget is a number of optimisation steps of full batches: `settings.epochs` passes over the original's training
    images, rounded up to whole batches. An augmented set with more images gets the same steps, batch size and
    learning-rate curve, so it sees each image less often instead of training longer.

    Args:
        original: with query and gallery.
        augmented: only its training images are used.
        settings: its `seed` is used where `seeds` is empty or None.
        seeds: one pair of trainings each.

    Raises:
        InputError: as in `run`; training identities of the augmented set that the original tests on.
    """
    from reid_eval.train import budget

    check_test(original)
    tested = set(original.query["pid"]) | set(original.gallery["pid"])
    leaked = sorted(pid for pid in set(augmented.train["pid"]) & tested if pid > 0)
    if leaked and original.layout != "folders" and augmented.layout == original.layout:
        raise InputError(
            f"{augmented.root} trains on {len(leaked)} identities that {original.root} tests on: {leaked[:5]}"
        )
    # Hours of training must not end at a broken file that a second's look finds.
    check_images(original)
    check_images(augmented, ("train",))
    steps = budget(len(original.train), settings)
    comparison = Comparison([], [])
    for seed in seeds or [settings.seed]:
        seeded = replace(settings, seed=seed)
        comparison.original.append(run(original, seeded, name="original", steps=steps))
        comparison.augmented.append(run(augmented, seeded, name="augmented", test=original, steps=steps))
    return comparison


def format_comparison(comparison: Comparison, width: int = 100) -> str:
    """The comparison as a plain-text table, percent, with what it was measured with; `mean ± sd` for several seeds."""
    import io

    from rich.console import Console
    from rich.table import Table

    shown = ("rank1", "rank5", "rank10", "mAP")
    table = Table("training images", "n", *(METRICS[metric] for metric in shown), title=_title(comparison))
    for label, results in (("original", comparison.original), ("augmented", comparison.augmented)):
        scores = [_percent(*_mean_sd([getattr(result, metric) for result in results])) for metric in shown]
        table.add_row(label, _count(results[0]), *scores)
    table.add_section()
    table.add_row("gain", "", *(_percent(*comparison.gains[metric], sign=True) for metric in shown))
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(table)
    console.print(_footnote(comparison), highlight=False)
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
    if first.preset == "quick":
        lines.append("Quick preset: small and short, to see that it works. Use the preset ide for figures to quote.")
    if len(seeds) == 1:
        lines.append("One seed: a gain of a few points may be chance; several seeds give mean ± sd.")
    return "\n".join(lines)


def _count(result: RunResult) -> str:
    return f"{result.n_train} ({result.n_generated} generated)" if result.n_generated else str(result.n_train)


def _mean_sd(values: list[float]) -> tuple[float, float | None]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _percent(mean: float, sd: float | None, sign: bool = False) -> str:
    text = f"{100 * mean:+.1f}" if sign else f"{100 * mean:.1f}"
    return text if sd is None else f"{text} ± {100 * sd:.1f}"
