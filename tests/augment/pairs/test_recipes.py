"""Every recipe that ships loads; training ones take a step in a tiny form."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from augment.pairs.training_recipe import load_recipe
from reid_eval.runtime import InputError

RECIPES = sorted((Path(__file__).resolve().parents[3] / "recipes").rglob("patn_*.yaml"))


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    load_recipe(str(path)).settings()
    head = path.read_text().split("data:")[0]
    for word in ("# Purpose:", "# Needs:", f"# Run:     patn-augment train --recipe {path.stem}", "# Override:"):
        assert word in head
    assert load_recipe(path.stem) == load_recipe(str(path))


def test_errors_are_collected(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"data": {"source": "synth", "identities": "many", "colour": 1}, "extra": 1}))
    with pytest.raises(InputError) as caught:
        load_recipe(str(path))
    for word in ("identities", "colour", "extra"):
        assert word in str(caught.value)


def test_typos_are_told_with_what_is_known() -> None:
    with pytest.raises(InputError) as caught:
        load_recipe("patn_finetune", ("data.root=somewhere", "data.rot=4", "train.learning=3", "trian=1"))
    text = str(caught.value)
    assert "data.folder.rot: unknown key; did you mean root? known: keypoints, layout, pairs" in text
    assert "trian: unknown key; did you mean train? known: data, train" in text
    assert "unknown keys under train: learning; known: " in text
    assert "root: " not in text  # of the source that is used, and right
    assert "synth" not in text
    with pytest.raises(InputError, match=r"train\.1"):
        load_recipe("patn_finetune", ("train={1: 2}",))


def test_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("data: [")
    with pytest.raises(InputError, match="not YAML"):
        load_recipe(str(tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="a recipe is a mapping"):
        load_recipe(str(tmp_path / "list.yaml"))


def test_numbers_in_overrides() -> None:
    assert load_recipe("patn_synth_tiny", ("train.lr=1e-4",)).settings().lr == 1e-4
