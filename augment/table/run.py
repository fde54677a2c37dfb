"""Fills a table: computes the cells without a record, or those of a shard, and writes the table.

OUT/records/KEY.json        one a training; KEY is the hash of all that determines it
OUT/lists/KEY.npz           the first ten of each query's ranking
OUT/table.md, .csv, .tex, .png, .svg
OUT/table.grid.json         what they show: rows, columns, networks, seeds, and the key of each cell
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from augment.runs import Say, describe_run
from augment.table.by_query import write_by_query
from augment.table.compute import Computing, compute, holders, is_free, sweep_locks
from augment.table.forecast import duration, forecast
from augment.table.search_plot import write_search_plot
from augment.table.study import Cell, Study, open_study
from augment.table.table_grid import search_grids, table_grid, together_grid
from augment.table.table_recipe import TableRecipe
from reid_eval.backbones import check_backbone
from reid_eval.runtime import InputError, resolve_device
from reid_eval.table import write_curves, write_grid, write_report
from reid_eval.table.grid import GRID
from reid_eval.table.old_records import convert_old

REPORT_EVERY = 60.0
"""Seconds between two writings of the unfinished table."""


def run_table(
    recipe: TableRecipe,
    out: Path | None,
    say: Say,
    *,
    device: str = "auto",
    jobs: int = 1,
    shard: tuple[int, int] | None = None,
    max_seconds: float | None = None,
    dry_run: bool = False,
    computing: Computing | None = None,
) -> Study:
    """Compute what is missing, then write the table of what is there.

    Long because half of it says what the arguments are.

    Args:
        recipe: from `load_table`.
        out: folder of records, plans, folders and the table; what is there already is not computed again. None, with
            `dry_run`: nothing is there.
        say: takes lines for the user.
        device: where; see `resolve_device`.
        jobs: processes that share it.
        shard: (index, count): every count-th training; default: as torchrun says in the environment, or all.
        max_seconds: start no new training after so many.
        dry_run: list the trainings and say how long the missing ones should take; do none, and write nothing.
        computing: who does the trainings; None: this process and its `jobs`.

    Raises:
        InputError: something in the recipe, the data or the folder is wrong.
    """
    deadline = time.time() + max_seconds if max_seconds else None
    part, where = spread(shard, device)
    for name in recipe.backbones:
        check_backbone(name)
    assert out is not None or dry_run
    study = open_study(recipe, out or Path(os.devnull), where, writes=not dry_run)
    if not dry_run and (converted := convert_old(study.records)):
        say(f"{converted} records of an older version were given the keys of this one.")
    missing = [cell for cell in study.cells if cell.key not in study.records]
    say(f"{len(study.cells)} trainings fill {len(study.places)} cells; {len(study.cells) - len(missing)} are there.")
    if recipe.test:
        keys = [one.key for cell in study.cells for one in study.searches(cell)]
        say(f"{len(keys)} searches with their networks; {sum(key in study.records for key in keys)} are there.")
    _tell_of_other_precision(study, missing, say)
    if dry_run:
        _show(study, jobs * part[1], say)
        return study
    # Its last state only: the records say what made each of them.
    told = {"recipe": recipe.model_dump(mode="json"), "device": where, "data": str(study.reid.root.resolve())}
    describe_run(study.out / "run.json", told)
    mine = [cell for cell in study.cells[part[0] :: part[1]] if not study.is_done(cell)]
    left, busy = mine, ""
    while left and not busy and not _is_up(deadline):
        _fill(study, left, computing or partial(compute, jobs=jobs), deadline, say)
        left = [cell for cell in left if not study.is_done(cell)]
        if left and not any(is_free(study, cell) for cell in left):  # else who was at one has ended without its record
            busy = holders(study, left)
    sweep_locks(study)
    report(study, say)
    if left:
        why = f"{busy} is at work on them" if busy else "its time was up"
        say(f"Stopped, since {why}, with {len(left)} trainings to go: the same command goes on.")
    return study


def _is_up(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline


def _fill(study: Study, cells: list[Cell], computing: Computing, deadline: float | None, say: Say) -> None:
    """Compute cells, telling of each, and writing the table now and then."""
    left, shown = len(cells), time.monotonic()
    for record, cell in computing(study, cells, deadline=deadline):
        left -= 1
        scores = record.scores
        say(
            f"{cell.name}: mAP {100 * scores.mAP:.1f}, rank-1 {100 * scores.rank1:.1f} "
            f"({record.made['seconds']:.1f} s); {left} left"
        )
        if left and time.monotonic() - shown >= REPORT_EVERY:  # so that a killed table has been printed, too
            _write(study)
            shown = time.monotonic()


def report(study: Study, say: Say) -> None:
    """Write the table's files from the records that are there."""
    paths = _write(study)
    there = sum(cell.key in study.records for cell in study.cells)
    say(f"{there} of {len(study.cells)} trainings in the table: {', '.join(map(str, paths))}")
    if not any(path.suffix == ".png" for path in paths):
        say("No plot: matplotlib is not installed (pip install matplotlib).")


def table_figures(study: Study) -> dict[str, Any]:
    """Plain values: how many trainings there are to be, and the scores of those that are there, 0 to 1."""
    there = [(cell, study.records.read(cell.key).scores) for cell in study.cells if cell.key in study.records]
    scores = {cell.name: {"mAP": one.mAP, "rank1": one.rank1} for cell, one in there}
    return {"trainings": len(study.cells), "scores": scores}


def _write(study: Study) -> list[Path]:
    """Write the tables of what is there: of the trainings, and of the searches against each of their baselines."""
    records = study.records.found([cell.key for cell in study.cells])
    table = table_grid(study)
    paths = [*write_report(table, records, study.out), *write_curves(table, records, study.out)]
    write_grid(table, study.out / f"table{GRID}")
    grids = search_grids(study)
    beside = together_grid(study)
    for name, grid in [*grids.items(), *([("together", beside)] if beside else [])]:
        write_grid(grid, study.out / f"{name}{GRID}")
        paths += write_report(grid, study.records.found(list(grid.keys.values())), study.out, name)
    if not grids:
        return paths
    found = study.records.found(list(grids["search"].keys.values()))
    plots = [study.out / f"search-by-views{suffix}" for suffix in (".png", ".svg")]
    if write_search_plot(study, grids["search"], found, *plots):
        paths += plots
    if study.recipe.test_by_query:
        paths.append(write_by_query(study, grids["search"], found, study.out / "search-by-query.md"))
    return paths


def spread(shard: tuple[int, int] | None, device: str) -> tuple[tuple[int, int], str]:
    """(shard, device) of this process: as asked, or as torchrun and accelerate say in the environment.

    Raises:
        InputError: no such shard, or no such device.
    """
    if shard and not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]}/{shard[1]}: expected 0 <= I < N", "shard")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    name = str(resolve_device(device))
    if shard is not None or world == 1:
        return shard or (0, 1), name
    local = os.environ.get("LOCAL_RANK", "0")
    return (int(os.environ.get("RANK", "0")), world), f"cuda:{local}" if name == "cuda" else name


def _tell_of_other_precision(study: Study, missing: list[Cell], say: Say) -> None:
    """Records made on another machine, where `amp: auto` came to something else, are those of other trainings."""
    for amp, name in (("bf16", "bfloat16"), ("off", "float32")):
        count = sum(cell.settings.amp != amp and cell.key_in(amp) in study.records for cell in missing)
        if count:
            say(f"{count} of the missing ones are there in {name}: with train.amp={amp} in the recipe they count.")


def _show(study: Study, workers: int, say: Say) -> None:
    """The cells, and how long the missing ones should take."""
    there = {cell.key for cell in study.cells if cell.key in study.records}
    for cell in study.cells:
        say(f"{cell.key[:12]}  {'done   ' if cell.key in there else 'missing'}  {cell.name}")
    missing = [cell for cell in study.cells if cell.key not in there]
    if missing:
        seconds, basis = forecast(study, missing)
        shared = f", over {workers} workers as if each had the machine to itself" if workers > 1 else ""
        say(f"{len(missing)} trainings to go: about {duration(seconds / workers)} ({basis}{shared}); images apart.")
