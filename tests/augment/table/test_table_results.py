"""The tables that ship are printed from the records that ship."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from augment.generators.weights import WeightsFile, read_weights
from augment.synth.dataset import facts, plan_shots
from augment.table.study import Study
from augment.table.table_data import TableData
from augment.table.table_grid import search_grids, table_grid
from augment.table.table_recipe import Generated, SynthData, load_table
from reid_eval.datasets import ReidData
from reid_eval.datasets.tables import make_table
from reid_eval.table import Records, cell_key, write_report

# The weights that shipped when the tables were made, now in the history; sharper ones have taken their names since.
THEN = {
    "patn-synth": "edd0254ce4c68f749c104fa7f14e01c36ade13fc34957757c3ca30a1566cc315",
    "patn-synth-tiny": "827a67109109f7f8f5f44f6f4b31f3c837683e053cfa1470b5c08b6fe623016f",
}
# ImageNet's weights under timm's names, as the recipe of table_worth makes them.
LITE0 = "641a988bb298218421fbb803aa7e0368488e9b100f087f67296d3df14a3be604"
RESULTS = Path(__file__).resolve().parents[3] / "docs" / "results" / "table_small"


def undrawn(source: SynthData) -> TableData:
    """The synthetic data set's tables without its pictures: records and plans are there, so nobody looks at them."""
    settings = source.settings()
    rows: dict[str, list[tuple[Any, ...]]] = {"bounding_box_train": [], "query": [], "bounding_box_test": []}
    for shot in plan_shots(settings):
        path = f"{shot.split}/{shot.name}"
        rows[shot.split].append((path, shot.pid, shot.camid, shot.seq + 1, shot.frame, "real"))
    data = ReidData(Path("undrawn"), "market1501", *(make_table(table) for table in rows.values()))
    return TableData(data, cell_key({"synth": facts(settings)}), None, settings)


@pytest.fixture(autouse=True)
def _weights_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> WeightsFile:
        file = read_weights(name)
        return file._replace(sha256=THEN.get(name, file.sha256))

    monkeypatch.setattr("augment.table.row_generators.read_weights", read)


@pytest.mark.parametrize(("recipe", "printed"), [("table_small", "table"), ("table_small_remedies", "remedies")])
def test_the_small_table_is_what_its_records_say(
    recipe: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(RESULTS / "records.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    records = Records(tmp_path / "records")
    gates = [others["gate"] for key in records if "gate" in (others := records.read(key).facts["others"] or {})]

    def gate_facts(row: Generated, seed: int) -> dict[str, Any]:
        """As they were: a later gate computes its row anew."""
        return next(gate for gate in gates if (gate["pose_source"], gate["seed"]) == (row.pose_source, seed))

    monkeypatch.setattr("augment.table.training_sets.gate_facts", gate_facts)
    for name in ("write_plot", "write_gains"):
        monkeypatch.setattr(f"reid_eval.table.plot.{name}", lambda *_: False)
    table = load_table(recipe, ("train.amp=bf16", "train.bn_statistics=all"))
    assert isinstance(table.data, SynthData)
    study = Study(table, tmp_path, undrawn(table.data), "cpu")
    found = records.found([cell.key for cell in study.cells])
    assert len(found) == len(study.cells)
    for path in write_report(table_grid(study), found, tmp_path / "printed"):
        shipped = RESULTS / path.name.replace("table", printed)
        if printed == "table" or shipped.is_file():
            assert path.read_bytes() == shipped.read_bytes(), path.name


def test_the_search_table_is_what_its_records_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RESULTS.with_name("table_search")
    with tarfile.open(folder / "records.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for name in ("write_plot", "write_gains"):
        monkeypatch.setattr(f"reid_eval.table.plot.{name}", lambda *_: False)
    recipe = load_table(str(folder / "recipe.yaml"), ("train.amp=bf16",))
    assert isinstance(recipe.data, SynthData)
    study = Study(recipe, tmp_path, undrawn(recipe.data), "cpu")
    for name, grid in search_grids(study).items():
        found = study.records.found(list(grid.keys.values()))
        assert len(found) >= 500
        for path in write_report(grid, found, tmp_path / "printed", name):
            if (folder / path.name).is_file():
                assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert (tmp_path / "printed" / "search.md").is_file()


def test_the_worth_of_generated_poses_is_what_its_records_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RESULTS.with_name("table_worth")
    with tarfile.open(folder / "records.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")

    def read(name: str) -> WeightsFile:
        before = name == "tiny-before.safetensors"
        file = read_weights("patn-synth-tiny" if before else name)
        return file._replace(sha256=THEN["patn-synth-tiny"]) if before else file

    monkeypatch.setattr("augment.table.row_generators.read_weights", read)
    monkeypatch.setattr("augment.table.study.sha256_file", {"lite0.safetensors": LITE0}.__getitem__)
    for name in ("write_plot", "write_gains"):
        monkeypatch.setattr(f"reid_eval.table.plot.{name}", lambda *_: False)
    table = load_table(str(folder / "recipe.yaml"))
    assert isinstance(table.data, SynthData)
    study = Study(table, tmp_path, undrawn(table.data), "cpu")
    found = study.records.found([cell.key for cell in study.cells])
    assert len(found) >= 160
    for path in write_report(table_grid(study), found, tmp_path / "printed"):
        if (folder / path.name).is_file():
            assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert (tmp_path / "printed" / "table.md").is_file()
