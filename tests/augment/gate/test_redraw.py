"""Other poses for rejected images: never one that the same photo has, and the same ones whoever asks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from drawn import draw_dataset, hashes
from gated import Blind, gated
from toy import Toy

from augment.folder.carry import Source, tasks_of
from augment.folder.generate import generate
from augment.gate.attempts import Asked, record_path
from augment.gate.redraw import GateRun, Redrawing, log_text, read_log
from augment.gate.strategy import GatedRendering
from augment.plan.file import read_plan
from augment.plan.sampler import make_plan
from augment.pose import Keypoints, load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReidData, Keypoints]:
    """Three people with five, four and four images."""
    root = draw_dataset(tmp_path_factory.mktemp("few"), {1: 5, 2: 4, 3: 4}, {101: 3})
    return read_dataset(root), load_annotations(root)


def carried_out(
    few: tuple[ReidData, Keypoints], out: Path, ratio: float, source: str, share: float = 0.5
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The generated images of the folder's plan, and the log of all attempts with the photo of each."""
    data, keypoints = few
    plan = make_plan(data.train, keypoints, ratio=ratio, mode="add", pose_source=source)
    gate = GatedRendering(GateRun(Blind(share), retries=3, source=source))
    assert generate(Source(data, keypoints), plan, Toy(), out, rendering=gate) is not None
    done = read_plan(out / "augmentation/plan.csv")
    log = pd.read_csv(out / "augmentation/gate.csv")
    photos = plan[plan["action"] == "generate"].set_index("output")["condition"]
    return done[done["action"] == "generate"], log.assign(condition=log["output"].map(photos))


@pytest.mark.parametrize("source", ["identity", "camera", "dataset"])
def test_no_photo_is_made_in_a_pose_twice(few: tuple[ReidData, Keypoints], tmp_path: Path, source: str) -> None:
    made, log = carried_out(few, tmp_path / "out", 3.0, source)
    assert (log["attempt"] > 0).any()
    assert not made.duplicated(["condition", "pose"]).any()
    assert not log.duplicated(["condition", "pose"]).any()  # nor tried


def test_where_no_pose_is_left_the_image_is_given_up(few: tuple[ReidData, Keypoints], tmp_path: Path) -> None:
    """All pairs of an identity's own images are in the plan already."""
    made, log = carried_out(few, tmp_path / "out", 5.0, "identity")
    assert len(made) < 65
    tries = log.groupby("output")["attempt"].max()
    people = log.drop_duplicates("output").set_index("output")["condition"].str.slice(18, 23)
    assert set(people) == {"/0001", "/0002", "/0003"}
    assert (tries[people == "/0001"] == 0).all()  # five images, 25 pairs, 25 asked for


def test_what_an_image_is_tried_in_depends_on_no_other_outcome(few: tuple[ReidData, Keypoints]) -> None:
    data, keypoints = few
    plan = make_plan(data.train, keypoints, ratio=2.0, mode="add")
    made = plan[plan["action"] == "generate"].reset_index(drop=True)

    def redraws(order: list[int]) -> dict[tuple[int, int], str]:
        redraw = Redrawing(GateRun(Blind(0.5), retries=2), Source(data, keypoints), plan)
        found = {}
        for index in order:
            task = tasks_of(Source(data, keypoints), plan, data.root)[index]
            asked = Asked(index, task, made["pose"][index], made["output"][index], made["pid"][index])
            for tries in (1, 2):
                other = redraw(asked, ["x"] * tries)
                assert other is not None
                found[index, tries] = other.pose
        return found

    numbers = list(range(len(made)))
    assert redraws(numbers) == redraws(numbers[::-1])
    assert redraws(numbers[3:5]).items() <= redraws(numbers).items()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "5", '[{"accepted": true}]', '[{"accepted": true, "output": 5}]', "{}"]
)
def test_a_record_that_no_gate_wrote_is_made_again(text: str, tiny_data: ReidData, tmp_path: Path) -> None:
    assert gated(tiny_data, tmp_path / "whole") is not None
    with pytest.raises(KeyboardInterrupt):
        gated(tiny_data, tmp_path / "out", toy=Toy(stop=2))
    record = record_path(tmp_path / "out", 0)
    assert record.is_file()
    record.write_text(text)
    assert gated(tiny_data, tmp_path / "out", resume=True) is not None
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        ("accepted", "yes", "row 2 is none that the gate writes"),
        ("attempt", "first", "row 2 is none that the gate writes"),
        ("reasons", "ugly", "row 2 is none that the gate writes"),
        ("pose_error", "nan", "row 2 is none that the gate writes"),
        ("pose_error", "1_0", "row 2 is none that the gate writes"),
        ("pose_error", "1e4000", "row 2 is none that the gate writes"),
        ("pose_error", "1e400", "is no finite number"),
    ],
)
def test_logs_of_strangers(column: str, text: str, message: str, tmp_path: Path) -> None:
    row = {"index": 0, "output": "a.jpg", "attempt": 0, "pose": "b.jpg", "accepted": True, "reasons": [],
           "pose_error": 0.25, "colour_drift": None, "contrast": 9.0, "saturated": 0.0, "noise": 1e-05}  # fmt: skip
    path = tmp_path / "gate.csv"
    path.write_text(log_text([row]))
    assert read_log(path)["a.jpg"].noise == 1e-05
    names, cells = path.read_text().splitlines()
    told = dict(zip(names.split(","), cells.split(","), strict=True)) | {column: text}
    path.write_text(f"{names}\n{','.join(told.values())}\n")
    with pytest.raises(InputError, match=message):
        read_log(path)
    path.write_text(log_text([row, row]))
    with pytest.raises(InputError, match="an image was accepted twice"):
        read_log(path)
