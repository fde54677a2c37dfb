"""Records, figures and printed tables, on scores made by hand."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid_eval.runtime import InputError
from reid_eval.table import Grid, Record, Records, Scores, cell_key, read_grid, write_report
from reid_eval.table.cells import Queries
from reid_eval.table.grid import Place
from reid_eval.table.old_records import convert_old
from reid_eval.table.stats import paired_difference, query_scores, share_of, summarise


def record(name: str, precisions: list[float | None], first: list[int], pids: list[int]) -> Record:
    facts = {"name": name}
    scored = [value for value in precisions if value is not None]
    hits = [rank == 1 for rank in first if rank]
    counts = {"n_train": 9, "n_generated": 0, "n_query": len(pids), "n_gallery": 20, "steps": 3}
    scores = Scores(
        rank1=float(np.mean(hits)),
        rank5=1,
        rank10=1,
        mAP=float(np.mean(scored)),
        mINP=0.1,
        n_skipped=len(pids) - len(scored),
        train_accuracy=1,
        **counts,
    )
    queries = Queries(pids=pids, precisions=precisions, first_ranks=first)
    made = {"seconds": 1.5, "device": "cpu", "device_name": "abacus", "amp": "off"}
    return Record(key=cell_key(facts), facts=facts, scores=scores, queries=queries, made=made)


PIDS = [1, 1, 2, 3, 3, 3]
BASE = record("base", [0.5, 0.5, None, 0.2, 0.4, 0.6], [2, 1, 0, 3, 1, 2], PIDS)
BETTER = record("better", [0.7, 0.5, None, 0.4, 0.4, 0.6], [1, 1, 0, 1, 1, 2], PIDS)


def grid(keys: dict[Place, str], seeds: tuple[int, ...] = (0, 1)) -> Grid:
    return Grid(
        title="By hand",
        rows=("none", "new_way"),
        columns=("0.5", "1.0"),
        backbones=("net",),
        seeds=seeds,
        baseline="none",
        keys=keys,
        labels={"new_way": "new_way (leaky)"},
        notes=("LEAK: said here.",),
    )


def test_paired_difference() -> None:
    found = paired_difference([(BETTER, BASE)], "mAP")
    assert found.mean == pytest.approx((0.2 + 0.2) / 5) == pytest.approx(BETTER.scores.mAP - BASE.scores.mAP)
    assert found.low < found.mean < found.high
    assert found == paired_difference([(BETTER, BASE)], "mAP")
    hits = paired_difference([(BETTER, BASE)], "rank1")
    assert hits.mean == pytest.approx(BETTER.scores.rank1 - BASE.scores.rank1) == pytest.approx(0.4)
    same = paired_difference([(BASE, BASE)], "mAP")
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert np.isnan(query_scores(BASE, "mAP")[2])
    assert np.isnan(query_scores(BASE, "rank1")[2])


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(40), 3)
    inside = 0
    for _ in range(120):
        # Queries of a person share its luck: an interval that took them for independent would be too narrow.
        gain = 0.05 + np.repeat(rng.normal(0, 0.1, 40), 3) + rng.normal(0, 0.025, 120)
        ours = record("ours", (0.5 + gain).tolist(), [1] * 120, pids.tolist())
        theirs = record("theirs", [0.5] * 120, [1] * 120, pids.tolist())
        found = paired_difference([(ours, theirs)], "mAP", resamples=400)
        inside += found.low <= 0.05 <= found.high
    assert 0.87 <= inside / 120 <= 0.99


def test_means_and_deviations() -> None:
    keys = {
        Place("net", row, column, seed): BASE.key for row in ("none",) for column in ("0.5", "1.0") for seed in (0, 1)
    }
    keys |= {Place("net", "new_way", "0.5", 0): BETTER.key, Place("net", "new_way", "0.5", 1): "not yet"}
    entries = {(e.row, e.column, e.metric): e for e in summarise(grid(keys), {r.key: r for r in (BASE, BETTER)})}
    half = entries["new_way", "0.5", "mAP"]
    assert (half.expected, half.values, half.sd) == (2, (BETTER.scores.mAP,), None)
    assert half.difference is not None
    assert half.difference.pairs == 1
    assert entries["new_way", "1.0", "mAP"].expected == 0
    assert entries["none", "0.5", "mAP"].sd == 0
    assert entries["none", "0.5", "mAP"].difference is None


def test_written_tables(tmp_path: Path) -> None:
    keys = {Place("net", "none", "0.5", 0): BASE.key, Place("net", "new_way", "0.5", 0): BETTER.key}
    keys |= {Place("net", row, "1.0", 0): "not yet" for row in ("none", "new_way")}
    records = {r.key: r for r in (BASE, BETTER)}
    paths = write_report(grid(keys, seeds=(0,)), records, tmp_path)
    plots = ["table.png", "table.svg", "table-gains.png", "table-gains.svg"]
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.tex", *plots]
    text = paths[0].read_text()
    for part in (
        "| new_way (leaky) | 52.0 | ... |",
        "| none | 44.0 | ... |",
        "| new_way (leaky) | +8.0 [",
        "- LEAK: said here.",
        "Unfinished: 2 of 3 trainings",
        "5 queries, 20 gallery images; 3 steps",
        "abacus (float32)",
        "1 queries have no correct image",
    ):
        assert part in text, part
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    [line] = [r for r in rows if (r["row"], r["column"], r["metric"]) == ("new_way", "0.5", "mAP")]
    assert (line["mean"], line["sd"], line["difference"], line["seeds"]) == ("0.520000", "", "0.080000", "1")
    tex = paths[2].read_text()
    assert "new\\_way (leaky) & 52.0 & ... \\\\" in tex
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == tex.count("\\toprule") == 1
    before = {path: path.read_bytes() for path in paths}
    write_report(grid(keys, seeds=(0,)), records, tmp_path)
    assert before == {path: path.read_bytes() for path in paths}


def test_shares_of_the_ceiling(tmp_path: Path) -> None:
    pids = np.repeat(np.arange(40), 3).tolist()
    scores = {
        "none": [0.3, 0.4, 0.35],
        "patn": [0.34, 0.42, 0.42],
        "worse": [0.25, 0.4, 0.35],
        "oracle": [0.4, 0.5, 0.45],
    }
    made = {
        (row, seed): record(f"{row} {seed}", [mAP] * 120, [1] * 120, pids)
        for row in scores
        for seed, mAP in enumerate(scores[row])
    }
    keys = {Place("net", row, "0.5", seed): one.key for (row, seed), one in made.items()}
    rows = ("none", "patn", "worse", "oracle")
    layout = Grid("T", rows, ("0.5",), ("net",), (0, 1, 2), "none", keys, ceiling="oracle")
    records = {one.key: one for one in made.values()}
    text = write_report(layout, records, tmp_path)[0].read_text()
    # By hand: 13 of 30 points; of single seeds 40, 20 and 70 in 100, between which all means of draws lie.
    assert "- net, 0.5: `oracle` gains +10.0 [+10.0, +10.0] mAP; of that, patn 43% [" in text
    low, high = map(float, re.search(r"patn 43% \[(\d+), (\d+)\]", text).groups())  # type: ignore[union-attr]
    assert 20 <= low < 43 < high <= 70
    assert "worse -17% [" in text
    worst = replace(layout, ceiling="worse")
    assert "of a gain that may be none no share is told" in write_report(worst, records, tmp_path)[0].read_text()
    assert "gains +" not in write_report(replace(layout, ceiling=None), records, tmp_path)[0].read_text()
    gap = paired_difference([(made["patn", 0], made["none", 0])], "mAP")
    assert share_of(gap, paired_difference([(made["oracle", s], made["none", s]) for s in range(3)], "mAP")) is None


def test_the_records_that_ship_are_the_table_that_ships(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "docs" / "results" / "table_synth"
    with tarfile.open(folder / "records.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    records = Records(tmp_path / "records")
    found = records.found([path.stem for path in (tmp_path / "records").iterdir()])  # checks each key against its facts
    assert len(found) == 41
    with open(folder / "table.csv") as file:
        printed = {row["mean"] for row in csv.DictReader(file) if row["metric"] == "mAP" and row["mean"]}
    assert {f"{record.scores.mAP:.6f}" for record in found.values()} == printed


def test_records_are_checked(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert BASE.key not in records
    records.write(BASE)
    assert records.read(BASE.key) == BASE
    assert records.found([BASE.key, BETTER.key, BASE.key]) == {BASE.key: BASE}
    path = records.path(BASE.key)
    path.write_text(path.read_text().replace('"base"', '"edited"'))
    with pytest.raises(InputError, match="was edited or renamed: delete it, and the cell is computed again"):
        records.read(BASE.key)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"cannot read .*: delete it, and the cell is computed again"):
        records.read(BASE.key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"made": {}}, "seconds should be a number"),
        ({"made": {**BASE.made, "seconds": "1"}}, "seconds should be a number"),
        ({"made": {**BASE.made, "seconds": True}}, "seconds should be a number"),
        ({"made": {**BASE.made, "seconds": -1}}, "seconds should be a number"),
        ({"made": {**BASE.made, "device": None}}, "device should be a text"),
        ({"made": {**BASE.made, "device_name": 5}}, "device_name should be a text"),
        ({"queries": {**BASE.queries.model_dump(), "pids": [1]}}, "should be of the same queries"),
        ({"queries": {**BASE.queries.model_dump(), "first_ranks": []}}, "should be of the same queries"),
    ],
)
def test_what_tables_tell_of_a_record_is_there(tmp_path: Path, change: dict[str, object], message: str) -> None:
    records = Records(tmp_path)
    records.path(BASE.key).write_text(json.dumps({**BASE.model_dump(), **change}))
    with pytest.raises(InputError, match=rf"cannot read .*{message}.*delete it, and the cell is computed again"):
        records.read(BASE.key)


def test_old_records_whose_settings_are_none(tmp_path: Path) -> None:
    for settings in (None, [], "x"):
        facts = {"settings": settings, "more": {"amp": "auto"}}
        record = Record(**{**BASE.model_dump(), "key": cell_key(facts), "facts": facts})
        Records(tmp_path).write(record)
        assert convert_old(Records(tmp_path)) == 0


def test_a_pipe_among_old_records_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    assert convert_old(Records(tmp_path)) == 0


GRID = {
    "version": 1, "title": "t", "rows": ["a", "b"], "columns": ["c"], "backbones": ["n"], "seeds": [0],
    "baseline": None, "keys": [["n", "a", "c", 0, "0" * 64]], "labels": {}, "notes": [], "unit": "trainings",
    "baselines": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [str(n) for n in range(1000)], "columns": [str(n) for n in range(1000)], "keys": []},
         "the table has 1000000 cells, at most 100000"),
        ({"rows": ["a", "a"]}, "is there twice"),
        ({"keys": [["n", "x", "c", 0, "0" * 64]]}, "a key is of no place"),
        ({"keys": [["n", "a", "c", 0, "0" * 64]] * 2}, "a place has two keys"),
    ],
)  # fmt: skip
def test_layouts_of_strangers(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """A page has a line for each place of the table, whether or not there is a key for it."""
    (tmp_path / "table.grid.json").write_text(json.dumps(GRID))
    assert read_grid(tmp_path / "table.grid.json").rows == ("a", "b")
    (tmp_path / "table.grid.json").write_text(json.dumps({**GRID, **change}))
    with pytest.raises(InputError, match=message):
        read_grid(tmp_path / "table.grid.json")


def test_records_of_other_queries_are_no_table(tmp_path: Path) -> None:
    """Paired differences are of the same queries: else an error of numpy's."""
    records = Records(tmp_path)
    one, other = record("one", [0.5, 0.5], [1, 1], [1, 2]), record("other", [0.5], [1], [1])
    records.write(one)
    records.write(other)
    assert list(records.found([one.key])) == [one.key]
    with pytest.raises(InputError, match="is of other queries than the table's"):
        records.found([one.key, other.key])
