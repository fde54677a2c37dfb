"""What a table shows: rows by columns by backbones by seeds, and the key of each cell; reads, writes `*.grid.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import LARGEST_INTEGER, MOST_CELLS, MOST_TABLE_BYTES
from reid_eval.runtime import InputError, write_json
from reid_eval.yaml_recipes import problems_of

GRID = ".grid.json"
"""Ends the name of the file with a table's layout."""


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
        ceiling: a row whose gain over the baseline is the most that the others could reach, or None.
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
    ceiling: str | None = None

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


_Text = Annotated[str, Field(max_length=4096)]
_Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
_Names = Annotated[list[_Text], Field(max_length=1000)]
_Key = tuple[_Text, _Text, _Text, _Seed, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


class _File(BaseModel):
    """What a file holds; the fields are those of `Grid`, but that `keys` is a list of places with their keys."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    title: _Text
    rows: _Names
    columns: _Names
    backbones: _Names
    seeds: Annotated[list[_Seed], Field(max_length=10_000)]
    baseline: _Text | None
    keys: list[Annotated[_Key, Field(strict=False)]]
    labels: dict[_Text, _Text]
    notes: _Names
    unit: _Text
    baselines: dict[_Text, _Text | None]
    ceiling: _Text | None = None

    @model_validator(mode="after")
    def _of_one_table(self) -> _File:
        """Names stand once, and keys are of places of the table: a page has a line for each of the latter."""
        axes: list[list[str] | list[int]] = [self.backbones, self.rows, self.columns, self.seeds]
        if any(len(set(axis)) < len(axis) for axis in axes):
            raise ValueError("a network, row, column or seed is there twice")
        if (cells := math.prod(len(axis) for axis in axes)) > MOST_CELLS:
            raise ValueError(f"the table has {cells} cells, at most {MOST_CELLS} are shown")
        known: list[set[str] | set[int]] = [set(self.backbones), set(self.rows), set(self.columns), set(self.seeds)]
        places = [place for *place, _ in self.keys]
        if not all(name in names for place in places for name, names in zip(place, known, strict=True)):
            raise ValueError("a key is of no place of the table")
        if len(set(map(tuple, places))) < len(places):
            raise ValueError("a place has two keys")
        if self.ceiling is not None and self.ceiling not in self.rows:
            raise ValueError("the ceiling is no row of the table")
        return self


def write_grid(grid: Grid, path: Path) -> None:
    """Write the layout of a table as JSON, beside the records that its keys name."""
    told = {**asdict(grid), "version": 1}
    told["keys"] = [[*place, key] for place, key in sorted(grid.keys.items())]
    write_json(path, told)


def read_grid(path: Path) -> Grid:
    """Read the layout of a table.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        told = _File.model_validate(read_json(path, MOST_TABLE_BYTES))
    except (OSError, ValueError) as error:
        reason = problems_of(error)[:300] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"cannot read {path} ({reason}): run patn-augment table once more, it writes it") from None
    return Grid(
        title=told.title,
        rows=tuple(told.rows),
        columns=tuple(told.columns),
        backbones=tuple(told.backbones),
        seeds=tuple(told.seeds),
        baseline=told.baseline,
        keys={Place(backbone, row, column, seed): key for backbone, row, column, seed, key in told.keys},
        labels=told.labels,
        notes=tuple(told.notes),
        unit=told.unit,
        baselines=told.baselines,
        ceiling=told.ceiling,
    )
