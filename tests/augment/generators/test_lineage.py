"""What weights say of the trainings behind them: images, starts, licences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from drawn import draw_dataset

from augment.commands.main import cli
from augment.generators.lineage import licence_of, lineage, list_file, listed_images, write_list
from augment.generators.patn.builders import build_generator
from augment.generators.patn.load import save_generator
from augment.generators.weights import available_weights, names_digest, read_weights
from augment.pairs.photos import folder_pairs
from reid_eval.runtime import InputError

TRAIN = (
    "train: {generator: patn_tiny, overrides: {ngf: 4, n_blocks: 1}, ndf: 4, d_blocks: 1, batch_size: 2,\n"
    '  constant_steps: 1, decay_steps: 0, epoch_steps: 1, lambda_gan: 0, perceptual: "off"}\n'
)
SYNTH = "data: {source: synth, identities: 2, images_per_id: 2, cameras: 2, size: [32, 16]}\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("lineage") / "People-9", {1: 4, 2: 4}, {3: 4})


def train(folder: Path, name: str, data: str, *more: str) -> tuple[Path, dict[str, Any]]:
    """Train one step; the weights, and what they say."""
    (folder / f"{name}.yaml").write_text(data + TRAIN)
    command = ["train", "--recipe", str(folder / f"{name}.yaml"), "--out", str(folder / name), "--device", "cpu", *more]
    ended = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    weights = folder / name / "generator.safetensors"
    return weights, read_weights(weights).info


def photos(root: Path, split: str = "train") -> str:
    return f"data: {{source: folder, root: {root}, split: {split}, size: [32, 16]}}\n"


def test_a_chain_of_three_trainings(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs, then other photographs, then drawn people: the last still tells of the first."""
    first, told = train(tmp_path, "first", photos(people))
    assert (told["init"], told["licence"]) == (None, "unspecified; trained on People-9")
    seen = listed_images(first)
    assert told["training_images"] == {"sha256": names_digest(seen), "count": 8}
    second, told = train(tmp_path, "second", photos(people, "gallery"), "--set", f"train.init_weights={first}")
    assert told["init"] == lineage(first)
    assert told["init"] == {
        "weights": "generator.safetensors",
        "sha256": read_weights(first).sha256,
        "data": "the train split of People-9",
        "training_images": {"sha256": names_digest(seen), "count": 8},
        "licence": "unspecified; trained on People-9",
        "init": None,
    }
    assert told["training_images"]["count"] == 2
    assert set(seen) < set(listed_images(second))
    assert len(listed_images(second)) == 10
    third, told = train(tmp_path, "third", SYNTH, "--set", f"train.init_weights={second}")
    assert "training_images" not in told
    assert told["init"]["init"]["training_images"]["count"] == 8
    assert listed_images(third) == listed_images(second)
    assert told["licence"].startswith("unspecified; started from generator.safetensors (unspecified; trained on")
    few = folder_pairs(people, size=(32, 16))
    monkeypatch.setattr("augment.quality.errors.unseen_pairs", lambda **_: few)
    ended = CliRunner().invoke(cli, ["convert", str(third), "--out", str(tmp_path / "c.safetensors"), "--dtype", "int8",
                                     "--pairs", "1", "--device", "cpu"])  # fmt: skip
    assert ended.exit_code == 0
    assert read_weights(tmp_path / "c.safetensors").info == told
    assert listed_images(tmp_path / "c.safetensors") == listed_images(second)


def test_licences(people: Path, tmp_path: Path) -> None:
    drawn, told = train(tmp_path, "drawn", SYNTH)
    assert (told["licence"], told["init"]) == ("MIT", None)
    assert not list_file(drawn).exists()
    _, told = train(tmp_path, "tuned", photos(people), "--set", f"train.init_weights={drawn}")
    assert told["licence"] == "unspecified; trained on People-9"
    _, told = train(tmp_path, "said", photos(people), "--licence", "CC BY 4.0")
    assert told["licence"] == "CC BY 4.0"
    assert licence_of("MIT", {"weights": "w"}) == "unspecified; started from w (unspecified)"


def test_what_ships_is_known_to_the_start() -> None:
    for name in available_weights():
        facts = lineage(name)
        assert facts["weights"] == name
        while facts["init"] is not None:
            facts = facts["init"]
            assert "endless stream" in facts["data"]
            assert facts["licence"] == "MIT"


def test_what_is_not_told_is_not_known(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_generator("patn_tiny", ngf=4, n_blocks=1)

    def facts(info: dict[str, Any]) -> dict[str, Any]:
        save_generator(tmp_path / "w.safetensors", network, info)
        return lineage(tmp_path / "w.safetensors")

    assert facts({}).keys() == {"weights", "sha256"}
    assert "init" not in facts({"settings": {"sigma": 6.0}})
    assert "init" not in facts({"settings": {"init_weights": "gone.safetensors"}})
    assert facts({"settings": {"init_weights": ""}})["init"] is None


def test_lists_beside_weights(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    write_list(weights, [])
    assert list(tmp_path.iterdir()) == []
    write_list(weights, ["b/1.jpg", "a.jpg", "b/1.jpg"])
    assert (tmp_path / "w.training_images.txt").read_text() == "a.jpg\nb/1.jpg\n"
    assert listed_images(weights) == ["a.jpg", "b/1.jpg"]
    assert listed_images("patn-synth-tiny") == []
    list_file(weights).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"cannot read .*w\.training_images\.txt"):
        listed_images(weights)
