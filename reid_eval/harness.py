"""One run: train, extract, rank. A comparison: original against augmented, under the same budget."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from reid_eval.datasets import ReidData, check_images
from reid_eval.printing import format_breakdown, format_comparison
from reid_eval.results import METRICS, Comparison, RunResult, Searched
from reid_eval.runtime import InputError, first_five
from reid_eval.settings import PRESETS, TrainSettings, budget, preset_name, settings_from

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from reid_eval.backbones import ReidNet
    from reid_eval.beside import Beside
    from reid_eval.ranking import Among, Ranking
    from reid_eval.training import Trained

__all__ = [
    "METRICS",
    "PRESETS",
    "Comparison",
    "RunResult",
    "SearchFeatures",
    "Searched",
    "Searcher",
    "TrainSettings",
    "ViewsOf",
    "compare",
    "evaluate",
    "format_breakdown",
    "format_comparison",
    "preset_name",
    "rank",
    "run",
    "settings_from",
]


@dataclass(frozen=True, eq=False)
class SearchFeatures:
    """Features of a data set's query and gallery, float32 [Q, D] and [G, D], and what made them."""

    query: NDArray[np.float32]
    gallery: NDArray[np.float32]
    name: str
    facts: dict[str, Any]


class Searcher(Protocol):
    """Another way to search with a trained network than by the photo's own feature, such as with generated views."""

    def __call__(self, model: ReidNet, settings: TrainSettings, amp: str) -> SearchFeatures:
        """Features of the test images; `amp` is `bf16` or `off`."""
        ...


class ViewsOf(Protocol):
    """Where views of training images come from, for settings that ask for `views`."""

    def __call__(self, data: ReidData, settings: TrainSettings) -> Beside:
        """Views of the training images of a data set, in their order, at `settings.size`."""
        ...


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


def evaluate(
    model: ReidNet, data: ReidData, settings: TrainSettings | None = None, *, amp: str | None = None
) -> Ranking:
    """Rank a data set's gallery for each of its queries, by Market-1501's protocol, with a trained network.

    Args:
        model: as `load_model` or `train` give it.
        data: with query and gallery; its training images are not looked at.
        settings: how (`eval_flip`, `eval_batch_size`, `distance`, `rerank`, `amp`); default: the model's own.
        amp: `bf16` or `off`, instead of what `settings` come to on the model's device.

    Returns:
        `.mAP`, `.cmc`, `.rank(k)`, `.mINP`, `.skipped` and the scores of each query.

    Raises:
        InputError: no query or gallery, or unreadable images.
    """
    how = settings or model.settings or TrainSettings(size=model.size)
    query, gallery = features_of(model, data, how, amp=amp)
    return rank(query, gallery, data, how, str(model.mean.device))


def features_of(
    model: ReidNet, data: ReidData, how: TrainSettings, *, amp: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of a data set's query and gallery, float32 [Q, D] and [G, D]; arguments and errors as for `evaluate`."""
    from reid_eval.features import extract_files
    from reid_eval.precision import resolve_amp

    check_test(data)
    device = model.mean.device
    query, gallery = (
        extract_files(
            model,
            data.root,
            table["path"].tolist(),
            model.size,
            batch_size=how.eval_batch_size,
            flip=how.eval_flip,
            amp=amp or resolve_amp(how.amp, device, model.size),
        )
        for table in (data.query, data.gallery)
    )
    return query, gallery


def run(
    data: ReidData,
    settings: TrainSettings,
    *,
    name: str,
    test: ReidData | None = None,
    steps: int | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
    save: Path | None = None,
    search: Searcher | None = None,
    beside: ViewsOf | None = None,
) -> RunResult:
    """Train on `data.train`, then rank the gallery for every query.

    Args:
        data: where the training images are.
        settings: see `TrainSettings` and `PRESETS`.
        name: of this run, kept in the result.
        test: where query and gallery are, if not in `data`.
        steps: optimisation steps instead of `settings.epochs` passes.
        groups: kind to a label a query, to break the scores down by; the camera is always one where it is known.
        save: write the trained network to this file, and what it made of the test images beside it, as `.npz` (see
            `reid_eval.comparison_file`).
        search: another way to search besides by the photo's own feature, for `RunResult.searched`.
        beside: gives the views of training images that `settings.views` asks for.

    Raises:
        InputError: no query or gallery, unreadable images, or settings that this machine or data set cannot take.
    """
    from reid_eval.backbones import check_backbone
    from reid_eval.ranking import breakdown
    from reid_eval.training import train

    test = test or data
    check_test(test)
    check_backbone(settings.backbone)
    start = time.perf_counter()
    views = beside(data, settings) if beside is not None and settings.views else None
    trained = train(data, settings, steps, f"{settings.backbone}, {name} images, seed {settings.seed}", views)
    query, gallery = features_of(trained.model, test, settings, amp=trained.amp)
    ranking = rank(query, gallery, test, settings, str(trained.model.mean.device))
    result = _result(name, settings, data, test, trained, ranking)
    kinds: dict[str, Any] = {**({"camera": test.query["camid"]} if test.has_cameras else {}), **(groups or {})}
    parts = {kind: breakdown(ranking, labels) for kind, labels in kinds.items()}
    if search is not None:
        result = replace(result, searched=_search(search, trained, test, settings))
    result = replace(result, seconds=time.perf_counter() - start, breakdown=parts)
    if save is None:
        return result
    from reid_eval.comparison_file import write_kept

    write_kept(save.with_suffix(".npz"), query, gallery, ranking)
    return replace(result, saved=_save(save, trained, result, data, test))


def _search(search: Searcher, trained: Trained, test: ReidData, settings: TrainSettings) -> Searched:
    found = search(trained.model, settings, trained.amp)
    ranking = rank(found.query, found.gallery, test, settings, str(trained.model.mean.device))
    return Searched(name=found.name, **ranking.scores, facts=found.facts)


def _result(
    name: str, settings: TrainSettings, data: ReidData, test: ReidData, trained: Trained, ranking: Ranking
) -> RunResult:
    return RunResult(
        name=name,
        backbone=settings.backbone,
        init=trained.model.init,
        preset=preset_name(settings),
        seed=settings.seed,
        **ranking.scores,
        n_train=len(data.train),
        n_generated=int((data.train["source"] == "generated").sum()),
        n_query=len(test.query),
        n_gallery=len(test.gallery),
        n_skipped=len(ranking.skipped),
        skipped=tuple(test.query["path"].iloc[ranking.skipped].tolist()),
        steps=trained.steps,
        train_accuracy=trained.accuracy,
        seconds=0.0,
        amp=trained.amp,
        device=str(trained.model.mean.device),
        settings=settings,
    )


def _save(path: Path, trained: Trained, result: RunResult, data: ReidData, test: ReidData) -> dict[str, str]:
    """Write a trained network with what it was trained on and what it scored."""
    from reid_eval.backbones import save_model

    told = result.to_dict()
    facts = {
        "name": result.name,
        "data": {"train": data.root.name, "test": test.root.name, "layout": data.layout}
        | {key: told[key] for key in ("n_train", "n_generated", "n_query", "n_gallery", "n_skipped")},
        "scores": {key: told[key] for key in (*METRICS, "train_accuracy")},
        "steps": result.steps,
        "amp": result.amp,
    }
    return {"file": path.name, "sha256": save_model(path, trained.model, facts)}


def rank(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    test: ReidData,
    settings: TrainSettings,
    device: str,
    among: Among = "market1501",
) -> Ranking:
    """Rank features [Q, D] and [G, D] of a data set's query and gallery, re-ranked if `settings` say so.

    The ranking is done in blocks, in bounded memory; re-ranking, and a ranking among some cameras, need a table of all
    Q x G distances.
    """
    from reid_eval.chunked import evaluate_features
    from reid_eval.features import distances
    from reid_eval.ranking import evaluate
    from reid_eval.rerank import rerank_features

    pids = test.query["pid"], test.gallery["pid"]
    seen_by, shown_by = (test.query["camid"], test.gallery["camid"]) if test.has_cameras else (None, None)
    if settings.rerank:
        table = rerank_features(query, gallery, settings.distance, device=device)
    elif among != "market1501":
        table = distances(query, gallery, settings.distance)
    else:
        return evaluate_features(query, gallery, *pids, seen_by, shown_by, metric=settings.distance, device=device)
    return evaluate(table, *pids, seen_by, shown_by, among=among)


def compare(
    original: ReidData,
    augmented: ReidData,
    settings: TrainSettings,
    seeds: list[int] | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
    save: Path | None = None,
    search: Searcher | None = None,
    rankings: int = 0,
    beside: ViewsOf | None = None,
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
        groups: kind to a label for each of the original's queries, see `run`.
        save: a folder for all trained networks, `BACKBONE-original-seed0.safetensors` and so on, and for what
            `reid_eval.comparison_file` keeps besides.
        search: another way to search the original's query and gallery, for `RunResult.searched`.
        rankings: with `save`, show the first of so many queries' rankings: wins, losses and a sample, so many of each.
        beside: as in `run`.

    Raises:
        InputError: as in `run`; training identities of the augmented set that the original tests on; a network of that
            name in `save`; rankings without it.
    """
    check_test(original)
    if rankings and save is None:
        raise InputError("rankings are written beside the networks: say where to save those", "save")
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
    seeds = seeds or [settings.seed]
    files = _files(save, settings, seeds)
    comparison = Comparison([], [])
    for seed in seeds:
        for name, data, results in (
            ("original", original, comparison.original),
            ("augmented", augmented, comparison.augmented),
        ):
            seeded = replace(settings, seed=seed)
            how: dict[str, Any] = {"test": original, "steps": steps, "groups": groups, "search": search}
            results.append(run(data, seeded, name=name, save=files[name, seed], beside=beside, **how))
    if save:
        _keep(save, files, original, settings, rankings)
    return comparison


def _keep(
    folder: Path, files: Mapping[tuple[str, int], Path | None], test: ReidData, settings: TrainSettings, rankings: int
) -> None:
    """Write what a comparison keeps besides its networks."""
    from reid_eval.comparison_file import keep_comparison

    features = {key: file.with_suffix(".npz") for key, file in files.items() if file is not None}
    keep_comparison(folder / _slug(settings), features, test, settings, rankings)


def evaluation_path(folder: Path, settings: TrainSettings) -> Path:
    """Where a comparison with `save` writes its curves and rankings."""
    from reid_eval.comparison_file import EVALUATION

    return folder / f"{_slug(settings)}{EVALUATION}"


def _files(folder: Path | None, settings: TrainSettings, seeds: list[int]) -> dict[tuple[str, int], Path | None]:
    """Where a comparison's networks are kept, if they are.

    Raises:
        InputError: some of that is there already.
    """
    keys = [(name, seed) for name in ("original", "augmented") for seed in seeds]
    if folder is None:
        return dict.fromkeys(keys)
    files = {(name, seed): folder / f"{_slug(settings)}-{name}-seed{seed}.safetensors" for name, seed in keys}
    if there := [file.name for file in (*files.values(), evaluation_path(folder, settings)) if file.exists()]:
        raise InputError(f"{folder} has {first_five(there)} already: give another folder, or move them away")
    return {**files}


def _slug(settings: TrainSettings) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", settings.backbone)
