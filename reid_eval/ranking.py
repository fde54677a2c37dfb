"""Exact CMC, mAP and mINP by Market-1501's protocol.

Sources: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015 (CMC, mAP, junk and distractors);
Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021 (mINP).

For each query, gallery images of pid -1 (junk) and those that share pid and camera with the query are taken out; pid 0
stays as a distractor. The rest is ranked by distance. Average precision is the mean, over the correct images, of
hits so far / rank, as in torchreid's `evaluate_rank` (Market's Matlab code averages two precisions a step instead).

Only the ranks of correct images matter, and the rank of one is the number of kept images that come before it. So the
distances are sorted without their indices and each correct one is looked up: faster than torchreid's argsort, with
memory for one row. Equal distances keep the gallery's order (a stable sort); torchreid leaves their order to numpy's
unstable default, so the two agree where there are no ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_eval.runtime import InputError

JUNK = -1
Among = Literal["market1501", "same_camera", "other_cameras"]
"""What is ranked for a query: Market-1501's protocol; only what its own camera took; only what other cameras took."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """What `evaluate` finds."""

    cmc: NDArray[np.float64]
    """[max_rank]: `cmc[k - 1]` is the share of queries with a correct image among the first k, in 0..1."""
    mAP: float
    """Mean average precision, 0..1."""
    mINP: float
    """Mean inverse negative penalty, 0..1: correct images / rank of the last one."""
    skipped: NDArray[np.int64]
    """Indices of the queries without any correct image in the gallery; they count for nothing."""
    precisions: NDArray[np.float64]
    """[Q]: average precision of every query, 0..1; NaN for the skipped ones."""
    first_ranks: NDArray[np.int64]
    """[Q]: rank, from 1, of every query's first correct image; 0 for the skipped ones."""
    penalties: NDArray[np.float64]
    """[Q]: inverse negative penalty of every query, 0..1; NaN for the skipped ones."""

    def rank(self, k: int) -> float:
        """Rank-k accuracy, 0..1."""
        return float(self.cmc[k - 1])

    @property
    def scores(self) -> dict[str, Any]:
        """`rank1`, `rank5`, `rank10`, `mAP` and `mINP`, 0..1: what results and records keep."""
        return {**{f"rank{k}": self.rank(k) for k in (1, 5, 10)}, "mAP": self.mAP, "mINP": self.mINP}


def evaluate(
    distances: ArrayLike,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike | None = None,
    gallery_camids: ArrayLike | None = None,
    max_rank: int = 50,
    among: Among = "market1501",
) -> Ranking:
    """Rank the gallery for every query and score the ranking.

    Args:
        distances: [Q, G], smaller is nearer.
        query_pids: [Q] integers.
        gallery_pids: [G] integers; -1 is left out, 0 never matches unless a query has pid 0.
        query_camids: [Q] integers, or None where cameras are unknown: then nothing is left out for sharing one.
        gallery_camids: [G] integers, or None together with `query_camids`.
        max_rank: length of the CMC curve; beyond the gallery's end the curve is flat.
        among: see `Among`; anything but the default needs cameras.

    Raises:
        InputError: shapes do not fit, distances hold NaN, or no query has a correct image in the gallery.
    """
    if among != "market1501" and query_camids is None:
        raise InputError(f"evaluate: a ranking among {among.replace('_', ' ')} images needs camera numbers")
    table = np.asarray(distances)
    q_pids, g_pids, q_cams, g_cams = check_pids(
        query_pids, gallery_pids, query_camids, gallery_camids, max_rank, table.shape
    )
    if any(np.isnan(row).any() for row in table):
        refuse_nan()
    found, valid = [], g_pids != JUNK
    for index, row in enumerate(table):
        same, here = g_pids == q_pids[index], g_cams == q_cams[index]
        left_out = {"market1501": same & here, "same_camera": ~here, "other_cameras": here}[among]
        keep = valid & ~left_out
        found.append(match_ranks(row[keep], np.flatnonzero(same[keep])))
    return ranking_of(found, max_rank)


def ranking_of(found: Sequence[NDArray[np.int64]], max_rank: int) -> Ranking:
    """Scores from the ascending ranks (from 1) of every query's correct images; empty where there are none.

    Raises:
        InputError: all are empty.
    """
    first, precision = np.zeros(len(found), np.int64), np.full(len(found), np.nan)
    penalty = precision.copy()
    for index, ranks in enumerate(found):
        if len(ranks):
            first[index] = ranks[0]
            precision[index] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
            penalty[index] = len(ranks) / ranks[-1]
    counted = first > 0
    if not counted.any():
        raise InputError(
            f"none of the {len(found)} queries has a correct image in the gallery (same pid, other camera, not junk): "
            "check that query and gallery show the same people, and from more than one camera"
        )
    hits = np.bincount(np.minimum(first, max_rank + 1), minlength=max_rank + 2)[1 : max_rank + 1]
    cmc = np.cumsum(hits) / counted.sum()
    means = float(np.mean(precision[counted])), float(np.mean(penalty[counted]))
    return Ranking(cmc, *means, np.flatnonzero(~counted), precision, first, penalty)


@dataclass(frozen=True)
class Part:
    """Scores of some of the queries. Shares are 0..1, NaN where none of them counts."""

    queries: int
    """How many, the skipped ones among them."""
    skipped: int
    rank1: float
    mAP: float
    mINP: float


def breakdown(ranking: Ranking, groups: ArrayLike) -> dict[str, Part]:
    """Scores by group of queries: by camera, by pose bin, or by any other label.

    Args:
        ranking: from `evaluate`.
        groups: [Q], a label a query; labels are sorted, numbers as numbers.

    Raises:
        InputError: not one label a query.
    """
    labels = np.asarray(groups)
    if labels.shape != ranking.first_ranks.shape:
        raise InputError(f"breakdown: {labels.shape} labels for {len(ranking.first_ranks)} queries")
    return {str(label): _part(ranking, labels == label) for label in np.unique(labels)}


def _part(ranking: Ranking, chosen: NDArray[np.bool_]) -> Part:
    counted = chosen & (ranking.first_ranks > 0)

    def mean(values: NDArray[Any]) -> float:
        return float(np.mean(values[counted])) if counted.any() else float("nan")

    scores = (mean(ranking.first_ranks == 1), mean(ranking.precisions), mean(ranking.penalties))
    return Part(int(chosen.sum()), int(chosen.sum() - counted.sum()), *scores)


def match_ranks(distances: NDArray[Any], matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending ranks (from 1) of the elements `matches` (ascending indices) in a stable sort of `distances` [G]."""
    wanted = distances[matches]
    ordered = np.sort(distances)
    before = np.searchsorted(ordered, wanted, side="left")
    equal = np.searchsorted(ordered, wanted, side="right") - before
    for k in np.flatnonzero(equal > 1):
        index = matches[k]
        before[k] += np.count_nonzero(distances[:index] == wanted[k])
    return np.sort(before).astype(np.int64) + 1


def _cameras(camids: ArrayLike | None, count: int, unknown: int) -> NDArray[np.int64]:
    """Camera numbers; without any, one for all queries and another for the whole gallery, so that none are shared."""
    return np.full(count, unknown, np.int64) if camids is None else np.asarray(camids, np.int64)


def check_pids(
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike | None,
    gallery_camids: ArrayLike | None,
    max_rank: int,
    shape: tuple[int, ...],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Query and gallery pids, query and gallery cameras, all int64; `shape` is that of the distances.

    Raises:
        InputError: shapes do not fit.
    """
    if (query_camids is None) != (gallery_camids is None):
        raise InputError("evaluate: give both query_camids and gallery_camids, or neither")
    q_pids, g_pids = np.asarray(query_pids, np.int64), np.asarray(gallery_pids, np.int64)
    q_cams, g_cams = _cameras(query_camids, len(q_pids), 0), _cameras(gallery_camids, len(g_pids), 1)
    if q_cams.shape != q_pids.shape or g_cams.shape != g_pids.shape:
        raise InputError(
            f"evaluate: {len(q_pids)} query pids with {len(q_cams)} cameras, "
            f"{len(g_pids)} gallery pids with {len(g_cams)}: expected one camera a pid"
        )
    if shape != (len(q_pids), len(g_pids)):
        raise InputError(f"evaluate: distances are {shape}, expected {(len(q_pids), len(g_pids))} (query, gallery)")
    if max_rank < 1:
        raise InputError(f"evaluate: max_rank is {max_rank}, expected at least 1")
    return q_pids, g_pids, q_cams, g_cams


def refuse_nan() -> NoReturn:
    """Raise the error for features that hold NaN."""
    raise InputError("evaluate: distances hold NaN, so the features do; the training has probably diverged")
