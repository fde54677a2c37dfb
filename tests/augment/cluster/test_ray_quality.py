"""Pairs of `quality --weights` by the workers of a Ray cluster: the figures of one process; errors name the pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from augment.cluster.ray_making import build_worker
from augment.commands.main import main
from reid_eval.runtime import InputError

pytest.importorskip("ray")
METRICS = ("--metric", "ssim", "--metric", "l1", "--metric", "colour")


def figures(root: Path, target: Path, weights: str, *more: str) -> dict[str, object]:
    words = ["quality", "--weights", weights, "--data", str(root), "--pairs", "44", *METRICS, "--json", str(target)]
    main([*words, *more])
    found: dict[str, object] = json.loads(target.read_text())
    return found


def test_a_worker_that_is_killed_in_the_middle(address: str, tiny_root: Path, tmp_path: Path, marks: Path) -> None:
    (marks / "once").touch()  # as if it had died: this process stays
    alone = figures(tiny_root, tmp_path / "alone.json", "mortal:dies_once")
    (marks / "once").unlink()
    on_ray = ("--ray", "local", "--ray-workers", "2")
    assert figures(tiny_root, tmp_path / "ray.json", "mortal:dies_once", *on_ray) == alone
    assert int((marks / "once").read_text()) > 0


def test_pairs_that_a_generator_fails_at_are_named_once(
    address: str, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        figures(tiny_root, tmp_path / "x.json", "mortal:fails", "--ray", "local", "--ray-workers", "1")
    assert stopped.value.code == 1
    assert "Error: pairs 0 to 7: none is to my liking" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_a_worker_with_another_generator() -> None:
    with pytest.raises(InputError, match="entry:copy is another generator in this worker"):
        build_worker("entry:copy", "cpu", "0" * 64, "float32")


@pytest.mark.parametrize("words", [["--weights", "entry:copy", "--ray-workers", "2"], [".", "--ray", "local"]])
def test_options_that_do_not_go_together(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["quality", *words])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("Error: --")
