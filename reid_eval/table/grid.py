"""What a table shows: rows by columns by backbones by seeds, and the key of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """Where a cell is; several places may share one key, and then one training."""

    backbone: str
    row: str
    column: str
    seed: int


@dataclass(frozen=True)
class Grid:
    """The layout of a table.

    Attributes:
        title: one line.
        rows: names of the methods, from the top.
        columns: names of the columns, from the left.
        backbones: names.
        seeds: of the trainings.
        baseline: the row that others are compared with, or None.
        keys: of every cell; places that a method does not have are absent.
        labels: row to what is printed for it, where that is not its name.
        notes: sentences for the foot, such as the leaks.
        unit: what a cell is, in the plural.
        baselines: rows that are compared with another one than `baseline`, and with which; None: with none.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    backbones: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: str | None
    keys: Mapping[Place, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unit: str = "trainings"
    baselines: Mapping[str, str | None] = field(default_factory=dict)

    def baseline_of(self, row: str) -> str | None:
        """The row that a row is compared with."""
        found = self.baselines.get(row, self.baseline)
        return None if found == row else found

    def label(self, row: str) -> str:
        """What is printed for a row."""
        return self.labels.get(row, row)

    def key(self, backbone: str, row: str, column: str, seed: int) -> str | None:
        """The key of a cell, None where the row has no such column."""
        return self.keys.get(Place(backbone, row, column, seed))
