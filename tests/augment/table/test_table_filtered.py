"""Rows that train on some of their generated images only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_tables import TinyTable
from toy import Toy

from augment.generators.open import CONTROLS
from augment.table.table_recipe import Patn
from reid_eval.runtime import InputError

FILTER = {"keep": 0.5, "steps": 3}
ROWS: list[dict[str, Any]] = [
    {"kind": "leave_out", "name": "none"},
    {"kind": "patn", "weights": "entry:toy"},
    {"kind": "patn", "name": "chosen", "weights": "entry:toy", "filter": FILTER},
]


def test_a_filter_leaves_some_of_the_same_images(
    table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())
    monkeypatch.setattr("augment.gate.kept_network.BACKBONE", "tiny")
    table.write(tiny_root, rows=ROWS, columns=["double"], seeds=[0])
    study = table.run()
    cells = {cell.place.row: cell for cell in study.cells}
    whole, some = (study.training(cells[name]) for name in ("patn", "chosen"))
    assert whole.folder == some.folder
    assert cells["patn"].key != cells["chosen"].key
    assert some.real == whole.real
    assert set(some.others) < set(whole.others)
    pid_of = dict(zip(whole.others, whole.pids[len(whole.real) :], strict=True))
    assert [pid_of[name] for name in some.others] == list(some.pids[len(some.real) :])
    for pid in set(pid_of.values()):
        total = sum(one == pid for one in pid_of.values())
        assert sum(pid_of[name] == pid for name in some.others) <= round(total / 2)
    scores = study.records.read(cells["chosen"].key).scores
    assert (scores.n_generated, scores.n_train) == (len(some.others), len(some.pids))

    # Chosen once, and the same when it is chosen again; a damaged choice is refused.
    row = study.row("chosen")
    assert isinstance(row, Patn)
    path = study.sets.choice(row, cells["chosen"].column, 0)
    before = path.read_bytes()
    assert json.loads(before)["of"] == len(whole.others)
    path.unlink()
    study.records.path(cells["chosen"].key).unlink()
    table.run()
    assert path.read_bytes() == before
    path.write_text('{"images": 3}')
    study.records.path(cells["chosen"].key).unlink()
    with pytest.raises(InputError, match=r"not the expected fields.: delete it, and the images are chosen again"):
        table.run()


def test_how_much_is_kept_is_part_of_the_key(
    table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())
    keys = set()
    for keep in (0.25, 0.5):
        rows = [ROWS[0], {**ROWS[2], "filter": {**FILTER, "keep": keep}}]
        table.write(tiny_root, rows=rows, columns=[0.5], seeds=[0])
        from augment.table.study import open_study

        keys |= {cell.key for cell in open_study(table.load(), table.out, "cpu").cells}
    assert len(keys) == 3  # that of `none` is one
    table.write(tiny_root, rows=[ROWS[0], {**ROWS[2], "filter": {"keep": 2}}])
    with pytest.raises(InputError, match=r"filter\.keep"):
        table.load()
