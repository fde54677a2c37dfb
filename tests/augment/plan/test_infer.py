"""How a plan was drawn, found out from its poses."""

from __future__ import annotations

import pytest
from test_plan import people

from augment.plan.infer import explaining_sources, infer_pose_source
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
