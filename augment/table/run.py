"""`patn-augment table`: computes the cells without a record, in this process or several, and writes the table."""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.runs import Say, describe_run
from augment.table.cell_folders import ensure_folder
from augment.table.study import Cell, Study, open_study
from augment.table.table_recipe import TableRecipe, load_table
from reid_eval.runtime import InputError, hide_progress, resolve_device
from reid_eval.table import Record, write_report

if TYPE_CHECKING:
    from reid_eval.table.runner import Runner

REPORT_EVERY = 60.0
"""Seconds between two writings of the unfinished table."""


@dataclass(frozen=True)
class TableOptions:
    """Options of `patn-augment table`."""

    recipe: str
    out: Path
    overrides: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    device: str = "auto"
    jobs: int = 1
    shard: tuple[int, int] | None = None
    max_seconds: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.shard and not 0 <= self.shard[0] < self.shard[1]:
            raise InputError(f"--shard {self.shard[0]}/{self.shard[1]}: expected 0 <= I < N")


def run_table(options: TableOptions, say: Say) -> Study:
    """Compute what is missing, then write the table of what is there."""
    deadline = time.time() + options.max_seconds if options.max_seconds else None
    shard, device = _spread(options)
    recipe = load_table(options.recipe, options.overrides, options.weights)
    _check_backbones(recipe)
    study = open_study(recipe, options.out, device)
    missing = [cell for cell in study.cells if cell.key not in study.records]
    mine = [cell for cell in study.cells[shard[0] :: shard[1]] if cell.key not in study.records]
    say(f"{len(study.cells)} trainings fill {len(study.places)} cells; {len(study.cells) - len(missing)} are there.")
    if options.dry_run:
        _show(study, device, options.jobs * shard[1], say)
        return study
    # Its last state only: the records say what made each of them.
    describe_run(study.out / "run.json", {"recipe": recipe.model_dump(mode="json"), "device": device})
    left, shown = len(mine), time.monotonic()
    for record, cell in compute(study, mine, device, options.jobs, deadline):
        left -= 1
        scores = record.scores
        say(
            f"{cell.name}: mAP {100 * scores.mAP:.1f}, rank-1 {100 * scores.rank1:.1f} "
            f"({record.made['seconds']:.1f} s); {left} left"
        )
        if left and time.monotonic() - shown >= REPORT_EVERY:  # so that a killed table has been printed, too
            write_report(study.grid(), study.records.found([cell.key for cell in study.cells]), study.out)
            shown = time.monotonic()
    report(study, say)
    if left:
        say(f"Stopped after --max-seconds with {left} trainings to go: the same command goes on.")
    return study


def report(study: Study, say: Say) -> None:
    """Write the table's files from the records that are there."""
    records = study.records.found([cell.key for cell in study.cells])
    paths = write_report(study.grid(), records, study.out)
    say(f"{len(records)} of {len(study.cells)} trainings in the table: {', '.join(map(str, paths))}")
    if not any(path.suffix == ".png" for path in paths):
        say("No plot: matplotlib is not installed (pip install matplotlib).")


def _spread(options: TableOptions) -> tuple[tuple[int, int], str]:
    """(shard, device) of this process: as asked, or as torchrun and accelerate say in the environment."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = str(resolve_device(options.device))
    if options.shard is not None or world == 1:
        return options.shard or (0, 1), device
    local = os.environ.get("LOCAL_RANK", "0")
    return (int(os.environ.get("RANK", "0")), world), f"cuda:{local}" if device == "cuda" else device


def _check_backbones(recipe: TableRecipe) -> None:
    from reid_eval.backbones import check_backbone

    for name in recipe.backbones:
        check_backbone(name)


def compute(
    study: Study, cells: list[Cell], device: str, jobs: int, deadline: float | None = None
) -> Iterator[tuple[Record, Cell]]:
    """Compute cells and write their records, yielding each; stop starting new ones after `deadline` (time.time())."""
    if jobs == 1 or len(cells) < 2:
        yield from _compute_here(study, cells, device, deadline)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        min(jobs, len(cells)), context, initializer=_start_worker, initargs=(study, device, threads, deadline)
    )
    try:
        waiting: dict[Future[Record | None], Cell] = {pool.submit(_work, cell): cell for cell in cells}
        for future in as_completed(waiting):
            record = future.result()
            if record is not None:
                yield record, waiting[future]
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed, maybe for want of memory: the same command goes on; lower --jobs"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _compute_here(
    study: Study, cells: list[Cell], device: str, deadline: float | None
) -> Iterator[tuple[Record, Cell]]:
    if not cells:
        return
    runner = _runner(study, device)
    for cell in cells:
        record = _cell_record(study, runner, cell, device, deadline)
        if record is not None:
            yield record, cell


def _runner(study: Study, device: str) -> Runner:
    from reid_eval.table.runner import Runner

    return Runner(study.data, resolve_device(device))


def _cell_record(study: Study, runner: Runner, cell: Cell, device: str, deadline: float | None) -> Record | None:
    """Compute one cell and write its record; None once the time is up."""
    if cell.key in study.records:  # another shard, or another table in the same folder, was faster
        return study.records.read(cell.key)
    if deadline is not None and time.time() >= deadline:
        return None
    ensure_folder(study, cell, device)
    record = runner.run(cell.key, cell.facts, study.cell_training(cell), cell.settings, study.steps, cell.name)
    study.records.write(record)
    return record


_worker: dict[str, Any] = {}
"""What a worker process keeps from one cell to the next: images on the device, above all."""


def _start_worker(study: Study, device: str, threads: int, deadline: float | None) -> None:
    import torch

    # Ctrl-C reaches all processes of a terminal: a worker ends its cell, and is given no other.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hide_progress()
    torch.set_num_threads(threads)
    _worker.update(study=study, device=device, deadline=deadline, runner=_runner(study, device))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and hold its memory on the device."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(cell: Cell) -> Record | None:
    return _cell_record(_worker["study"], _worker["runner"], cell, _worker["device"], _worker["deadline"])


def _show(study: Study, device: str, workers: int, say: Say) -> None:
    """`--dry-run`: the cells, and how long the missing ones should take."""
    there = {cell.key for cell in study.cells if cell.key in study.records}
    for cell in study.cells:
        say(f"{cell.key[:12]}  {'done   ' if cell.key in there else 'missing'}  {cell.name}")
    missing = [cell for cell in study.cells if cell.key not in there]
    if missing:
        seconds, basis = estimate(study, missing, device)
        shared = f", over {workers} workers as if each had the machine to itself" if workers > 1 else ""
        say(f"{len(missing)} trainings to go: about {_duration(seconds / workers)} ({basis}{shared}); images apart.")


def estimate(study: Study, cells: list[Cell], device: str) -> tuple[float, str]:
    """Seconds that cells should take on one worker, and what that rests on: records of this device, or a trial."""
    records = study.records.found([cell.key for cell in study.cells])
    kind = resolve_device(device).type
    known: dict[str, float] = {}
    for backbone in study.recipe.backbones:
        times = [
            float(record.made["seconds"])
            for record in records.values()
            if record.facts["settings"]["backbone"] == backbone and record.made["device"] == kind
        ]
        if times:
            known[backbone] = statistics.median(times)
    tried = [name for name in study.recipe.backbones if name not in known]
    known.update({name: _trial(study, name, device) for name in tried})
    basis = f"measured on a few steps of {', '.join(tried)}" if tried else "the median of the records there are"
    return sum(known[cell.place.backbone] for cell in cells), basis


def _trial(study: Study, backbone: str, device: str) -> float:
    """Seconds of a cell, from a few steps on noise; the evaluation counts as half the steps it would fill."""
    from dataclasses import replace

    import numpy as np

    from reid_eval.training import train_on

    settings = replace(study.recipe.settings(backbone, 0), device=device, bn_batches=0, init="scratch")
    count = settings.batch_size
    noise = np.random.default_rng(0).integers(0, 256, (count, 3, *settings.size), np.uint8)
    labels = np.arange(count, dtype=np.int64) % 2

    def clock(steps: int) -> float:
        start = time.perf_counter()
        train_on(noise, labels, settings, steps)
        return time.perf_counter() - start

    clock(2)  # the first steps also choose algorithms
    few, many = clock(2), clock(8)
    step = max(many - few, 1e-6) / 6
    passes = (len(study.data.query) + len(study.data.gallery)) * (1 + settings.eval_flip) / count / 3
    return few + step * (study.steps + passes)


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
