"""Which poses may be lent: not those that a detector has made up."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_dataset, standing

import augment
from augment.pose.geometry import LEAST_TORSO, MOST_TORSOS, plausible
from augment.pose.keypoints import Keypoints, load_annotations, read_keypoints, write_keypoints
from augment.pose.library import judged_library, shipped_library
from reid_eval.runtime import InputError


def small(height: float) -> np.ndarray:
    """The standing person so many pixels tall, from the eyes to the ankles."""
    xy = standing()
    return ((xy - xy.min(0)) * height / np.ptp(xy[:, 1]) + [20, 60]).astype(np.float32)


def ok(xy: np.ndarray, height: float | None = 128) -> bool:
    return bool(plausible(xy[None], None if height is None else np.array([height]))[0])


def test_each_test_by_hand() -> None:
    assert ok(standing())
    assert not ok(small(9)), "nine pixels tall"
    assert ok(small(9), None), "of an image of unknown size nothing is said of the height"
    assert ok(small(9), np.nan)
    over = standing()
    over[:, 1] = 127 - over[:, 1]
    assert not ok(over), "standing on the head"
    gone = standing()
    gone[11] = np.nan
    assert not ok(gone), "a hip is missing"
    for (a, b), most in MOST_TORSOS.items():
        for length, fine in ((most - 0.02, True), (most + 0.02, False)):
            xy = standing()
            others = [joint for joint in range(18) if joint not in (a, b, 1, 2, 5, 8, 11)]
            xy[others] = np.nan
            torso = 39.0  # 66 - 27
            if (a, b) in ((2, 5), (8, 11)):
                xy[a, 0], xy[b, 0] = 32 - length * torso / 2, 32 + length * torso / 2
            else:
                xy[b] = xy[a] + [0, length * torso]
            assert ok(xy) == fine, (a, b)


def test_the_least_height_is_a_share_of_the_image() -> None:
    torso = 39.0
    tall = torso / LEAST_TORSO
    assert ok(standing(), tall - 1)
    assert not ok(standing(), tall + 1)


def test_nothing_that_is_drawn_is_left_out() -> None:
    library = judged_library(shipped_library())
    assert library.usable.all()
    assert library.implausible == ()


@pytest.fixture
def with_mistakes(tmp_path: Path) -> Path:
    """A data set of three people with twelve images each, three of which have joints that are mistakes."""
    root = draw_dataset(tmp_path / "market", {2: 12, 7: 12, 11: 12}, {101: 4, 102: 4})
    table = read_keypoints(root / "market-annotation-train.csv")
    xy = table.xy.copy()
    for row in (0, 13, 30):
        xy[row] = small(9)
    write_keypoints(root / "market-annotation-train.csv", Keypoints(table.names, xy))
    return root


def test_a_skeleton_of_nine_pixels_lends_nothing(with_mistakes: Path) -> None:
    """It was a target pose; now its image stays, and is counted."""
    names = load_annotations(with_mistakes).names
    wrong = {f"bounding_box_train/{names[row]}" for row in range(len(names)) if "000001_00" in names[row]}
    told: list[str] = []
    planned = augment.plan_folder(with_mistakes, ratio=1.0, mode="add", say=told.append)
    table = planned.table
    odd = set(planned.summary.implausible_images)  # type: ignore[union-attr]
    assert len(odd) == 3
    assert wrong & odd
    assert not odd & {*table["pose"], *table["condition"]}
    assert odd <= set(table.loc[table["action"] == "keep", "image"])
    assert any(line.startswith("3 images have implausible poses") for line in "\n".join(told).splitlines())
    replaced = augment.plan_folder(with_mistakes, ratio=1.0)
    assert not odd & set(replaced.table.loc[replaced.table["action"] == "drop", "image"])


def test_a_library_is_tested_too(with_mistakes: Path, tmp_path: Path) -> None:
    library = tmp_path / "library.csv"
    tiny = Keypoints(("fine@128x64", "tiny@128x64"), np.stack([standing(), small(9)]))
    write_keypoints(library, tiny)
    told: list[str] = []
    planned = augment.plan_folder(
        with_mistakes, ratio=1.0, mode="add", pose_source="library", library=library, say=told.append
    )
    assert set(planned.table["pose"]) == {"", "library:fine@128x64"}
    assert any("1 of 2 poses of the library are implausible" in line for line in told)


def test_all_mistakes_are_an_error(with_mistakes: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(with_mistakes, tmp_path / "worse"))
    table = read_keypoints(root / "market-annotation-train.csv")
    write_keypoints(root / "market-annotation-train.csv", Keypoints(table.names, np.stack([small(9)] * len(table))))
    with pytest.raises(InputError, match="no training image has a plausible pose"):
        augment.plan_folder(root, ratio=0.5)


def test_the_share_of_real_photographs_that_is_left_out(pets_mini: Path) -> None:
    """As docs/poses.md says: 11 of 1,277, looked at, all of them mistakes."""
    table = load_annotations(pets_mini)
    fine = plausible(table.xy, np.full(len(table), 128.0))
    assert (int(table.usable.sum()), int((table.usable & ~fine).sum())) == (1277, 11)
