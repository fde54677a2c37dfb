"""Plans in which very many lend poses: an identity draws from a window of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_plan import people

from augment.plan import donors
from augment.plan.donors import PosePool, stable_hash
from augment.plan.file import check_plan
from augment.plan.sampler import make_plan, summarise


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


def test_by_camera_a_window_has_as_many_of_each_camera_of_the_photos() -> None:
    pool = pool_of(120)
    _, rows = pool.window(5, np.array([16, 18]), 3, True)
    assert rows is not None
    assert set(pool.camids[rows]) == {0, 1}  # rows 16 and 18
    assert min((pool.camids[rows] == camid).sum() for camid in (0, 1)) >= 20


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
