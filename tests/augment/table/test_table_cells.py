"""Cells and keys: what is one training, what is another, and what a row trains on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_tables import TinyTable, tiny_trunk

import augment.table.study
from augment.table.study import Study
from reid_eval.backbones import BACKBONES
from reid_eval.runtime import InputError
from reid_eval.table.cells import Record, cell_key
from reid_eval.table.old_records import convert_old


def test_cells_that_train_on_the_same_images_are_one(study: Study) -> None:
    places, cells = study.places, study.cells
    assert len(places) == 3 * 3 * 2
    # p = 1.0 is one training whatever the row, and so is doubling by nothing: 6 a seed remain.
    assert len(cells) == 2 * 6
    keys = {(place.row, place.column): cell.key for place, cell in places.items() if place.seed == 0}
    whole = keys["none", "1.0"]
    assert {keys[row, "1.0"] for row in ("none", "duplicate", "patn")} == {keys["none", "1.0 doubled"]} == {whole}
    assert Counter(keys.values())[whole] == 4
    assert len({cell.key for cell in places.values()}) == len(cells)
    again = replace(study, out=study.out / "elsewhere")
    assert [cell.key for cell in again.cells] == [cell.key for cell in cells]


def test_keys_hang_on_all_that_matters(study: Study) -> None:
    keys = {cell.key for cell in study.cells}
    recipe = study.recipe
    for changed in (
        recipe.model_copy(update={"train": {**recipe.train, "lr": 1e-3}}),
        recipe.model_copy(update={"train": {**recipe.train, "max_steps": 3}}),
        recipe.model_copy(update={"seeds": (7, 8)}),
        recipe.model_copy(update={"backbones": ("resnet50",)}),
    ):
        assert not keys & {cell.key for cell in replace(study, recipe=changed).cells}
    other = replace(study, data=replace(study.data, sha256="0" * 64))
    assert not keys & {cell.key for cell in other.cells}
    more = recipe.model_copy(update={"plan_seeds": (0, 5)})
    shared = keys & {cell.key for cell in replace(study, recipe=more).cells}
    assert len(shared) == 6 + 1  # seed 0, and the whole set of seed 1, which no plan bears on


def test_rows_of_a_column_differ_in_one_thing(study: Study) -> None:
    column = study.columns[0]
    none, twice, patn = (study.sets.asked(row, column, 0) for row in study.recipe.rows)
    dropped = len(study.reid.train) - len(none.real)
    assert dropped > 0
    assert twice.real[: len(none.real)] == patn.real == none.real
    assert set(twice.real[len(none.real) :]) <= set(none.real)
    assert len(twice.pids) == len(patn.pids) == len(study.reid.train)
    assert Counter(twice.pids) == Counter(patn.pids) == Counter(study.reid.train["pid"])
    assert (none.generated, twice.generated, patn.generated) == (0, 0, dropped)
    doubled = study.sets.asked(study.recipe.rows[1], study.columns[2], 0)
    assert Counter(doubled.pids) == {pid: 2 * count for pid, count in Counter(study.reid.train["pid"]).items()}


def test_keys_do_not_hang_on_the_order_of_a_recipe(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "small", tiny_trunk)
    changes = {"backbones": ("tiny", "small"), "train_for": {"small": {"max_steps": 3}}}
    recipe = study.recipe.model_copy(update=changes)
    keys = {place: cell.key for place, cell in replace(study, recipe=recipe).places.items()}
    for part in ("backbones", "rows", "columns", "seeds", "plan_seeds"):
        turned = recipe.model_copy(update={part: tuple(reversed(getattr(recipe, part)))})
        assert {place: cell.key for place, cell in replace(study, recipe=turned).places.items()} == keys, part
    for part in ("backbones", "rows", "columns", "seeds"):  # nor on what else is in the table
        fewer = recipe.model_copy(update={part: getattr(recipe, part)[1:]})
        assert {place: cell.key for place, cell in replace(study, recipe=fewer).places.items()}.items() <= keys.items()


def test_every_network_has_its_own_budget(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "small", tiny_trunk)
    train = {**study.recipe.train, "max_steps": 0, "epochs": 1}
    update = {"backbones": ("tiny", "small"), "train": train, "train_for": {"small": {"epochs": 3}}}
    both = replace(study, recipe=study.recipe.model_copy(update=update))
    batches = -(-len(study.reid.train) // 4)
    steps = {(place.backbone, cell.steps, cell.facts["steps"]) for place, cell in both.places.items()}
    assert steps == {("tiny", batches, batches), ("small", 3 * batches, 3 * batches)}


def test_keys_hold_the_precision_that_auto_comes_to(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(comes_to: str, **train: Any) -> set[str]:
        monkeypatch.setattr(augment.table.study, "resolve_amp", lambda amp, *_: comes_to if amp == "auto" else amp)
        recipe = study.recipe.model_copy(update={"train": {**study.recipe.train, **train}})
        cells = replace(study, recipe=recipe).cells
        told = {(cell.settings.amp, cell.facts["settings"]["amp"]) for cell in cells}
        assert told <= {("off", "off"), ("bf16", "bf16")}
        return {cell.key for cell in cells}

    assert not keys("bf16") & keys("off")
    assert keys("bf16", amp="off") == keys("off")
    assert keys("off", amp="bf16") == keys("bf16")


def old_record(record: Record) -> Record:
    """As it was written before keys held the precision."""
    facts = {**record.facts, "settings": {**record.facts["settings"], "amp": "auto"}}
    return record.model_copy(update={"facts": facts, "key": cell_key(facts)})


def test_old_records_are_converted(table: TinyTable, tiny_root: Path) -> None:
    table.write(tiny_root, rows=[{"kind": "leave_out"}], columns=[0.5], seeds=[0])
    study = table.run()
    [cell] = study.cells
    records, new = study.records, study.records.read(cell.key)
    table_before = (table.out / "table.md").read_bytes()
    old = old_record(new)
    records.path(cell.key).unlink()
    records.write(old)
    said: list[str] = []
    table.run(say=said.append)
    assert said[0] == "1 records of an older version were given the keys of this one."
    assert "1 trainings fill 1 cells; 1 are there." in said[1]
    assert list(records) == [cell.key]
    assert records.read(cell.key) == new
    assert (table.out / "table.md").read_bytes() == table_before
    assert convert_old(records) == 0
    # One that does not say what `auto` came to is refused, and so is one that was edited.
    nameless = old.model_copy(update={"made": {key: value for key, value in old.made.items() if key != "amp"}})
    records.write(nameless)
    with pytest.raises(InputError, match="does not say in what precision it was made: delete it"):
        convert_old(records)
    records.path(old.key).write_text(old.model_dump_json().replace('"steps":2', '"steps":3'))
    with pytest.raises(InputError, match="was edited or renamed: delete it"):
        convert_old(records)


def test_records_of_another_precision_are_told_of(
    table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write(tiny_root, rows=[{"kind": "leave_out"}], columns=[0.5], seeds=[0])
    done = table.run("train.amp=off")
    monkeypatch.setattr(augment.table.study, "resolve_amp", lambda amp, *_: "bf16" if amp == "auto" else amp)
    said: list[str] = []
    table.run(say=said.append, dry_run=True)
    assert said[0].endswith("0 are there.")
    assert said[1] == "1 of the missing ones are there in float32: with train.amp=off in the recipe they count."
    assert len(list(done.records)) == 1
