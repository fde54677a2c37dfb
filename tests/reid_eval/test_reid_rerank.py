"""k-reciprocal re-ranking against the paper's formulas in plain loops, and against torchreid's function."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_eval import rerank as module
from reid_eval.rerank import rerank, rerank_features
from reid_eval.runtime import InputError


def features(seed: int, count: int) -> NDArray[np.float32]:
    """Clusters, so that neighbours are reciprocal here and there."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(6, 8))
    return (centres[rng.integers(0, 6, count)] + 0.6 * rng.normal(size=(count, 8))).astype(np.float32)


def length(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.linalg.norm(a[:, None].astype(float) - b[None], axis=2)


def plain(table: NDArray[np.float64], queries: int, k1: int, k2: int, weight: float) -> NDArray[np.float64]:
    """Equations 3 to 12 with sets and dictionaries; `table` is D, scaled."""
    count = len(table)
    order = [sorted(range(count), key=lambda g: table[p][g]) for p in range(count)]

    def near(p: int, k: int) -> set[int]:
        return set(order[p][: k + 1])

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in near(p, k) if p in near(g, k)}

    vectors = []
    for p in range(count):
        base = reciprocal(p, k1)
        members = set(base)
        for q in base:
            half = reciprocal(q, round(k1 / 2))
            if len(half & base) > 2 / 3 * len(half):
                members |= half
        values = {g: np.exp(-table[p][g]) for g in members}
        total = sum(values.values())
        vectors.append({g: value / total for g, value in values.items()})
    spread = [
        {g: sum(vectors[n].get(g, 0.0) for n in order[p][:k2]) / k2 for n in order[p][:k2] for g in vectors[n]}
        for p in range(count)
    ]
    final = np.empty((queries, count - queries))
    for p in range(queries):
        for g in range(queries, count):
            keys = set(spread[p]) | set(spread[g])
            pairs = [(spread[p].get(key, 0.0), spread[g].get(key, 0.0)) for key in keys]
            jaccard = 1 - sum(min(pair) for pair in pairs) / sum(max(pair) for pair in pairs)
            final[p, g - queries] = (1 - weight) * jaccard + weight * table[p][g]
    return final


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 3, 0.0), (6, 1, 0.5)])
def test_equals_the_papers_formulas_and_torchreid(
    k1: int, k2: int, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = features(1, 12), features(2, 50)
    every = np.concatenate([query, gallery])
    squares = length(every, every) ** 2
    expected = plain(squares / squares.max(1, keepdims=True), 12, k1, k2, weight)
    tables = length(query, gallery), length(query, query), length(gallery, gallery)
    peer = pytest.importorskip("torchreid.reid.utils.rerank").re_ranking(*tables, k1, k2, weight)
    for size in (module.BLOCK_BYTES, 16 * 62 * 5):  # one block; blocks of five rows that straddle query and gallery
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        for got in (rerank(*tables, k1, k2, weight), rerank_features(query, gallery, "euclidean", k1, k2, weight)):
            np.testing.assert_allclose(got, expected, atol=2e-5)
            np.testing.assert_allclose(got, peer, atol=2e-5)


def test_cosine_looks_at_directions_only() -> None:
    query, gallery = features(3, 5), features(4, 40)
    scale = np.random.default_rng(0).uniform(0.5, 2, (40, 1)).astype(np.float32)
    np.testing.assert_allclose(rerank_features(query, gallery * scale), rerank_features(query, gallery), atol=1e-4)


def test_it_helps_on_clusters() -> None:
    """Two rings of points: neighbours of neighbours lead round, the straight line leads across."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = np.concatenate([ring, ring * 2.2 + 0.3]) + rng.normal(size=(120, 2)) * 0.02
    pids = np.repeat([1, 2], 60)
    from reid_eval.features import distances
    from reid_eval.ranking import evaluate

    chosen = np.arange(120) % 6 == 0
    query, gallery = points[chosen].astype(np.float32), points[~chosen].astype(np.float32)
    before = evaluate(distances(query, gallery, "euclidean"), pids[chosen], pids[~chosen]).mAP
    after = evaluate(rerank_features(query, gallery, "euclidean", 20, 6, 0.3), pids[chosen], pids[~chosen]).mAP
    assert after > before + 0.05


def test_bad_numbers() -> None:
    query, gallery = features(1, 3), features(2, 9)
    for numbers in ((12, 6, 0.3), (5, 7, 0.3), (5, 0, 0.3), (5, 2, 1.5)):
        with pytest.raises(InputError, match="re-ranking: k1"):
            rerank_features(query, gallery, "cosine", *numbers)
    with pytest.raises(InputError, match="choose from cosine, euclidean"):
        rerank_features(query, gallery, "l1")
