"""Fixtures: weights that are quick, a place of one's own, a reader of suggestions."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typed import run as typed_run

from augment.generators.patn.builders import patn_tiny
from augment.generators.patn.load import save_generator
from augment.synth.dataset import SynthSettings, write_dataset

Suggestions = Callable[[str], list[list[str]]]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of the right kind with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small-tiny.safetensors"
    network = patn_tiny(ngf=4, n_blocks=2, dropout=0.0)
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # with the statistics of its start a random network draws one grey
    with torch.no_grad():
        network(torch.rand(4, 3, 128, 64), torch.rand(4, 18, 128, 64), torch.rand(4, 18, 128, 64))
    save_generator(path, network, {"data": "nothing", "size": [128, 64]})
    return path


@pytest.fixture
def quick(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that ships is small, Lite0 is not at hand, and torch in float32 is known to be the fastest here."""
    for module in ("doctor", "preview", "finetune"):
        monkeypatch.setattr(f"augment.start.{module}.available_weights", lambda: [str(small)])
    monkeypatch.setattr("augment.start.doctor.pick_weights", lambda *_, **named: str(small))
    monkeypatch.setattr("augment.start.finetune._has_lite0", lambda: False)
    rates = {"torch float32": 1.0, "torch bf16": 1.0}
    monkeypatch.setattr("augment.generators.patn.speed.rates", lambda: rates)
    return small


@pytest.fixture(scope="session")
def drawn_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people, whom the shipped estimator knows: 4 to train on, 2 to test, 6 images each."""
    root = tmp_path_factory.mktemp("drawn") / "photos"
    return write_dataset(root, SynthSettings(train_ids=4, test_ids=2, images_per_id=6, cameras=2))


@pytest.fixture
def photos(drawn_root: Path, here: Path) -> Path:
    """The same without keypoints, as `photos` in the working directory, and nothing that says that they are drawn."""
    shutil.copytree(drawn_root, here / "photos")
    for path in (*(here / "photos").glob("market-annotation-*.csv"), here / "photos" / "synth.json"):
        path.unlink()
    return Path("photos")


@pytest.fixture
def people(drawn_root: Path, here: Path) -> Path:
    """The same with keypoints."""
    shutil.copytree(drawn_root, here / "people")
    return Path("people")


@pytest.fixture(scope="session")
def suggestions() -> Suggestions:
    """The commands that a text tells to run: from `patn-augment` to two blanks, a closing bracket or the line's end."""

    def found(text: str) -> list[list[str]]:
        lines = [line for line in text.splitlines() if re.match(r"Next:|Else:|If not|The time was up", line)]
        commands = re.findall(r"patn-augment .*?(?=   |\)|$)", "\n".join(lines), re.MULTILINE)
        return [shlex.split(command)[1:] for command in commands]

    return found


@pytest.fixture
def run() -> Callable[..., int]:
    """Exit code of a command."""
    return typed_run
