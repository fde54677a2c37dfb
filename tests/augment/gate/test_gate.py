"""The gate: its numbers by hand, its thresholds, generating through it, and a folder of forty with ten spoilt."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn import SIZE, hashes, standing
from PIL import Image
from toy import Says, Toy

from augment.commands.main import main
from augment.estimators.synth import SynthEstimator
from augment.folder.generate import generate, verify
from augment.folder.manifest import Manifest, read_manifest
from augment.folder.source import Source
from augment.gate.calibrate import calibrate, read_thresholds, threshold, write_thresholds
from augment.gate.judge import Gate, GateThresholds, Verdict, noise_level, statistics
from augment.gate.redraw import GateRun, outcome
from augment.gate.strategy import Gated
from augment.plan.donors import PosePool, redraw_pose
from augment.plan.sampler import make_plan, read_plan
from augment.pose import load_annotations, read_keypoints
from augment.pose.library import shipped_library
from augment.pose.skeleton import normalise, pose_distance
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError

LIMITS = GateThresholds(pose=-0.1, colour=12.0, contrast=8.0, saturated=0.5, noise=15.0)


def test_noise_level_measures_gaussian_noise_and_ignores_ramps() -> None:
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(128.0), 2 * np.arange(64.0))
    assert noise_level(ramp) == pytest.approx(0, abs=1e-9)
    assert noise_level(ramp + rng.normal(0, 7, ramp.shape)) == pytest.approx(7, rel=0.05)


def test_statistics_by_hand() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = 100
    image[0, 0] = 255
    contrast, saturated, _ = statistics(image)
    assert saturated == 9 / 16  # eight black ones and a white one
    assert contrast == pytest.approx(np.std([255] + [100] * 7 + [0] * 8))


def test_each_test_has_its_reason() -> None:
    photo = np.random.default_rng(0).integers(60, 200, (16, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    red = photo.copy()
    red[..., 1:] //= 4
    grey = np.full_like(photo, 128)
    images = np.stack([photo, red, grey])
    poses, photos = np.stack([standing()] * 3), np.stack([photo] * 3)
    verdicts = Gate(Says(standing()), LIMITS).judge(images, poses, photos, poses)
    assert [v.reasons for v in verdicts[:2]] == [(), ("identity",)]
    assert "statistics" in verdicts[2].reasons
    moved = Gate(Says(standing() + 10), LIMITS).judge(images[:1], poses[:1], photos[:1], poses[:1])
    assert moved[0].reasons == ("pose",)
    legless = poses[:1].copy()
    legless[:] = np.nan
    unknown = Gate(Says(standing()), LIMITS).judge(images[:1], legless, photos[:1], legless)[0]
    assert unknown.numbers()["colour_drift"] is None
    assert "identity" not in Gate(Says(standing()), LIMITS).judge(images[:1], legless, photos[:1], legless)[0].reasons


def test_threshold_is_lenient_but_tells() -> None:
    right, wrong = np.arange(100) / 1000, 0.5 + np.arange(100) / 1000
    limit, rates = threshold(right, wrong)
    assert limit == pytest.approx(0.502, abs=0.002)  # the largest within three points of telling all
    assert rates == (0.0, pytest.approx(0.97, abs=0.011))
    mixed = np.random.default_rng(0).random(1000)
    limit, rates = threshold(mixed, mixed)  # nothing to tell: then at most two per cent of right ones go
    assert rates[0] <= 0.021
    assert threshold(np.array([np.nan, 1.0]), np.array([]))[1] == (0.0, 0.0)


def test_calibrating_on_a_data_set(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_root)

    class Knows:
        name = "knows"

        def __init__(self) -> None:
            self.at = 0

        def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            # Found by looking: which training image is it?
            names = [min(TRAIN, key=lambda n: float(np.abs(TRAIN[n] - image).mean())) for image in images]
            return keypoints.xy[keypoints.rows(names)], np.ones((len(images), 18), np.float32)

    TRAIN = {path: np.asarray(Image.open(tiny_root / path)).astype(float) for path in tiny_data.train["path"]}
    limits = calibrate(tiny_data, keypoints, Knows(), count=12)
    assert limits.images == 12
    assert limits.estimator == "knows"
    assert limits.rates is not None
    assert limits.rates["pose_right"] == 0
    assert limits.rates["pose_wrong"] > 0.9
    assert limits.rates["colour_same"] <= 0.1
    write_thresholds(tmp_path / "gate.json", limits)
    assert read_thresholds(tmp_path / "gate.json") == limits
    (tmp_path / "gate.json").write_text('{"version": 1, "pose": 0.03}')
    with pytest.raises(InputError, match="another version of patn-augment: set it anew"):
        read_thresholds(tmp_path / "gate.json")
    (tmp_path / "gate.json").write_text('{"version": 2, "pose": 1}')
    with pytest.raises(InputError, match="holds no thresholds of the gate"):
        read_thresholds(tmp_path / "gate.json")
    few = ReidData(tiny_data.root, tiny_data.layout, tiny_data.train.head(3), tiny_data.query, tiny_data.gallery)
    with pytest.raises(InputError, match="3 usable training images are too few"):
        calibrate(few, keypoints, Knows())


def pool() -> PosePool:
    xy = np.stack([standing() + i for i in range(6)]).astype(np.float32)
    return PosePool([f"p{i}" for i in range(6)], np.array([1, 1, 2, 2, 3, 3]), np.array([1, 2, 1, 2, 1, 2]), xy, 0)


def test_redrawing_never_repeats_and_ends() -> None:
    used: list[str] = []
    while (row := redraw_pose(pool(), 1, 0, used, "dataset", True, len(used))) is not None:
        used.append(pool().names[row])
    assert sorted(used) == ["p1", "p2", "p3", "p4", "p5"]  # not the condition itself
    assert redraw_pose(pool(), 1, 0, ["p0"], "identity", False) == 1
    assert redraw_pose(pool(), 1, 0, ["p0", "p2"], "camera", False) == 4


def test_a_manifest_tells_no_path_of_a_program() -> None:
    run = GateRun(Gate(Says(standing()), replace(LIMITS, estimator="command:/home/me/bin/python vitpose.py")))
    assert run.described()["thresholds"]["estimator"] == "command"


class Judge(Gate):
    """A gate that rejects by the hash of the image's bytes: repeatable, and blind."""

    def __init__(self, share: float) -> None:
        super().__init__(Says(standing()), LIMITS)
        self.share = share

    def judge(
        self, images: np.ndarray, poses: np.ndarray, photos: np.ndarray, photo_poses: np.ndarray
    ) -> list[Verdict]:
        assert len(images) == len(poses) == len(photos) == len(photo_poses)
        bad = [int(image.astype(np.int64).sum()) % 100 < 100 * self.share for image in images]
        return [Verdict(0.5, 1.0, 50.0, 0.0, 2.0, ("pose",) if b else ()) for b in bad]


def run(
    data: ReidData,
    root: Path,
    out: Path,
    share: float,
    *,
    mode: str = "replace",
    toy: Toy | None = None,
    **more: object,
) -> Manifest | None:
    keypoints = load_annotations(root)
    plan = make_plan(data.train, keypoints, ratio=0.6, mode=mode, seed=1)
    arguments: dict[str, object] = {"out": out, **more}
    return generate(
        Source(data, keypoints),
        plan,
        toy or Toy(),
        strategy=Gated(GateRun(Judge(share), retries=1, seed=1)),
        **arguments,  # type: ignore[arg-type]
    )


def test_a_gate_that_rejects_nothing_changes_no_image(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_root)
    plan = make_plan(tiny_data.train, keypoints, ratio=0.6, seed=1)
    generate(Source(tiny_data, keypoints), plan, Toy(), out=tmp_path / "plain")
    manifest = run(tiny_data, tiny_root, tmp_path / "gated", 0.0)
    assert manifest is not None
    assert manifest.gate is not None
    assert manifest.gate["accepted_at_once"] == manifest.gate["asked"] == 10
    assert manifest.gate["rejections"] == 0
    plain, gated = hashes(tmp_path / "plain"), hashes(tmp_path / "gated")
    assert set(gated) - set(plain) == {"augmentation/gate.csv"}
    assert [name for name in plain if plain[name] != gated[name]] == ["augmentation/manifest.json"]
    assert "gate" not in json.loads((tmp_path / "plain/augmentation/manifest.json").read_text())


def test_the_hopeless_case_keeps_the_real_images(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    manifest = run(tiny_data, tiny_root, tmp_path / "out", 1.0)
    assert manifest is not None
    assert manifest.gate is not None
    assert manifest.counts["train_generated"] == 0
    assert manifest.counts["train"] == len(tiny_data.train)
    assert manifest.gate["given_up"] == 10
    assert manifest.gate["attempts"] == manifest.gate["reasons"]["pose"] == 20
    assert len(manifest.reports["gate_kept_instead"]) == 10
    assert sorted(p.name for p in (tmp_path / "out/bounding_box_train").iterdir()) == sorted(
        Path(path).name for path in tiny_data.train["path"]
    )
    assert verify(tmp_path / "out").ok


def test_some_pass_and_all_is_told(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = run(tiny_data, tiny_root, out, 0.5)
    assert manifest is not None
    facts = manifest.gate
    assert facts is not None
    assert facts["accepted_at_once"] + facts["accepted_after_retry"] + facts["given_up"] == 10
    assert facts["rejections"] > 0
    assert facts["rejection_rate"] == pytest.approx(facts["rejections"] / facts["attempts"], abs=1e-4)
    with open(out / "augmentation/gate.csv") as file:
        log = list(csv.DictReader(file))
    assert len(log) == facts["attempts"]
    again = [row for row in log if row["attempt"] == "1"]
    first = {row["output"]: row for row in log if row["attempt"] == "0"}
    assert again
    assert all(
        first[row["output"]]["reasons"] == "pose" and first[row["output"]]["pose"] != row["pose"] for row in again
    )
    plan = read_plan(out / "augmentation/plan.csv")
    accepted = {row["output"]: row["pose"] for row in log if row["accepted"] == "1"}
    made = plan[plan["action"] == "generate"]
    assert dict(zip(made["output"], made["pose"], strict=True)) == accepted
    sizes = plan[plan["action"] != "drop"].groupby("pid").size().to_dict()
    assert sizes == tiny_data.train.groupby("pid").size().to_dict()
    keypoints, written = load_annotations(tiny_root), read_keypoints(out / "market-annotation-train.csv")
    for output, pose in accepted.items():  # a generated image's joints are those of the pose that was accepted
        np.testing.assert_array_equal(written.xy[written.rows([output])[0]], keypoints.xy[keypoints.rows([pose])[0]])
    assert verify(out).ok
    assert not (out / "augmentation/gate").exists()


def test_added_images_that_fail_are_left_out(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    manifest = run(tiny_data, tiny_root, tmp_path / "out", 0.5, mode="add")
    assert manifest is not None
    assert manifest.gate is not None
    assert manifest.reports["gate_kept_instead"] == []
    assert manifest.counts["train"] == len(tiny_data.train) + manifest.gate["asked"] - manifest.gate["given_up"]


def test_killed_and_sharded_runs_give_the_same_bytes(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    run(tiny_data, tiny_root, tmp_path / "whole", 0.5)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_data, tiny_root, tmp_path / "killed", 0.5, toy=Toy(stop=2))
    run(tiny_data, tiny_root, tmp_path / "killed", 0.5, resume=True)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert run(tiny_data, tiny_root, tmp_path / "parts", 0.5, shard=(1, 2)) is None
    assert run(tiny_data, tiny_root, tmp_path / "parts", 0.5, shard=(0, 2)) is not None
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    assert run(tiny_data, tiny_root, tmp_path / "whole", 0.5, resume=True) == read_manifest(tmp_path / "whole")


def test_a_library_lends_another_pose(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints, library = load_annotations(tiny_root), shipped_library()
    plan = make_plan(tiny_data.train, keypoints, ratio=0.6, pose_source="library", library=library)
    gate = Gated(GateRun(Judge(0.5), retries=2, source="library"))
    generate(Source(tiny_data, keypoints, library), plan, Toy(), out=tmp_path / "out", strategy=gate)
    log = pd.read_csv(tmp_path / "out/augmentation/gate.csv")
    assert (log["attempt"] > 0).any()
    assert log["pose"].str.startswith("library:").all()
    assert not log.duplicated(["output", "pose"]).any()


def test_outcome_restores_the_first_dropped_images() -> None:
    rows = [
        ("keep", 2, 1, "bounding_box_train/a.jpg", "", "", "bounding_box_train/a.jpg"),
        ("drop", 2, 1, "bounding_box_train/c.jpg", "", "", ""),
        ("drop", 2, 1, "bounding_box_train/b.jpg", "", "", ""),
        ("generate", 2, 1, "", "bounding_box_train/a.jpg", "p", "bounding_box_train/a_gen0000.jpg"),
        ("generate", 2, 1, "", "bounding_box_train/a.jpg", "p", "bounding_box_train/a_gen0001.jpg"),
    ]
    plan = pd.DataFrame(rows, columns=["action", "pid", "camid", "image", "condition", "pose", "output"])
    tried = [
        {"output": rows[3][6], "attempt": 0, "pose": "p", "accepted": False, "reasons": ["pose", "identity"]},
        {"output": rows[3][6], "attempt": 1, "pose": "q", "accepted": False, "reasons": ["pose"]},
        {"output": rows[4][6], "attempt": 0, "pose": "p", "accepted": True, "reasons": []},
    ]
    done = outcome(plan, tried, "market1501")
    assert done.kept_instead == ("bounding_box_train/b.jpg",)
    assert done.given_up == ("bounding_box_train/a_gen0000.jpg",)
    assert done.plan["action"].tolist() == ["keep", "drop", "keep", "generate"]
    assert done.facts["reasons"] == {"pose": 2, "identity": 1, "statistics": 0}


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """An augmented folder of forty drawn people in the poses asked for, ten of them then spoilt; and which."""
    from augment.generators.patn.patn_transfer import PATNTransfer
    from augment.synth.dataset import SynthSettings, write_dataset

    root = tmp_path_factory.mktemp("forty")
    write_dataset(root / "data", SynthSettings(train_ids=10, test_ids=2, images_per_id=8), "cpu")
    data, keypoints = read_dataset(root / "data"), load_annotations(root / "data")
    plan = make_plan(data.train, keypoints, ratio=0.5)
    generate(Source(data, keypoints), plan, PATNTransfer.open("patn-synth-tiny"), out=root / "out")
    done = read_plan(root / "out/augmentation/plan.csv")
    made = done[done["action"] == "generate"].reset_index(drop=True)
    spoilt = _spoil(root / "out", made, read_keypoints(root / "out/market-annotation-train.csv"))
    return root / "out", spoilt


def _spoil(out: Path, made: pd.DataFrame, keypoints: object) -> set[str]:
    """Three in a wrong pose, three of another person in the right pose, two of noise, two grey."""
    from augment.folder.render import Task, compute, load_task
    from augment.folder.settings import RenderSettings
    from augment.generators.patn.patn_transfer import PATNTransfer

    poses = keypoints.xy[keypoints.rows(made["output"].tolist())]  # type: ignore[attr-defined]
    settings = RenderSettings()
    generator, spoilt = PATNTransfer.open("patn-synth-tiny"), {}
    rng = np.random.default_rng(0)
    for number, row in enumerate(np.linspace(0, len(made) - 1, 10).round().astype(int).tolist()):
        output, condition = (out / made.loc[row, name] for name in ("output", "condition"))
        target = poses[row]
        if number < 3:  # facing the other way, and in another moment of the gait
            target = poses[np.argmax(pose_distance(normalise(poses), normalise(target[None])))]
        elif number < 6:
            others = made[made["pid"] != made.loc[row, "pid"]]
            condition = out / others.iloc[(row * 7) % len(others)]["condition"]
        if number < 6:
            own = keypoints.xy[keypoints.rows([condition.name])[0]]  # type: ignore[attr-defined]
            task = load_task(Task(condition, own, None, target, output), SIZE)
            image = compute(generator, [task], settings)[0]
        else:
            image = (
                rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) if number < 8 else np.full((*SIZE, 3), 128, np.uint8)
            )
        Image.fromarray(image).save(output, quality=95)
        spoilt[made.loc[row, "output"]] = number
    return set(spoilt)


def test_forty_images_of_which_ten_are_spoilt(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, spoilt = forty
    table, png = tmp_path / "verdicts.csv", tmp_path / "verdicts.png"
    with pytest.raises(SystemExit) as error:
        main(["gate", str(out), "--csv", str(table), "--sheet", str(png), "--device", "cpu"])
    assert error.value.code == 1
    verdicts = pd.read_csv(table)
    rejected = set(verdicts.loc[verdicts["accepted"] == 0, "output"])
    assert len(verdicts) == 40
    assert len(rejected & spoilt) >= 9
    assert len(rejected - spoilt) <= 2
    assert f"{len(rejected)} of 40 generated images rejected" in capsys.readouterr().out
    assert png.stat().st_size > 1000


def test_the_commands_of_a_gated_generation(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, limits, out = forty[0].parent / "data", tmp_path / "gate.json", tmp_path / "out"
    main(["calibrate-gate", str(data), str(limits), "--count", "40", "--device", "cpu"])
    assert "set on 40 real images with synth" in capsys.readouterr().out
    words = ["generate", "--data", str(data), "--ratio", "0.2", "--out", str(out), "--device", "cpu"]
    main([*words, "--gate", "--gate-thresholds", str(limits)])
    assert "Gate: " in capsys.readouterr().out
    manifest = read_manifest(out)
    assert manifest.gate is not None
    assert manifest.job.arguments["gate"]["thresholds"]["images"] == 40
    assert "/" not in json.dumps(manifest.job.arguments["gate"])
    text = limits.read_text().replace(SynthEstimator().weights.sha256, "0" * 64)
    limits.write_text(text)
    with pytest.raises(SystemExit) as error:
        main([*words[:6], str(tmp_path / "other"), "--gate", "--gate-thresholds", str(limits)])
    assert error.value.code == 2
    assert "other weights of synth" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:6], str(tmp_path / "other"), "--gate-thresholds", str(limits)])
    assert "--gate-thresholds are for --gate" in capsys.readouterr().err


def test_judging_a_generator_on_pairs(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the truth: a threshold that no colour passes rejects all, one that all pass rejects none."""
    data, limits = forty[0].parent / "data", tmp_path / "gate.json"
    words = ["gate", "--pairs", "patn-synth-tiny", "--data", str(data), "--count", "8", "--device", "cpu"]
    generous = GateThresholds(pose=1.0, colour=1e9, contrast=0.0, saturated=1.0, noise=1e9)
    write_thresholds(limits, generous)
    main([*words, "--thresholds", str(limits)])
    told = capsys.readouterr().out
    assert "0 of 8 images rejected" in told
    write_thresholds(limits, replace(generous, colour=0.0))
    main([*words, "--thresholds", str(limits)])
    strict = capsys.readouterr().out
    assert "8 of 8 images rejected" in strict
    main([*words, "--thresholds", str(limits), "--exchange", "0.5"])
    exchanged = capsys.readouterr().out
    assert "Of 4 exchanged images it finds 4; of the 4 others it rejects 4." in exchanged
    assert "for identity       8 images" in strict

    def line(text: str, name: str) -> str:
        return next(row.split("images")[1] for row in text.splitlines() if row.strip().startswith(name))

    assert line(told, "all") == line(told, "accepted") == line(strict, "rejected")
    assert float(line(exchanged, "all").split()[0]) > float(line(told, "all").split()[0])  # they did change places
    for wrong, message in (
        (["--exchange", "0.1"], "fewer than two images: give more --count"),
        (["--csv", "x.csv"], "--csv: not with --pairs"),
    ):
        with pytest.raises(SystemExit):
            main([*words, *wrong])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["gate", str(data), "--count", "8"])
    assert "--count: only with --pairs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, str(data)])
    assert "give an augmented folder, or --pairs" in capsys.readouterr().err
