"""The command `gate`: a folder of forty with ten spoilt, and a generator on pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from augment.commands.main import main
from augment.estimators.posenet.weights_file import shipped_weights
from augment.gate.judge import GateThresholds
from augment.gate.thresholds import write_thresholds
from reid_eval.runtime import sha256_file


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


def test_judging_a_generator_on_pairs(
    forty: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the truth: a threshold that no colour passes rejects all, one that all pass rejects none."""
    data, limits = forty[0].parent / "data", tmp_path / "gate.json"
    words = ["gate", "--weights", "patn-synth-tiny", "--data", str(data), "--pairs", "8", "--device", "cpu"]
    sha256 = sha256_file(str(shipped_weights()))
    generous = GateThresholds(pose=1.0, colour=1e9, contrast=0.0, saturated=1.0, noise=1e9, estimator_sha256=sha256)
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
        (["--exchange", "0.1"], "fewer than two images: give a larger count"),
        (["--csv", "x.csv"], "--csv: not with --weights, but with a folder"),
    ):
        with pytest.raises(SystemExit):
            main([*words, *wrong])
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["gate", str(data), "--pairs", "8"])
    assert "--pairs: only with --weights" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, str(data)])
    assert "--pairs: only with --weights, and without a folder" in capsys.readouterr().err
