"""A file of thresholds is data: it starts no program, and names only estimators that ship."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from drawn import draw_dataset

from augment.commands.main import main
from augment.gate.thresholds import open_gate, read_thresholds
from augment.pose import load_annotations
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError

ATTACK: dict[str, Any] = {
    "version": 3, "pose": 1, "colour": 99, "contrast": 0, "saturated": 1, "noise": 99, "size": [128, 64],
    "estimator": "command:touch OWNED", "estimator_sha256": None,
}  # fmt: skip


def thresholds(folder: Path, **changes: Any) -> Path:
    path = folder / "gate.json"
    path.write_text(json.dumps({**ATTACK, **changes}))
    return path


def program(folder: Path) -> tuple[str, Path]:
    """An estimator that leaves a mark where it was started, and the mark."""
    script, mark = folder / "program.py", folder / "OWNED"
    script.write_text(
        f"import json, pathlib, sys\npathlib.Path({str(mark)!r}).touch()\n"
        "for line in sys.stdin:\n    print(json.dumps({'image': json.loads(line)['image'], 'joints': []}))\n"
    )
    return f"command:{sys.executable} {script}", mark


def test_thresholds_start_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data"
    draw_dataset(root, {2: 4, 3: 4}, {5: 4, 6: 4})
    estimator, mark = program(tmp_path)
    file = thresholds(tmp_path, estimator=estimator)
    words = ["gate", "--weights", "patn-synth-tiny", "--data", str(root), "--pairs", "2", "--device", "cpu"]
    for attack in (
        [*words, "--thresholds", str(file)],
        ["generate", str(root), "--ratio", "0.5", "--gate", "--gate-thresholds", str(file), "--out", "out"],
    ):
        with pytest.raises(SystemExit) as error:
            main(attack)
        told = capsys.readouterr().err
        assert error.value.code == 2
        assert "no file starts one: name the program as estimator" in told
        assert "(--estimator)" in told
        assert told.count("\n") == 1
        assert not mark.exists()
    with pytest.raises(SystemExit) as error:
        main([*words, "--thresholds", str(file), "--estimator", "command:another"])
    assert error.value.code == 2
    assert not mark.exists()
    main([*words, "--thresholds", str(file), "--estimator", estimator])  # named on the command line it may
    assert mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "os:system"}, "estimator 'os:system': choose from"),
        ({"estimator": "synth"}, "does not say with which weights of synth"),
        ({"estimator": "synth", "estimator_sha256": "0" * 64}, "with other weights of synth"),
    ],
)
def test_only_what_ships_is_named_by_a_file(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = tmp_path / "data"
    draw_dataset(root, {2: 4, 3: 4}, {5: 4, 6: 4})
    data, joints = read_dataset(root), load_annotations(root)
    with pytest.raises(InputError, match=message):
        open_gate(data, joints, thresholds(tmp_path, **changes), (128, 64), "cpu", print)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": [3]}, {"pose": None}, {"pose": "1"}, {"size": 5}, {"size": [0, 64]}, {"size": [128, 10**9]},
        {"size": [True, 64]}, {"estimator": 3}, {"estimator_sha256": "x"}, {"images": -1}, {"images": 2.5},
        {"rates": {}}, {"rates": {"pose_wrong": "x"}}, {"rates": [1]}, {"note": 7}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_fields_of_other_types_are_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="holds no thresholds of the gate") as error:
        read_thresholds(thresholds(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "[", "[" * 100_000, "1" * 5000, '{"version": 3, "pose": ' + "9" * 500 + "}", '{"version": NaN}',
     '{"version": 3, "version": 3}', "[3]", "null", '{"version": 3, "pose": 1e999}', '{"version": "\\ud800"}'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_texts_that_are_no_thresholds_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(InputError, match="holds no thresholds of the gate") as error:
        read_thresholds(tmp_path / "gate.json")
    assert len(str(error.value)) < len(str(tmp_path)) + 300
