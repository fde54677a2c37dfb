"""`reid-eval` with recipes, labels of generated images and breakdowns; pose bins; table rows that learn otherwise."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn import standing

from augment.commands.evaluate import training_settings
from augment.commands.main import main
from augment.pose.bins import pose_bins, query_bins
from augment.pose.geometry import mirror
from augment.table.study import open_study
from augment.table.table_recipe import load_table
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError


@pytest.fixture
def augmented(tiny_root: Path, tmp_path: Path) -> Path:
    """The drawn folder with two images copied as generated ones."""
    made = tmp_path / "augmented"
    shutil.copytree(tiny_root, made)
    for name in ("0002_c1s1_000001_00", "0007_c1s1_000001_00"):
        shutil.copy(made / "bounding_box_train" / f"{name}.jpg", made / "bounding_box_train" / f"{name}_gen0000.jpg")
    return made


def test_recipes_labels_and_breakdown_on_the_command_line(
    tiny_root: Path,
    augmented: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ["backbone=torchreid:osnet_x0_25", "size=[64, 32]", "batch_size=4", "images_per_id=2", "last_stride=2"]
    command = ["reid-eval", "--recipe", "reid_bot", tiny_root, "--augmented", augmented, "--epochs", 1]
    command += [part for change in changes for part in ("--set", change)]
    main([str(part) for part in (*command, "--generated-label", "lsro", "--breakdown")])
    said = capsys.readouterr().out
    for part in ("torchreid:osnet_x0_25, init scratch, preset custom", "Generated images: label lsro.",
                 "By camera of the query", "By pose of the query", "front"):  # fmt: skip
        assert part in said, said
    result = json.loads((tmp_path / "runs" / "reid-eval-0001" / "result.json").read_text())
    [first], [second] = result["original"], result["augmented"]
    assert first["settings"]["neck"] == "bnneck"
    assert second["settings"]["generated_label"] == "lsro"
    assert (first["n_generated"], second["n_generated"]) == (0, 2)
    assert set(first["breakdown"]) == {"camera", "pose"}
    assert sum(part["queries"] for part in first["breakdown"]["pose"].values()) == 4
    means = [part["mAP"] for part in first["breakdown"]["camera"].values()]
    assert np.mean(means) == pytest.approx(first["mAP"])  # two queries in each camera


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "bag"), "no re-ID recipe 'bag': give a file, or one of reid_bot, reid_ide"),
        (("--set", "lrr=1"), "training settings: unknown lrr (did you mean lr?); the known ones are backbone"),
        (("--preset", "bot", "--set", "losses=[circle]"), "losses[0] is 'circle', should be 'id' or 'triplet'"),
        (("--backbone", "vggg"), "backbone 'vggg': did you mean"),
    ],
)
def test_errors_list_what_is_known(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["reid-eval", *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_pose_bins_by_hand(tiny_data: ReidData) -> None:
    front = standing()
    side, none = front.copy(), front.copy()
    side[[2, 5], 0] = (31, 33)
    none[8] = np.nan
    poses = np.stack([front, mirror(front[..., :], 64)[..., :], side, none])
    back = front.copy()
    back[..., 0] = 63 - back[..., 0]  # the right shoulder moves to the larger x
    assert pose_bins(poses).tolist() == ["front", "front", "side", "unknown"]
    assert pose_bins(back[None]).tolist() == ["back"]
    bins = query_bins(tiny_data)["pose"]
    assert len(bins) == len(tiny_data.query)
    assert set(bins) <= {"front", "side"}


def test_no_keypoints_no_pose_bins(tiny_data: ReidData, tmp_path: Path) -> None:
    assert query_bins(replace(tiny_data, root=tmp_path)) == {}


def test_rows_of_a_table_that_learn_otherwise(tiny_root: Path, tmp_path: Path) -> None:
    def rows(**train: object) -> list[dict[str, object]]:
        patn = {"kind": "patn", "weights": "patn-synth-tiny"}
        return [{"kind": "leave_out", "name": "none"}, patn, {**patn, "name": "patn lsro", "train": train}]

    def load(**train: object) -> object:
        recipe = {
            "title": "t", "data": {"source": "folder", "root": str(tiny_root)}, "rows": rows(**train),
            "columns": [0.5, 1.0], "backbones": ["resnet50"], "seeds": [0],
        }  # fmt: skip
        (tmp_path / "t.yaml").write_text(yaml.safe_dump(recipe))
        return load_table(str(tmp_path / "t.yaml"))

    study = open_study(load(generated_label="lsro"), tmp_path / "out", "cpu")  # type: ignore[arg-type]
    keys = {(place.row, place.column): cell for place, cell in study.places.items()}
    assert len(study.cells) == 4  # none, patn, patn lsro at 0.5; one training at 1.0, where nothing is generated
    assert keys["patn lsro", "0.5"].settings.generated_label == "lsro"
    assert "generated_label" not in keys["patn", "0.5"].facts["settings"]
    plain, other = (study.sets.folder(study.row(name), study.columns[0], 0) for name in ("patn", "patn lsro"))
    assert plain == other
    assert keys["patn lsro", "0.5"].facts["others"] == keys["patn", "0.5"].facts["others"]
    row = study.row("patn lsro")
    training = study.sets.asked(row, study.columns[0], 0)
    assert training.mask.sum() == training.generated == len(training.others) > 0
    assert not training.mask[: len(training.real)].any()
    with pytest.raises(InputError, match="rows: train: lr: a row has only settings named generated_"):
        load(lr=1.0)


def test_epochs_lift_the_limit_of_steps_unless_it_was_asked_for() -> None:
    assert training_settings("quick", None, (), {"epochs": 1})[0].max_steps == 0
    asked, _ = training_settings("quick", None, ("max_steps=5",), {"epochs": 1, "init": None})
    assert (asked.epochs, asked.max_steps, asked.init) == (1, 5, "scratch")
