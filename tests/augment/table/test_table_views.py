"""Rows that train on photos together with generated views of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_tables import TinyTable
from toy import Toy

from augment.generators.open import CONTROLS
from augment.search.fusion import Parts, fuse, unit
from augment.search.makers import GeneratedViews
from augment.search.searched_photos import photos_of
from augment.search.views import shipped_views
from augment.table.forecast import forecast
from augment.table.row_views import views_beside
from augment.table.study import Study, open_study
from augment.table.table_grid import table_grid
from augment.table.table_recipe import WithViews
from reid_eval.backbones import load_model
from reid_eval.beside import fused
from reid_eval.datasets import load_images
from reid_eval.runtime import InputError
from reid_eval.training import train_on
from reid_eval.transforms import resized

VIEWS_ROW: dict[str, Any] = {"kind": "views", "weights": "entry:toy", "poses": 2}
TABLE: dict[str, Any] = {
    "rows": [{"kind": "leave_out", "name": "none"}, VIEWS_ROW],
    "columns": [0.5, 1.0],
    "seeds": [0],
    "plan_seeds": [0],
    "test": [{"kind": "views", "name": "two", "weights": "entry:toy", "poses": 2, "calibrate": False}],
}


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())


def test_training_fuses_as_searching_does() -> None:
    draw = np.random.default_rng(0)
    photos, views = unit(draw.normal(size=(6, 8))), unit(draw.normal(size=(6, 3, 8)))
    known = np.arange(6) % 3 > 0
    for weight in (0.0, 1.0, 3.0):
        found = fused(torch.from_numpy(photos), torch.from_numpy(views), torch.from_numpy(known), weight)
        np.testing.assert_allclose(found.numpy(), fuse(Parts(photos, views, known), weight), atol=1e-6)


def opened(table: TinyTable) -> Study:
    return open_study(table.load(), table.out, "cpu")


def test_a_row_trains_on_what_is_kept_with_views_of_it(table: TinyTable, tiny_root: Path) -> None:
    table.write(tiny_root, **TABLE)
    study = table.run()
    for column in ("0.5", "1.0"):
        cells = {place.row: cell for place, cell in study.places.items() if place.column == column}
        none, row = (study.training(cells[name]) for name in ("none", "views"))
        assert (none.real, none.pids, none.others) == (row.real, row.pids, row.others)
        assert cells["none"].key != cells["views"].key
        settings = cells["views"].settings
        assert (settings.views, settings.views_weight, settings.views_photo_weight) == (2, 3.0, 1.0)
        assert cells["none"].settings.views == 0
        asked = study.row("views")
        assert isinstance(asked, WithViews)
        beside = views_beside(study, asked, cells["views"], row.real)
        photos = photos_of(study.reid, study.data.joints(), row.real)
        made, known = GeneratedViews(Toy(), shipped_views(2)).make(photos)
        small = resized(torch.from_numpy(made).flatten(0, 1), (64, 32)).to(torch.uint8).numpy()
        np.testing.assert_array_equal(beside.images.reshape(-1, 3, 64, 32), small)
        np.testing.assert_array_equal(beside.known, known)
        assert not known.all() or column == "0.5"  # two images have no usable joints
        images = load_images(tiny_root, row.real, (64, 32))
        steps, mask = cells["views"].steps, row.mask
        trained = train_on(images, row.labels, replace(settings, device="cpu"), steps, mask, beside=beside).model
        for name, cell in cells.items():
            path = study.network(cell)
            assert path is not None
            kept = load_model(path).state_dict()
            same = [torch.equal(value, kept[key]) for key, value in trained.state_dict().items()]
            assert all(same) == (name == "views")
        assert all(one.key in study.records for one in study.searches(cells["views"]))
    # Of all training photos, and of the test photos and those that calibrate: each made once for both columns.
    assert len([path for path in (table.out / "views").iterdir() if path.is_dir()]) == 3
    grid = table_grid(study)
    assert grid.labels["views"] == "views (unknown)"
    assert any("generator of `views` (entry:toy) is unknown at p = 0.5, 1.0" in note for note in grid.notes)


def test_the_key_hangs_on_all_that_bears_on_the_training(table: TinyTable, tiny_root: Path) -> None:
    keys = []
    for change in ({}, {"poses": 3}, {"pose_weight": 1}, {"photo_weight": 0}, {"precision": "bf16"},
                   {"weights": "entry:warp"}, {"name": "another"}):  # fmt: skip
        table.write(tiny_root, **{**TABLE, "rows": [TABLE["rows"][0], {**VIEWS_ROW, **change}], "columns": [0.5]})
        keys.append(next(cell.key for place, cell in opened(table).places.items() if place.row != "none"))
    assert keys[-1] == keys[0]  # what a row is called bears on nothing
    assert len(set(keys)) == 6


def test_a_forecast_counts_views(table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.table.forecast._trial", lambda study, backbone: 10.0)
    table.write(tiny_root, **{**TABLE, "columns": [0.5]})
    study = opened(table)
    assert forecast(study, study.cells)[0] == 10 + 3 * 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{**VIEWS_ROW, "poses": 0}]}, r"poses"),
        ({"rows": [{**VIEWS_ROW, "pose_weight": -1}]}, r"pose_weight"),
        ({"rows": [{**VIEWS_ROW, "train": {"views": 2}}]}, r"train"),
        ({"train": {"views": 2}}, r"train: views cannot be set here: a row of kind views has them"),
    ],
)
def test_rows_that_cannot_be(table: TinyTable, tiny_root: Path, change: dict[str, Any], message: str) -> None:
    table.write(tiny_root, **{**TABLE, **change})
    with pytest.raises(InputError, match=message):
        table.load()
