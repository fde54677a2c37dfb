"""The trainings of a table by the workers of a Ray cluster: the `Computing` of `table` with one.

A training is one item. Its record is its marker, and its lock keeps others away from it, as between the processes of
one machine: any number of commands may fill the folder, with a cluster or without. A worker takes the next training
when it has done one; none waits at one worker while another is idle.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from augment.cluster.ray_pool import Cluster, Work, ray_pool
from augment.table.compute import CellWorker
from augment.table.study import Cell, Study
from reid_eval.runtime import InputError
from reid_eval.table import Record


@dataclass(frozen=True)
class RayComputing:
    """Does trainings on the workers of a cluster, which has the study's device.

    Attributes:
        cluster: where.
    """

    cluster: Cluster

    def __call__(self, study: Study, cells: list[Cell], *, deadline: float | None) -> Iterator[tuple[Record, Cell]]:
        """As `augment.table.compute.compute` says; an error says of which training it is."""
        build = partial(build_worker, study, deadline)
        with ray_pool(self.cluster, build, window=1, most=len(cells)) as pool:
            for cell, record in pool.run(cells, lambda cell: cell.name):
                if record is not None:
                    yield record, cell


def build_worker(study: Study, deadline: float | None) -> Work[Cell, Record | None]:
    """In a worker: what it keeps from one training to the next.

    Raises:
        InputError: the data set is not on this machine.
    """
    if not study.reid.root.is_dir():
        raise InputError(f"{study.reid.root} is not on {socket.gethostname()}: all machines need it under that path")
    return CellWorker(study, deadline).record
