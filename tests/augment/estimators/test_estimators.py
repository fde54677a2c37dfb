"""Estimators behind one protocol: conversions, decoding with stand-in networks, programs, and whole folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from drawn import SIZE, draw_dataset, draw_person, standing
from PIL import Image
from toy import Says

from augment.commands.main import main
from augment.estimators.build import ESTIMATORS, build_estimator
from augment.estimators.command import Command
from augment.estimators.conversions import (
    FROM_BLAZEPOSE,
    FROM_COCO,
    enlarge,
    keep_credible,
    shrink,
    to_openpose,
)
from augment.estimators.estimate import estimate_folder, share_found
from augment.estimators.folder_images import annotation_place, folder_images, row_names, sheet_place
from augment.estimators.keypointrcnn import KeypointRCNN
from augment.estimators.mediapipe_pose import MediaPipe
from augment.estimators.mediapipe_program import COCO
from augment.estimators.openpose import OpenPose, peaks
from augment.estimators.rtmpose import RTMPose
from augment.pose import JOINTS, read_keypoints
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError
from reid_eval.writing import scratch_folder

# The names of COCO's 17 joints in its own order, from its data set's `categories`.
COCO_NAMES = (
    "nose", "Leye", "Reye", "Lear", "Rear", "Lsho", "Rsho", "Lelb", "Relb", "Lwri", "Rwri",
    "Lhip", "Rhip", "Lkne", "Rkne", "Lank", "Rank",
)  # fmt: skip
# The names of BlazePose's joints that matter, by its documentation's numbers.
BLAZEPOSE_NAMES = {
    0: "nose", 2: "Leye", 5: "Reye", 7: "Lear", 8: "Rear", 11: "Lsho", 12: "Rsho", 13: "Lelb", 14: "Relb", 15: "Lwri",
    16: "Rwri", 23: "Lhip", 24: "Rhip", 25: "Lkne", 26: "Rkne", 27: "Lank", 28: "Rank",
}  # fmt: skip


def coco_of(xy: np.ndarray) -> np.ndarray:
    """The 17 joints of COCO of an OpenPose skeleton."""
    return xy[[JOINTS.index(name) for name in COCO_NAMES]]


def person(dx: float = 0.0) -> np.ndarray:
    return np.ascontiguousarray(draw_person(3, standing() + np.float32([dx, 0])))


def test_coco_becomes_openpose_by_name() -> None:
    for joint, place in zip(JOINTS, FROM_COCO, strict=True):
        assert (place == -1) if joint == "neck" else (COCO_NAMES[place] == joint)
    for joint, place in zip(JOINTS, FROM_BLAZEPOSE, strict=True):
        assert (place == -1) if joint == "neck" else (BLAZEPOSE_NAMES[place] == joint)
    assert [BLAZEPOSE_NAMES[place] for place in COCO] == list(COCO_NAMES)


def test_neck_lies_between_the_shoulders_and_has_the_lower_score() -> None:
    scores = np.linspace(0.1, 0.9, 17)
    xy, score = to_openpose(coco_of(standing()), scores)
    others = [j for j in range(18) if j != 1]
    np.testing.assert_allclose(xy[others], standing()[others])
    np.testing.assert_allclose(xy[1], (standing()[2] + standing()[5]) / 2)
    assert score[1] == pytest.approx(min(scores[5], scores[6]))


def test_enlarging_repeats_borders_and_goes_back() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    large = enlarge(image, height=160)
    assert large.scale == 4
    assert large.image.shape == ((40 + 16) * 4, (20 + 16) * 4, 3)
    assert abs(large.image[2, 2].astype(int) - image[0, 0]).max() < 30  # the corner goes on
    spot = np.zeros((40, 20, 3), np.uint8)
    spot[25, 7] = 255
    large = enlarge(spot, height=160)
    weight = large.image[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(shrink(centre, large), [7, 25], atol=0.05)


def test_a_large_image_keeps_its_size() -> None:
    assert enlarge(np.zeros((600, 300, 3), np.uint8), height=512).scale == 1


def test_low_scores_and_far_outside_are_missing() -> None:
    xy = np.full((1, 18, 2), 10.0, np.float32)
    xy[0, 0], xy[0, 1], xy[0, 2] = [-3, 10], [-30, 10], [np.nan, np.nan]
    scores = np.full((1, 18), 0.9)
    scores[0, 3] = 0.2
    kept, _ = keep_credible(xy, scores, 0.5, [(128, 64, 3)])
    np.testing.assert_allclose(kept[0, 0], [0, 10])
    assert np.isnan(kept[0, 1:4]).all()
    assert np.isfinite(kept[0, 4:]).all()


class FakeRCNN(torch.nn.Module):
    """Answers with two people, the better one standing where `standing()` stands in the enlarged image."""

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        answers = []
        for image in images:
            large = enlarge(np.zeros((*SIZE, 3), np.uint8), 256)
            assert image.shape[1:] == large.image.shape[:2]
            there = (coco_of(standing()) + large.border + 0.5) * large.scale - 0.5
            people = np.stack([there, np.zeros_like(there)])
            joints = torch.tensor(np.concatenate([people, np.ones((2, 17, 1))], -1), dtype=torch.float32)
            logits = torch.full((2, 17), 5.0)
            logits[:, COCO_NAMES.index("Lwri")] = -1.0
            scores = torch.tensor([0.9, 0.6])
            answers.append({"keypoints": joints, "keypoints_scores": logits, "scores": scores})
        return answers


def test_keypointrcnn_takes_the_best_person() -> None:
    xy, scores = KeypointRCNN(height=256, model=FakeRCNN())([person(), person()])
    assert xy.shape == (2, 18, 2)
    assert np.isnan(xy[:, JOINTS.index("Lwri")]).all()
    others = [j for j in range(18) if JOINTS[j] not in ("Lwri", "neck")]
    np.testing.assert_allclose(xy[0, others], standing()[others], atol=1e-3)
    assert scores[0, 0] == pytest.approx(1 / (1 + np.exp(-5)))


def test_keypointrcnn_of_torchvision_runs_with_random_weights(tmp_path: Path) -> None:
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    torch.manual_seed(0)
    with torch.device("meta"):  # shapes alone: initialising sixty million weights twice takes its time
        shapes = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    file = tmp_path / "random.pth"
    torch.save({key: torch.rand(value.shape) * 0.02 for key, value in shapes.items()}, file)
    estimator = KeypointRCNN(file, height=64)
    estimator.model.transform.min_size, estimator.model.transform.max_size = (96,), 128
    xy, scores = estimator([np.full((64, 32, 3), 90, np.uint8)])
    assert xy.shape == (1, 18, 2)
    assert scores.shape == (1, 18)
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not a readable PyTorch file"):
        KeypointRCNN(file)


def test_keypointrcnn_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent-cache")
    with pytest.raises(InputError, match=r"weights of keypointrcnn cannot be downloaded .*give a file of weights"):
        build_estimator("keypointrcnn")


def test_rtmpose_looks_at_the_whole_image() -> None:
    def model(image: np.ndarray, bboxes: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
        box = np.array(bboxes[0])
        assert image.shape[0] == 512 + 2 * box[0]
        size = box[2:] - box[:2]
        share = (standing() + 0.5) / np.array([64, 128])
        return (box[:2] + share * size - 0.5)[None], np.full((1, 18), 0.9)

    assert RTMPose(model=model, device="cuda:1").device == torch.device(
        "cuda"
    )  # as many threads read for it as for a GPU
    xy, _ = RTMPose(model=model)([person()])
    np.testing.assert_allclose(xy[0], standing(), atol=1e-3)


def test_rtmlib_missing_names_the_extra() -> None:
    try:
        import rtmlib  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"rtmlib is not installed.*pip install 'patn-augment\[rtmpose\]'"):
            build_estimator("rtmpose")
    else:
        pytest.skip("rtmlib is installed here")


def test_mediapipe_takes_shares_of_the_image() -> None:
    large = enlarge(np.zeros((*SIZE, 3), np.uint8), 512)
    there = (standing() + large.border + 0.5) * large.scale
    landmarks = [SimpleNamespace(x=0.0, y=0.0, visibility=0.0) for _ in range(33)]
    for place, name in BLAZEPOSE_NAMES.items():
        x, y = there[JOINTS.index(name)]
        landmarks[place] = SimpleNamespace(
            x=x / large.image.shape[1], y=y / large.image.shape[0], visibility=0.1 if name == "Rank" else 0.99
        )
    calls = iter(
        [SimpleNamespace(pose_landmarks=SimpleNamespace(landmark=landmarks)), SimpleNamespace(pose_landmarks=None)]
    )
    model = SimpleNamespace(process=lambda rgb: next(calls))
    xy, scores = MediaPipe(model=model)([person(), person()])
    seen = [j for j in range(18) if JOINTS[j] not in ("neck", "Rank")]
    np.testing.assert_allclose(xy[0, seen], standing()[seen], atol=1e-3)
    assert np.isnan(xy[0, JOINTS.index("Rank")]).all()
    assert np.isnan(xy[1]).all()
    assert not scores[1].any()


def test_mediapipe_missing_names_the_extra() -> None:
    try:
        import mediapipe  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"pip install 'patn-augment\[mediapipe\]'"):
            build_estimator("mediapipe")
    else:
        pytest.skip("mediapipe is installed here")


def test_openpose_peaks() -> None:
    maps = np.zeros((57, 46, 24), np.float32)
    for joint in range(18):
        maps[joint, 5 + joint, 3 + joint] = 10.0
    xy, scores = peaks(maps, (368, 192))
    np.testing.assert_allclose(xy[:, 0], (3 + np.arange(18) + 0.5) * 8 - 0.5)
    np.testing.assert_allclose(xy[:, 1], (5 + np.arange(18) + 0.5) * 8 - 0.5)
    assert scores.min() > 1
    with pytest.raises(InputError, match="not OpenPose's"):
        peaks(maps[:10], (368, 192))


def test_openpose_puts_joints_back_into_the_crop() -> None:
    class Net:
        def setInput(self, blob: np.ndarray) -> None:
            assert blob.shape[1:3] == (3, 368)
            assert blob.min() >= -0.5
            assert blob.max() <= 0.5
            self.columns = blob.shape[3]

        def forward(self) -> np.ndarray:
            large = enlarge(np.zeros((*SIZE, 3), np.uint8), 512)
            rows, columns = 46 * 4, self.columns // 2
            maps = np.zeros((1, 57, rows, columns), np.float32)
            factor = np.array([columns / large.image.shape[1], rows / large.image.shape[0]])
            cells = ((standing() + large.border + 0.5) * large.scale * factor - 0.5).round().astype(int)
            for joint, (x, y) in enumerate(cells):
                maps[0, joint] = cv2.GaussianBlur(_spot(rows, columns, x, y), (0, 0), 2) * 20
            maps[0, 4] *= 0.01
            return maps

    xy, _ = OpenPose(net=Net())([person()])
    others = [j for j in range(18) if j != 4]
    np.testing.assert_allclose(xy[0, others], standing()[others], atol=0.8)
    assert np.isnan(xy[0, 4]).all()


def _spot(rows: int, columns: int, x: int, y: int) -> np.ndarray:
    one = np.zeros((rows, columns), np.float32)
    one[y, x] = 1.0
    return one


def test_openpose_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="openpose needs weights"):
        build_estimator("openpose")
    model = tmp_path / "pose.caffemodel"
    model.write_bytes(b"")
    with pytest.raises(InputError, match=r"prototxt is needed: 0 \.prototxt files"):
        build_estimator("openpose", weights=model)
    (tmp_path / "pose.prototxt").write_text("nothing")
    reason = "cannot read it" if hasattr(cv2.dnn, "readNetFromCaffe") else "opencv-python<5"
    with pytest.raises(InputError, match=reason):
        build_estimator("openpose", weights=model)


PROGRAM = """
import json, sys
from PIL import Image
for line in sys.stdin:
    path = json.loads(line)["image"]
    width, height = Image.open(path).size
    joints = [] if {nobody!r} in open({flag!r}).read() else [[x * width, y * height, 0.9] for x, y in {shares}]
    print("a line of chatter")
    print(json.dumps({{"image": path, "joints": joints}}))
"""


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, Path]:
    """A program that finds the middle of the image as 18 joints, and a file that tells it to find nobody."""
    flag, script = tmp_path / "flag", tmp_path / "program.py"
    flag.write_text("")
    script.write_text(PROGRAM.format(nobody="nobody", flag=str(flag), shares=[(0.5, 0.5)] * 18))
    return f"{sys.executable} {script}", flag


def test_a_program_as_estimator(program: tuple[str, Path]) -> None:
    xy, scores = Command(program[0])([np.zeros((40, 20, 3), np.uint8), np.zeros((128, 64, 3), np.uint8)])
    np.testing.assert_allclose(xy[0], np.full((18, 2), [9.5, 19.5]), atol=0.6)
    np.testing.assert_allclose(xy[1], np.full((18, 2), [31.5, 63.5]), atol=0.6)
    assert scores.min() == pytest.approx(0.9)
    program[1].write_text("nobody")
    assert np.isnan(Command(program[0])([np.zeros((40, 20, 3), np.uint8)])[0]).all()
    assert Command(program[0])([])[0].shape == (0, 18, 2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no model')", "ended with 1: no model"),
        ("pass", "gave no line for 1 of 1 images"),
        ("print('{}')", "is not"),
        ("import sys, json; print(json.dumps({**json.loads(input()), 'joints': [[1, 2, 1]] * 5}))", "5 joints for"),
    ],
)
def test_a_program_that_fails(tmp_path: Path, code: str, message: str) -> None:
    script = tmp_path / "bad.py"
    script.write_text(code)
    with pytest.raises(InputError, match=message):
        Command(f"{sys.executable} {script}")([np.zeros((8, 8, 3), np.uint8)])


def test_what_a_killed_run_left_goes_with_the_next(
    program: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, script = tmp_path / "place", tmp_path / "kills.py"
    place.mkdir()
    script.write_text("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    code = (
        "import sys, numpy; from augment.estimators.command import Command\n"
        "Command(sys.argv[1])([numpy.zeros((8, 8, 3), numpy.uint8)])"
    )
    words = [sys.executable, "-c", code, f"{sys.executable} {script}"]
    assert subprocess.run(words, env={**os.environ, "TMPDIR": str(place)}, check=False).returncode == -9
    assert len([*place.rglob("*.png")]) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    (place / "patn-poses-empty").mkdir()
    (place / "patn-poses-file").write_text("no folder")
    (place / "patn-others").mkdir()
    with scratch_folder("patn-poses-") as held:  # of a process that is at work
        Command(program[0])([np.zeros((8, 8, 3), np.uint8)])
        assert {path.name for path in place.iterdir()} == {"patn-others", held.name, "patn-poses-file"}
    assert {path.name for path in place.iterdir()} == {"patn-others", "patn-poses-file"}


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(InputError, match="cannot start"):
        Command("/no/such/program")([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(InputError, match="is empty"):
        Command(" ")


def test_unknown_estimator() -> None:
    with pytest.raises(InputError, match="choose from synth, keypointrcnn, rtmpose, mediapipe, openpose, or command:"):
        build_estimator("alphapose")
    assert set(ESTIMATORS) == {"synth", "keypointrcnn", "rtmpose", "mediapipe", "openpose"}


class Middle:
    """Finds every joint in the middle; after `stop` calls it dies."""

    name = "middle"

    def __init__(self, stop: int | None = None, blind: int = 0) -> None:
        self.calls, self.stop, self.blind, self.images = 0, stop, blind, 0

    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        if self.stop is not None and self.calls > self.stop:
            raise KeyboardInterrupt
        xy = np.stack([np.full((18, 2), [i.shape[1] // 2, i.shape[0] // 2], np.float32) for i in images])
        for item in range(len(images)):
            if self.images < self.blind:
                xy[item] = np.nan
            self.images += 1
        return xy, np.ones(xy.shape[:2], np.float32)


def test_a_data_set_is_written_as_its_rows_are_read(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "k.csv"
    table = estimate_folder(folder_images(tiny_root), out, Middle(), {}, batch_size=4)
    again = read_keypoints(out, size=SIZE)
    assert again.names == table.names
    assert len(again) == 9 + 6 + 4 + 12
    assert (again.rows(folder_images(tiny_root).paths) >= 0).all()
    np.testing.assert_array_equal(again.xy, table.xy)


def test_a_plain_folder_with_equal_names(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    paths = folder_images(tmp_path).paths
    assert paths == ["a/1.png", "b/1.png", "b/2.jpg"]
    assert row_names(paths) == ["a/1.png", "b/1.png", "2.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        folder_images(tmp_path / "empty")


def test_a_killed_run_goes_on(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_SAVE_EVERY", "_SAVE_PAUSE"):
        monkeypatch.setattr(f"augment.estimators.estimate.{pause}", 0.0)
    whole, out = tmp_path / "whole.csv", tmp_path / "k.csv"
    estimate_folder(folder_images(tiny_root), whole, Middle(), {}, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        estimate_folder(folder_images(tiny_root), out, Middle(stop=3), {"a": 1}, batch_size=4)
    assert not out.exists()
    with pytest.raises(InputError, match="resume it, or remove"):
        estimate_folder(folder_images(tiny_root), out, Middle(), {"a": 1}, batch_size=4)
    with pytest.raises(InputError, match="another estimator or other options"):
        estimate_folder(folder_images(tiny_root), out, Middle(), {"a": 2}, batch_size=4, resume=True)
    rest = Middle()
    estimate_folder(folder_images(tiny_root), out, rest, {"a": 1}, batch_size=4, resume=True)
    assert rest.images == 31 - 12
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(("height", "most"), [(0, 3), (80, 1)])
def test_batches_of_large_images_are_smaller(
    height: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        Image.new("RGB", (20, 40)).save(tmp_path / f"{number}.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "5large.png")
    monkeypatch.setattr("reid_eval.datasets.images.MOST_HELD_PIXELS", 3 * 20 * 40)
    asked: list[list[tuple[int, ...]]] = []

    class Counts(Says):
        def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            asked.append([image.shape[:2] for image in images])
            return super().__call__(images)

    counts = Counts(standing())
    counts.height = height  # type: ignore[attr-defined]
    found = estimate_folder(folder_images(tmp_path), tmp_path.parent / f"{height}.csv", counts, {}, batch_size=4)
    small = [len(batch) for batch in asked if batch != [(100, 100)]]
    assert max(small) == most
    assert sum(small) == 7
    assert [(100, 100)] in asked
    assert found.names == tuple(folder_images(tmp_path).paths)


def test_nothing_found_in_most_images_is_an_error(tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="middle found nobody in 16 of 31 images"):
        estimate_folder(folder_images(tiny_root), tmp_path / "k.csv", Middle(blind=16), {})
    assert not (tmp_path / "k.csv").exists()
    table = estimate_folder(folder_images(tiny_root), tmp_path / "j.csv", Middle(blind=15), {})
    share = share_found(table)
    assert share.found == pytest.approx(16 / 31)
    assert share.joints["Lank"] == pytest.approx(16 / 31, abs=1e-4)
    assert "somebody found in 51.6%" in share.message


def test_the_command_writes_file_sheet_and_shares(
    tiny_root: Path, tmp_path: Path, program: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, shares = tmp_path / "k.csv", tmp_path / "shares.json"
    words = ["poses", str(tiny_root), "--estimator", f"command:{program[0]}", "--out", str(out), "--json", str(shares)]
    main(words)
    said = capsys.readouterr().out
    assert "31 images: somebody found in 100.0%" in said
    assert f"--keypoints {out}" in said
    assert json.loads(shares.read_text())["usable"] == 1.0
    assert Image.open(tmp_path / "k.sheet.png").size[0] > 600
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2
    assert "is there already" in capsys.readouterr().err
    main([*words, "--resume"])
    assert f"{out} is finished already." in capsys.readouterr().out
    program[1].write_text("nobody")
    with pytest.raises(SystemExit) as error:
        main([*words[:5], str(tmp_path / "x.csv")])
    assert error.value.code == 2
    assert "found nobody in 31 of 31 images" in capsys.readouterr().err


def _images(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(number).integers(0, 255, (128, 64, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / name)


def test_a_data_set_with_a_fault_is_an_error(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "set", {2: 3}, {101: 3, 102: 3}, ())
    _images(root, "elsewhere/1.jpg")
    whole = folder_images(root)
    assert (whole.layout, len(whole.paths)) == ("market1501", 9), "folders that are no split are no part of it"
    assert "is a data set (market1501): 9 images" in whole.message
    first = min((root / "query").iterdir())
    first.rename(first.with_name("me.jpg"))
    with pytest.raises(InputError, match=r"1 file names do not follow market1501's grammar .*query/me\.jpg"):
        folder_images(root)
    with pytest.raises(InputError, match="did you mean"):
        folder_images(tmp_path)
    people = tmp_path / "people"
    _images(people, "a/0.jpg", "a/1.jpg", "b/0.jpg")
    assert folder_images(people)[1:] == (["a/0.jpg", "a/1.jpg", "b/0.jpg"], "folders")
    _images(people, "stray.jpg")
    with pytest.raises(InputError, match=r"1 images lie outside any identity's folder: stray\.jpg"):
        folder_images(people)


def test_a_folder_that_is_plainly_no_data_set(tmp_path: Path) -> None:
    _images(tmp_path / "flat", "x.jpg", "y.webp", ".hidden.jpg")
    assert folder_images(tmp_path / "flat")[1:] == (["x.jpg", "y.webp"], None)
    _images(tmp_path / "deep", "2024/may/x.jpg", "2024/june/y.png", ".trash/may/z.png")
    deep = folder_images(tmp_path / "deep")
    assert deep.paths == ["2024/june/y.png", "2024/may/x.jpg"]
    assert "is no data set: all 2 images in it" in deep.message


def test_the_sheet_of_one_folder_an_identity_lies_beside_it(
    tmp_path: Path, program: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "people"
    _images(root, "a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg")
    main(["poses", str(root), "--estimator", f"command:{program[0]}"])
    said = capsys.readouterr().out
    sheet = tmp_path / "people.keypoints-command.sheet.png"
    assert sheet.is_file()
    assert f"{root} is a data set (folders): 4 images" in said
    assert f"Wrote {root / 'keypoints-command.csv'} and {sheet}" in said
    assert len(read_dataset(root).train) == 4, "and the data set reads as before"
    with pytest.raises(SystemExit):
        main(["poses", str(root), "--estimator", f"command:{program[0]}", "--out", str(tmp_path / "k.csv"),
              "--sheet", str(root / "sheet.png")])  # fmt: skip
    assert "would lie among the images" in (error := capsys.readouterr().err)
    assert "name a place outside (--sheet)" in error
    with pytest.raises(SystemExit):
        main(["poses", str(root), "--estimator", f"command:{program[0]}"])
    assert "is there already: name another file, or remove it (--out)" in capsys.readouterr().err


def test_places_of_files(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_images(tiny_root)
    beside = tiny_root.parent / f"{tiny_root.name}.keypoints-synth.sheet.png"
    assert sheet_place(folder, tiny_root / "keypoints-synth.csv") == beside
    assert sheet_place(folder, tmp_path / "k.csv") == tmp_path / "k.sheet.png"
    assert sheet_place(folder, tmp_path / "k.csv", tiny_root / "look.png") == tiny_root / "look.png", "no split folder"
    with pytest.raises(InputError, match="among the images"):
        sheet_place(folder, tmp_path / "k.csv", tiny_root / "query" / "look.png")
    monkeypatch.chdir(tiny_root)
    here = folder_images(Path())
    assert sheet_place(here, Path("keypoints-synth.csv")) == beside.resolve()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="cannot write the contact sheet into"):
        sheet_place(folder, tiny_root / "keypoints-synth.csv")
    assert annotation_place(tmp_path, "synth") == tmp_path / "keypoints-synth.csv"
    (tmp_path / "keypoints-rtmpose.csv").write_text("")
    with pytest.raises(InputError, match=r"has keypoints-rtmpose\.csv already"):
        annotation_place(tmp_path, "synth")


def test_what_a_run_left_that_was_killed_at_its_very_end_goes(tiny_root: Path, tmp_path: Path) -> None:
    """Killed when its file was there, before what it had kept for itself was removed; another job's stays."""
    out, folder = tmp_path / "joints.csv", folder_images(tiny_root)
    estimate_folder(folder, out, Says(standing()), {"a": 1})
    left = [out.with_name(f".{out.name}.part.{kind}") for kind in ("csv", "json")]
    for facts, stays in (({"a": 2}, True), ({"a": 1}, False)):
        left[0].write_bytes(out.read_bytes())
        left[1].write_text(json.dumps(facts))
        estimate_folder(folder, out, Says(standing()), {"a": 1}, resume=True)
        assert [path.exists() for path in left] == [stays, stays]
