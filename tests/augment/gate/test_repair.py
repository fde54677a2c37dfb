"""A folder keeps the gate it was made with; what a gate rejects is made again, and the folder stays true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from drawn import hashes
from gated import LIMITS, Blind
from toy import Toy

from augment.commands.main import main
from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.folder.manifest import read_manifest, verify
from augment.gate import repair as mending
from augment.gate.redraw import GateRun
from augment.gate.repair import finish_repair, repair, unfinished_repair
from augment.gate.strategy import GatedRendering
from augment.gate.thresholds import folder_thresholds
from augment.plan.sampler import make_plan, read_plan
from augment.pose import load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError


@pytest.fixture
def made(tiny_data: ReidData, tmp_path: Path) -> tuple[Path, Source]:
    """A folder of ten generated images, and what it was made of."""
    joints = load_annotations(tiny_data.root)
    source, out = Source(tiny_data, joints), tmp_path / "out"
    generate(source, make_plan(tiny_data.train, joints, ratio=0.6, seed=1), Toy(), out)
    return out, source


def outputs(out: Path) -> list[str]:
    plan = read_plan(out / "augmentation/plan.csv")
    return plan.loc[plan["action"] == "generate", "output"].tolist()


def run(share: float, retries: int = 2) -> GateRun:
    return GateRun(Blind(share), retries=retries, seed=1)


def test_a_gated_folder_tells_its_thresholds(tiny_data: ReidData, tmp_path: Path) -> None:
    joints = load_annotations(tiny_data.root)
    plan = make_plan(tiny_data.train, joints, ratio=0.5)
    generate(Source(tiny_data, joints), plan, Toy(), tmp_path / "a", rendering=GatedRendering(run(0.0)))
    generate(Source(tiny_data, joints), plan, Toy(), tmp_path / "b")
    assert folder_thresholds(tmp_path / "a") == LIMITS
    assert folder_thresholds(tmp_path / "b") is None


def test_the_command_uses_the_thresholds_that_the_folder_was_made_with(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set anew on the fewer real images that are left, they were others, and rejected what had been accepted."""
    data, out = forty[0].parent / "data", tmp_path / "out"
    main(["generate", str(data), "--ratio", "0.5", "--gate", "--out", str(out), "--device", "cpu"])
    said = capsys.readouterr().out
    assert "Gate: " in said
    main(["gate", str(out), "--device", "cpu"])
    said = capsys.readouterr().out
    assert "with the thresholds that the folder was made with" in said
    assert re.search(r"^0 of \d+ generated images rejected", said, re.MULTILINE), said


def test_rejected_images_are_made_again_in_another_pose(made: tuple[Path, Source]) -> None:
    out, source = made
    before, names = hashes(out), outputs(out)
    plan = read_plan(out / "augmentation/plan.csv").set_index("output")
    done = repair(out, source, names[:3], Toy(), run(0.5))
    assert done.asked == 3
    assert done.mended + done.given_up == 3
    assert verify(out).ok
    after, new = hashes(out), read_plan(out / "augmentation/plan.csv").set_index("output")
    assert {name for name in names[3:] if after[name] != before[name]} == set(), "the others stay"
    log = pd.read_csv(out / "augmentation/repair-0001.csv")
    assert set(log["output"]) == set(names[:3])
    for name in set(names[:3]) & set(new.index):
        accepted = log[(log["output"] == name) & (log["accepted"] == 1)].iloc[0]
        assert new.loc[name, "pose"] == accepted["pose"]
        assert (new.loc[name, "pose"] != plan.loc[name, "pose"]) == (accepted["attempt"] > 0)
    manifest = read_manifest(out)
    assert manifest.repairs[0]["asked"] == 3
    assert manifest.job.arguments["repairs"][0]["thresholds"]["pose"] == LIMITS.pose
    assert manifest.counts["train"] == len(read_dataset(out).train)


def test_what_nothing_mends_is_given_up_for_real_images(made: tuple[Path, Source]) -> None:
    out, source = made
    names, counts = outputs(out), read_manifest(out).counts
    done = repair(out, source, names[:4], Toy(), run(1.0))
    assert (done.mended, done.given_up, done.kept_instead) == (0, 4, 4)
    assert verify(out).ok
    after = read_manifest(out)
    assert after.counts["train"] == counts["train"], "totals stay"
    assert after.counts["train_generated"] == counts["train_generated"] - 4
    assert len(after.reports["gate_kept_instead"]) == 4
    assert set(outputs(out)) == set(names[4:])
    assert load_annotations(out).rows(read_dataset(out).train["path"].tolist()).min() >= 0, "joints of every image"


def test_the_same_repair_gives_the_same_bytes_killed_or_not(
    made: tuple[Path, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it renders, and while it moves files: asked for again, it ends as if nothing had been."""
    out, source = made
    names = outputs(out)
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    repair(whole, source, names, Toy(), run(0.6))
    wanted = hashes(whole)
    with pytest.raises(KeyboardInterrupt):
        repair(out, source, names, Toy(stop=2), run(0.6))
    assert not verify(out).ok
    assert "a repair was killed" in verify(out).message

    moved = []

    def die(path: Path, target: Path) -> Path:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        return original(path, target)

    original = Path.replace
    toy = Toy()
    with monkeypatch.context() as patch:
        patch.setattr(mending, "finish_repair", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            repair(out, source, names, toy, run(0.6))
    assert unfinished_repair(out)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            finish_repair(out, source)
    assert unfinished_repair(out)
    finish_repair(out, source)
    assert hashes(out) == wanted
    assert verify(out).ok


def test_moves_of_strangers(made: tuple[Path, Source], tmp_path: Path) -> None:
    """A folder with a list of moves, such as a killed repair leaves, and a link that leads to other files."""
    out, source = made
    manifest = json.loads((out / "augmentation/manifest.json").read_text())
    counts = {"asked": 0, "accepted_at_once": 0, "accepted_after_retry": 0, "given_up": 0, "attempts": 0,
              "rejections": 0, "rejection_rate": 0, "reasons": {}, "kept_instead": 0}  # fmt: skip
    good = {"moves": [], "removes": [], "restores": [], "manifest": {**manifest, "repairs": [counts]}}
    (tmp_path / "home").mkdir()
    (mine := tmp_path / "home" / "mine.jpg").write_text("x")
    (out / "link").symlink_to(tmp_path / "home")
    (out / "augmentation/repair").mkdir()
    for change, message in (
        ({"removes": ["link/mine.jpg"]}, "link/mine.jpg is no file in the folder"),
        ({"moves": ["link/mine.jpg"]}, "link/mine.jpg is no file in the folder"),
        ({"restores": [["bounding_box_train/x.jpg", "link/mine.jpg"]]}, "link/mine.jpg is no file in the folder"),
        ({"removes": ["bounding_box_train"]}, "bounding_box_train is no file in the folder"),
        ({"manifest": manifest}, "cannot read .*moves.json"),
    ):
        (out / "augmentation/repair/moves.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError, match=message):
            finish_repair(out, source)
    assert mine.read_text() == "x"


def test_another_generator_or_other_joints_are_refused(made: tuple[Path, Source]) -> None:
    out, source = made
    with pytest.raises(InputError, match="was made by toy, which is not"):
        repair(out, source, outputs(out)[:1], Toy(version=2), run(0.5))
    shifted = source.keypoints.take(range(len(source.keypoints)))
    shifted.xy[:] += 1
    with pytest.raises(InputError, match="was made with other keypoints"):
        repair(out, Source(source.data, shifted), outputs(out)[:1], Toy(), run(0.5))


def test_the_generator_is_found_by_its_name_or_asked_for(made: tuple[Path, Source]) -> None:
    from augment.commands.quality import _generator_of

    manifest = read_manifest(made[0])

    def found(name: str) -> str:
        job = manifest.job.model_copy(update={"weights": name})
        return _generator_of(made[0], manifest.model_copy(update={"job": job}), None, "cpu").name

    with pytest.raises(InputError, match="was made by toy, which does not ship: name it") as error:
        found("toy")
    assert error.value.argument == "generator"
    assert found("entry:warp") == "entry:warp"
    assert found("patn-synth-tiny") == "patn-synth-tiny"
    with pytest.raises(InputError, match="does not ship"):
        found("os:getcwd")  # nobody named that code but the manifest


def test_the_command_repairs_a_spoilt_folder(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten of forty were spoilt: they are made again, the gate finds nothing more, and `verify` is content."""
    out = tmp_path / "out"
    shutil.copytree(forty[0], out)
    words = ["gate", str(out), "--data", str(forty[0].parent / "data"), "--device", "cpu"]
    with pytest.raises(SystemExit) as error:
        main(words[:2])
    assert error.value.code == 1
    said = capsys.readouterr().out
    assert f"Next: patn-augment gate {out} --repair" in said
    main([*words, "--repair"])
    said = capsys.readouterr().out
    found = re.search(r"Repaired: (\d+) of (\d+) made again and accepted", said)
    assert found, said
    assert int(found[2]) >= 9
    main(["verify", str(out)])
