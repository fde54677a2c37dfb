"""Computes cells and writes their records, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from filelock import FileLock, Timeout

from augment.folder.part_lock import holder_of, sign_lock
from augment.table.cell_folders import CellFolders
from augment.table.row_views import views_beside
from augment.table.searching import Searcher
from augment.table.study import Cell, Study
from augment.table.table_recipe import WithViews
from reid_eval.backbones import load_model
from reid_eval.model_file import read_model_file
from reid_eval.runtime import InputError, hide_progress, resolve_device
from reid_eval.table import Record
from reid_eval.table.runner import Runner

_PATIENCE = 1.0
"""Seconds that stopped workers have."""


class Computing(Protocol):
    """Who computes cells: `compute`, if nobody else."""

    def __call__(self, study: Study, cells: list[Cell], *, deadline: float | None) -> Iterator[tuple[Record, Cell]]:
        """As `compute` says."""
        ...


def compute(
    study: Study, cells: list[Cell], jobs: int = 1, deadline: float | None = None
) -> Iterator[tuple[Record, Cell]]:
    """Compute cells and write their records, yielding each; stop starting new ones after `deadline` (time.time()).

    Raises:
        InputError: a cell cannot be computed, or a worker process was killed.
    """
    if jobs == 1 or len(cells) < 2:
        yield from _compute_here(study, cells, deadline)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        min(jobs, len(cells)), context, initializer=_start_worker, initargs=(study, threads, deadline)
    )
    try:
        with _deaf_to_ctrl_c():
            waiting: dict[Future[Record | None], Cell] = {pool.submit(_work, cell): cell for cell in cells}
        for future in as_completed(waiting):
            record = future.result()
            if record is not None:
                yield record, waiting[future]
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed, maybe for want of memory: the same command goes on; lower jobs", "jobs"
        ) from None
    except BaseException:  # Ctrl-C, SIGTERM, a cell that cannot be computed: nobody waits for trainings to end
        _stop_workers(pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started within get no SIGINT, which reaches all processes of a terminal: their parent stops
    them. What comes meanwhile for this process comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop_workers(pool: ProcessPoolExecutor) -> None:
    """End the workers: each removes what it has half written; those that cannot in `_PATIENCE` are killed."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    end = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0.0, end - time.monotonic()))
    for worker in workers:
        if worker.is_alive():
            worker.kill()


def _compute_here(study: Study, cells: list[Cell], deadline: float | None) -> Iterator[tuple[Record, Cell]]:
    if not cells:
        return
    worker = CellWorker(study, deadline)
    for cell in cells:
        record = worker.record(cell)
        if record is not None:
            yield record, cell


def sweep_locks(study: Study) -> None:
    """Remove the locks of cells that nobody is at: what killed processes left."""
    for path in study.records.folder.glob(".*.lock"):
        with suppress(Timeout, OSError), FileLock(path, timeout=0):
            path.unlink(missing_ok=True)


def is_free(study: Study, cell: Cell) -> bool:
    """Whether nobody is at a cell."""
    lock = _lock_path(study, cell)
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


def holders(study: Study, cells: list[Cell]) -> str:
    """Who is at cells, such as `process 12 of host a`."""
    return ", ".join(sorted({holder_of(_lock_path(study, cell)) for cell in cells}))


def _lock_path(study: Study, cell: Cell) -> Path:
    return study.records.folder / f".{cell.key}.lock"


class CellWorker:
    """What a process keeps from one cell to the next: images on the device, above all."""

    def __init__(self, study: Study, deadline: float | None) -> None:
        self.study, self.deadline = study, deadline
        self.runner, self.folders = Runner(study.reid, resolve_device(study.device)), CellFolders(study)
        self._searcher: Searcher | None = None

    def record(self, cell: Cell) -> Record | None:
        """Compute what a cell lacks, its training's record and those of its searches.

        None once the time is up, or where another process is at that cell: several may fill one folder.
        """
        if self.study.is_done(cell):  # another shard, or another table in the same folder, was faster
            return self.study.records.read(cell.key)
        if self.deadline is not None and time.time() >= self.deadline:
            return None
        lock = _lock_path(self.study, cell)
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):  # the system frees it when the process ends, however it ends
                sign_lock(lock)
                record = self._compute(cell)
        except Timeout:
            return None
        with suppress(OSError):
            lock.unlink()
        return record

    def _compute(self, cell: Cell) -> Record:
        records = self.study.records
        kept = self.study.network(cell)
        if cell.key not in records or (kept is not None and not kept.is_file()):
            self._train(cell, kept)
        if kept is not None:
            self._search(cell, kept)
        return records.read(cell.key)

    def _train(self, cell: Cell, keep: Path | None) -> None:
        """Train, and write the record unless there is one: then only its network was gone."""
        self.folders.ensure(cell)
        training, row = self.study.training(cell), self.study.row(cell.place.row)
        if isinstance(row, WithViews):
            training = replace(training, beside=views_beside(self.study, row, cell, training.real))
        lists = self.study.lists(cell)
        record = self.runner.run(
            cell.key, cell.facts, training, cell.settings, cell.steps, cell.name, keep, cell.curve, lists
        )
        if cell.key not in self.study.records:
            self.study.records.write(record)

    def _search(self, cell: Cell, kept: Path) -> None:
        if self._searcher is None:
            self._searcher = Searcher(self.study, self.runner)
        file = read_model_file(kept)
        if file.metadata.get("key") != cell.key:
            raise InputError(f"{kept} is not the network of that cell: delete it, and it is trained again")
        model = load_model(file, self.study.device)
        self._searcher.records(cell, model, str(file.metadata.get("amp", "off")))


_here: list[CellWorker] = []
"""The worker that a worker process is."""
_busy: list[Cell] = []
"""What it is at."""


def _start_worker(study: Study, threads: int, deadline: float | None) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent heeds it, and ends its workers by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hide_progress()
    torch.set_num_threads(threads)
    _here.append(CellWorker(study, deadline))


def _leave(*_: object) -> None:
    """End at once, but for what has to be tidied on the way out: half-written files."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _busy:
        raise KeyboardInterrupt
    os._exit(1)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and hold its memory on the device."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(cell: Cell) -> Record | None:
    _busy.append(cell)
    try:
        return _here[0].record(cell)
    except KeyboardInterrupt:  # of `_leave`; all is tidy, and the end of an interpreter takes seconds
        os._exit(1)
    finally:
        _busy.clear()
