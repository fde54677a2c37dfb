"""Re-ID recipes: those that ship are the presets and say where their numbers are from; bad ones say what is wrong."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from reid_eval.recipe import load_settings as load_any
from reid_eval.recipe import parse_overrides
from reid_eval.runtime import InputError
from reid_eval.settings import LATER, PRESETS, TrainSettings, preset_name, settings_from

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(SHIPPED.rglob("reid_*.yaml"))
load_settings = partial(load_any, shipped=SHIPPED)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_its_preset_and_names_a_source_for_every_line(path: Path) -> None:
    settings = load_settings(str(path))
    name = path.stem.removeprefix("reid_")
    assert settings == PRESETS[name] == load_settings(path.stem) == load_settings(name)
    head, body = path.read_text().split("preset:")
    for word in (
        "# Purpose:",
        "# Needs:",
        f"# Run:     patn-augment reid-eval Market-1501 --recipe {path.stem}",
        "# Override:",
    ):
        assert word in head
    for line in body.splitlines()[1:]:
        assert re.search(r"#.*(\[\w+\]|paper|20\d\d)", line), line
    # Whatever makes the preset differ from the defaults is written out.
    written = set(yaml.safe_load(path.read_text()))
    plain = TrainSettings().to_dict()
    assert {key for key, value in settings.to_dict().items() if value != plain[key]} <= written


def test_there_are_two() -> None:
    assert [path.stem for path in RECIPES] == ["reid_bot", "reid_ide"]


def test_overrides() -> None:
    changed = load_settings("bot", ("lr=1e-4", "losses=[id]", "size=[64, 32]", "generated_label=lsro", "rerank=true"))
    assert (changed.lr, changed.losses, changed.size, changed.rerank) == (1e-4, ("id",), (64, 32), True)
    assert preset_name(changed) == "custom"
    assert parse_overrides(["init=1e5", "epochs=3"]) == {"init": "1e5", "epochs": 3}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("lrr=1",), r"training settings: unknown lrr \(did you mean lr\?\); the known ones are backbone, init"),
        (("losses=[id, circle]",), r"losses\[1\] is 'circle', should be 'id' or 'triplet'$"),
        (("losses=[]",), r"losses is \[\], should hold at least 1 item$"),
        (("losses=[1]",), r"losses\[0\] is 1, should be 'id' or 'triplet'$"),
        (("generated_label=soft",), "generated_label is 'soft', should be 'hard', 'lsr' or 'lsro'"),
        (("sampler=random",), "sampler is 'random', should be 'shuffle' or 'pk'"),
        (("neck=bn",), "neck is 'bn', should be 'none' or 'bnneck'"),
        (("generated_share=2",), "generated_share is 2, should be at most 1"),
        (("batch_size=30",), "batch_size 30 is no multiple of images_per_id 4"),
        (("preset=slow",), "preset 'slow': choose from quick, ide, bot"),
        (("seed=1",), "seed cannot be set here"),
        (("lr=.nan",), "lr=.nan.*is not finite"),
        (("weight_decay=.inf",), "weight_decay=.inf.*is not finite"),
        (("lr=-1", "epochs=0", "flip=3"), "epochs is 0.*lr is -1.*flip is 3"),
        (("lr",), "write KEY=VALUE, the value in YAML"),
        (("lr={",), "the value is not YAML"),
    ],
)
def test_bad_overrides(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings("bot", overrides)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no re-ID recipe 'bag': give a file, or one of reid_bot, reid_ide"):
        load_settings("bag")
    (tmp_path / "a.yaml").write_text("- 1")
    with pytest.raises(InputError, match="a re-ID recipe is a mapping"):
        load_settings(str(tmp_path / "a.yaml"))
    (tmp_path / "a.yaml").write_text("lr: [")
    with pytest.raises(InputError, match="not YAML"):
        load_settings(str(tmp_path / "a.yaml"))


def test_later_settings_change_no_old_hash() -> None:
    """A record is named by the hash of these facts; those of the first records must stay what they were."""
    first = {
        "backbone", "init", "last_stride", "size", "epochs", "max_steps", "batch_size", "optimizer", "lr",
        "trunk_lr_factor", "weight_decay", "schedule", "lr_steps", "lr_gamma", "warmup_epochs", "flip", "pad",
        "erasing", "label_smoothing", "bn_batches", "seed", "amp", "eval_flip", "eval_batch_size", "distance",
    }  # fmt: skip
    for preset in ("quick", "ide"):
        assert set(PRESETS[preset].without_generated().facts()) == first
    assert first | set(LATER) | {"device"} == set(TrainSettings().to_dict())
    told = settings_from("quick", {"generated_label": "lsr"})
    assert set(told.facts()) == first | {"generated_label", "bn_statistics"}
    assert set(settings_from("quick", {"bn_statistics": "all"}).facts()) == first  # as it was measured at first
    assert told.without_generated() == PRESETS["quick"].without_generated()
