"""What changes to the plan's code showed to be untested: see docs/mutants.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_infer import explained_one_by_one
from test_plan import people

from augment.plan.file import check_plan, check_rows, path_error, wrong_outputs
from augment.plan.infer import explaining_sources
from augment.plan.sampler import make_plan, plan_dataset, renamed_outputs, summarise
from augment.pose import Keypoints, load_annotations
from reid_eval.datasets import ReidData
from reid_eval.limits import LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError

TRAIN = "bounding_box_train"


def test_the_summary_says_whether_anything_is_generated() -> None:
    train, keypoints = people({1: 4, 2: 4})
    told = [summarise(make_plan(train, keypoints, ratio=r), train, keypoints, ratio=r).message for r in (0.5, 0.0)]
    assert "4 to generate in poses of " in told[0]
    assert "nothing to generate" not in told[0]
    assert "nothing to generate, so that what is written is a copy" in told[1]


def test_a_pose_is_implausible_only_if_it_is_whole() -> None:
    train, keypoints = people({1: 3, 2: 3})
    xy = keypoints.xy.copy()
    xy[1, 11] = np.nan  # without the left hip
    found = np.arange(5) > 0  # the first row of all is found to be no person's
    keypoints = Keypoints(keypoints.names[:-1], xy[:-1], found)  # and one image has no row
    plan = make_plan(train, keypoints, ratio=0.0)
    summary = summarise(plan, train, keypoints, ratio=0.0)
    assert summary.implausible_images == (f"{TRAIN}/{keypoints.names[0]}",)
    assert len(summary.unusable_images) == 3


def test_the_order_of_a_table_does_not_matter() -> None:
    train, keypoints = people({1: 6, 2: 5, 3: 7})
    plans = [make_plan(table, keypoints, ratio=0.5) for table in (train, train.iloc[::-1].reset_index(drop=True))]
    first, second = (plan.sort_values(list(plan.columns), ignore_index=True) for plan in plans)
    pd.testing.assert_frame_equal(first, second)


def test_outputs_take_the_new_names_of_their_photos(tiny_data: ReidData) -> None:
    keypoints = load_annotations(tiny_data.root)
    plain = plan_dataset(tiny_data, keypoints, ratio=0.5)[0]
    names = {path: f"{number + 1:04d}_c1s1_000001_00.jpg" for number, path in enumerate(tiny_data.train["path"])}
    plan = plan_dataset(replace(tiny_data, renamed=names), keypoints, ratio=0.5)[0]
    pd.testing.assert_frame_equal(plan.drop(columns="output"), plain.drop(columns="output"))
    assert plan["output"].tolist() == renamed_outputs(plain, names)
    for row, before in zip(plan.to_dict("records"), plain["output"], strict=True):
        if row["action"] == "drop":
            assert row["output"] == before == ""
            continue
        made = row["action"] == "generate"
        stem = names[row["condition"] if made else row["image"]].removesuffix(".jpg")
        mark = "_gen" + before.rpartition("_gen")[2] if made else ".jpg"
        assert row["output"] == f"{TRAIN}/{stem}{mark}"


def rows(output: str, photo: str) -> pd.DataFrame:
    """A plan of one generated image in a folder of its own."""
    kept = ("keep", photo, "", "", photo, 7, 1)
    made = ("generate", "", photo, photo, output, 7, 1)
    return pd.DataFrame([kept, made], columns=["action", "image", "condition", "pose", "output", "pid", "camid"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("é_gen0000.jpg", None),
        ("é.jpg", "lacks the mark _genNNNN"),
        ("é_gen0000.pdf", "is not an image: its name ends with none of"),
    ],
)
def test_a_name_in_a_folder_of_a_person_is_looked_at_itself(name: str, message: str | None) -> None:
    plan = rows(f"{TRAIN}/ann_7/{name}", f"{TRAIN}/ann_7/1.jpg")
    if message is None:
        check_rows("plan", plan)
        assert list(wrong_outputs(plan, "folders")) == []
    else:
        with pytest.raises(InputError, match=message):
            check_rows("plan", plan)


@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_path_may_be_as_long_as_an_image_name(letter: str) -> None:
    assert path_error(letter * LONGEST_IMAGE_NAME) is None
    assert path_error(letter * (LONGEST_IMAGE_NAME + 1)) == f"has more than {LONGEST_IMAGE_NAME} characters"


def test_a_kept_photo_whose_joints_lack_a_hip_is_not_used() -> None:
    train, keypoints = people({1: 6, 2: 6})
    plan = make_plan(train, keypoints, ratio=0.5)
    check_plan(plan, train, keypoints)
    xy = keypoints.xy.copy()
    xy[:, 11] = np.nan
    with pytest.raises(InputError, match="has no usable keypoints"):
        check_plan(plan, train, Keypoints(keypoints.names, xy))


def test_a_plan_without_generated_images_is_explained_by_all() -> None:
    train, keypoints = people({1: 4, 2: 4})
    assert len(explaining_sources(make_plan(train, keypoints, ratio=0.0), keypoints)) == 4


def test_a_strange_pose_is_found_whoever_has_it() -> None:
    """Of the last person, too, and of one whose only photo lends the only pose."""
    train, keypoints = people({1: 4, 2: 1, 3: 4})
    plan = make_plan(train, keypoints, ratio=1.0, mode="add", pose_source="identity")
    assert "identity" in explaining_sources(plan, keypoints)
    for pid in (1, 2, 3):
        edited = plan.copy()
        row = edited.index[(edited["action"] == "generate") & (edited["pid"] == pid)][0]
        edited.loc[row, "pose"] = train.loc[train["pid"] == (1 if pid == 3 else 3), "path"].iloc[0]
        assert "identity" not in explaining_sources(edited, keypoints)


@pytest.mark.parametrize("standing", [0, 1, 2])
@pytest.mark.parametrize("exclude", [False, True])
def test_where_next_to_nobody_stands_the_same_explains_as_image_by_image(standing: int, exclude: bool) -> None:
    train, keypoints = people({1: 3, 2: 3})
    xy = keypoints.xy.copy()
    xy[standing:, :, 1] = 127 - xy[standing:, :, 1]
    fallen = Keypoints(keypoints.names, xy)
    given = {"ratio": 1.0, "mode": "add", "exclude_same_image": exclude}
    for source in ("diverse", "dataset", "identity"):
        plan = make_plan(train, fallen, pose_source=source, **given)  # type: ignore[arg-type]
        found = explaining_sources(plan, fallen)
        assert found == explained_one_by_one(plan, fallen)
        assert ("diverse" in found) or standing
