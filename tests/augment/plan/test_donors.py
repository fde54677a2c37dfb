"""Where poses come from, in small pools made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import standing
from test_plan import people

from augment.plan import donors
from augment.plan.donors import (
    PosePool,
    _Diverse,
    draw_poses,
    kept_pool,
    library_pool,
    redraw_allowed,
    redraw_pose,
    stable_hash,
)
from augment.plan.file import check_plan, path_error, wrong_outputs
from augment.plan.sampler import make_plan, plan_dataset, summarise
from augment.pose import Keypoints
from augment.pose.geometry import normalise, pose_distance
from reid_eval.datasets import ReidData
from reid_eval.limits import LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError

ALL = np.ones(9, dtype=bool)


def pool_of(xy: list[np.ndarray], pids: list[int] | None = None, camids: list[int] | None = None) -> PosePool:
    count = len(xy)
    pids, camids = pids or [1] * count, camids or [1] * count
    return PosePool([f"p{n}" for n in range(count)], np.array(pids), np.array(camids), np.stack(xy), 3)


def fallen() -> np.ndarray:
    xy = standing()
    xy[:, 1] = 127 - xy[:, 1]
    return xy


def stretched(by: float) -> np.ndarray:
    return (standing() * by).astype(np.float32)


def test_scores_are_splitmix64_of_both_hashes() -> None:
    pool, mask = pool_of([standing()] * 4), (1 << 64) - 1
    for name, score in zip(pool.names, pool.scores("a", 7).tolist(), strict=True):
        x = stable_hash(3, "donor", name) ^ stable_hash(3, "draw", "a", 7)
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        assert score == x ^ (x >> 31)
    assert stable_hash("a", 1) == 9484037261928657086


def test_credible_poses_are_upright_and_of_a_common_size() -> None:
    sizes = [2**0.7, 2**-0.7, 2**0.9, 2**-0.9]
    pool = pool_of([standing(), standing(), standing(), fallen(), *map(stretched, sizes)])
    assert pool.credible.tolist() == [True, True, True, False, True, True, False, False]


def test_kept_images_of_people_with_usable_joints_lend_poses() -> None:
    train, keypoints = people({0: 3, 1: 6})
    xy = keypoints.xy.copy()
    plan = make_plan(train, keypoints, ratio=0.5)
    kept = plan[(plan["action"] == "keep") & (plan["pid"] == 1)]
    bad = keypoints.rows(kept["image"].tolist())[0]
    xy[bad, 11] = np.nan
    found = kept_pool(plan, Keypoints(keypoints.names, xy), seed=5)
    assert list(found.names) == kept["image"].tolist()[1:]
    assert found.pids.tolist() == [1] * (len(kept) - 1)
    assert found.camids.tolist() == kept["camid"].tolist()[1:]
    assert found.seed == 5
    lacking = Keypoints(keypoints.names[:-1], keypoints.xy[:-1])  # its last row is no stand-in for one without a row
    assert "0001_" in keypoints.names[-1]
    gone = f"bounding_box_train/{keypoints.names[-1]}"
    assert gone not in kept_pool(plan, lacking, 5).names


def test_a_library_is_nobodys() -> None:
    bad = standing()
    bad[2] = np.nan
    found = library_pool(Keypoints(("a", "b", "c"), np.stack([standing(), bad, standing() + 1])), 2)
    assert list(found.names) == ["library:a", "library:c"]
    assert found.pids.tolist() == found.camids.tolist() == [-1, -1]
    np.testing.assert_array_equal(found.xy[1], standing() + 1)


def test_where_a_photo_has_had_all_the_next_takes_its_turn() -> None:
    """The first is alone in its camera; the others are two in theirs."""
    pool = pool_of([standing() + n for n in range(3)], camids=[1, 2, 2])
    pairs = draw_poses(pool, 1, np.array([0, 1, 2]), 5, "camera", False)
    assert [turn for turn, _ in pairs] == [0, 1, 2, 1, 2]
    assert pairs[0] == (0, 0)
    assert {pairs[1], pairs[3]} == {(1, 1), (1, 2)}
    assert {pairs[2], pairs[4]} == {(2, 1), (2, 2)}

    assert draw_poses(pool, 1, np.array([], dtype=np.int64), 0, "camera", False) == []


@pytest.mark.parametrize(("count", "own", "enough"), [(11, 1, 12), (7, 3, 4), (6, 3, 3), (1, 2, 2)])
def test_diverse_looks_at_enough_for_each_photos_turns(
    monkeypatch: pytest.MonkeyPatch, count: int, own: int, enough: int
) -> None:
    asked: list[int] = []

    class Spy(_Diverse):
        def __init__(self, pool: PosePool, pid: int, enough: int) -> None:
            asked.append(enough)
            super().__init__(pool, pid, enough)

    monkeypatch.setattr(donors, "_Diverse", Spy)
    pool = pool_of([standing() + n for n in range(9)], pids=[1] * own + [2] * (9 - own))
    assert len(draw_poses(pool, 1, np.arange(own), count, "diverse", False)) == count
    assert asked == [enough]


def test_diverse_looks_at_those_with_the_highest_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donors, "DIVERSE_CANDIDATES", 4)
    pool = pool_of([standing() + n for n in range(9)])
    highest = np.argsort(pool.scores(1, "diverse"))[::-1]
    assert _Diverse(pool, 1).candidates.tolist() == highest[:4].tolist()
    assert _Diverse(pool, 1, 6).candidates.tolist() == highest[:6].tolist()


@pytest.mark.parametrize(("credible", "looked_at"), [(0, 4), (1, 4), (2, 2), (3, 3)])
def test_diverse_looks_at_credible_poses_if_there_are_two(credible: int, looked_at: int) -> None:
    pool = pool_of([standing() + n for n in range(credible)] + [fallen() - n for n in range(4 - credible)])
    assert pool.credible.sum() == credible
    assert len(_Diverse(pool, 1).candidates) == looked_at


def test_whom_diverse_may_take() -> None:
    pool = pool_of([standing(), standing() + 1, fallen()])
    diverse = _Diverse(pool, 1)
    assert diverse.allowed(0, "diverse", False).tolist() == [True, True, False]
    assert diverse.allowed(0, "diverse", True).tolist() == [False, True, False]
    assert diverse.allowed(-1, "diverse", True).tolist() == [True, True, False]
    diverse.candidates = np.array([0])
    assert diverse.allowed(0, "diverse", True).tolist() == [False, True, True]  # no credible one is left: anybody


def test_diverse_takes_anyone_where_nobody_credible_is_left() -> None:
    pool = pool_of([standing(), standing() + 1, fallen(), fallen() - 1])
    diverse = _Diverse(pool, 1)
    everybody = np.ones(4, dtype=bool)
    assert diverse(0, everybody, {0, 1}) == 2
    assert diverse(0, everybody, {0, 1, 2}) == 3
    assert diverse(0, np.array([True, True, False, True]), {0, 1}) == 3


def test_diverse_takes_the_farthest_from_all_shown_and_begins_again() -> None:
    """Against farthest-point sampling in plain loops; when all have come, the order is what it was."""
    rng = np.random.default_rng(0)
    xy = [standing() + rng.normal(0, 4, (18, 2)).astype(np.float32) for _ in range(6)]
    pool = pool_of(xy, pids=[1, 2, 2, 2, 2, 2])
    assert pool.credible.all()
    apart = pose_distance(normalise(pool.xy), normalise(pool.xy))
    shown, expected = [0], []
    for _ in range(5):
        best = max((row for row in range(1, 6)), key=lambda row: min(apart[row, other] for other in shown))
        expected.append(best)
        shown.append(best)
    diverse = _Diverse(pool, 1)
    everybody = np.ones(6, dtype=bool)
    others = everybody.copy()
    others[0] = False
    assert [diverse(n, others, set()) for n in range(5)] == expected
    assert [diverse(n, others, set()) for n in range(5)] == expected
    assert diverse(0, others, {expected[0]}) != expected[0]


def test_another_pose_for_an_image_that_was_rejected() -> None:
    one, two = pool_of([standing()]), pool_of([standing(), standing() + 1])
    assert redraw_pose(one, 1, 0, ALL[:1], "dataset", True, "x") is None
    assert redraw_pose(one, 1, 0, ALL[:1], "dataset", False, "x") == 0
    assert redraw_pose(one, 1, -1, ALL[:1], "library", True, "x") == 0
    assert redraw_pose(two, 1, 0, ALL[:2], "dataset", True, "x") == 1
    assert redraw_pose(two, 1, 1, ALL[:2], "dataset", True, "x") == 0
    assert redraw_pose(two, 1, 0, np.array([True, False]), "dataset", True, "x") is None


def test_an_incredible_pose_is_redrawn_only_where_there_is_no_other() -> None:
    pool = pool_of([standing(), fallen(), fallen() - 1])
    assert redraw_allowed(pool, 1, 0, "diverse", True).tolist() == [False, True, True]
    assert redraw_allowed(pool, 1, 1, "diverse", True).tolist() == [True, False, False]
    assert redraw_allowed(pool, 1, 1, "dataset", True).tolist() == [True, False, True]


def test_the_seed_is_0_if_none_is_given() -> None:
    train, keypoints = people({1: 9, 2: 7})
    pd.testing.assert_frame_equal(
        make_plan(train, keypoints, ratio=0.5), make_plan(train, keypoints, ratio=0.5, seed=0)
    )


def test_a_summary_counts_people_and_images() -> None:
    train, keypoints = people({0: 3, 1: 4, 2: 2})
    xy = keypoints.xy.copy()
    xy[keypoints.rows([path for path in train["path"] if "/0002_" in path])[0], 11] = np.nan
    keypoints = Keypoints(keypoints.names, xy)
    plan = make_plan(train, keypoints, ratio=0.5)
    summary = summarise(plan, train, keypoints, ratio=0.5)
    assert (summary.identities, summary.kept, summary.dropped, summary.generated) == (2, 7, 2, 2)
    assert summary.identities_short == (2,)
    assert len(summary.unusable_images) == 1
    assert (summary.donors, summary.donor_uses_max, summary.repeats) == (2, 1, 0)
    nothing = summarise(make_plan(train, keypoints, ratio=0.0), train, keypoints, ratio=0.0)
    assert (nothing.kept, nothing.dropped, nothing.generated, nothing.donors, nothing.donor_uses_max) == (9, 0, 0, 0, 0)
    plan = make_plan(train, keypoints, ratio=2, mode="add", pose_source="identity")
    assert summarise(plan, train, keypoints, ratio=2, mode="add").same_image > 0


def test_plans_of_folders_keep_the_layout(tiny_data: ReidData) -> None:
    train = pd.DataFrame(
        [(f"train/{pid}/{n}.jpg", pid, 1, "real") for pid in (1, 2) for n in range(4)],
        columns=["path", "pid", "camid", "source"],
    )
    keypoints = Keypoints(tuple(train["path"]), np.stack([standing() + n for n in range(8)]))
    data = ReidData(tiny_data.root, "folders", train, tiny_data.query, tiny_data.gallery)
    plan, _ = plan_dataset(data, keypoints, ratio=0.5)
    check_plan(plan, train, keypoints, layout="folders")
    assert plan["output"].str.match(r"^(bounding_box_train/[12]/\d(_gen\d{4})?\.jpg|)$").all()


def with_row(plan: pd.DataFrame, *cells: object) -> pd.DataFrame:
    return pd.concat([plan, pd.DataFrame([cells], columns=plan.columns)], ignore_index=True)


def test_rows_are_counted_with_the_header() -> None:
    train, keypoints = people({1: 4, 2: 4})
    plan = make_plan(train, keypoints, ratio=0.0)
    assert len(plan) == 8
    stranger = with_row(plan, "keep", 1, 1, "bounding_box_train/x.jpg", "", "", "bounding_box_train/x.jpg")
    with pytest.raises(InputError, match=r"^plan: row 10: bounding_box_train/x.jpg is not a training image of this"):
        check_plan(stranger, train, keypoints)
    wrong = with_row(plan, "keep", 1, 1, "a.jpg", "", "", "bounding_box_train/x.jpg")
    assert [row for row, _ in wrong_outputs(wrong, "market1501")] == [10]
    eaten = with_row(with_row(plan, "eat", 1, 1, "", "", "", ""), "keep", 1, 1, "", "", "", "")
    with pytest.raises(InputError, match=r"^plan: row 10: action 'eat' .*\(and 2 more errors\)$"):
        check_plan(eaten, train, keypoints)
    with pytest.raises(InputError, match=r"is not one of keep, drop, generate$"):
        check_plan(with_row(plan, "eat", 1, 1, "", "", "", ""), train, keypoints)


@pytest.mark.parametrize("what", ["condition", "pose"])
def test_a_photo_or_pose_that_nobody_knows(what: str) -> None:
    train, keypoints = people({1: 4, 2: 4})
    plan = make_plan(train, keypoints, ratio=1, mode="add")
    row = plan.index[plan["action"] == "generate"][0]
    plan.loc[row, what] = "bounding_box_train/x.jpg"
    with pytest.raises(InputError, match=rf"^plan: row {row + 2}: {what} bounding_box_train/x.jpg is not a training"):
        check_plan(plan, train, keypoints)


def test_poses_of_a_library_have_to_be_usable() -> None:
    train, keypoints = people({1: 4, 2: 4})
    bad = standing()
    bad[2] = np.nan
    library = Keypoints(("a", "b"), np.stack([standing(), bad]))
    plan = make_plan(train, keypoints, ratio=0.5, pose_source="library", library=library)
    check_plan(plan, train, keypoints, library)
    plan.loc[plan["pose"] == "library:a", "pose"] = "library:b"
    with pytest.raises(InputError, match="pose library:b is not kept by this plan"):
        check_plan(plan, train, keypoints, library)


def test_how_long_paths_and_names_may_be() -> None:
    assert path_error("a" * LONGEST_IMAGE_NAME) is None
    assert path_error("a" * (LONGEST_IMAGE_NAME + 1)) == f"has more than {LONGEST_IMAGE_NAME} characters"
    train, keypoints = people({1: 2})
    plan = make_plan(train, keypoints, ratio=0.0)
    for length, good in ((255, True), (256, False)):
        plan.loc[0, "output"] = f"bounding_box_train/{'a' * (length - 4)}.jpg"
        if good:
            check_plan(plan, train, keypoints)
        else:
            with pytest.raises(InputError, match="has a name of 256 bytes, more than 255"):
                check_plan(plan, train, keypoints)
