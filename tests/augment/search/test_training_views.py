"""Networks that are trained on photos together with views of them, by `reid-eval`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_normalized import Shifter

from augment.commands.main import main
from augment.generators.open import CONTROLS
from augment.pose.keypoints import load_annotations
from augment.search.makers import GeneratedViews
from augment.search.searched_photos import photos_of
from augment.search.training_views import TrainingViews
from augment.search.views import shipped_views
from reid_eval.datasets import ReidData
from reid_eval.settings import TrainSettings

SETTINGS = TrainSettings(size=(64, 32), views=2, device="cpu")


@pytest.fixture(autouse=True)
def _shifter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTROLS, "shifter", lambda device: Shifter())


def views_in(folder: Path, data: ReidData) -> TrainingViews:
    """Views of a data set in an own folder."""
    joints = {data.root: load_annotations(data.root)}
    return TrainingViews("entry:shifter", "cpu", "float32", folder, joints)


def test_each_photo_has_the_views_that_a_search_looks_at(
    tiny_data: ReidData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = views_in(tmp_path, tiny_data)(tiny_data, SETTINGS)
    assert smaller.images.shape == (19, 2, 3, 64, 32)
    monkeypatch.setattr(Shifter, "size", SETTINGS.size)
    beside = views_in(tmp_path, tiny_data)(tiny_data, SETTINGS)
    photos = photos_of(tiny_data, load_annotations(tiny_data.root), tiny_data.train["path"].tolist())
    images, known = GeneratedViews(Shifter(), shipped_views(2)).make(photos)
    np.testing.assert_array_equal(beside.images, images)
    np.testing.assert_array_equal(beside.known, known)
    assert known.sum() == 17
    np.testing.assert_array_equal(smaller.known, known)


def test_generated_images_are_looked_at_alone(tiny_data: ReidData, tmp_path: Path) -> None:
    source = ["generated" if number % 2 else "real" for number in range(len(tiny_data.train))]
    mixed = replace(tiny_data, train=tiny_data.train.assign(source=source))
    beside = views_in(tmp_path / "mixed", tiny_data)(mixed, SETTINGS)
    plain = views_in(tmp_path / "plain", tiny_data)(tiny_data, SETTINGS)
    assert plain.known.sum() == 17
    np.testing.assert_array_equal(beside.known, plain.known & (np.arange(len(source)) % 2 == 0))
    np.testing.assert_array_equal(beside.images[beside.known], plain.images[beside.known])


def test_on_the_command_line(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_root, tmp_path / "made")
    small = ("backbone=torchreid:osnet_x0_25", "size=[64,32]", "batch_size=4", "max_steps=2", "amp='off'")
    command = [
        "reid-eval",
        tiny_root,
        "--augmented",
        tmp_path / "made",
        "--weights",
        "entry:shifter",
        "--poses-at-test",
        0,
    ]
    command += [word for change in small for word in ("--set", change)]

    def run(*more: object) -> tuple[int, float, str]:
        """Views, their weight, and the SHA-256 of the network."""
        main([str(part) for part in (*command, "--save", tmp_path / f"networks{len(list(tmp_path.iterdir()))}", *more)])
        newest = max((tmp_path / "runs").iterdir())
        first = json.loads((newest / "result.json").read_text())["original"][0]
        return first["settings"]["views"], first["settings"]["views_weight"], first["saved"]["sha256"]

    plain, beside, again = run(), run("--train-with-views", 2), run("--set", "views=2", "--set", "views_weight=3")
    assert beside[:2] == (2, 3.0)
    assert beside == again
    assert beside[2] != plain[2]
    assert run("--train-with-views", 2, "--pose-weight", 1)[:2] == (2, 1.0)
    assert run("--train-with-views", 2, "--pose-weight", 1, "--set", "views_weight=2")[:2] == (2, 2.0)
    (tmp_path / "mine.yaml").write_text("views_weight: 5\n")
    assert run("--recipe", tmp_path / "mine.yaml", "--train-with-views", 2, "--pose-weight", 1)[:2] == (2, 5.0)
    for file in (tmp_path / "made").glob("*.csv"):
        file.unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*map(str, command), "--train-with-views", "2"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "made has no keypoints" in said.err
    assert "Training" not in said.err  # nothing was trained before that was found
    with pytest.raises(SystemExit):
        main([*map(str, command), "--train-with-views", "13"])
    assert "13 is not in the range" in capsys.readouterr().err
