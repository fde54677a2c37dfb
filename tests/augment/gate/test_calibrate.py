"""Thresholds of the gate: how they are set, what they are said to do, and the file."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import draw_dataset
from PIL import Image

import augment.gate.calibrate as calibration
from augment.commands.main import main
from augment.estimators.posenet.weights_file import shipped_weights
from augment.gate.calibrate import Examples, calibrate, colour_examples, threshold
from augment.gate.judge import GateThresholds
from augment.gate.thresholds import describe, open_gate, read_thresholds, write_thresholds
from augment.pose import load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError, sha256_file

LIMITS = GateThresholds(pose=-0.1, colour=12.0, contrast=8.0, saturated=0.5, noise=15.0)
People = tuple[Path, ReidData, "Knows"]


class Knows:
    """An estimator that looks up which training image it is shown."""

    name = "knows"

    def __init__(self, root: Path, data: ReidData) -> None:
        self.keypoints = load_annotations(root)
        self.train = {path: np.asarray(Image.open(root / path)).astype(float) for path in data.train["path"]}

    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        names = [min(self.train, key=lambda n: float(np.abs(self.train[n] - image).mean())) for image in images]
        return self.keypoints.xy[self.keypoints.rows(names)], np.ones((len(images), 18), np.float32)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Eight people to train on, eight images each."""
    root = draw_dataset(tmp_path_factory.mktemp("people"), dict.fromkeys(range(2, 10), 8), {101: 4, 102: 4})
    data = read_dataset(root)
    return root, data, Knows(root, data)


def of(data: ReidData, *pids: int) -> ReidData:
    """Only these people of the training images."""
    train = data.train[data.train["pid"].isin(pids)].reset_index(drop=True)
    return replace(data, train=train)


def slow_threshold(right: np.ndarray, wrong: np.ndarray, false_alarms: float) -> float:
    """`threshold`, every step held against every example."""
    steps = np.unique(np.concatenate([right, wrong]))
    told = (wrong[None] > steps[:, None]).mean(1) - (right[None] > steps[:, None]).mean(1)
    lenient = steps[told >= told.max() - 0.03].max()
    return round(float(max(lenient, np.quantile(right, 1 - false_alarms))), 5)


def test_threshold_is_lenient_but_tells() -> None:
    right, wrong = np.arange(100) / 1000, 0.5 + np.arange(100) / 1000
    limit = threshold(right, wrong)
    assert limit == pytest.approx(0.502, abs=0.002)  # the largest within three points of telling all
    assert (right > limit).mean() == 0
    assert (wrong > limit).mean() == pytest.approx(0.97, abs=0.011)
    mixed = np.random.default_rng(0).random(1000)
    assert (mixed > threshold(mixed, mixed)).mean() <= 0.021  # nothing to tell: at most two per cent of right ones go
    assert threshold(np.array([np.nan, 1.0]), np.array([])) == 1.0
    assert threshold(np.array([]), np.array([np.nan])) > 1e6


def test_threshold_is_that_of_every_step_against_every_example() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        right, wrong = rng.normal(0, 1, rng.integers(1, 60)).round(1), rng.normal(1, 1, rng.integers(1, 60)).round(1)
        for false_alarms in (0.0, 0.02, 0.5):
            assert threshold(right, wrong, false_alarms) == slow_threshold(right, wrong, false_alarms)


def peak(work: Callable[[], object]) -> int:
    """Bytes that a call needs at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_images_and_not_with_their_square() -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(0, 1, 10_000), rng.normal(1, 1, 40_000)
    assert peak(lambda: threshold(right, wrong)) < 10 * (right.nbytes + wrong.nbytes)

    def examples(count: int) -> None:
        same, other = colour_examples(rng.random((count, 4, 3)), np.arange(count) // 4, np.zeros(count, int))
        assert len(same) == count * 3 // 2  # all pairs of four images of each person
        assert 28 * count < len(other) < 32 * count
        threshold(same, other)

    assert peak(lambda: examples(1600)) < 2.5 * peak(lambda: examples(800))


def test_colours_are_those_of_one_person_in_one_camera_and_of_two_people() -> None:
    colours = np.zeros((5, 4, 3))
    colours[:, :, 1] = np.array([0.0, 1.0, 3.0, 10.0, 100.0])[:, None]
    pids, camids = np.array([1, 2, 1, 1, 2]), np.array([1, 1, 1, 2, 2])
    same, other = colour_examples(colours, pids, camids)
    assert same.tolist() == [3.0]
    assert sorted(other.tolist()) == [1.0, 2.0, 9.0, 90.0, 97.0, 100.0]
    same, _ = colour_examples(colours, pids, np.arange(5))  # no camera saw anybody twice
    assert sorted(same.tolist()) == [3.0, 7.0, 10.0, 99.0]


def test_calibrating_on_a_data_set(people: People, tmp_path: Path) -> None:
    _, data, knows = people
    limits = calibrate(data, knows.keypoints, knows, count=64)
    assert limits.images == 64
    assert limits.estimator == "knows"
    assert limits.size == (128, 64)
    assert limits.note is None
    assert limits.rates is not None
    assert limits.rates["pose_right"] == 0
    assert limits.rates["pose_wrong"] is not None
    assert limits.rates["pose_wrong"] > 0.9
    assert limits.rates["colour_same"] is not None
    assert limits.rates["colour_same"] <= 0.1
    assert "set on one half of these people, it rejects" in describe(limits)
    write_thresholds(tmp_path / "gate.json", limits)
    assert read_thresholds(tmp_path / "gate.json") == limits
    few = replace(data, train=data.train.head(3))
    with pytest.raises(InputError, match="3 usable training images are too few"):
        calibrate(few, knows.keypoints, knows)


def test_rates_are_measured_on_people_that_did_not_set_the_thresholds(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One half is easy, the other hard: what each does to the other, by hand."""
    _, data, knows = people
    seen: list[set[int]] = []

    def look_at(*arguments: Any) -> Examples:
        seen.append(set(arguments[3]["pid"]))
        shift = 10.0 * len(seen)  # the first half's wrong poses are at 10, the second half's right ones, too
        right, wrong = np.full(8, shift - 10), np.full(8, shift)
        return Examples(8, right, wrong, right, np.array([]), np.ones((8, 3)))

    monkeypatch.setattr(calibration, "look_at", look_at)
    limits = calibrate(data, knows.keypoints, knows, count=40)
    first, second = seen
    assert not first & second
    assert first | second == set(range(2, 10))
    # Set on the first half the limit is 0, which rejects all of the second; set on the second, 10: none of the first.
    assert limits.rates == {"pose_right": 0.5, "pose_wrong": 0.5, "colour_same": 0.5, "colour_other": None}
    assert limits.images == 16
    assert "?% of other people" in describe(limits)


def test_too_few_people_have_thresholds_but_no_rates(people: People) -> None:
    _, data, knows = people
    for pids in ((2,), (2, 3, 4)):
        limits = calibrate(of(data, *pids), knows.keypoints, knows)
        assert limits.images == 8 * len(pids)
        assert limits.rates is None
        assert limits.note is not None
        assert limits.note.startswith("it takes 4 identities")
        assert limits.note.endswith(f"there are {len(pids)}")
        assert f"what it rejects is not known: {limits.note}" in describe(limits)
        assert np.isfinite(limits.numbers()).all()
    limits = calibrate(data, knows.keypoints, knows, count=14)
    assert limits.images == 14
    assert limits.rates is None
    assert limits.note is not None
    assert limits.note.endswith("there are 7 and 7")


def test_a_few_hundred_of_thousands_show_people_more_than_once(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn one by one they would not, and there were no colours of one person to compare."""
    _, data, knows = people
    chosen: list[int] = []

    def look_at(*arguments: Any) -> Examples:
        chosen.extend(arguments[3].groupby("pid").size())
        return Examples(1, *(np.zeros(1) for _ in range(4)), np.ones((1, 3)))

    monkeypatch.setattr(calibration, "look_at", look_at)
    calibrate(data, knows.keypoints, knows, count=16)
    assert sorted(chosen) == [4, 4, 4, 4]


def test_files_of_other_versions_and_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "gate.json"
    for version in (1, 2):
        file.write_text(json.dumps({"version": version, "pose": 0.03}))
        with pytest.raises(InputError, match="another version of patn-augment: set it anew") as error:
            read_thresholds(file)
        assert "\n" not in str(error.value)
    write_thresholds(file, LIMITS)
    good = json.loads(file.read_text())
    assert good["size"] == [128, 64]
    without = {key: value for key, value in good.items() if key != "size"}
    strange = (
        {"version": 3, "pose": 1},
        without,
        {**good, "pose": "low"},
        {**good, "size": [128]},
        {**good, "x": 1},
        [1],
    )
    for value in strange:
        file.write_text(json.dumps(value))
        with pytest.raises(InputError, match="holds no thresholds of the gate") as error:
            read_thresholds(file)
        assert "\n" not in str(error.value)


def test_a_file_holds_for_one_image_size(people: People, tmp_path: Path) -> None:
    _, data, knows = people
    file = tmp_path / "gate.json"
    write_thresholds(file, replace(LIMITS, size=(64, 32), estimator_sha256=sha256_file(str(shipped_weights()))))
    with pytest.raises(InputError, match=r"gate\.json holds for images of 64x32, these are 128x64: set it anew"):
        open_gate(data, knows.keypoints, file, (128, 64), "cpu", print)
    assert open_gate(data, knows.keypoints, file, (64, 32), "cpu", print).thresholds.size == (64, 32)


def test_the_command_takes_the_size(people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, file = people[0], tmp_path / "gate.json"
    main(["calibrate-gate", str(root), "--out", str(file), "--size", "64x32", "--count", "32", "--device", "cpu"])
    assert "set on 32 real images with synth at 64x32" in capsys.readouterr().out
    assert read_thresholds(file).size == (64, 32)
    with pytest.raises(SystemExit) as error:
        main(["gate", "--weights", "patn-synth-tiny", "--data", str(root), "--pairs", "4", "--thresholds", str(file)])
    assert error.value.code == 2
    assert "holds for images of 64x32, these are 128x64" in capsys.readouterr().err
    for text in ("64", "64x", "0x32"):
        with pytest.raises(SystemExit):
            main(["calibrate-gate", str(root), "--out", str(file), "--size", text])
        assert "--size" in capsys.readouterr().err
