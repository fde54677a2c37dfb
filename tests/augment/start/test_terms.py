"""What `generate` says of other weights and of photographs, and what the manifest keeps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from augment.folder.manifest import MOST_TERMS, read_manifest
from augment.generators.weights import available_weights
from augment.start import rates
from augment.start.rates import Speed, alternatives, duration, measured_speeds

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]
CPU = torch.device("cpu")


def test_terms_stand_in_the_manifest(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    (people / "synth.json").unlink()
    words = ("generate", people, "--ratio", 0.5, "--weights", quick)
    assert run(*words, "--out", "with", "--terms", "CC BY-NC-SA; somebody, 2017") == 0
    said = capsys.readouterr().out
    assert "holds photographs of people, and images made from them: their terms: CC BY-NC-SA; somebody, 2017." in said
    assert "augmentation/plan.csv" in said
    assert read_manifest("with").terms == "CC BY-NC-SA; somebody, 2017"
    assert json.loads(Path("with/augmentation/manifest.json").read_text())["job"]["terms"].startswith("CC")
    assert run("verify", "with") == 0
    capsys.readouterr()
    assert run(*words, "--out", "without") == 0
    assert "no terms were given" in capsys.readouterr().out
    assert read_manifest("without").terms is None
    assert '"terms"' not in Path("without/augmentation/manifest.json").read_text()
    assert run(*words, "--out", "with", "--resume", "--terms", "MIT") == 2
    assert "terms: CC BY-NC-SA; somebody, 2017, now MIT" in capsys.readouterr().err


def test_drawn_people_have_no_terms(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    assert run("generate", people, "--ratio", 0.5, "--weights", quick, "--out", "out") == 0
    assert "photographs" not in capsys.readouterr().out


@pytest.mark.parametrize("terms", ["", " ", "two\nlines", "\x1b[31mred", "x" * (MOST_TERMS + 1)])
def test_terms_that_no_manifest_holds(people: Path, quick: Path, run: Run, capsys: Capture, terms: str) -> None:
    words = ("generate", people, "--ratio", 0.5, "--weights", quick, "--out", "out", "--terms", terms)
    assert run(*words) == 2
    assert "terms are one line" in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_plan_alone_makes_the_same_folder(people: Path, quick: Path, run: Run) -> None:
    """As docs/terms.md says."""
    words = ("generate", people, "--weights", quick)
    assert run(*words, "--ratio", 0.5, "--out", "mine") == 0
    shutil.copy("mine/augmentation/plan.csv", "plan.csv")
    assert run(*words, "--plan", "plan.csv", "--out", "theirs") == 0
    mine, theirs = (sorted(Path(name).rglob("*.jpg")) for name in ("mine", "theirs"))
    assert [p.read_bytes() for p in mine] == [p.read_bytes() for p in theirs]


def test_without_weights_generate_says_what_others_take(people: Path, run: Run, capsys: Capture) -> None:
    if torch.cuda.is_available():
        pytest.skip("on a GPU the default is the large weights")
    assert run("generate", people, "--ratio", 0.1, "--out", "out") == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "Other weights" in line]
    assert "patn-synth-tiny" in line
    words = re.findall(r"--weights ([\w-]+)", line)
    for name in words:
        assert run("generate", people, "--ratio", 0.1, "--out", f"by-{name}", "--weights", name) == 0
        assert "Other weights" not in capsys.readouterr().out


def test_what_the_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"large": 2.0, "unknown": None}

    def measured(names: list[str], *_: object) -> list[Speed]:
        assert "small" not in names, "what is taken is not measured again"
        return [Speed(name, "", known[name] and 2 * known[name]) for name in names]

    monkeypatch.setattr(rates, "measured_speeds", measured)
    line = alternatives(800, "small", CPU, ["large", "small", "unknown"])
    assert line == (
        "Other weights, for these 800 images, measured now: --weights large, 3 min; --weights unknown. "
        "Photographs want weights of their own: patn-augment finetune."
    )
    assert alternatives(800, "small", CPU, ["small"]) == ""
    assert alternatives(0, "small", CPU, ["large"]) == ""


def test_a_short_job_does_not_wait_for_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "measured_speeds", lambda *_: pytest.fail("measured"))
    assert alternatives(499, "small", CPU, ["large", "small"]) == (
        "Other weights: --weights large. Photographs want weights of their own: patn-augment finetune."
    )


def test_speeds_are_of_this_machine(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"torch float32": 1.0, "torch bf16": 1.0}  # what is fast here takes seconds to find out and to compile
    monkeypatch.setattr("augment.generators.patn.speed.rates", lambda: known)
    found = measured_speeds([str(small), "entry:copy", "no-such-weights"], CPU, 60.0)  # it takes what it needs
    assert [one.images_per_second is not None for one in found] == [True, True, False]
    assert "no-such-weights" in found[2].why
    rate = found[0].images_per_second
    assert rate is not None
    assert found[0].seconds(100) == pytest.approx(100 / rate)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.31, "0.31 s"), (42.4, "42 s"), (180, "3 min"), (7200, "2.0 h")]
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_card_says_what_the_weights_are_for() -> None:
    import augment

    folder = Path(augment.__file__).parent / "weights"
    cards = sorted(folder.glob("*.md"))
    assert {card.stem for card in cards} >= set(available_weights())
    for card in cards:
        text = card.read_text()
        assert "## Intended use" in text
        assert (card.parent / re.findall(r"\]\((\S+terms\.md)\)", text)[0]).resolve().is_file()
