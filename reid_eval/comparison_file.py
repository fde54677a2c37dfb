"""What a comparison keeps besides its networks and its result: features, CMC curves, and rankings to look at.

BACKBONE-original-seed0.npz     features of query and gallery, and each query's scores
BACKBONE-evaluation.json        CMC curves, skipped queries, rankings; this module alone reads and writes it
BACKBONE-cmc.csv, .png, .svg    the curves for others
BACKBONE-rankings/              a picture a query, see `reid_eval.ranking_sheets`
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from reid_eval.foreign import read_json, reason_of
from reid_eval.foreign_arrays import open_arrays
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.rankings import (
    Count,
    ImagePath,
    Name,
    RankedQuery,
    Share,
    Strict,
    choose_queries,
    photo_of,
    top_lists,
)
from reid_eval.runtime import InputError, atomic_path, write_json, write_text
from reid_eval.yaml_recipes import problems_of

if TYPE_CHECKING:
    from reid_eval.datasets import ReidData
    from reid_eval.ranking import Ranking
    from reid_eval.settings import TrainSettings

SIDES = ("original", "augmented")
"""The baseline, and what is compared with it."""
EVALUATION = "-evaluation.json"
"""Ends the name of the file."""
GROUPS = {
    "wins": "average precision higher than the baseline's, the largest gain first",
    "losses": "average precision lower than the baseline's, the largest loss first",
    "sample": "drawn at random among all queries that count, whatever became of them",
}
"""What a group of rankings is: the baseline is the network that was trained on the original images."""


class Evaluation(Strict):
    """All of a comparison that its result does not hold."""

    version: Literal[1] = 1
    backbone: Annotated[str, Field(max_length=1000)]
    root: Annotated[str, Field(max_length=4096)]
    """The data set whose query and gallery these are."""
    layout: Annotated[str, Field(max_length=100)]
    seeds: list[Count]
    cmc: dict[Name, list[Annotated[list[Share], Field(max_length=1000)]]]
    """A curve a seed: share of queries with a correct image among the first k, k from 1."""
    skipped: list[ImagePath]
    """Queries without a correct image in the gallery: they count for nothing."""
    seed: Count
    """Whose networks the rankings are of."""
    rankings: dict[Name, Annotated[list[RankedQuery], Field(max_length=10_000)]]
    """By the names of `GROUPS`."""


class Kept(NamedTuple):
    """Features float32 [Q, D] and [G, D] of a network, and scores of each query, see `reid_eval.ranking.Ranking`."""

    query: NDArray[np.float32]
    gallery: NDArray[np.float32]
    cmc: NDArray[np.float64]
    precisions: NDArray[np.float64]
    first_ranks: NDArray[np.int64]


def write_kept(path: Path, query: NDArray[np.float32], gallery: NDArray[np.float32], ranking: Ranking) -> None:
    """Write a network's features and scores as `.npz`, atomically; the same values give the same bytes."""
    kept = Kept(query, gallery, ranking.cmc, ranking.precisions, ranking.first_ranks)
    with atomic_path(path) as temporary:
        np.savez(temporary, **kept._asdict())


def read_kept(path: Path) -> Kept:
    """Read what `write_kept` wrote.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open_arrays(path) as file:
            return _checked(Kept(*(file[name] for name in Kept._fields)))
    except Exception as error:  # numpy and zipfile raise many kinds on damaged bytes
        raise InputError(f"cannot read features from {path} ({reason_of(error)})") from None


def _checked(kept: Kept) -> Kept:
    features = kept.query.dtype, kept.gallery.dtype
    scores = kept.cmc.dtype, kept.precisions.dtype, kept.first_ranks.dtype
    if set(features) != {np.dtype(np.float32)} or scores != (np.float64, np.float64, np.int64):
        raise ValueError("an array is of another type")
    if kept.query.ndim != 2 or kept.gallery.ndim != 2 or kept.query.shape[1] != kept.gallery.shape[1]:
        raise ValueError("features are of other shapes")
    if kept.cmc.ndim != 1 or not kept.precisions.shape == kept.first_ranks.shape == (len(kept.query),):
        raise ValueError("scores are not of these queries")
    return kept


def read_evaluation(path: Path) -> Evaluation:
    """Read a comparison's `*-evaluation.json`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        found = Evaluation.model_validate(read_json(path, MOST_TABLE_BYTES))
    except (OSError, ValueError) as error:
        reason = problems_of(error)[:300] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"cannot read {path}: {reason}") from None
    if any(len(curves) != len(found.seeds) for curves in found.cmc.values()) or set(found.cmc) != set(SIDES):
        raise InputError(f"cannot read {path}: a CMC curve a seed and side is due")
    if unknown := set(found.rankings) - set(GROUPS):
        raise InputError(f"cannot read {path}: rankings are of {', '.join(GROUPS)}, not of {min(unknown)[:80]!r}")
    for one in (one for group in found.rankings.values() for one in group):
        if not set(one.precision) == set(one.first_rank) == set(one.lists) == set(SIDES):
            raise InputError(f"cannot read {path}: the ranking of {one.query.path} lacks a side")
    return found


def keep_comparison(
    stem: Path, networks: Mapping[tuple[str, int], Path], test: ReidData, settings: TrainSettings, count: int
) -> Path:
    """Write what a comparison keeps, from the features of its networks; returns the path of its `*-evaluation.json`.

    Args:
        stem: folder and beginning of the names.
        networks: (side, seed) to the file that `write_kept` wrote.
        test: whose query and gallery were ranked.
        settings: of the trainings.
        count: queries to show, of each kind; 0 for no rankings.
    """
    seeds = list(dict.fromkeys(seed for _, seed in networks))
    kept = {key: read_kept(path) for key, path in networks.items()}
    paths = test.query["path"].tolist()
    first = kept["original", seeds[0]]
    evaluation = Evaluation(
        backbone=settings.backbone,
        root=str(test.root.resolve()),
        layout=test.layout,
        seeds=seeds,
        cmc={side: [kept[side, seed].cmc.tolist() for seed in seeds] for side in SIDES},
        skipped=[paths[row] for row in np.flatnonzero(first.first_ranks == 0)],
        seed=seeds[0],
        rankings=_rankings({side: kept[side, seeds[0]] for side in SIDES}, test, settings, count),
    )
    write_cmc_csv(stem.with_name(f"{stem.name}-cmc.csv"), evaluation)
    plot_cmc(evaluation, *(stem.with_name(f"{stem.name}-cmc{suffix}") for suffix in (".png", ".svg")))
    if count:
        from reid_eval.ranking_sheets import write_sheets

        write_sheets(stem.with_name(f"{stem.name}-rankings"), evaluation.rankings, test.root)
    target = stem.with_name(stem.name + EVALUATION)
    write_json(target, evaluation.model_dump(mode="json"))
    return target


def _rankings(
    kept: Mapping[str, Kept], test: ReidData, settings: TrainSettings, count: int
) -> dict[str, list[RankedQuery]]:
    if count == 0:
        return {}
    ours, theirs = kept["augmented"], kept["original"]
    rows = choose_queries(test.query["path"].tolist(), ours.precisions, theirs.precisions, count)
    lists = {side: top_lists(one.query, one.gallery, test, settings) for side, one in kept.items()}
    return {group: [_ranked(row, kept, lists, test) for row in chosen] for group, chosen in rows.items()}


def _ranked(row: int, kept: Mapping[str, Kept], lists: Mapping[str, NDArray[np.int32]], test: ReidData) -> RankedQuery:
    query = photo_of(test, "query", row)
    return RankedQuery(
        query=query,
        precision={side: round(float(one.precisions[row]), 6) for side, one in kept.items()},
        first_rank={side: int(one.first_ranks[row]) for side, one in kept.items()},
        lists={
            side: [photo_of(test, "gallery", at, query.pid) for at in found[row].tolist() if at >= 0]
            for side, found in lists.items()
        },
    )


def write_cmc_csv(path: Path, evaluation: Evaluation) -> None:
    """Write the CMC curves: a line a rank, a column a network, shares 0..1."""
    names = [f"{side}-seed{seed}" for side in SIDES for seed in evaluation.seeds]
    curves = [curve for side in SIDES for curve in evaluation.cmc[side]]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["rank", *names])
    for rank, values in enumerate(zip(*curves, strict=True), 1):
        writer.writerow([rank, *(f"{value:.6f}" for value in values)])
    write_text(path, buffer.getvalue())


def plot_cmc(evaluation: Evaluation, *paths: Path, last: int = 20) -> bool:
    """Draw the curves to each path, as its suffix says: means, single seeds thin; False without matplotlib."""
    from reid_eval.plotting import new_figure, save_plot

    try:
        figure = new_figure(figsize=(5.2, 3.8), layout="constrained")
    except ImportError:
        return False
    axis = figure.subplots()
    for side, colour in zip(SIDES, ("C7", "C0"), strict=True):
        curves: Sequence[Sequence[float]] = evaluation.cmc[side]
        shown = 100 * np.array(curves)[:, :last]
        ranks = np.arange(1, shown.shape[1] + 1)
        if len(shown) > 1:
            axis.plot(ranks, shown.T, color=colour, alpha=0.35, linewidth=0.8)
        axis.plot(ranks, shown.mean(0), color=colour, linewidth=2, label=f"trained on {side} images")
    axis.set(xlabel="rank k", ylabel="matching rate, %", title=evaluation.backbone, xticks=[1, 5, 10, 15, 20])
    axis.grid(alpha=0.3)
    axis.legend()
    for path in paths:
        save_plot(figure, path)
    return True
