"""How a plan was drawn, found out from its poses."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from test_plan import people

from augment.plan.donors import kept_pool, redraw_allowed
from augment.plan.file import check_plan
from augment.plan.infer import explaining_sources, infer_pose_source, never_same
from augment.plan.sampler import POSE_SOURCES, make_plan
from augment.pose import Keypoints
from reid_eval.runtime import InputError


@pytest.mark.parametrize("source", POSE_SOURCES)
@pytest.mark.parametrize("exclude", [False, True])
def test_what_it_was_made_with_explains_a_plan(source: str, exclude: bool) -> None:
    """And nothing narrower does."""
    for seed in range(4):
        train, keypoints = people({1: 8, 2: 9, 3: 7}, seed=seed)
        given = {"pose_source": source, "exclude_same_image": exclude, "library": keypoints}
        plan = make_plan(train, keypoints, ratio=2.0, mode="add", seed=seed, **given)  # type: ignore[arg-type]
        assert source in explaining_sources(plan, keypoints)
        found, never_same = infer_pose_source(plan, keypoints)
        assert found == ("diverse" if source == "dataset" else source)  # all poses are credible here
        assert never_same or not exclude


def test_poses_that_are_not_credible_are_none_of_diverse() -> None:
    train, keypoints = people({1: 8, 2: 9, 3: 7})
    fallen = keypoints.xy.copy()
    fallen[::4, :, 1] = 127 - fallen[::4, :, 1]
    keypoints = Keypoints(keypoints.names, fallen)
    for source in ("diverse", "dataset"):
        plan = make_plan(train, keypoints, ratio=2.0, mode="add", pose_source=source)
        assert infer_pose_source(plan, keypoints)[0] == source


def test_a_source_that_found_nobody_explains_where_it_went_instead() -> None:
    """With exclude, the only image of a person takes a pose from anybody, though the source is `identity`."""
    train, keypoints = people({1: 1, 2: 6})
    plan = make_plan(train, keypoints, ratio=1.0, mode="add", pose_source="identity", exclude_same_image=True)
    assert infer_pose_source(plan, keypoints) == ("identity", True)


def test_a_plan_of_both_kinds_goes_by_the_poses_that_are_of_no_library() -> None:
    train, keypoints = people({1: 8, 2: 9})
    plan = make_plan(train, keypoints, ratio=1.0, mode="add", pose_source="identity")
    plan.loc[plan.index[plan["action"] == "generate"][::2], "pose"] = "library:x"
    assert infer_pose_source(plan, keypoints)[0] == "identity"
    with pytest.raises(InputError, match="pose_source library contradicts the plan, whose poses are from identity or"):
        infer_pose_source(plan, keypoints, "library")


def test_what_the_user_says_goes_where_it_can_be_heeded() -> None:
    train, keypoints = people({1: 8, 2: 9, 3: 7})
    given = {"ratio": 2.0, "mode": "add", "exclude_same_image": True}
    plan = make_plan(train, keypoints, pose_source="identity", **given)  # type: ignore[arg-type]
    assert infer_pose_source(plan, keypoints) == ("identity", True)
    assert infer_pose_source(plan, keypoints, "camera", exclude=False) == ("camera", False)
    with pytest.raises(InputError, match="pose_source library contradicts the plan, whose poses are from identity or"):
        infer_pose_source(plan, keypoints, "library")
    lent = make_plan(train, keypoints, pose_source="library", library=keypoints, **given)  # type: ignore[arg-type]
    assert infer_pose_source(lent, keypoints, "library")[0] == "library"
    with pytest.raises(InputError, match="pose_source dataset contradicts the plan, whose poses are from library"):
        infer_pose_source(lent, keypoints, "dataset")
    nothing = make_plan(train, keypoints, ratio=0.0)
    assert infer_pose_source(nothing, keypoints, "camera") == ("camera", False)


def explained_one_by_one(plan: pd.DataFrame, keypoints: Keypoints) -> tuple[str, ...]:
    """What explains a plan of no library, asked image by image of what draws other poses."""
    made = plan[plan["action"] == "generate"]
    pool, exclude = kept_pool(plan, keypoints, seed=0), never_same(plan)
    return tuple(
        source
        for source in ("identity", "camera", "diverse", "dataset")
        if all(
            redraw_allowed(pool, pid, pool.places[photo], source, exclude)[pool.places[pose]]
            for pid, photo, pose in zip(made["pid"], made["condition"], made["pose"], strict=True)
        )
    )


def test_the_same_explains_a_plan_as_image_by_image() -> None:
    """Of few people with few images, some fallen, and with poses that were exchanged by hand."""
    rng, answers = np.random.default_rng(0), set()
    for seed, source, exclude in itertools.product(range(25), POSE_SOURCES[:-1], (False, True)):
        train, keypoints = people({1: 1, 2: int(rng.integers(1, 4)), 3: int(rng.integers(1, 6))}, seed=seed)
        fallen = keypoints.xy.copy()
        fallen[rng.random(len(fallen)) < rng.choice([0.0, 0.3, 0.9]), :, 1] *= -1
        keypoints = Keypoints(keypoints.names, fallen)
        given = {"pose_source": source, "exclude_same_image": exclude, "mode": "add", "seed": seed}
        plan = make_plan(train, keypoints, ratio=1.0, **given)  # type: ignore[arg-type]
        made = plan.index[plan["action"] == "generate"]
        for row in made[rng.random(len(made)) < 0.1]:
            plan.loc[row, "pose"] = train["path"][int(rng.integers(len(train)))]
        answers.add(found := explained_one_by_one(plan, keypoints))
        assert explaining_sources(plan, keypoints) == found
    assert len(answers) >= 6


def test_the_pose_of_a_distractor_is_explained_by_the_whole_data_set_alone() -> None:
    """No plan is drawn so, but one may be edited so."""
    train, keypoints = people({0: 3, 1: 4, 2: 4})
    plan = make_plan(train, keypoints, ratio=1.0, mode="add", pose_source="identity", exclude_same_image=True)
    plan.loc[plan.index[plan["action"] == "generate"][0], "pose"] = train["path"][0]
    check_plan(plan, train, keypoints, None, "market1501")
    assert explaining_sources(plan, keypoints) == ("dataset",)
