"""Outputs of a plan are read back by the layout's own grammar; nothing may come out as somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from toy import Toy

from augment.folder.carry import Source
from augment.folder.generate import generate, verify
from augment.folder.manifest import MANIFEST, PLAN, file_entries, read_manifest, write_manifest
from augment.plan.file import check_plan, read_plan, write_plan, wrong_outputs
from augment.plan.sampler import plan_dataset
from augment.pose import load_annotations
from augment.pose.keypoints import Keypoints
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError

TRAIN = "bounding_box_train"


@pytest.fixture(scope="module")
def joints(tiny_data: ReidData) -> Keypoints:
    return load_annotations(tiny_data.root)


@pytest.fixture
def plan(tiny_data: ReidData, joints: Keypoints) -> pd.DataFrame:
    return plan_dataset(tiny_data, joints, ratio=0.5)[0].astype({"output": object})


def edited(plan: pd.DataFrame, action: str, output: str) -> pd.DataFrame:
    """The first row of person 2 of that action, under another name."""
    row = plan[(plan["action"] == action) & (plan["pid"] == 2) & (plan["camid"] == 1)].index[0]
    plan.loc[row, "output"] = output
    return plan


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (f"{TRAIN}/0007_c1s1_000001_09_gen0000.jpg", "says pid 7, the row 2"),
        (f"{TRAIN}/0101_c1s1_000001_09_gen0000.jpg", "says pid 101, the row 2"),
        (f"{TRAIN}/-1_c1s1_000001_09_gen0000.jpg", "says pid -1, the row 2"),
        (f"{TRAIN}/0000_c1s1_000001_09_gen0000.jpg", "says pid 0, the row 2"),
        (f"{TRAIN}/0002_c2s1_000001_09_gen0000.jpg", "says camid 2, the row 1"),
        (f"{TRAIN}/0002_c1s1_000001_09.jpg", "lacks the mark _genNNNN"),
        (f"{TRAIN}/0002_c1s1_000001_09_gen1.jpg", "lacks the mark _genNNNN"),
        (f"{TRAIN}/0002_c1s1_000001_09_gen0000.pdf", "is not an image: its name ends with none of .jpg"),
        (f"{TRAIN}/0002_c1s1_000001_09_gen0000", "is not an image"),
        (f"{TRAIN}/ 0002_c1s1_000001_09_gen0000.jpg", "begins or ends with a space"),
        (f"{TRAIN}/0002_c1s1_000001_{'9' * 240}_gen0000.jpg", "has a name of 269 bytes, more than 255"),
        (f"{TRAIN}/person_gen0000.jpg", "does not follow market1501's grammar"),
        (f"{TRAIN}/0002_c1_f0000001_gen0000.jpg", "does not follow market1501's grammar"),
        (f"{TRAIN}/2/0002_c1s1_000001_09_gen0000.jpg", "does not fit the layout market1501"),
    ],
)
def test_a_generated_image_named_as_something_else(
    output: str, message: str, plan: pd.DataFrame, tiny_data: ReidData, joints: Keypoints, tmp_path: Path
) -> None:
    plan = edited(plan, "generate", output)
    with pytest.raises(InputError) as caught:
        check_plan(plan, tiny_data.train, joints, None, "market1501")
    assert message in str(caught.value)
    with pytest.raises(InputError):
        generate(Source(tiny_data, joints), plan, Toy(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (f"{TRAIN}/0007_c1s1_000001_09.jpg", "says pid 7, the row 2"),
        (f"{TRAIN}/0002_c2s1_000001_09.jpg", "says camid 2, the row 1"),
        (f"{TRAIN}/0002_c1s1_000001_09_gen0000.jpg", "is named as a generated image is"),
        (f"{TRAIN}/0002_c1s1_000001_09.pdf", "is not an image"),
        (f"{TRAIN}/real.jpg", "does not follow market1501's grammar"),
    ],
)
def test_a_real_image_under_another_name(
    output: str, message: str, plan: pd.DataFrame, tiny_data: ReidData, joints: Keypoints
) -> None:
    with pytest.raises(InputError) as caught:
        check_plan(edited(plan, "keep", output), tiny_data.train, joints, None, "market1501")
    assert message in str(caught.value)


def test_new_names_that_say_the_same_are_good(
    plan: pd.DataFrame, tiny_data: ReidData, joints: Keypoints, tmp_path: Path
) -> None:
    plan = edited(plan, "keep", f"{TRAIN}/0002_c1s7_000001_09.JPG")
    plan = edited(plan, "generate", f"{TRAIN}/0002_c1s7_000002_09_gen12345.png")
    generate(Source(tiny_data, joints), plan, Toy(), tmp_path / "out")
    assert verify(tmp_path / "out").ok
    there = read_dataset(tmp_path / "out").train.set_index("path")
    assert there.loc[f"{TRAIN}/0002_c1s7_000001_09.JPG", "source"] == "real"
    assert there.loc[f"{TRAIN}/0002_c1s7_000002_09_gen12345.png", ["pid", "source"]].tolist() == [2, "generated"]


def test_junk_and_distractors_are_not_generated(plan: pd.DataFrame) -> None:
    row = plan[plan["action"] == "generate"].index[0]
    plan.loc[row, ["pid", "camid", "output"]] = (0, 1, f"{TRAIN}/0000_c1s1_000001_09_gen0000.jpg")
    assert [error for _, error in wrong_outputs(plan, "market1501")] == [
        f"output '{TRAIN}/0000_c1s1_000001_09_gen0000.jpg' is of pid 0, which is nobody: distractors and junk are not "
        "generated"
    ]


def test_every_layout_reads_its_own_names() -> None:
    """Of DukeMTMC and MSMT17, whose people count from 0 in the names; of folders, where the folder is the person."""
    columns = ["action", "pid", "camid", "image", "condition", "pose", "output"]

    def said(layout: str, pid: int, camid: int, condition: str, output: str) -> list[str]:
        row = ("generate", pid, camid, "", condition, condition, output)
        return [error for _, error in wrong_outputs(pd.DataFrame([row], columns=columns), layout)]

    assert said("dukemtmc", 5, 2, "x/0005_c2_f01.jpg", f"{TRAIN}/0005_c2_f01_gen0000.jpg") == []
    assert said("dukemtmc", 6, 2, "x/0006_c2_f01.jpg", f"{TRAIN}/0005_c2_f01_gen0000.jpg") != []
    assert said("msmt17", 1, 3, "x/0000_c3_0001.jpg", f"{TRAIN}/0000_c3_0001_gen0000.jpg") == []
    assert said("msmt17", 1, 3, "x/0000_c3_0001.jpg", f"{TRAIN}/0001_c3_0001_gen0000.jpg") != []
    assert said("folders", 1, 1, "train/anna/a.jpg", f"{TRAIN}/anna/a_gen0000.jpg") == []
    assert "lies in the folder of another person" in said("folders", 1, 1, "train/anna/a.jpg", f"{TRAIN}/bo/a.jpg")[0]


# --- verify -------------------------------------------------------------------------------------------------------


def test_verify_reads_the_names_too(plan: pd.DataFrame, tiny_data: ReidData, joints: Keypoints, tmp_path: Path) -> None:
    """A folder whose plan, image and manifest were edited in the same way: every hash fits."""
    out = tmp_path / "out"
    generate(Source(tiny_data, joints), plan, Toy(), out)
    old = plan.loc[(plan["action"] == "generate") & (plan["pid"] == 2), "output"].iloc[0]
    new = old.replace("0002_", "0007_")
    shutil.move(out / old, out / new)
    carried = read_plan(out / PLAN)
    carried["output"] = carried["output"].replace(old, new)
    write_plan(out / PLAN, carried)
    manifest = read_manifest(out)
    names = sorted({*manifest.files, new} - {old})
    write_manifest(out, manifest.model_copy(update={"files": file_entries(out, names)}))
    report = verify(out)
    assert not report.ok
    assert (report.missing, report.changed, report.extra) == ((), (), ())
    assert "says pid 7, the row 2" in report.message
    assert report.message.startswith("1 mislabelled: row ")


def test_verify_compares_the_plan_with_the_files(
    plan: pd.DataFrame, tiny_data: ReidData, joints: Keypoints, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    generate(Source(tiny_data, joints), plan, Toy(), out)
    stranger = f"{TRAIN}/0007_c1s1_000077_00.jpg"
    shutil.copy(next((out / TRAIN).iterdir()), out / stranger)
    manifest = read_manifest(out)
    write_manifest(out, manifest.model_copy(update={"files": file_entries(out, [*manifest.files, stranger])}))
    assert verify(out).mislabelled == (f"{stranger} is in the manifest or the plan alone",)
    assert (out / MANIFEST).is_file()
