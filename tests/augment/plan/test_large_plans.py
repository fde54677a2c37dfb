"""Plans in which very many lend poses: an identity draws from a window of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_plan import people

from augment.plan import donors, file
from augment.plan.donors import PosePool, draw_poses, stable_hash
from augment.plan.file import check_plan, check_rows
from augment.plan.sampler import make_plan, summarise
from reid_eval.runtime import InputError


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is many in a test."""
    monkeypatch.setattr(donors, "MANY", 100)
    monkeypatch.setattr(donors, "WINDOW", 20)


def pool_of(count: int) -> PosePool:
    _, keypoints = people({1: 2})
    pids = np.arange(count) // 4 + 1
    xy = np.repeat(keypoints.xy[:1], count, axis=0)
    return PosePool([f"p{n}" for n in range(count)], pids, np.arange(count) % 3, xy, 7)


def test_a_window_is_the_identitys_own_and_those_that_follow_its_hash() -> None:
    pool = pool_of(120)
    own = np.flatnonzero(pool.pids == 5)
    part, rows = pool.window(5, own, 3, False)
    assert rows is not None
    start = stable_hash(7, "window", 5)
    after = sorted(range(120), key=lambda row: (int(pool.keys[row]) - start) % 2**64)[:20]
    assert rows[: len(own)].tolist() == own.tolist()
    assert sorted(rows.tolist()) == sorted({*after, *own.tolist()})
    assert part.keys.tolist() == pool.keys[rows].tolist()
    assert len(pool.window(5, own, 30, False)[0]) >= 60  # as many again as are asked for
    assert pool_of(99).window(5, own, 3, False)[1] is None
    assert pool_of(100).window(5, own, 3, False)[1] is not None


@pytest.mark.parametrize("count", [55, 60, 61, 500])
def test_a_window_of_nearly_all_or_more_has_each_once(count: int) -> None:
    for pid in range(1, 31):
        _, rows = pool_of(120).window(pid, np.array([], np.int64), count, False)
        assert rows is not None
        assert len(set(rows.tolist())) == len(rows) == min(2 * count, 120)


def test_what_is_credible_of_all_is_so_in_a_window() -> None:
    """A part has another median, so it would find others."""
    pool = pool_of(120)
    pool.xy[::3] *= 2
    own = np.flatnonzero(pool.pids == 5)
    assert "credible" not in pool.window(5, own, 3, False)[0].__dict__
    assert pool.credible.tolist() == [row % 3 > 0 for row in range(120)]
    part, rows = pool.window(5, own, 3, False)
    assert part.__dict__["credible"].tolist() == pool.credible[rows].tolist()
    again = pool_of(120)
    draw_poses(again, 5, own, 3, "dataset", False)
    assert "credible" not in again.__dict__
    draw_poses(again, 5, own, 3, "diverse", False)
    assert len(again.__dict__["credible"]) == 120


def test_what_is_credible_is_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donors, "_BLOCK", 7)
    pool = pool_of(20)
    pool.xy[[6, 7, 13, 19]] *= 2
    assert np.flatnonzero(~pool.credible).tolist() == [6, 7, 13, 19]


def test_a_large_library_lends_to_photos_that_are_not_in_it() -> None:
    pool = pool_of(120)
    photos = np.array([500, 900, 700])
    pairs = draw_poses(pool, 5, photos, 6, "library", True, library=True)
    assert [turn for turn, _ in pairs] == [0, 1, 2, 0, 1, 2]
    _, rows = pool.window(5, photos[:0], 6, False)
    assert rows is not None
    assert {row for _, row in pairs} <= set(rows.tolist())
    assert len({row for _, row in pairs}) == 6


def test_rows_are_counted_through_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_BLOCK", 3)
    plan = make_plan(*people({1: 10}), ratio=0.0)
    check_rows("x", plan)
    for row in range(10):
        with pytest.raises(InputError, match=rf"^x: row {row + 2}: action 'paint' is not one of keep, drop, generate$"):
            check_rows("x", plan.assign(action=["paint" if n == row else "keep" for n in range(10)]))
    with pytest.raises(InputError, match=r"^x: row 2: .* \(and 9 more errors\)$"):
        check_rows("x", plan.assign(action="paint"))


def test_by_camera_a_window_has_as_many_of_each_camera_of_the_photos() -> None:
    pool = pool_of(120)
    _, rows = pool.window(5, np.array([16, 18]), 3, True)
    assert rows is not None
    assert set(pool.camids[rows]) == {0, 1}  # rows 16 and 18
    assert min((pool.camids[rows] == camid).sum() for camid in (0, 1)) >= 20
    start = stable_hash(7, "window", 5)
    ahead = sorted(range(120), key=lambda row: (int(pool.keys[row]) - start) % 2**64)
    expected = [row for camid in (0, 1) for row in [row for row in ahead if row % 3 == camid][:20]]
    assert rows.tolist() == [16, 18, *(row for row in expected if row not in (16, 18))]


@pytest.mark.parametrize("source", ["dataset", "identity", "camera", "diverse"])
def test_a_large_plan_keeps_the_rules(source: str) -> None:
    train, keypoints = people(dict.fromkeys(range(1, 61), 5))
    how = {"ratio": 1.0, "mode": "add", "pose_source": source}
    plan = make_plan(train, keypoints, seed=2, exclude_same_image=True, **how)
    check_plan(plan, train, keypoints, None, "market1501")
    summary = summarise(plan, train, keypoints, **how)
    assert (summary.generated, summary.same_image, summary.repeats, summary.fallbacks) == (300, 0, 0, 0)
    assert summary.donors > (100 if source != "identity" else 200)
    pd.testing.assert_frame_equal(plan, make_plan(train, keypoints, seed=2, exclude_same_image=True, **how))


def test_a_new_identity_changes_few_draws_of_others() -> None:
    counts = dict.fromkeys(range(1, 61), 5)
    before, after = (make_plan(*people(one), ratio=1.0, mode="add", seed=2) for one in (counts, {**counts, 99: 5}))
    old = before[before["action"] == "generate"].set_index("output")["pose"]
    new = after[after["action"] == "generate"].set_index("output")["pose"].reindex(old.index)
    assert 0.9 < (old == new).mean() < 1.0
