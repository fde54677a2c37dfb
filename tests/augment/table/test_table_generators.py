"""Rows by other generators: the controls that ship, and other people's code."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from small_tables import TinyTable
from toy import Toy

from augment.folder.manifest import read_manifest
from augment.generators.open import CONTROLS, generator_sha256, open_generator
from augment.plan.file import read_plan
from augment.table.study import Cell, Study, open_study
from augment.table.table_grid import table_grid
from reid_eval.runtime import InputError


def by_row(study: Study) -> dict[str, Cell]:
    return {place.row: cell for place, cell in study.places.items()}


def test_copy_and_warp_are_rows(table: TinyTable, tiny_root: Path) -> None:
    rows = [{"kind": "leave_out"}]
    rows += [{"kind": "generator", "name": name, "weights": f"entry:{name}"} for name in ("copy", "warp")]
    table.write(tiny_root, rows=rows, columns=[0.5], seeds=[0])
    study = table.run()
    cells = by_row(study)
    assert len({cell.key for cell in cells.values()}) == 3
    text = (table.out / "table.md").read_text()
    assert "| copy (leakage-free) | " in text
    for name in ("copy", "warp"):
        generator = open_generator(f"entry:{name}", "cpu")
        assert cells[name].facts["others"]["weights"] == generator_sha256(generator)
        assert study.records.read(cells[name].key).scores.n_generated > 0
        folder = study.training(cells[name]).folder
        assert folder is not None
        job = read_manifest(folder).job
        assert (job.weights, job.weights_sha256, job.sigma) == (f"entry:{name}", generator_sha256(generator), None)
        if name == "copy":  # each generated image is its condition photo
            made = read_plan(folder / "augmentation/plan.csv").query("action == 'generate'").iloc[0]
            both = (
                np.array(Image.open(path), int) for path in (folder / made["output"], tiny_root / made["condition"])
            )
            assert np.abs(np.subtract(*both)).mean() < 4


def test_a_generators_hash_is_in_the_keys(table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"kind": "leave_out"}, {"kind": "generator", "name": "toy", "weights": "entry:toy"}]
    table.write(tiny_root, rows=rows, columns=[0.5], seeds=[0])
    cells, studies = [], []
    for version in (1, 2):
        monkeypatch.setitem(CONTROLS, "toy", lambda device, version=version: Toy(version=version))
        studies.append(open_study(table.load(), table.out, "cpu"))
        cells.append(by_row(studies[-1]))
    assert cells[0]["none"].key == cells[1]["none"].key
    assert cells[0]["toy"].key != cells[1]["toy"].key
    assert table_grid(studies[0]).label("toy") == "toy (unknown)"  # it says nothing of its training
    # One that changes while a table is at work would fill the folder of the other.
    from augment.table.cell_folders import CellFolders

    with pytest.raises(InputError, match="generator entry:toy changed while the table was at work"):
        CellFolders(studies[0]).ensure(cells[0]["toy"])


def test_code_is_imported_for_the_caller_alone(
    table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    module = ModuleType("somebodys")
    module.make = lambda device: Toy()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys", module)
    table.write(tiny_root, columns=[0.5], seeds=[0])
    study = open_study(table.load(weights=("somebodys:make",)), table.out, "cpu")
    assert len(study.cells) == 3
    rows = [{"kind": "leave_out"}, {"kind": "generator", "name": "theirs", "weights": "somebodys:make"}]
    table.write(tiny_root, rows=rows, columns=[0.5], seeds=[0])
    with pytest.raises(InputError, match="generator somebodys:make is code"):
        _ = open_study(table.load(), table.out, "cpu").cells
