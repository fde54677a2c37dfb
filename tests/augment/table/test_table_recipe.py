"""Table recipes: those that ship, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_tables import TinyTable

from augment.table.table_recipe import Generated, Patn, TableRecipe, load_table
from reid_eval.runtime import InputError

FOLDER = Path(__file__).resolve().parents[3] / "recipes"
RECIPES = sorted([*FOLDER.rglob("table_*.yaml"), *FOLDER.glob("search_*.yaml")])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    recipe = load_table(str(path))
    assert recipe.rows[0].kind == "leave_out"
    if not recipe.test:  # then it is about training
        assert {row.kind for row in recipe.rows} >= {"leave_out", "duplicate", "patn"}
        assert {1.0, "double"} < set(recipe.columns)
    head = path.read_text().split("title:")[0]
    for word in ("# Purpose:", "# Needs:", f"# Run:     patn-augment table {path.stem}", "# Override:"):
        assert word in head
    assert load_table(path.stem) == recipe


def test_recipe_errors(table: TinyTable, tiny_root: Path) -> None:
    def load(*overrides: str, **changes: Any) -> TableRecipe:
        table.write(tiny_root, **changes)
        return table.load(*overrides)

    with pytest.raises(InputError, match=r"colour: unknown key; did you mean columns\? known: backbones"):
        load(colour=1)
    for kind, known in (
        ("folder", "did you mean columns\\? known: columns, folder, kind, name"),
        ("patn", "known: exclude_same_image, filter, gate, kind"),
        ("generator", "known: exclude_same_image, filter, gate, kind"),
    ):
        with pytest.raises(InputError, match=rf"rows\.0\.{kind}\.colour: unknown key; {known}"):
            load(rows=[{"kind": kind, "name": "x", "folder": "x", "weights": "x", "colour": 1}])
    with pytest.raises(InputError, match=r"data\.folder\.colour: unknown key; known: keypoints, layout"):
        load(data={"source": "folder", "root": "x", "colour": 1})
    with pytest.raises(InputError, match=r"columns\.0\.\S+: Input should be less than or equal to 1"):
        load(columns=[1.5])
    many = {"columns": [n / 1000 for n in range(1, 201)], "seeds": list(range(10))}
    rows = len(load(**many, plan_seeds=[0]).rows)
    with pytest.raises(InputError, match=rf"the table has {2000 * rows} plans .*, at most 2000 are drawn"):
        load(**many, plan_seeds=list(range(10)))
    with pytest.raises(InputError, match="rows are named twice"):
        load(rows=[{"kind": "leave_out"}, {"kind": "duplicate", "name": "none"}])
    with pytest.raises(InputError, match=r"unknown epoch \(did you mean epochs\?\); the known ones are backbone, init"):
        load("train.epoch=3")
    with pytest.raises(InputError, match="train: seed cannot be set here"):
        load("train.seed=3")
    with pytest.raises(InputError, match="train_for names backbones that the table lacks: resnet50"):
        load(train_for={"resnet50": {"init": "scratch"}})
    with pytest.raises(InputError, match="no table recipe 'tabel': give a file, or one of search_market1501, table_"):
        load_table("tabel")
    named = load().with_weights(["a.safetensors", "b.safetensors"])
    assert [row.name for row in named.rows] == ["none", "duplicate", "patn a", "patn b"]
    remedies = load_table("table_remedies", weights=["a.safetensors"]).rows
    assert [row.name for row in remedies] == [row.name for row in load_table("table_remedies").rows]
    assert {row.weights for row in remedies if isinstance(row, Patn)} == {"a.safetensors"}
    assert load("train.lr=1e-4").settings("resnet50", 0).lr == 1e-4


def test_generators_that_the_caller_names(table: TinyTable, tiny_root: Path) -> None:
    control = {"kind": "generator", "name": "copy", "weights": "entry:copy"}
    table.write(tiny_root, rows=[{"kind": "leave_out"}, control, {"kind": "patn", "weights": "patn-synth-tiny"}])
    files = ("runs/a/generator.safetensors", "runs/b/generator.safetensors")
    rows = {row.name: row for row in table.load(weights=files).rows}
    # Every training writes a file of that name: their paths tell the rows apart, and the control stays what it is.
    assert list(rows) == ["none", "copy", *(f"patn {file}" for file in files)]
    asked = {name: row.asked_for for name, row in rows.items() if isinstance(row, Generated)}
    assert asked == {"copy": False, **{f"patn {file}": True for file in files}}
    [warp] = [row for row in table.load(weights=("entry:warp",)).rows if isinstance(row, Patn)]
    assert (warp.name, warp.weights, warp.asked_for) == ("patn", "entry:warp", True)
    with pytest.raises(InputError, match=r"two rows would be called the same: none, copy, patn a\.\w+, patn a\.\w+$"):
        table.load(weights=("a.safetensors", "a.safetensors"))
