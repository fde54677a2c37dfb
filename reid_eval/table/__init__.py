"""The table: a grid of trainings, one record a cell, and what is printed of them.

`cells` has the records (`old_records` those of earlier versions), `runner` makes one, `stats` sums them up, `printed`,
`plot` and `curves` write them out in the layout of `grid`. What the cells train on is the caller's affair: this package
knows rows, columns and keys, and nothing of generators.
"""

from __future__ import annotations

from reid_eval.table.cells import Record, Records, Scores, cell_key
from reid_eval.table.grid import Grid, read_grid, write_grid
from reid_eval.table.printed import write_report
from reid_eval.table.step_curves import write_curves

__all__ = [
    "Grid",
    "Record",
    "Records",
    "Scores",
    "cell_key",
    "read_grid",
    "write_curves",
    "write_grid",
    "write_report",
]
