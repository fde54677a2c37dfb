"""Things to make pages of: a folder made through a gate, of people with odd names, a table and a re-ID run by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import draw_dataset
from evil import EVIL, quiet
from gated import gated

from augment.api import run_file
from augment.report.page_settings import Settings
from augment.report.pages import write_report_page
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.rankings import write_lists
from reid_eval.runtime import write_json
from reid_eval.table import Grid, Record, Records, Scores, cell_key, write_grid
from reid_eval.table.cells import Queries
from reid_eval.table.grid import Place


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> ReidData:
    """Five people, six to nine photos each."""
    root = tmp_path_factory.mktemp("people")
    return read_dataset(draw_dataset(root, {2: 9, 3: 8, 5: 8, 7: 6, 8: 7}, {101: 6, 102: 6}))


@pytest.fixture(scope="session")
def folder(people: ReidData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made through a gate that rejects one in three images, by a command that nobody should paste."""
    out = tmp_path_factory.mktemp("augmented") / "out"
    gated(people, out, share=0.3)
    command = ["patn-augment", "generate", "--weights", "toy", str(people.root), EVIL]
    told = {"data": str(people.root), "weights": "toy", "command": command, "versions": {EVIL: EVIL}}
    write_json(run_file(out), told)
    return out


@pytest.fixture(scope="session")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, in one file."""
    target = tmp_path_factory.mktemp("page") / "out.html"
    write_report_page(folder, target, Settings(measure=False), quiet)
    return target


def table_record(name: str, data: ReidData, right: int) -> Record:
    """A training that finds so many of the queries at once."""
    pids = data.query["pid"].tolist()
    ranks = [0, *([1] * right), *([4] * (len(pids) - 1 - right))]
    precisions: list[float | None] = [None if rank == 0 else round(1 / rank, 6) for rank in ranks]
    known = [value for value in precisions if value is not None]
    scores = Scores(
        rank1=right / (len(pids) - 1), rank5=1, rank10=1, mAP=float(np.mean(known)), mINP=0.5, n_train=9, n_generated=0,
        n_query=len(pids), n_gallery=len(data.gallery), n_skipped=1, steps=3, train_accuracy=1,
    )  # fmt: skip
    facts = {"name": name}
    queries = Queries(pids=pids, precisions=precisions, first_ranks=ranks)
    made = {"seconds": 1.0, "device": "cpu", "device_name": "abacus", "amp": "off"}
    return Record(key=cell_key(facts), facts=facts, scores=scores, queries=queries, made=made)


@pytest.fixture(scope="session")
def table(people: ReidData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network, two rows, one share, two seeds: the second row is better for every query that it can be."""
    out = tmp_path_factory.mktemp("tables") / "table"
    records, keys = Records(out / "records"), {}
    for seed in (0, 1):
        for row, right in (("none", 0), (EVIL, 3)):
            one = table_record(f"{row}-{seed}", people, right)
            records.write(one)
            keys[Place("net", row, "0.5", seed)] = one.key
            lists = np.arange(4, dtype=np.int32)[None].repeat(len(people.query), 0)
            write_lists(out / "lists" / f"{one.key}.npz", lists)
    grid = Grid(
        title="By hand", rows=("none", EVIL), columns=("0.5",), backbones=("net",), seeds=(0, 1), baseline="none",
        keys=keys, labels={EVIL: f"{EVIL} (leaky)"}, notes=("LEAK: the generator of `x` is leaky at p = 0.5: said.",),
    )  # fmt: skip
    write_grid(grid, out / "table.grid.json")
    write_json(out / "run.json", {"command": ["patn-augment", EVIL], "data": str(people.root), "recipe": {EVIL: EVIL}})
    return out
