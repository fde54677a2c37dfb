"""Generating through the gate."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import hashes, standing
from gated import LIMITS, Blind
from toy import Says, Toy

from augment.commands.main import main
from augment.estimators.posenet.estimator import SynthEstimator
from augment.folder.carry import Source
from augment.folder.generate import generate, verify
from augment.folder.layout import SCRATCH
from augment.folder.manifest import Manifest, read_manifest
from augment.gate.judge import Gate
from augment.gate.redraw import GateRun, outcome
from augment.gate.strategy import GatedRendering
from augment.plan.donors import PosePool, redraw_pose
from augment.plan.sampler import make_plan, read_plan
from augment.pose import load_annotations, read_keypoints
from augment.pose.library import shipped_library
from reid_eval.datasets import ReidData


def pool() -> PosePool:
    xy = np.stack([standing() + i for i in range(6)]).astype(np.float32)
    return PosePool([f"p{i}" for i in range(6)], np.array([1, 1, 2, 2, 3, 3]), np.array([1, 2, 1, 2, 1, 2]), xy, 0)


def test_redrawing_never_repeats_and_ends() -> None:
    used: list[int] = []

    def free(*taken: int) -> np.ndarray:
        return ~np.isin(np.arange(6), taken)

    while (row := redraw_pose(pool(), 1, 0, free(*used), "dataset", True, len(used))) is not None:
        used.append(row)
    assert sorted(used) == [1, 2, 3, 4, 5]  # not the condition itself
    assert redraw_pose(pool(), 1, 0, free(0), "identity", False) == 1
    assert redraw_pose(pool(), 1, 0, free(0, 2), "camera", False) == 4
    assert redraw_pose(pool(), 1, 0, free(0, 2, 4), "camera", False) is None


def test_a_manifest_tells_no_path_of_a_program() -> None:
    run = GateRun(Gate(Says(standing()), replace(LIMITS, estimator="command:/home/me/bin/python vitpose.py")))
    assert run.described()["thresholds"]["estimator"] == "command"


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
    through = GatedRendering(GateRun(Blind(share), retries=1, seed=1))
    return generate(Source(data, keypoints), plan, toy or Toy(), out, rendering=through, **more)  # type: ignore[arg-type]


def test_a_gate_that_rejects_nothing_changes_no_image(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_root)
    plan = make_plan(tiny_data.train, keypoints, ratio=0.6, seed=1)
    generate(Source(tiny_data, keypoints), plan, Toy(), tmp_path / "plain")
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
    assert not (out / SCRATCH).exists()


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


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: 5, lambda rows: None, lambda rows: {}, lambda rows: [], lambda rows: [1], lambda rows: [{}],
        lambda rows: rows[1:], lambda rows: [*rows, {**rows[0], "index": 99}],
        lambda rows: [{**rows[0], "output": "../../x.jpg"}, *rows[1:]],
        lambda rows: [{**rows[0], "output": "a\0b"}, *rows[1:]],
        lambda rows: [{**rows[0], "pose": "bounding_box_train/x.jpg"}, *rows[1:]],
        lambda rows: [{**row, "pose": "bounding_box_train/x.jpg"} if row["attempt"] else row for row in rows],
        lambda rows: [{**row, "accepted": True} for row in rows],
        lambda rows: [{**rows[0], "attempt": 1}, *rows[1:]],
        lambda rows: [*rows, *({**row, "attempt": row["attempt"] + 1} for row in rows)],
        lambda rows: [{**rows[0], "accepted": "no"}, *rows[1:]],
        lambda rows: [{**rows[0], "reasons": None}, *rows[1:]],
        lambda rows: [{**rows[0], "more": 1}, *rows[1:]],
        lambda rows: [{name: value for name, value in rows[0].items() if name != "pose"}, *rows[1:]],
    ],
)  # fmt: skip
def test_a_record_that_no_chunk_leaves_is_made_again(
    tiny_data: ReidData, tiny_root: Path, tmp_path: Path, spoil: Callable[[list[dict[str, Any]]], object]
) -> None:
    run(tiny_data, tiny_root, tmp_path / "whole", 0.5)
    run(tiny_data, tiny_root, tmp_path / "parts", 0.5, shard=(0, 2))
    (path,) = (tmp_path / "parts" / SCRATCH).rglob("*.json")
    good = path.read_text()
    path.write_text(json.dumps(spoil(json.loads(good))))
    assert run(tiny_data, tiny_root, tmp_path / "parts", 0.5, shard=(1, 2)) is None  # the other part is not done
    assert run(tiny_data, tiny_root, tmp_path / "parts", 0.5, shard=(0, 2)) is not None
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("gated", [True, False])
def test_whoever_finishes_last_completes_the_folder(
    tiny_data: ReidData, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gated: bool, share: float
) -> None:
    """Shard 0 stops while it copies; 1 renders, copies and ends; then 0 goes on: nobody is left to finish after it."""
    import augment.folder.generate as module

    def one(out: Path, **more: object) -> Manifest | None:
        if gated:
            return run(tiny_data, tiny_root, out, share, **more)  # type: ignore[arg-type]
        keypoints = load_annotations(tiny_root)
        plan = make_plan(tiny_data.train, keypoints, ratio=0.6, seed=1)
        return generate(Source(tiny_data, keypoints), plan, Toy(), out, **more)  # type: ignore[arg-type]

    place, out, others = module.place, tmp_path / "out", []

    def slow(*arguments: object) -> None:
        if not others:
            others.append("started")
            others.append(one(out, shard=(1, 2)))
        place(*arguments)  # type: ignore[arg-type]

    one(tmp_path / "whole")
    monkeypatch.setattr(module, "place", slow)
    manifest = one(out, shard=(0, 2))
    assert others == ["started", None]  # 0's copies were not there yet
    assert manifest is not None
    assert hashes(out) == hashes(tmp_path / "whole")
    assert verify(out).ok


def test_two_that_finish_at_one_instant_agree(
    tiny_data: ReidData, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see all files, and both write what ends the folder; the second while the first hashes."""
    import augment.folder.generate as module

    run(tiny_data, tiny_root, tmp_path / "whole", 0.5)
    out, entries, other = tmp_path / "out", module.file_entries, []
    assert run(tiny_data, tiny_root, out, 0.5, shard=(1, 2)) is None

    def slow(*arguments: object) -> object:
        if not other:
            other.append(None)
            other.append(run(tiny_data, tiny_root, out, 0.5, shard=(1, 2)))
        return entries(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "file_entries", slow)
    first = run(tiny_data, tiny_root, out, 0.5, shard=(0, 2))
    assert first == other[1] == read_manifest(out)
    assert hashes(out) == hashes(tmp_path / "whole")


def test_what_was_rendered_survives_a_kill_while_files_are_hashed(
    tiny_data: ReidData, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import augment.folder.generate as module

    run(tiny_data, tiny_root, tmp_path / "whole", 0.5)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(module, "file_entries", die)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, tiny_root, tmp_path / "out", 0.5)
    toy = Toy()
    run(tiny_data, tiny_root, tmp_path / "out", 0.5, toy=toy, resume=True)
    assert toy.calls == 0
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")
    with monkeypatch.context() as killed:  # and one that is killed just before it has cleaned up
        killed.setattr(module, "sweep", die)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, tiny_root, tmp_path / "late", 0.5)
    assert (tmp_path / "late" / SCRATCH).exists()
    run(tiny_data, tiny_root, tmp_path / "late", 0.5, resume=True)
    assert hashes(tmp_path / "late") == hashes(tmp_path / "whole")
    assert verify(tmp_path / "late").ok


def test_redraws_never_make_one_image_twice(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_root)
    source = Source(tiny_data, keypoints)
    for pose_source in ("identity", "dataset"):
        plan = make_plan(tiny_data.train, keypoints, ratio=2.0, mode="add", pose_source=pose_source)
        through = GatedRendering(GateRun(Blind(0.5), retries=3, source=pose_source))
        manifest = generate(source, plan, Toy(), tmp_path / pose_source, rendering=through)
        assert manifest is not None
        assert manifest.gate is not None
        done = read_plan(tmp_path / pose_source / "augmentation/plan.csv")
        made = done[done["action"] == "generate"]
        asked = plan[plan["action"] == "generate"].duplicated(["condition", "pose"]).sum()
        assert made.duplicated(["condition", "pose"]).sum() <= asked  # identity 11 has two photos, hence four pairs
        if pose_source == "dataset":
            assert asked == 0
            assert manifest.gate["accepted_after_retry"] > 0


def test_a_library_lends_another_pose(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints, library = load_annotations(tiny_root), shipped_library()
    plan = make_plan(tiny_data.train, keypoints, ratio=0.6, pose_source="library", library=library)
    gate = GateRun(Blind(0.5), retries=2, source="library")
    generate(Source(tiny_data, keypoints, library), plan, Toy(), tmp_path / "out", rendering=GatedRendering(gate))
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


def test_the_commands_of_a_gated_generation(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, limits, out = forty[0].parent / "data", tmp_path / "gate.json", tmp_path / "out"
    main(["calibrate-gate", str(data), "--out", str(limits), "--count", "40", "--device", "cpu"])
    assert "set on 40 real images with synth" in capsys.readouterr().out
    words = ["generate", str(data), "--ratio", "0.2", "--out", str(out), "--device", "cpu"]
    main([*words, "--gate", "--gate-thresholds", str(limits)])
    assert "Gate: " in capsys.readouterr().out
    manifest = read_manifest(out)
    assert manifest.gate is not None
    assert manifest.job.arguments["gate"]["thresholds"]["images"] == 40
    assert "/" not in json.dumps(manifest.job.arguments["gate"])
    text = limits.read_text().replace(SynthEstimator().weights.sha256, "0" * 64)
    limits.write_text(text)
    with pytest.raises(SystemExit) as error:
        main([*words[:5], str(tmp_path / "other"), "--gate", "--gate-thresholds", str(limits)])
    assert error.value.code == 2
    assert "other weights of synth" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:5], str(tmp_path / "other"), "--gate-thresholds", str(limits)])
    assert "--gate-thresholds is for --gate" in capsys.readouterr().err
