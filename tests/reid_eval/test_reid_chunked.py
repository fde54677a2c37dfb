"""The ranking in blocks against the full path, to the bit where numbers are exact; its memory; breakdowns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reid_eval import chunked
from reid_eval.chunked import Counting, Pids, Sorting, evaluate_features
from reid_eval.features import distances
from reid_eval.ranking import Ranking, breakdown, evaluate
from reid_eval.runtime import InputError

Columns = tuple[NDArray[np.int64], ...]


def people(seed: int, queries: int, gallery: int, ids: int) -> Columns:
    """Pids with junk, distractors and queries without a match; cameras."""
    rng = np.random.default_rng(seed)
    q_pids, g_pids = rng.integers(1, ids, queries), rng.integers(-1, ids, gallery)
    q_pids[::7] = 999
    return q_pids, g_pids, rng.integers(1, 4, queries), rng.integers(1, 4, gallery)


def same(got: Ranking, expected: Ranking, atol: float = 0.0) -> None:
    for name in ("cmc", "precisions", "first_ranks", "penalties", "skipped"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=0, atol=atol, err_msg=name)
    assert got.mAP == pytest.approx(expected.mAP, abs=atol + 1e-15)
    assert got.mINP == pytest.approx(expected.mINP, abs=atol + 1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("way", ["sorting", "counting"])
def test_ties_and_all_else_come_out_the_same(seed: int, block: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small whole numbers: Euclidean distances are exact, and many are equal, some of them 0."""

    def counting(pids: Pids) -> Counting:  # the way of a GPU, on a CPU
        return Counting(pids, "cpu")

    if way == "counting":
        monkeypatch.setattr(chunked, "Sorting", counting)
    monkeypatch.setattr(chunked, "GALLERY_CHUNK", 37)
    rng = np.random.default_rng(seed)
    query, gallery = (rng.integers(-1, 2, (n, 3)).astype(np.float32) for n in (40, 150))
    columns = people(seed, 40, 150, 9)
    expected = evaluate(distances(query, gallery, "euclidean"), *columns, max_rank=20)
    size = block * 150 * (Sorting if way == "sorting" else Counting).bytes_a_pair
    got = evaluate_features(query, gallery, *columns, max_rank=20, metric="euclidean", block_bytes=size)
    same(got, expected)
    assert len(expected.skipped) >= 6
    unknown = evaluate_features(query, gallery, *columns[:2], metric="euclidean", block_bytes=size)
    same(unknown, evaluate(distances(query, gallery, "euclidean"), *columns[:2]))


def test_cosine_and_memory_maps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(n, 16)).astype(np.float32) for n in (30, 400))
    np.save(tmp_path / "gallery.npy", gallery)
    columns = people(0, 30, 400, 12)
    got = evaluate_features(query, np.load(tmp_path / "gallery.npy", mmap_mode="r"), *columns, block_bytes=1)
    same(got, evaluate(distances(query, gallery), *columns), atol=1e-6)


def test_negative_distances_order_before_positive_ones() -> None:
    """Rounding makes the cosine distance of equal directions a little negative."""
    values = torch.tensor([[0.5, -1e-7, -0.0, 0.0, -2e-7, 1e-30, 2.0]])
    order = chunked._keys(values).argsort(1)[0].tolist()
    assert order == [4, 1, 2, 3, 5, 0, 6]


def test_distances_that_hardly_differ_order_too() -> None:
    values = torch.tensor([[3e-9, 1e-9, 2e-9, -1e-9, -3e-9, 2.0, 1.5]])
    assert chunked._keys(values).argsort(1)[0].tolist() == [4, 3, 1, 2, 0, 6, 5]
    zeros = torch.tensor([[0.0, -0.0, 0.0, -0.0]])  # which are equal, so that the index decides
    assert chunked._keys(zeros).argsort(1)[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
def test_cosine_takes_features_of_any_length(length: float) -> None:
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(n, 16)).astype(np.float32) for n in (20, 100))
    gallery *= rng.uniform(0.1, 1, (100, 1)).astype(np.float32) * np.float32(length)
    columns = people(0, 20, 100, 6)
    same(evaluate_features(query, gallery, *columns), evaluate(distances(query, gallery), *columns), atol=1e-6)


def test_a_junk_query_counts_for_nothing() -> None:
    query, gallery = np.eye(2, 3, dtype=np.float32), np.eye(3, dtype=np.float32)
    columns = ([-1, 5], [-1, 5, -1], [1, 1], [2, 2, 3])
    found = evaluate_features(query, gallery, *columns)
    same(found, evaluate(distances(query, gallery), *columns))
    assert found.skipped.tolist() == [0]


def test_the_bar_counts_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Bar:
        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def advance(self, count: int) -> None:
            told.append(count)

    monkeypatch.setattr(chunked, "progress", lambda *words: told.append(words) or Bar())
    evaluate_features(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), [1, 2, 3], [1, 2, 3], block_bytes=24)
    assert told == [("Ranking", 3, "queries"), 2, 1]


def test_so_many_queries_at_a_time_as_a_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a CPU sorts, whatever the number."""
    seen: list[int] = []
    call = Sorting.__call__

    def counted(self: Sorting, table: torch.Tensor, start: int) -> list[NDArray[np.int64]]:
        seen.append(len(table))
        return call(self, table, start)

    monkeypatch.setattr(Sorting, "__call__", counted)
    monkeypatch.setattr(chunked, "Counting", None)
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(n, 4)).astype(np.float32) for n in (10, 50))
    columns = people(0, 10, 50, 4)
    for size, expected in ((1, [1] * 10), (4 * 50 * 3, [3, 3, 3, 1]), (4 * 50 * 4 - 1, [3, 3, 3, 1]), (1 << 20, [10])):
        seen.clear()
        evaluate_features(query, gallery, *columns, block_bytes=size)
        assert seen == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_all_is_made_on_the_device_that_is_named(metric: str) -> None:
    """A device of no memory stands in for a GPU."""
    query, gallery = np.ones((2, 3), np.float32), np.ones((5, 3), np.float32)
    squares = chunked._squares(gallery, "meta")
    table = chunked._distances(query, gallery, squares, metric, "meta")
    made = (squares, table, chunked._keys(table), *Counting((*people(0, 2, 5, 3),), "meta")._columns)
    assert [one.device.type for one in made] == ["meta"] * 7
    assert [tuple(one.shape) for one in made] == [(5,), (2, 5), (2, 5), (2,), (5,), (2,), (5,)]


def test_errors_are_those_of_evaluate() -> None:
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match="distances hold NaN"):
        evaluate_features(ones * np.nan, ones, [1, 2], [1, 2], [1, 1], [2, 2])
    with pytest.raises(InputError, match="distances are infinite"):
        evaluate_features(ones * 3e19, ones, [1, 2], [1, 2], [1, 1], [2, 2], metric="euclidean")
    with pytest.raises(InputError, match="none of the 2 queries has a correct image"):
        evaluate_features(ones, ones, [1, 2], [3, -1], [1, 1], [2, 2])
    with pytest.raises(InputError, match="choose from cosine, euclidean"):
        evaluate_features(ones, ones, [1, 2], [1, 2], metric="l1")
    with pytest.raises(InputError, match=r"distances are \(2, 2\), expected \(1, 2\)"):
        evaluate_features(ones, ones, [1], [1, 2])


MEMORY = """
import resource, sys
import numpy as np
from reid_eval.chunked import evaluate_features

queries, gallery, block = 160, 150_000, 12 << 20
rng = np.random.default_rng(0)
g = rng.random((gallery, 8), np.float32)
q = rng.random((queries, 8), np.float32)
pids = rng.integers(1, 40_000, queries), rng.integers(1, 40_000, gallery)
evaluate_features(q[:8], g[:2000], pids[0][:8] * 0 + 1, pids[1][:2000] * 0 + 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = evaluate_features(q, g, *pids, block_bytes=block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(result.precisions))
"""


def test_memory_is_that_of_a_block() -> None:
    """160 x 150,000 distances alone are 92 MiB; a block of 12 MiB is what it may take, and a little."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, cwd=root, check=True)
    kilobytes, queries = map(int, done.stdout.split())
    assert queries == 160
    assert kilobytes < 50 * 1024


def test_breakdown_by_hand() -> None:
    table = [[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]]
    ranking = evaluate(table, [1, 1, 2, 9], [1, 2, 2], [1, 2, 10, 1], [5, 5, 5])
    parts = breakdown(ranking, [10, 9, 10, 9])
    assert list(parts) == ["9", "10"]  # numbers in their order
    assert (parts["10"].queries, parts["10"].skipped, parts["10"].rank1, parts["10"].mAP) == (2, 0, 1, 1)
    assert (parts["9"].queries, parts["9"].skipped, parts["9"].rank1) == (2, 1, 0)
    assert parts["9"].mAP == parts["9"].mINP == pytest.approx(1 / 2)
    empty = breakdown(ranking, ["side", "front", "front", "none"])["none"]
    assert (empty.queries, empty.skipped) == (1, 1)
    assert np.isnan(empty.mAP)
    with pytest.raises(InputError, match=r"\(1,\) labels for 4 queries"):
        breakdown(ranking, ["a"])
