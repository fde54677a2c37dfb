"""Trainings by recipe: going on without saying everything again, ends in the bar's unit, suggestions that run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.weights import read_weights
from augment.start.recipe_training import open_training, train_recipe
from reid_eval import machine
from reid_eval.runtime import InputError

Run = Callable[..., int]
Suggestions = Callable[[str], list[list[str]]]
Capture = pytest.CaptureFixture[str]
TRAIN = {
    "generator": "patn_tiny",
    "overrides": {"ngf": 4, "n_blocks": 2, "dropout": 0.0},
    "ndf": 4,
    "d_blocks": 0,
    "batch_size": 2,
    "constant_steps": 6,
    "decay_steps": 0,
    "epoch_steps": 1,
    "lambda_gan": 0,
    "perceptual": "off",
}


@pytest.fixture
def recipe(people: Path) -> Path:
    """Six steps of two pairs of `people`."""
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump({"data": {"source": "folder", "root": str(people)}, "train": TRAIN}))
    return path


def test_going_on_needs_the_folder_alone(recipe: Path, run: Run, suggestions: Suggestions, capsys: Capture) -> None:
    changes = ("train.constant_steps=40", "train.lr=3e-4", "data.seed=5")
    sets = [word for change in changes for word in ("--set", change)]
    licence = ("--licence", "mine alone")
    assert run("train", "--recipe", recipe, "--out", "run", "--max-seconds", 1, *sets, *licence) == 0
    said = capsys.readouterr().out
    step = json.loads(Path("run/train.jsonl").read_text().splitlines()[-1])["step"]
    assert f"Stopped at {2 * step} of 80 pairs (step {step} of 40)." in said
    (command,) = suggestions(said)
    assert command == ["train", "--resume", "--out", "run"]
    assert run(*command) == 0
    said = capsys.readouterr().out
    assert "Finished after 80 pairs (40 steps): run/generator.safetensors" in said
    info = read_weights("run/generator.safetensors").info
    assert info["settings"]["lr"] == 3e-4
    assert info["licence"] == "mine alone"
    assert "--set train.lr=3e-4" in info["command"]
    measure, generate = suggestions(said)
    assert measure[:4] == ["measure", "run/generator.safetensors", "--data", "people"]
    assert generate == ["generate", "people", "--ratio", "0.5", "--weights", "run/generator.safetensors"]
    assert run(*measure) == 0
    assert Path("run/pairs.png").is_file()
    assert run(*generate) == 0


def test_going_on_gives_the_bits_of_one_that_was_not_stopped(recipe: Path, run: Run) -> None:
    changes = ("train.seed=3", "train.checkpoint_every=2")
    sets = [word for change in changes for word in ("--set", change)]
    assert run("train", "--recipe", recipe, "--out", "whole", *sets) == 0
    training = open_training(str(recipe), Path("parts"), changes)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(training, Path("parts"), device="cpu", source=_Dies(training))
    train_recipe(open_training(None, Path("parts"), resume=True), Path("parts"), device="cpu", resume=True)
    a, b = (read_weights(f"{name}/generator.safetensors").tensors for name in ("whole", "parts"))
    assert all((a[key] == b[key]).all() for key in a)


class _Dies:
    """Pairs that end in the middle, with a checkpoint at hand."""

    def __init__(self, training: object) -> None:
        import torch

        self.source = training.recipe.data.open(torch.device("cpu"))  # type: ignore[attr-defined]
        self.size = self.source.size

    def sample(self, step: int, batch_size: int) -> object:
        if step == 4:
            raise KeyboardInterrupt
        return self.source.sample(step, batch_size)

    def preview(self, count: int) -> object:
        return self.source.preview(count)


def test_another_recipe_is_refused(recipe: Path, run: Run, capsys: Capture) -> None:
    assert run("train", "--recipe", recipe, "--out", "run") == 0
    capsys.readouterr()
    assert run("train", "--recipe", "patn_finetune", "--out", "run", "--resume") == 2
    assert "holds a training of mine, not of patn_finetune" in capsys.readouterr().err
    with pytest.raises(InputError, match="can't resume on other data: seed changed"):
        open_training(None, Path("run"), ("data.seed=9",), resume=True)
    assert run("train", "--out", "other") == 2
    assert "give a recipe, such as patn_finetune" in capsys.readouterr().err
    assert run("train", "--out", "other", "--resume") == 2
    assert "holds no training to go on with" in capsys.readouterr().err


def test_a_recipe_that_was_edited_is_refused(recipe: Path, run: Run, capsys: Capture) -> None:
    """With its name the recipe is read anew, and what was set before counts still."""
    assert run("train", "--recipe", recipe, "--out", "run", "--set", "train.lr=3e-4") == 0
    assert run("train", "--recipe", recipe, "--out", "run", "--resume") == 0
    assert read_weights("run/generator.safetensors").info["command"].count("train.lr") == 1
    recipe.write_text(recipe.read_text().replace("constant_steps: 6", "constant_steps: 7"))
    capsys.readouterr()
    assert run("train", "--recipe", recipe, "--out", "run", "--resume") == 2
    assert "constant_steps was 6, is 7" in capsys.readouterr().err
    assert run("train", "--out", "run", "--resume") == 0


@pytest.mark.parametrize(
    "text",
    ['{"recipe": 3}', "[]", '{"recipe": {}, "overrides": 3}', '{"recipe": {"data": {"source": "folder"}}}', "{", "{}"],
)
def test_a_run_file_of_a_stranger_is_refused(recipe: Path, run: Run, capsys: Capture, text: str) -> None:
    assert run("train", "--recipe", recipe, "--out", "run") == 0
    Path("run/run.json").write_text(text)
    capsys.readouterr()
    assert run("train", "--out", "run", "--resume") == 2
    assert "run.json" in capsys.readouterr().err


def test_a_short_training_has_a_curve_and_sheets(recipe: Path, run: Run) -> None:
    assert run("train", "--recipe", recipe, "--out", "run") == 0
    steps = [json.loads(line)["step"] for line in Path("run/train.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in Path("run/sheets").iterdir()) == ["step_000005.png", "step_000006.png"]
    assert run("train", "--recipe", recipe, "--out", "dark", "--set", "train.sheet_every=0") == 0
    assert not Path("dark/sheets").exists()


@pytest.mark.parametrize(("steps", "logs", "sheets"), [(6, 1, 5), (240, 4, 24), (1000, 20, 100), (87_500, 100, 1000)])
def test_how_often_it_tells(steps: int, logs: int, sheets: int) -> None:
    settings = PATNTrainSettings(constant_steps=steps, decay_steps=0, epoch_steps=1)
    assert (settings.steps_between_logs, settings.steps_between_sheets) == (logs, sheets)
    told = PATNTrainSettings(log_every=7, sheet_every=9)
    assert (told.steps_between_logs, told.steps_between_sheets) == (7, 9)


def test_a_busy_machine_is_told_once(recipe: Path, run: Run, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (40.0, 1.0, 1.0))
    monkeypatch.setattr(machine, "usable_cores", lambda: 4.0)
    assert run("train", "--recipe", recipe, "--out", "run", "--set", "train.checkpoint_every=1") == 0
    said = capsys.readouterr().out
    assert said.count("This machine is busy: other work keeps 40.0 of 4 cores") == 1
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.2, 1.0, 1.0))
    assert run("train", "--recipe", recipe, "--out", "calm", "--set", "train.checkpoint_every=1") == 0
    assert "busy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("load", "threads", "running", "words"),
    [(0.3, 4, False, None), (4.0, 4, True, None), (3.0, 4, False, "OMP_NUM_THREADS=1"),
     (2.4, 4, False, "OMP_NUM_THREADS=1"), (9.0, 1, False, "fewer other processes"), (5.5, 4, True, None)],
)  # fmt: skip
def test_when_a_machine_is_busy(
    load: float, threads: int, running: bool, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(machine, "usable_cores", lambda: 4.0)
    note = machine.busy_note(threads, running)
    assert (words is None) == (note is None)
    assert words is None or words in str(note)


def test_no_load_is_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(machine.os, "getloadavg", unknown)
    assert machine.busy_note(4) is None
    assert machine.usable_cores() >= 1
