"""What a stranger types first, for real: the two commands with no other argument, in an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from augment.generators.weights import available_weights, read_weights


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An empty folder, and the output of the two bare commands run in it."""
    import os

    here = tmp_path_factory.mktemp("first")
    environment = {**os.environ, "PATN_AUGMENT_CACHE": str(here / "cache")}
    said = {}
    for command in ("generate --ratio 0.5", "reid-eval --backbone resnet50"):
        line = [sys.executable, "-m", "augment", *command.split()]
        done = subprocess.run(line, cwd=here, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said[command.split()[0]] = done.stdout
    return here, said


def test_generate_says_what_it_used_and_where_it_wrote(session: tuple[Path, dict[str, str]]) -> None:
    here, said = session
    assert "embedded synthetic data set" in said["generate"]
    assert "Weights: patn-synth (trained on synthetic pedestrians" in said["generate"]
    assert "Engine: " in said["generate"]
    assert "Wrote runs/augmented-0001: 192 real and 192 generated training images" in said["generate"]
    assert len(list((here / "runs/augmented-0001/bounding_box_train").glob("*_gen*.jpg"))) == 192


def test_reid_eval_prints_both_and_the_gain(session: tuple[Path, dict[str, str]]) -> None:
    here, said = session
    assert "Preset quick" in said["reid-eval"]
    for word in ("original", "augmented", "gain", "rank-1", "rank-5", "rank-10", "mAP", "scratch"):
        assert word in said["reid-eval"]
    result = json.loads((here / "runs/reid-eval-0001/result.json").read_text())
    original, augmented = result["original"][0], result["augmented"][0]
    assert (original["n_train"], original["n_generated"]) == (384, 0)
    assert (augmented["n_train"], augmented["n_generated"]) == (384, 192)
    chance = 1 / 16  # sixteen test identities
    assert original["rank1"] > 2 * chance
    assert augmented["rank1"] > 2 * chance


def test_the_weights_that_ship_are_small_and_described() -> None:
    assert "patn-synth-tiny" in available_weights()
    import augment

    folder = Path(augment.__file__).parent / "weights"
    for name in available_weights():
        assert (folder / f"{name}.safetensors").stat().st_size <= 85e6
        card = (folder / f"{name}.md").read_text()
        assert re.search(r"patn-augment train --recipe \w+", card)
        info = read_weights(name).metadata["info"]
        assert info["data"]
        assert info["perceptual"] in card or info["perceptual"] == "off"
    assert (folder / "patn-synth-tiny.safetensors").stat().st_size <= 8e6


def test_the_shipped_weights_keep_the_promise_of_their_card() -> None:
    """L1 inside the person at most 60% of what copying the photo gives, on people nobody trained on."""
    from augment.generators.patn.patn_transfer import PATNTransfer
    from augment.quality.errors import measure, unseen_pairs

    result = measure(PATNTransfer.open("patn-synth-tiny"), unseen_pairs(identities=40, images_per_id=3), 96)
    assert result.share < 0.60
