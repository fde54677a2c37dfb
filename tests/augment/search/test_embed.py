"""Features of a whole data set in one file, from Python and by the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_normalized import POSES, Shifter, means

from augment.commands.main import main
from augment.pose.keypoints import load_annotations
from augment.search.before_after import CELL, FRAME, RIGHT, WRONG, before_after
from augment.search.embed import embed, read_embedded
from augment.search.fusion import Parts
from augment.search.makers import GeneratedViews
from augment.search.normalized import PoseNormalized
from augment.search.searched_photos import calibration_photos
from augment.search.views import VIEWS, shipped_views
from reid_eval.backbones import save_model
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.training import train_on


def test_a_data_set_goes_into_a_file_and_comes_back(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    joints = load_annotations(tiny_root)
    every = ("train", "query", "gallery")
    found = embed(tiny_data, joints, PoseNormalized(means, Shifter(), POSES), every, {"network": "means"})
    assert len(found.names) == 19 + 12
    assert (found.splits == "train").sum() == 19
    assert found.joints_used.sum() == 31 - 2  # two of identity 11 have no usable joints
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, atol=1e-5)
    found.save(tmp_path / "a.npz")
    found.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read_embedded(tmp_path / "a.npz")
    for name in ("names", "pids", "camids", "splits", "joints_used"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_allclose(again.features, found.features, atol=1e-3)
    assert again.facts == {"network": "means"}


def test_photos_are_held_by_their_pixels(tiny_data: ReidData, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joints = load_annotations(tiny_root)
    whole = embed(tiny_data, joints, PoseNormalized(means, Shifter(), POSES))
    held: list[int] = []

    class Counts(PoseNormalized):
        def parts(self, images: Any, *more: Any) -> Parts:
            held.append(sum(image.shape[0] * image.shape[1] for image in images))
            return super().parts(images, *more)

    monkeypatch.setattr("reid_eval.datasets.images.MOST_HELD_PIXELS", 3 * 128 * 64 + 1)
    found = embed(tiny_data, joints, Counts(means, Shifter(), POSES))
    assert max(held) == 3 * 128 * 64
    assert sum(held) == (12 + 17) * 128 * 64  # 17 training images with usable joints are for the calibration
    np.testing.assert_allclose(found.features, whole.features, atol=2e-3)
    photos = calibration_photos(tiny_data, joints)
    views = GeneratedViews(Shifter(), POSES).make(photos)[0]
    monkeypatch.undo()
    np.testing.assert_array_equal(views, GeneratedViews(Shifter(), POSES).make(photos)[0])


def test_the_calibration_is_of_the_training_people_alone(tiny_data: ReidData, tiny_root: Path) -> None:
    joints = load_annotations(tiny_root)
    one, other = (PoseNormalized(means, Shifter(), POSES) for _ in range(2))
    embed(tiny_data, joints, one)
    assert one.calibration is not None
    others = calibration_photos(tiny_data, joints)
    expected = other.calibrate(others.read(), others.joints)
    np.testing.assert_allclose(one.calibration.photo, expected.photo, atol=1e-6)
    np.testing.assert_allclose(one.calibration.views, expected.views, atol=1e-6)
    nobody = replace(tiny_data, train=tiny_data.train.iloc[:0])
    none = PoseNormalized(means, Shifter(), POSES)
    embed(nobody, joints, none)
    assert none.calibration is None


def test_a_picture_of_before_and_after(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    joints = load_annotations(tiny_root)
    search = PoseNormalized(means, Shifter(), POSES)
    found = embed(tiny_data, joints, search)
    sheet = before_after(tiny_data, joints, found, search, queries=3)
    plain = np.asarray(sheet)
    frames = [(plain == colour).all(-1).sum() for colour in (RIGHT, WRONG)]
    around = 2 * FRAME * (CELL[0] + CELL[1] + 2 * FRAME)
    # A query has ten images of both people but those of its own camera: five are shown, twice, for three queries.
    right, wrong = (int(frame) // around for frame in frames)  # a photo may have a pixel of that colour, too
    assert right + wrong == 2 * 3 * 5
    assert right > 0
    found.save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="read from a file"):
        before_after(tiny_data, joints, read_embedded(tmp_path / "a.npz"), search)
    blind = replace(found, joints_used=np.zeros_like(found.joints_used))
    with pytest.raises(InputError, match="no query has both"):
        before_after(tiny_data, joints, blind, search)


def test_files_that_hold_no_features(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for data in (b"", b"PK", b"not a file of numbers"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="cannot read features"):
            read_embedded(path)
    np.savez(path, features=np.zeros((2, 3)), names=np.array(["a"]))
    with pytest.raises(InputError, match="cannot read features"):
        read_embedded(path)
    good = {"features": np.ones((1, 3), np.float16), "names": np.array(["a"]), "pids": np.array([1])}
    good |= {"camids": np.array([1]), "splits": np.array(["query"]), "joints_used": np.array([True])}
    for more, message in (
        ({"facts": np.array('{"a": NaN}')}, "NaN is no finite number"),
        ({"facts": np.array("[" * 100_000)}, "nested too deeply"),
        ({"facts": np.array("[]")}, "facts is of another type"),
        ({"facts": np.array("{}"), "pids": np.array(["1"])}, "pids is of another type"),
        ({"facts": np.array("{}"), "camids": np.array(1)}, "of different lengths"),
    ):
        np.savez(path, **{**good, **more})
        with pytest.raises(InputError, match=message):
            read_embedded(path)
    np.savez(path, features=np.array([{}], dtype=object))  # a pickle: never opened
    with pytest.raises(InputError, match="cannot read features"):
        read_embedded(path)


def test_a_file_that_was_cut_off(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    embed(tiny_data, load_annotations(tiny_root), PoseNormalized(means, Shifter(), POSES)).save(path)
    whole = path.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot read features"):
            read_embedded(path)


def test_views_that_ship() -> None:
    assert shipped_views(3).names == VIEWS[:3]
    with pytest.raises(InputError, match="13 poses to search in: expected 1 to 12"):
        shipped_views(13)


def test_the_command(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainSettings(
        backbone="torchreid:osnet_x0_25", size=(64, 64), epochs=1, batch_size=4, device="cpu", amp="off"
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), np.uint8)
    save_model(tmp_path / "net.safetensors", train_on(images, np.arange(8) // 2, settings, 1).model)
    words = ["embed", str(tiny_root), "--reid-weights", str(tmp_path / "net.safetensors"), "--device", "cpu"]
    words += ["--weights", "entry:warp", "--cache", str(tmp_path / "cache.sqlite")]
    main([*words, "--out", str(tmp_path / "views.npz"), "--poses", "2"])
    assert "12 features of 512 numbers, 12 with views" in capsys.readouterr().out
    main([*words, "--out", str(tmp_path / "again.npz"), "--poses", "2"])
    assert (tmp_path / "views.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    main([*words, "--out", str(tmp_path / "photos.npz"), "--poses", "0"])
    sheet = tmp_path / "sheet.png"
    main([*words, "--out", str(tmp_path / "all.npz"), "--poses", "2", "--split", "train", "--split", "query"])
    main([*words, "--out", str(tmp_path / "x.npz"), "--poses", "2", "--sheet", str(sheet)])
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    assert set(read_embedded(tmp_path / "all.npz").splits) == {"train", "query"}
    views, photos = (read_embedded(tmp_path / f"{name}.npz") for name in ("views", "photos"))
    assert views.facts["poses"] == list(VIEWS[:2])
    assert np.abs(views.features - photos.features).max() > 0.01
    with pytest.raises(SystemExit) as error:
        main([*words, "--out", str(tmp_path / "x.npz"), "--poses", "99"])
    assert error.value.code == 2
    assert "expected 1 to 12, or a file of poses (--poses)" in capsys.readouterr().err
