"""The road of docs/market1501.md on a stand-in: Market-1501's exact shape, and its commands at a hundredth of it."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from augment.commands.main import main
from reid_eval.datasets import read_dataset

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("market_stand_in", ROOT / "examples" / "market_stand_in.py")
assert SPEC is not None
assert SPEC.loader is not None
stand_in = importlib.util.module_from_spec(SPEC)
sys.modules["market_stand_in"] = stand_in
SPEC.loader.exec_module(stand_in)


def test_the_shape_is_market_1501s() -> None:
    shots = stand_in.shots_of(1.0)
    assert Counter(shot.folder for shot in shots) == {
        "bounding_box_train": 12_936,
        "query": 3_368,
        "bounding_box_test": 19_732,
    }
    labels = Counter(shot.label for shot in shots)
    assert (labels["0000"], labels["-1"]) == (2_798, 3_819)
    people = {folder: {s.label for s in shots if s.folder == folder and int(s.label) > 0} for folder in
              ("bounding_box_train", "query", "bounding_box_test")}  # fmt: skip
    assert len(people["bounding_box_train"]) == 751
    assert people["query"] == people["bounding_box_test"]
    assert len(people["query"]) == 750
    assert not people["query"] & people["bounding_box_train"]
    assert len({(shot.folder, shot.name) for shot in shots}) == len(shots) == 36_036
    numbers = [(shot.pid, shot.camid, shot.seq, shot.frame) for shot in shots]
    assert len(set(numbers)) == len(numbers)  # no picture twice


def test_the_road(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "stand-in"
    stand_in.main(["--out", str(root), "--share", "0.006"])
    assert "images in" in capsys.readouterr().out
    data = read_dataset(root)
    assert data.train["pid"].nunique() == round(0.006 * 751)
    assert {-1, 0} < set(data.gallery["pid"])
    with pytest.raises(SystemExit):
        stand_in.main(["--out", str(root)])
    with pytest.raises(SystemExit):
        stand_in.main(["--out", str(tmp_path / "x"), "--share", "0"])

    plan, out = tmp_path / "plan.csv", tmp_path / "p0.5"
    small = ("--set", "train.init=scratch", "--set", "train.size=[64,32]", "--set", "train.max_steps=2")
    for command in (
        ["plan", str(root), "--ratio", "0.5", "--out", str(plan)],
        ["generate", str(root), "--plan", str(plan), "--weights", "entry:warp", "--out", str(out)],
        ["verify", str(out)],
        ["table", "table_market1501", "--out", str(tmp_path / "table"), "--set", f"data.root={root}", "--weights",
         "entry:warp", "--set", "columns=[0.5]", "--set", "seeds=[0]", "--set", "backbones=[inception_v2]",
         "--set", "train.batch_size=4", *small, "--device", "cpu"],
    ):  # fmt: skip
        main(command)  # ends with SystemExit where it fails
    assert "| none | " in (tmp_path / "table" / "table.md").read_text()
