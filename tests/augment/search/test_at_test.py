"""A comparison that is also searched with generated views."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_normalized import POSES, Shifter

from augment.commands.main import main
from augment.generators.open import CONTROLS
from augment.pose.keypoints import load_annotations, write_keypoints
from augment.search.at_test import SearchSettings, ViewSearch, search_settings
from augment.search.extractors import reid_extractor
from augment.search.normalized import PoseNormalized
from augment.search.searched_photos import photos_of
from reid_eval.datasets import ReidData
from reid_eval.harness import rank
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.training import train_on

SMALL = TrainSettings(
    backbone="torchreid:osnet_x0_25", size=(64, 32), epochs=1, batch_size=4, max_steps=2, device="cpu", amp="off"
)


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    write_keypoints(tmp_path / "poses.csv", POSES)
    return tmp_path / "poses.csv"


def test_it_is_what_pose_normalized_gives(
    tiny_data: ReidData, tmp_path: Path, poses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTROLS, "shifter", lambda device: Shifter())
    joints = load_annotations(tiny_data.root)
    settings = SearchSettings(poses=str(poses), weight=2, weights="entry:shifter")
    search = ViewSearch(tiny_data, joints, settings, "cpu", tmp_path / "views")
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 64, 32), np.uint8)
    model = train_on(images, np.arange(8) % 2, SMALL).model
    found = search(model, SMALL, "off")
    assert (len(found.query), len(found.gallery)) == (4, 8)
    assert found.facts["images_with_views"] == found.facts["images"] == 12
    assert found.facts["generated"] == 24
    assert found.facts["calibrated_on"] == 17

    plain = PoseNormalized(reid_extractor(model), Shifter(), POSES, weight=2)
    train = photos_of(tiny_data, joints, tiny_data.train["path"].tolist())
    train = type(train)(train.root, tuple(np.array(train.names)[train.known]), train.joints[train.known])
    plain.calibrate(train.read(), train.joints)
    tested = photos_of(tiny_data, joints, [*tiny_data.query["path"], *tiny_data.gallery["path"]])
    expected = plain(tested.read(), tested.joints)
    # Photos are made smaller by Pillow here and by torch there.
    assert ((np.concatenate([found.query, found.gallery]) * expected).sum(1) > 0.99).all()
    a, b = (rank(f[:4], f[4:], tiny_data, SMALL, "cpu").mAP for f in (expected, np.r_[found.query, found.gallery]))
    assert a == pytest.approx(b, abs=0.02)


@pytest.mark.parametrize(("init", "weight"), [("scratch", 3.0), ("imagenet", 1.0), ("mine.safetensors", 1.0)])
def test_the_weight_that_nobody_chose_is_that_of_the_networks_beginning(
    init: str, weight: float, tiny_data: ReidData, tmp_path: Path, poses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTROLS, "shifter", lambda device: Shifter())
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 64, 32), np.uint8)
    model = train_on(images, np.arange(8) % 2, SMALL).model
    joints, how = load_annotations(tiny_data.root), replace(SMALL, init=init)
    chosen = SearchSettings(poses=str(poses), weights="entry:shifter")
    left = ViewSearch(tiny_data, joints, chosen, "cpu", tmp_path / "views")(model, how, "off")
    named = chosen.model_copy(update={"weight": weight})
    said = ViewSearch(tiny_data, joints, named, "cpu", tmp_path / "views")(model, SMALL, "off")
    assert left.facts["weight"] == weight
    np.testing.assert_array_equal(left.query, said.query)
    other = chosen.model_copy(update={"weight": 4 - weight})
    assert (
        ViewSearch(tiny_data, joints, other, "cpu", tmp_path / "views")(model, SMALL, "off").query != said.query
    ).any()


def test_settings_that_cannot_be() -> None:
    assert search_settings({"poses": 2}, "x").keypoints().usable.all()
    assert not search_settings({"poses": 0}, "x").keypoints().names
    for values, said in (
        ({"pose": 3}, "unknown key; did you mean poses\\? known: poses, precision, weight, weights"),
        ({"poses": 13}, "poses"),
        ({"weight": -1}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"precision": "fp8"}, "precision"),
    ):
        with pytest.raises(InputError, match=f"a.yaml: test: .*{said}"):
            search_settings(values, "a.yaml")


def test_on_the_command_line(
    tiny_root: Path,
    tmp_path: Path,
    poses: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(CONTROLS, "shifter", lambda device: Shifter())
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_root, tmp_path / "made")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "backbone: torchreid:osnet_x0_25\nsize: [64, 32]\nbatch_size: 4\nmax_steps: 2\n"
        "test: {poses: 1, weights: 'entry:shifter', weight: 0}\n"
    )
    command = ["reid-eval", "--recipe", recipe, tiny_root, "--augmented", tmp_path / "made"]

    def run(*more: object) -> tuple[str, dict[str, object]]:
        main([str(part) for part in (*command, *more)])
        newest = max((tmp_path / "runs").iterdir())
        return capsys.readouterr().out, json.loads((newest / "result.json").read_text())["original"][0]

    said, alone = run()
    assert "original, 1 view " in said
    assert alone["searched"]["mAP"] == pytest.approx(alone["mAP"], abs=0.05)  # weight 0: the photo, calibrated
    said, both = run("--poses-at-test", poses, "--pose-weight", 4)
    assert "original, 2 views" in said
    assert "weight 4 by shifter, 12 of 12 test images have usable joints" in " ".join(said.split())
    assert both["searched"]["facts"]["poses"] == list(POSES.names)
    assert both["mAP"] == alone["mAP"]
    said, none = run("--poses-at-test", 0)
    assert none["searched"] is None
    assert "view" not in said
    with pytest.raises(SystemExit) as ended:
        run("--set", "test=5")
    assert ended.value.code == 2
