"""`patn-augment finetune`: nobody held out is seen, it stops in time with weights, and goes on."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment.generators.patn.builders import patn_tiny
from augment.generators.patn.load import save_generator
from augment.generators.weights import read_weights
from augment.pairs.lists import read_pairs
from augment.start import finetune as module
from augment.start.finetune import ENOUGH, Choice, finetune
from augment.start.holdout import Figures, copying, hold_out, verdict, write_learnt_pairs
from reid_eval.runtime import InputError

Run = Callable[..., int]
Suggestions = Callable[[str], list[list[str]]]
Capture = pytest.CaptureFixture[str]
MINUTES = 0.05


def people_of(names: list[str]) -> set[str]:
    return {Path(name).name[:4] for name in names}


def test_a_fifth_of_the_people_is_held_out_and_never_seen(people: Path, tmp_path: Path) -> None:
    split = hold_out(people, (128, 64))
    assert (split.people(split.held), split.people(split.learnt)) == (1, 3)
    paths = split.images.table["path"]
    held, learnt = (people_of(list(paths.iloc[rows])) for rows in (split.held, split.learnt))
    assert held.isdisjoint(learnt)
    assert write_learnt_pairs(split, tmp_path / "pairs.csv") == len(read_pairs(tmp_path / "pairs.csv"))
    listed = read_pairs(tmp_path / "pairs.csv")
    assert people_of([*listed["from"], *listed["to"]]) == learnt
    assert (listed["from"].str[:4] == listed["to"].str[:4]).all()
    assert (listed["from"] != listed["to"]).all()
    assert {tuple(hold_out(people, (128, 64), seed=seed).held.tolist()) for seed in range(8)} > {tuple(split.held)}


def test_one_person_is_too_few(people: Path) -> None:
    for path in (people / "bounding_box_train").glob("*.jpg"):
        if not path.name.startswith("0001"):
            path.unlink()
    with pytest.raises(InputError, match=r"1 training people have two images .* it takes two such people"):
        hold_out(people, (128, 64))


def test_figures_sheet_weights_and_next(
    people: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    assert run("finetune", people, "--minutes", MINUTES, "--out", "ft") == 0
    said = capsys.readouterr().out
    assert "1 of 4 training people are held out" in said
    assert f"Training {quick}: " in said
    assert "L1, grey levels (lower): " in said
    facts = json.loads(Path("ft/figures.json").read_text())
    assert facts["before"]["pairs"] == facts["after"]["pairs"] >= 16
    assert facts["before"]["l1"] != facts["after"]["l1"]
    sheet = np.asarray(Image.open("ft/before-after.png"))
    assert sheet.shape[1] > 5 * 128
    weights = read_weights("ft/generator.safetensors")
    split = hold_out(people, (128, 64))
    held = people_of(list(split.images.table["path"].iloc[split.held]))
    seen = people_of(Path("ft/generator.training_images.txt").read_text().split())
    assert len(seen) == 3
    assert seen.isdisjoint(held)
    assert weights.info["training_images"]["count"] == len(split.learnt)
    assert weights.info["init"]["weights"] == quick.name
    assert json.loads(Path("ft/run.json").read_text())["recipe_name"] == "patn_finetune"
    command = suggestions(said)[0]
    assert command == ["generate", "people", "--ratio", "0.5", "--weights", "ft/generator.safetensors"]
    assert run(*command) == 0


def test_it_is_the_recipe_that_train_takes(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    """The command in the weights, run by hand, makes a training of the same settings."""
    finetune(people, Path("ft"), minutes=MINUTES)
    command = shlex.split(read_weights("ft/generator.safetensors").info["command"])
    assert command[:4] == ["patn-augment", "train", "--recipe", "patn_finetune"]
    assert run(*command[1:], "--out", "by-hand") == 0
    by_hand, own = (json.loads(Path(name, "run.json").read_text())["recipe"] for name in ("by-hand", "ft"))
    assert by_hand == own


def test_it_stops_in_time_with_weights_and_goes_on(
    people: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Choice, "steps", lambda *_: 300)
    assert run("finetune", people, "--minutes", MINUTES, "--out", "ft", "--seed", 1) == 0
    said = capsys.readouterr().out
    first = json.loads(Path("ft/figures.json").read_text())
    assert 0 < first["steps"] < 300
    assert not first["finished"]
    before = read_weights("ft/generator.safetensors")
    assert before.info["stopped_at_step"] == first["steps"]
    generate, more = suggestions(said)
    assert generate[0] == "generate"
    assert more[:2] == ["finetune", "people"]
    assert "--resume" in more
    assert run("finetune", people, "--out", "ft", "--seed", 1) == 2
    assert "already holds a training: resume it" in capsys.readouterr().err
    assert run(*more) == 0
    second = json.loads(Path("ft/figures.json").read_text())
    assert second["steps"] > first["steps"]
    assert second["before"] == first["before"] or second["before"]["pairs"] != first["before"]["pairs"]
    assert read_weights("ft/generator.safetensors").sha256 != before.sha256
    seen = people_of(Path("ft/generator.training_images.txt").read_text().split())
    assert len(seen) == 3


def test_going_on_needs_the_same_people_held_out(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    finetune(people, Path("ft"), minutes=MINUTES)
    seeds = [seed for seed in range(9) if hold_out(people, (128, 64), seed=seed).held.tolist()
             != hold_out(people, (128, 64)).held.tolist()]  # fmt: skip
    with pytest.raises(InputError, match="held out the people of seed 0"):
        finetune(people, Path("ft"), minutes=MINUTES, seed=seeds[0], resume=True)


def test_the_larger_weights_are_taken_where_the_time_is_enough(
    people: Path, quick: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = here / "large.safetensors"
    save_generator(large, patn_tiny(ngf=8, n_blocks=3, dropout=0.0), {"data": "nothing", "size": [128, 64]})
    monkeypatch.setattr(module, "available_weights", lambda: [str(large), str(quick)])
    told: list[str] = []
    of_large = {"seconds": 0.0}

    def measured(asked: module._Asked, weights: str, source: object, _: float) -> Choice:
        seconds = 0.01 if weights == str(quick) else of_large["seconds"]
        return Choice(weights, (), source, 8, seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_measured", measured)
    asked = module._Asked(people, Path("ft"), {}, torch.device("cpu"), 0)
    for of_large["seconds"], wanted in ((0.01, large), (9.0, quick)):
        chosen = module._choose(asked, None, time.monotonic() + 3 + ENOUGH * 0.05, told.append)
        assert chosen.weights == str(wanted)
    assert "would see too few pairs" in told[-1]


def test_copying_the_photo_has_its_own_figures(people: Path, quick: Path) -> None:
    found = finetune(people, Path("ft"), minutes=MINUTES)
    photos, real = found.after.material.conditions, found.after.material.real
    assert real is not None
    by_hand = np.abs(photos.astype(float) - real).mean()
    assert copying(found.after.material).values["l1"] == pytest.approx(by_hand, rel=1e-6)
    assert found.copied.values["l1"] == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"l1": 9.0, "ssim": 0.3, "sharpness": 1.1}, "better in L1; worse in SSIM."),
        ({"l1": 10.0, "ssim": 0.4, "sharpness": 0.9}, "no change."),
        ({"l1": 11.0, "sharpness": 1.05}, "better in sharpness; worse in L1."),
    ],
)
def test_the_verdict(now: dict[str, float], words: str) -> None:
    before = Figures(8, {"l1": 10.0, "ssim": 0.4, "sharpness": 0.9}, {}, None)  # type: ignore[arg-type]
    after = Figures(8, now, {}, None)  # type: ignore[arg-type]
    assert words in verdict(before, after)


def test_other_weights_and_folders_are_refused(
    people: Path, quick: Path, here: Path, run: Run, capsys: Capture
) -> None:
    save_generator(here / "wide.safetensors", patn_tiny(ngf=4, n_blocks=2), {"size": [64, 64]})
    assert run("finetune", people, "--weights", "wide.safetensors", "--out", "a") == 2
    assert "draws 64x64" in capsys.readouterr().err
    assert run("finetune", people, "--weights", "entry:copy", "--out", "b") == 2
    assert "needs PATN weights" in capsys.readouterr().err
    assert run("finetune", people, "--resume") == 2
    assert "--resume needs --out" in capsys.readouterr().err
