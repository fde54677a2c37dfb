"""Tables whose networks are searched with: records, keys, baselines, and networks that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import draw_dataset
from filelock import FileLock
from small_tables import TinyTable
from toy import Toy

from augment.generators.open import CONTROLS, generator_sha256
from augment.search.views import VIEWS
from augment.table.study import open_study
from augment.table.table_grid import PHOTO, search_grids, together_grid
from reid_eval.runtime import InputError

TOY = {"kind": "views", "weights": "entry:toy"}
TESTS: list[dict[str, Any]] = [
    {"kind": "photo", "name": "calibrated"},
    {"kind": "photo", "name": "other cameras", "gallery": "other_cameras", "calibrate": False},
    {"kind": "mirror", "name": "mirror", "pose_weight": 1},
    {"kind": "jitter", "name": "jitter", "copies": 2, "rows": ["none"]},
    {**TOY, "name": "own", "poses": "own"},
    {**TOY, "name": "one", "poses": 1},
    {**TOY, "name": "three", "poses": 3},
    {**TOY, "name": "three, weight 0", "poses": 3, "pose_weight": 0, "calibrate": False},
    {**TOY, "name": "three, re-ranked", "poses": 3, "rerank": True},
    {**TOY, "name": "three, other cameras", "poses": 3, "gallery": "other_cameras"},
]

TABLE: dict[str, Any] = {
    "rows": [{"kind": "leave_out", "name": "none"}, {"kind": "duplicate"}],
    "columns": ["double"],
    "seeds": [0, 1],
}


@pytest.fixture(scope="session")
def more_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_root`, with test images enough to be re-ranked."""
    root = tmp_path_factory.mktemp("more-market")
    unusable = ("0011_c1s1_000001_00.jpg", "0011_c2s1_000002_00.jpg")
    return draw_dataset(root, {2: 9, 7: 6, 11: 4}, {101: 12, 102: 12}, unusable)


@pytest.fixture
def searched(table: TinyTable, more_root: Path, monkeypatch: pytest.MonkeyPatch) -> TinyTable:
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())
    table.write(more_root, **TABLE, test=TESTS, test_baselines=["own"], test_by_query=["three"])
    return table


def test_every_network_is_searched_with_in_every_way(searched: TinyTable, tmp_path: Path) -> None:
    study = searched.run()
    grid = search_grids(study)["search"]
    assert grid.rows == (PHOTO, *(test["name"] for test in TESTS))
    assert grid.columns == ("none", "duplicate")
    assert len(set(grid.keys.values())) == 4 + 4 * len(TESTS) - 2  # jitter is for the row none alone
    records = study.records.found(list(grid.keys.values()))
    assert len(records) == len(set(grid.keys.values()))

    def score(row: str, seed: int = 0) -> float:
        return records[grid.keys["tiny", row, "none", seed]].scores.mAP  # type: ignore[index]

    assert score("three, weight 0") == pytest.approx(score(PHOTO), abs=1e-3)  # nothing is fused in
    assert len({round(score(row), 6) for row in ("own", "one", "three", PHOTO)}) > 2
    cost = records[grid.keys["tiny", "three", "none", 0]].made  # type: ignore[index]
    assert (cost["views"], cost["photos"]) == (3, 24)
    assert cost["views_seconds"] > 0
    text = (searched.out / "search.md").read_text()
    assert "mAP minus `photo alone`" in text
    assert "mAP minus `own`" in (searched.out / "search-against-own.md").read_text()

    # What is told by query adds up to the whole.
    by_query = (searched.out / "search-by-query.md").read_text()
    for kind in ("side", "joints known"):
        table = by_query.split(f"## tiny, mAP, by {kind}\n")[1].split("##")[0]
        lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
        counts = np.array([int(line[1]) for line in lines])
        assert counts.sum() == 4
        both = np.mean([score("three", seed) for seed in (0, 1)])
        assert counts @ np.array([float(line[3]) for line in lines]) / 4 == pytest.approx(100 * both, abs=0.1)

    # From the records alone the same tables are printed again, without networks or views.
    out = tmp_path / "again"
    (out / "records").mkdir(parents=True)
    for path in (searched.out / "records").glob("*.json"):
        (out / "records" / path.name).write_bytes(path.read_bytes())
    searched.run(out=out)
    for name in (
        "table.md",
        "search.md",
        "search.csv",
        "search-against-own.md",
        "search-by-query.md",
        "search-by-views.png",
        "search-by-views.svg",
    ):
        assert (out / name).read_bytes() == (searched.out / name).read_bytes()
    assert not (out / "networks").exists()


def test_a_search_that_is_added_trains_nothing(
    searched: TinyTable, more_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    searched.run(say=said.append)
    searched.write(more_root, **TABLE, test=[*TESTS, {"kind": "mirror", "name": "m"}])
    said.clear()
    with monkeypatch.context() as patch:
        patch.setattr("augment.table.compute.Runner.run", lambda *_: pytest.fail("trained again"))
        searched.run(say=said.append)
    assert "42 searches with their networks; 38 are there." in said

    # A network that is gone is trained again, and is the same.
    study = open_study(searched.load(), searched.out, "cpu")
    cell = study.cells[0]
    kept = study.network(cell)
    assert kept is not None
    before, lost = kept.read_bytes(), study.searches(cell)[-1]
    kept.unlink()
    old = study.records.read(lost.key)
    study.records.path(lost.key).unlink()
    searched.run()
    assert kept.read_bytes() == before
    assert study.records.read(lost.key).queries == old.queries


def test_keys_tell_searches_apart_but_not_their_names(searched: TinyTable, more_root: Path) -> None:
    study = open_study(searched.load(), searched.out, "cpu")
    cell = study.cells[0]
    keys = [one.key for one in study.searches(cell)]
    assert len(set(keys)) == len(TESTS)
    renamed = [{**test, "name": f"x {test['name']}"} for test in TESTS]
    searched.write(more_root, **TABLE, test=renamed)
    again = open_study(searched.load(), searched.out, "cpu")
    assert [one.key for one in again.searches(again.cells[0])] == keys
    assert again.cells[0].key == cell.key


def test_weights_known_by_their_hash_are_needed_only_to_search(searched: TinyTable, more_root: Path) -> None:
    sha256 = generator_sha256(Toy())
    by_name = {**TOY, "name": "x", "poses": 1}
    by_hash = {**by_name, "weights": "gone.safetensors", "weights_sha256": sha256}
    keys = []
    for test in (by_name, by_hash):
        searched.write(more_root, **TABLE, test=[test])
        study = open_study(searched.load(), searched.out, "cpu")
        keys.append([one.key for cell in study.cells for one in study.searches(cell)])
    assert keys[0] == keys[1]
    searched.write(more_root, **TABLE, test=[{**by_hash, "weights": "entry:toy", "weights_sha256": "0" * 64}])
    with pytest.raises(InputError, match="test 'x': entry:toy is "):
        searched.run()


def test_each_row_is_compared_with_one_that_is_ranked_alike(searched: TinyTable) -> None:
    grids = search_grids(open_study(searched.load(), searched.out, "cpu"))
    photo, own = grids["search"], grids["search-against-own"]
    assert photo.baseline_of("three") == PHOTO
    assert photo.baseline_of("three, other cameras") == "other cameras"
    assert photo.baseline_of("three, re-ranked") is None  # no photo is re-ranked here
    assert own.baseline_of("three") == "own"
    assert own.baseline_of("own") is None
    assert own.baseline_of("three, other cameras") is None


def test_recipes_that_cannot_be(table: TinyTable, tiny_root: Path) -> None:
    for test, said in (
        ([{"kind": "mirror", "name": "a"}, {"kind": "photo", "name": "a"}], "test are named twice"),
        ([{"kind": "mirror", "name": "a", "rows": ["nobody"]}], "names rows that the table lacks: nobody"),
        ([{"kind": "oracle", "name": "a"}], "only drawn people have a true oracle"),
        ([{"kind": "mask", "name": "a"}], "only drawn people have a true mask"),
        (
            [{"kind": "mirror", "name": "a", "pose_wait": 1}],
            r"key; did you mean pose_weight\? known: .*pose_weight",
        ),
        ([{"kind": "views", "name": "a"}], "weights"),
    ):
        table.write(tiny_root, test=test)
        with pytest.raises(InputError, match=said):
            table.load()
    table.write(tiny_root, test=[{"kind": "mirror", "name": "a"}], test_baselines=["b"])
    with pytest.raises(InputError, match="test_baselines names no search: b"):
        table.load()
    rows = [{"kind": "patn", "weights": "patn-synth-tiny", "gate": True, "pose_source": "library"}]
    table.write(tiny_root, rows=rows)
    with pytest.raises(InputError, match="pose source library has none of"):
        table.load()


def test_a_cell_that_another_process_is_at_is_left_to_it(searched: TinyTable) -> None:
    study = open_study(searched.load(), searched.out, "cpu")
    (searched.out / "records").mkdir(parents=True)
    said: list[str] = []
    busy = study.cells[1]
    with FileLock(searched.out / "records" / f".{busy.key}.lock"):
        searched.run(say=said.append)
    assert busy.key not in study.records
    assert any("another process is at work" in line for line in said)
    done = study.cells[0]
    (searched.out / "records" / f".{done.key}.lock").touch()  # of a process that was killed after its last record
    searched.run()
    assert all(study.is_done(cell) for cell in study.cells)
    assert not list((searched.out / "records").glob(".*.lock"))


def test_rows_in_the_poses_that_ship(table: TinyTable, tiny_root: Path) -> None:
    row = {"kind": "patn", "weights": "patn-synth-tiny", "pose_source": "library", "library": 2}
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row], columns=["double"], seeds=[0])
    study = open_study(table.load(), table.out, "cpu")
    place = next(place for place in study.places if place.row == "patn")
    plan = study.sets.plan(study.places[place].column, 0, study.row("patn"))
    poses = plan.loc[plan["action"] == "generate", "pose"]
    assert len(poses) == 19 - 2 or len(poses) == 19
    assert set(poses) == {f"library:{name}" for name in VIEWS[:2]}


def test_more_people_train_beside_those_kept(table: TinyTable, tiny_root: Path) -> None:
    row = {"kind": "more_people", "people": 3, "images_per_id": 4, "cameras": 2, "times": 2}
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row], columns=["double"], seeds=[0])
    study = table.run()
    none, more = (study.records.read(cell.key).scores for cell in study.cells)
    assert (none.n_train, more.n_train, more.n_generated) == (19, 19 + 12, 0)
    assert more.steps == 2 * none.steps
    training = study.training(study.cells[1])
    assert len(np.unique(training.labels)) == 3 + 3
    assert not set(training.pids[19:]) & set(training.pids[:19])


def test_training_and_searching_together(searched: TinyTable, more_root: Path) -> None:
    searched.write(more_root, **TABLE, test=TESTS[:4], test_beside=["mirror", "jitter"])
    study = searched.run()
    grid = together_grid(study)
    assert grid is not None
    assert grid.rows == ("none", "none; mirror", "none; jitter", "duplicate", "duplicate; mirror")
    records = study.records.found(list(grid.keys.values()))
    assert set(records) == set(grid.keys.values())
    text = (searched.out / "together.md").read_text()
    table = study.records.read(grid.keys["tiny", "none; mirror", "1.0 doubled", 0])  # type: ignore[index]
    search = study.records.read(search_grids(study)["search"].keys["tiny", "mirror", "none", 0])  # type: ignore[index]
    assert table == search
    assert "| duplicate; mirror | " in text.split("minus `none`")[1]
    searched.write(more_root, **TABLE, test=TESTS[:4])
    assert together_grid(open_study(searched.load(), searched.out, "cpu")) is None
