"""Measuring a set of generated images, and the command."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_person, some_pose
from toy import Toy

from augment.commands.main import main
from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.plan.sampler import make_plan
from augment.pose import load_annotations
from augment.pose.library import shipped_library
from augment.quality import metrics
from augment.quality.catalogue import ARITHMETIC, METRICS
from augment.quality.extras import Unavailable
from augment.quality.material import folder_material
from augment.quality.metrics import Material, Report, Tools, measure_quality
from augment.quality.output import print_quality
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError


def test_identity_by_a_reid_network(tmp_path: Path) -> None:
    from reid_eval.backbones import build

    torch.manual_seed(0)
    file = tmp_path / "reid.pth"
    torch.save(build("torchreid:osnet_x0_25", 1).trunk.state_dict(), file)
    m = material(4)
    tools = Tools(reid=file, reid_backbone="torchreid:osnet_x0_25")
    assert measure_quality(m, tools, ["identity"]).value("identity") == pytest.approx(1, abs=1e-5)
    strangers = np.stack([draw_person(40 + i, xy) for i, xy in enumerate(m.poses)])
    other = Material(m.generated, m.poses, strangers, m.poses, m.crowd)
    assert measure_quality(other, tools, ["identity"]).value("identity") < 0.9999


def test_a_saved_reid_network_says_its_backbone_and_size(tmp_path: Path) -> None:
    from augment.quality.likeness import ReidFeatures
    from reid_eval.backbones import build_for, save_model
    from reid_eval.features import extract_features
    from reid_eval.settings import TrainSettings

    torch.manual_seed(0)
    settings = TrainSettings(backbone="torchreid:osnet_x0_25", size=(64, 32))
    network = build_for(settings, 3, settings.size).eval()
    file = tmp_path / "reid.safetensors"
    save_model(file, network)
    m = material(4)
    assert measure_quality(m, Tools(reid=file), ["identity"]).value("identity") == pytest.approx(1, abs=1e-5)
    expected = extract_features(network, m.generated.transpose(0, 3, 1, 2).copy(), amp="off")
    np.testing.assert_allclose(ReidFeatures(file)(m.generated), expected, atol=1e-5)
    # A trunk alone is used at the size of the images, as it always was.
    trunk = tmp_path / "trunk.pth"
    torch.save(network.trunk.state_dict(), trunk)
    features = ReidFeatures(trunk, settings.backbone)
    network.size = m.generated.shape[1:3]
    whole = extract_features(network, m.generated.transpose(0, 3, 1, 2).copy(), amp="off")
    np.testing.assert_allclose(features(m.generated), whole, atol=1e-5)
    assert not np.allclose(whole, expected, atol=1e-3)


def material(count: int = 12) -> Material:
    rng = np.random.default_rng(1)
    poses = np.stack([some_pose(rng) for _ in range(count)])
    people = np.stack([draw_person(7, xy) for xy in poses])
    return Material(people, poses, people, poses, people, real=people)


class Exact:
    """An estimator that knows."""

    name = "exact"

    def __init__(self, poses: np.ndarray) -> None:
        self.poses, self.at = poses, 0

    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        self.at += len(images)
        return self.poses[self.at - len(images) : self.at], np.ones((len(images), 18), np.float32)


def test_the_perfect_generator() -> None:
    m = material()
    report = measure_quality(m, Tools(estimator=lambda: Exact(m.poses)), ["l1", "ssim", "mask_ssim", "pckh", "colour"])
    values = {r.name: r.value for r in report.results}
    assert values == pytest.approx({"l1": 0, "ssim": 1, "mask_ssim": 1, "pckh": 1, "colour": 0})
    assert next(r for r in report.results if r.name == "pckh").count == int(np.isfinite(m.poses[..., 0]).sum())


def test_what_cannot_be_had_is_left_out_or_an_error() -> None:
    m = material()
    with pytest.raises(InputError, match="identity: needs a re-ID network"):
        measure_quality(m, Tools(), ["identity"])
    with pytest.raises(InputError, match="no metric 'psnr': choose from l1, ssim"):
        measure_quality(m, Tools(), ["psnr"])
    without = Material(m.generated, m.poses, m.conditions, m.condition_poses, m.crowd)
    with pytest.raises(InputError, match="ssim: needs the real image in the target pose"):
        measure_quality(without, Tools(), ["ssim"])


def test_arithmetic_is_done_beside_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    m, there = material(), threading.Event()
    plain = metrics.part_colours

    def colours(*given: Any) -> Any:
        there.set()
        return plain(*given)

    def looks(self: Any) -> Any:
        assert there.wait(60), "the network waits for arithmetic that comes after it"
        return metrics.Result("kid", 0.0, None, 1)

    monkeypatch.setattr(metrics, "part_colours", colours)
    monkeypatch.setattr(metrics._Run, "kid_", looks)
    report = measure_quality(m, Tools(), ["kid", "colour"])
    assert [result.name for result in report.results] == ["kid", "colour"]  # in the order asked for
    with pytest.raises(Unavailable, match="grid: needs images of"):
        measure_quality(Material(m.generated[:, :8], m.poses, m.conditions, m.poses, m.crowd), Tools(), ["kid", "grid"])


def test_what_no_network_looks_for_is_a_metric() -> None:
    grouped = [name for group in ARITHMETIC for name in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) < set(METRICS)


def test_every_metric_is_described() -> None:
    for name, metric in METRICS.items():
        assert metric.better in ("higher", "lower", "near 1"), name
        assert metric.unit, name
        assert metric.source, name


@pytest.fixture(scope="module")
def augmented(tiny_data: ReidData, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keypoints = load_annotations(tiny_root)
    plan = make_plan(
        tiny_data.train, keypoints, ratio=0.5, pose_source="library", library=shipped_library(), mode="add"
    )
    out = tmp_path_factory.mktemp("augmented") / "out"
    generate(Source(tiny_data, keypoints, shipped_library()), plan, Toy(), out)
    return out


def test_a_folder_gains_coverage_from_the_library(augmented: Path, tiny_root: Path) -> None:
    m = folder_material(augmented, tiny_root)
    assert len(m.generated) == 10
    assert m.real is None
    report = measure_quality(m, Tools(), ["colour", "diversity", "coverage"])
    for name in ("diversity", "coverage"):
        result = next(r for r in report.results if r.name == name)
        assert result.before is not None
        assert result.value > result.before
    few = folder_material(augmented, count=3)
    assert len(few.generated) == 3
    assert len(few.poses_after) == len(m.poses_after)


def test_the_command_on_a_folder(augmented: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, table, space = tmp_path / "q.json", tmp_path / "q.csv", tmp_path / "space.png"
    words = ["--metric", "colour", "--metric", "coverage", "--json", str(target), "--csv", str(table)]
    main(["quality", str(augmented), *words, "--pose-space", str(space), "--device", "cpu"])
    assert "pose coverage" in capsys.readouterr().out
    measured = json.loads(target.read_text())
    assert [row["metric"] for row in measured["metrics"]] == ["colour", "coverage"]
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["value"]) == pytest.approx(measured["metrics"][1]["value"])
    assert space.stat().st_size > 1000


def test_the_command_on_pairs(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "q.json"
    words = ["--data", str(tiny_root), "--pairs", "8", "--metric", "ssim", "--metric", "mask_ssim", "--metric", "l1"]
    main(["quality", "--weights", "patn-synth-tiny", *words, "--json", str(target), "--device", "cpu"])
    values = {row["metric"]: row["value"] for row in json.loads(target.read_text())["metrics"]}
    assert 0.05 < values["ssim"] < 0.95
    assert values["mask_ssim"] > values["ssim"]
    assert json.loads(target.read_text())["data"] == tiny_root.name
    assert "8 generated images" in capsys.readouterr().out


def test_the_command_measures_how_sharp_images_are(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo handed on is about as sharp as the photo in the pose asked for, and has its grid."""
    from reid_eval.backbones import build_for, save_model
    from reid_eval.settings import TrainSettings

    reid, target = tmp_path / "reid.safetensors", tmp_path / "q.json"
    torch.manual_seed(0)
    save_model(reid, build_for(TrainSettings(backbone="torchreid:osnet_x0_25", size=(64, 32)), 3, (64, 32)))
    monkeypatch.setattr("augment.quality.metrics.ranking_network", lambda *_: pytest.fail("--reid-weights was given"))
    names = ("sharpness", "sharpness_outside", "grid", "kid", "imagenet_distance", "retrieval_rank1", "retrieval_map")
    words = [word for name in names for word in ("--metric", name)]
    words += ["--data", str(tiny_root), "--pairs", "16", "--reid-weights", str(reid), "--precision", "bf16"]
    main(["quality", "--weights", "entry:copy", *words, "--json", str(target), "--device", "cpu"])
    told = json.loads(target.read_text())
    rows = {row["metric"]: row for row in told["metrics"]}
    assert list(rows) == list(names)
    assert rows["sharpness"]["value"] == pytest.approx(1, abs=0.25)
    assert rows["sharpness_outside"]["value"] == pytest.approx(1, abs=0.3)
    assert rows["grid"]["value"] == pytest.approx(rows["grid"]["photos"], rel=0.5)
    assert rows["kid"]["spread"] > 0
    assert rows["imagenet_distance"]["value"] > 0.1
    assert 0 < rows["retrieval_map"]["value"] <= 1
    assert rows["retrieval_rank1"]["photos"] is not None
    assert told["precision"] == "bf16"
    assert "retrieval, mAP" in capsys.readouterr().out


def test_people_are_measured_where_masks_say_they_are() -> None:
    m = material(8)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, m.generated.shape, np.uint8)
    person = np.zeros(m.generated.shape[:3], bool)
    person[:, 40:90, 20:44] = True
    half = np.where(person[..., None], noise, noise // 2 + 64)  # half of the contrast, but for the mask
    known = replace(m, generated=half, real=noise, people=person)
    report = measure_quality(known, Tools(), ["sharpness", "sharpness_outside"])
    assert report.value("sharpness") == pytest.approx(1, abs=0.05)
    assert report.value("sharpness_outside") == pytest.approx(0.5, abs=0.05)
    joints = measure_quality(replace(known, people=None), Tools(), ["sharpness", "sharpness_outside"])
    assert 0.5 < joints.value("sharpness") < 0.95  # the tube around the joints holds both
    assert joints.value("sharpness_outside") == pytest.approx(0.5, abs=0.1)


def test_pairs_know_their_people_and_world() -> None:
    from augment.generators.copy import CopyGenerator
    from augment.quality.known import RANKING, UNSEEN, drawn_pairs
    from augment.quality.material import pairs_material

    known = drawn_pairs(replace(UNSEEN, identities=4, images_per_id=3, cameras=3))
    m = pairs_material(CopyGenerator(), known, 9)
    assert m.gallery is not None
    assert m.people is not None
    np.testing.assert_array_equal(m.generated, m.gallery.images[m.gallery.conditions])
    np.testing.assert_array_equal(m.real, m.gallery.images[m.gallery.targets])
    np.testing.assert_array_equal(m.gallery.pids[m.gallery.conditions], m.gallery.pids[m.gallery.targets])
    assert len(set(m.gallery.camids.tolist())) > 1
    assert RANKING.seed != UNSEEN.seed


def test_more_pairs_are_of_more_people(monkeypatch: pytest.MonkeyPatch) -> None:
    from augment.quality import known

    asked = []
    monkeypatch.setattr(known, "drawn_pairs", lambda settings, device: asked.append(settings))
    said: list[str] = []
    for count in (1, 512, 2048):
        known.known_pairs((128, 64), None, torch.device("cpu"), said.append, count, world=1)
    assert [(one.identities, one.world, one.seed) for one in asked] == [(128, 1, 777), (128, 1, 777), (512, 1, 777)]
    assert said[-1].startswith("Pairs of 512 synthetic people, seed 777,")


def test_what_is_missing_names_the_option(augmented: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The library's errors know no options, the command adds them."""
    with pytest.raises(Unavailable, match=r"^identity: needs a re-ID network$") as error:
        measure_quality(material(), Tools(), ["identity"])
    assert error.value.needs == "reid"
    for metric, message in (
        ("identity", "identity: needs a re-ID network (--reid-weights FILE)"),
        ("ssim", "measure a generator on test pairs (--weights WEIGHTS)"),
    ):
        with pytest.raises(SystemExit):
            main(["quality", str(augmented), "--metric", metric, "--device", "cpu"])
        assert capsys.readouterr().err.strip().endswith(message)
    why = {"identity": Unavailable("needs a re-ID network", "reid"), "pckh": Unavailable("needs an estimator", "x")}
    print_quality(Report(left_out=why), {"reid": "--reid-weights FILE"})
    told = capsys.readouterr().out.replace("\n", " ")
    assert "identity similarity: not measured, needs a re-ID network (--reid-weights FILE)" in told
    assert "PCKh: not measured, needs an estimator" in told


def test_options_that_nothing_reads_are_refused(augmented: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, some = str(augmented), str(augmented / "market-annotation-train.csv")
    for words, message in (
        (["--metric", "colour", "--inception", some, "--lpips", some], "--inception, --lpips: none of the metrics"),
        (["--metric", "colour", "--data", here], "--data: none of the metrics asked for reads it"),
        (["--world", "1", "--precision", "bf16"], "--world, --precision: only with --weights"),
        (["--reid-backbone", "resnet50"], "--reid-backbone is of the network of --reid-weights: give both"),
    ):
        with pytest.raises(SystemExit) as error:
            main(["quality", here, *words])
        assert error.value.code == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["quality", "--weights", "patn-synth-tiny", "--pose-space", "x.png"])
    assert "--pose-space shows a data set" in capsys.readouterr().err


def test_the_command_needs_one_thing_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["quality"])
    assert error.value.code == 2
    assert "give an augmented folder, or --weights" in capsys.readouterr().err
