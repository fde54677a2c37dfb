"""Joints by the workers of a Ray cluster: the same file as of one process, whoever is killed; errors name the image."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_dataset
from PIL import Image

from augment.cluster.ray_finding import build_worker
from augment.commands.main import main
from augment.estimators import estimate
from reid_eval.runtime import InputError

pytest.importorskip("ray")
ODD = "0002_c1s1_000001_00.jpg"
PROGRAM = """
import json, os, pathlib, signal, sys
from PIL import Image
here = pathlib.Path(__file__).parent
(here / f"call-{os.getpid()}").touch()
if (here / "mortal").exists() and len(list(here.glob("call-*"))) == 3:
    os.kill(os.getppid(), signal.SIGKILL)
for line in sys.stdin:
    path = json.loads(line)["image"]
    image = Image.open(path)
    if (here / "picky").exists() and image.width > image.height:
        sys.exit("not to my liking")
    shift = sum(image.resize((1, 1)).getpixel((0, 0))) % 50
    print(json.dumps({"image": path, "joints": [[60 + 3 * n + shift, 80 + 9 * n, 0.9] for n in range(17)]}))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 31 images, one of which is wider than high."""
    root = draw_dataset(tmp_path_factory.mktemp("people"), {2: 9, 7: 6, 11: 4}, {101: 6, 102: 6})
    Image.fromarray(np.full((64, 128, 3), 90, np.uint8)).save(root / "bounding_box_train" / ODD)
    return root


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is named from where the driver is, which is not where the cluster was started. It finds joints
    that hang on the image; files beside it tell it to kill who called it, or to fail."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "program.py"


def poses(root: Path, program: Path, name: str, *more: str) -> bytes:
    out = program.with_name(name)
    words = ["poses", str(root), "--estimator", f"command:{sys.executable} {program.name}", "--batch-size", "4"]
    main([*words, "--out", str(out), *more])
    return out.read_bytes()


def test_a_worker_that_is_killed_in_the_middle(address: str, root: Path, program: Path) -> None:
    whole = poses(root, program, "whole.csv")
    mortal = program.with_name("mortal")
    for call in program.parent.glob("call-*"):
        call.unlink()
    mortal.touch()
    assert poses(root, program, "k.csv", "--ray", "local", "--ray-workers", "2") == whole
    assert len(list(program.parent.glob("call-*"))) == 8 + 1  # batches, and the one that was done twice


def test_an_image_that_cannot_be_looked_at_is_named_once_and_the_run_goes_on(
    address: str, root: Path, program: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("_SAVE_EVERY", "_SAVE_PAUSE"):
        monkeypatch.setattr(estimate, pause, 0.0)
    program.with_name("picky").touch()
    ray = ("--ray", "local", "--ray-workers", "1")
    with pytest.raises(SystemExit) as stopped:
        poses(root, program, "k.csv", *ray)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.count(f"bounding_box_train/{ODD}: estimator command:") == 1
    assert "not to my liking" in told
    assert "Traceback" not in told
    left = program.with_name(".k.csv.part.csv").read_text().count("\n") - 1
    assert 0 < left < 31
    program.with_name("picky").unlink()
    assert poses(root, program, "k.csv", "--resume", *ray) == poses(root, program, "whole.csv")


def test_a_worker_with_another_file_of_weights(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("weights")
    with pytest.raises(InputError, match=r"w\.pth is another file at this worker"):
        build_worker("synth", {"weights": tmp_path / "w.pth"}, {str(tmp_path / "w.pth"): "0" * 64})


@pytest.mark.parametrize("words", [["--ray-workers", "2"], ["--ray", "local", "--device", "cuda"]])
def test_options_that_do_not_go_together(words: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["poses", str(root), *words])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("Error: --")
