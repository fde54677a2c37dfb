"""The ranking against a plain oracle, against torchreid, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_eval.ranking import Ranking, evaluate, ranking_of
from reid_eval.runtime import InputError

Arrays = tuple[NDArray[np.float64], ...]


def oracle(
    table: NDArray[np.float64],
    q_pids: list[int],
    g_pids: list[int],
    q_cams: list[int],
    g_cams: list[int],
    max_rank: int,
) -> tuple[list[float], float, float, list[int]]:
    """Market's protocol in the plainest loops."""
    cmc, precisions, penalties, skipped = [0.0] * max_rank, [], [], []
    for q in range(len(q_pids)):
        kept = []
        for g in range(len(g_pids)):
            if g_pids[g] == -1 or (g_pids[g] == q_pids[q] and g_cams[g] == q_cams[q]):
                continue
            kept.append((table[q][g], g))
        kept.sort()
        hits = [g_pids[g] == q_pids[q] for _, g in kept]
        if not any(hits):
            skipped.append(q)
            continue
        for k in range(max_rank):
            cmc[k] += any(hits[: k + 1])
        found, total = 0, 0.0
        for position, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                total += found / position
                last = position
        precisions.append(total / found)
        penalties.append(found / last)
    count = len(precisions)
    return [c / count for c in cmc], sum(precisions) / count, sum(penalties) / count, skipped


def random_case(seed: int, queries: int = 30, gallery: int = 200, ids: int = 12) -> Arrays:
    rng = np.random.default_rng(seed)
    return (
        rng.random((queries, gallery)),
        rng.integers(1, ids, queries),
        rng.integers(1, ids, gallery),
        rng.integers(1, 5, queries),
        rng.integers(1, 5, gallery),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["plain", "ties", "junk", "few"])
def test_equals_the_oracle(seed: int, kind: str) -> None:
    table, q_pids, g_pids, q_cams, g_cams = random_case(seed)
    rng = np.random.default_rng(seed + 100)
    if kind == "ties":
        table = np.round(table, 1)
    if kind == "junk":
        g_pids = np.where(rng.random(200) < 0.5, rng.choice([-1, 0], 200), g_pids)
        q_pids[::3] = 99
    if kind == "few":
        table, g_pids, g_cams = np.round(table[:, :9], 1), g_pids[:9], g_cams[:9]
    got = evaluate(table, q_pids, g_pids, q_cams, g_cams, max_rank=20)
    cmc, precision, penalty, skipped = oracle(table, *(list(a) for a in (q_pids, g_pids, q_cams, g_cams)), 20)
    np.testing.assert_allclose(got.cmc, cmc, atol=1e-12)
    assert got.mAP == pytest.approx(precision, abs=1e-12)
    assert got.mINP == pytest.approx(penalty, abs=1e-12)
    assert got.skipped.tolist() == skipped


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchreid(seed: int) -> None:
    rank = pytest.importorskip("torchreid.reid.metrics.rank")
    table, q_pids, g_pids, q_cams, g_cams = random_case(seed)
    table = table.astype(np.float32)
    g_pids[::4] = 0
    cmc, precision = rank.evaluate_rank(table, q_pids, g_pids, q_cams, g_cams, max_rank=50, use_cython=False)
    got = evaluate(table, q_pids, g_pids, q_cams, g_cams)
    np.testing.assert_allclose(got.cmc, cmc, atol=1e-6)
    assert got.mAP == pytest.approx(precision, abs=1e-6)


def test_by_hand() -> None:
    """Gallery in order: wrong, right, right; one same-camera right and one junk before them do not count."""
    table = [[0.1, 0.2, 0.3, 0.4, 0.5]]
    got = evaluate(table, [7], [-1, 7, 0, 7, 7], [1], [1, 1, 1, 2, 3], max_rank=4)
    assert got.cmc.tolist() == [0, 1, 1, 1]
    assert got.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert got.mINP == pytest.approx(2 / 3)
    assert got.rank(1) == 0
    assert got.rank(2) == 1


def test_perfect_and_worst() -> None:
    perfect = evaluate([[0, 1, 2]], [1], [1, 2, 2], [1], [2, 2, 2], max_rank=3)
    worst = evaluate([[2, 1, 0]], [1], [1, 2, 2], [1], [2, 2, 2], max_rank=2)
    assert (perfect.rank(1), perfect.mAP, perfect.mINP) == (1, 1, 1)
    assert (worst.rank(1), worst.rank(2), worst.mAP) == (0, 0, pytest.approx(1 / 3))


def test_ties_keep_the_gallery_order() -> None:
    pids, cams = [2, 1, 2], [2, 2, 2]
    assert evaluate([[5, 5, 5]], [1], pids, [1], cams, max_rank=3).cmc.tolist() == [0, 1, 1]


def test_unknown_cameras_leave_nothing_out() -> None:
    assert evaluate([[0.0, 1.0]], [1], [1, 2]).rank(1) == 1
    with pytest.raises(InputError, match="give both query_camids and gallery_camids"):
        evaluate([[0.0]], [1], [1], [1])


@pytest.mark.parametrize(
    ("table", "g_pids", "cams", "message"),
    [
        ([[0.0, 1.0]], [1, 2], [1, 1], "none of the 1 queries has a correct image in the gallery"),
        ([[0.0, 1.0]], [-1, 2], [2, 2], "none of the 1 queries"),
        ([[0.0]], [1, 2], [2, 2], r"distances are \(1, 1\), expected \(1, 2\)"),
        ([[0.0, float("nan")]], [1, 2], [2, 2], "distances hold NaN"),
        ([[0.0, 1.0]], [1, 2], [2], "one camera a pid"),
    ],
)
def test_bad_input(table: list[list[float]], g_pids: list[int], cams: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(table, [1], g_pids, [1], cams)


def test_ranking_among_some_cameras() -> None:
    rng = np.random.default_rng(5)
    table = rng.random((12, 40))
    q_pids, g_pids = rng.integers(1, 5, 12), rng.integers(-1, 5, 40)
    q_cams, g_cams = rng.integers(0, 3, 12), rng.integers(0, 3, 40)
    for among in ("same_camera", "other_cameras"):
        found = evaluate(table, q_pids, g_pids, q_cams, g_cams, among=among)  # type: ignore[arg-type]
        for query in range(12):
            here = g_cams == q_cams[query]
            kept = (here if among == "same_camera" else ~here) & (g_pids != -1)
            hits = (g_pids == q_pids[query])[kept][np.argsort(table[query][kept])]
            if not hits.any():
                assert query in found.skipped
                continue
            precision = np.mean(np.arange(1, hits.sum() + 1) / (np.flatnonzero(hits) + 1))
            assert found.precisions[query] == pytest.approx(precision)
    with pytest.raises(InputError, match="needs camera numbers"):
        evaluate(table, q_pids, g_pids, among="same_camera")


def test_scores_are_read_off_the_curve() -> None:
    none = np.empty(0)
    ranking = Ranking(np.arange(12) / 100, 0.5, 0.25, none, none, none, none)
    assert ranking.scores == {"rank1": 0.0, "rank5": 0.04, "rank10": 0.09, "mAP": 0.5, "mINP": 0.25}


def test_the_length_of_the_curve() -> None:
    assert evaluate([[1.0, 2.0]], [1], [1, 2], max_rank=1).cmc.tolist() == [1.0]
    assert evaluate([[2.0, 1.0]], [1], [1, 2], max_rank=1).cmc.tolist() == [0.0]
    assert evaluate([[2.0, 1.0]], [1], [1, 2], max_rank=3).cmc.tolist() == [0.0, 1.0, 1.0]
    assert len(evaluate([[1.0, 2.0]], [1], [1, 2]).cmc) == 50
    with pytest.raises(InputError, match="max_rank is 0, expected at least 1"):
        evaluate([[1.0, 2.0]], [1], [1, 2], max_rank=0)


def test_scores_of_every_query_by_hand() -> None:
    """Correct images at ranks 2 and 4; none; at rank 1."""
    found = ranking_of([np.array([2, 4]), np.array([], np.int64), np.array([1])], max_rank=3)
    assert found.cmc.tolist() == [0.5, 1.0, 1.0]
    assert found.first_ranks.tolist() == [2, 0, 1]
    assert found.skipped.tolist() == [1]
    np.testing.assert_array_equal(found.precisions, [(1 / 2 + 2 / 4) / 2, np.nan, 1.0])
    np.testing.assert_array_equal(found.penalties, [2 / 4, np.nan, 1.0])
    assert found.mAP == 0.75
    assert found.mINP == 0.75
