"""What another method's folder keeps, beside the column that it stands in: refused or told, never in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from augment.folder.layout import MANIFEST, PLAN, folder_plan
from augment.table.table_recipe import Column, Folder
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError

SLACK = 0.05
"""How far the share that a folder keeps may lie from what its column's plan keeps: another seed moves it by nothing, a
gate that gives images up by a few hundredths."""


class Kept(NamedTuple):
    """What is left of a data set's training images in a folder."""

    share: float | None
    """Of the people's real training images; None where nothing tells."""
    generated: int
    real: int
    by_plan: bool
    """Whether the folder's own plan says so, not the names of its images."""


def kept_share(data: ReidData, original: ReidData) -> Kept:
    """What a folder keeps of `original`: by its plan if it has one, else by the names of its images."""
    made = int((data.train["source"] == "generated").sum())
    real = len(data.train) - made
    if (data.root / MANIFEST).is_file() and (data.root / PLAN).is_file():
        return Kept(planned_share(folder_plan(data.root)), made, real, True)
    mine = {path.rpartition("/")[2] for path in original.train.loc[original.train["pid"] > 0, "path"]}
    theirs = data.train.loc[(data.train["source"] != "generated") & (data.train["pid"] > 0), "path"]
    shared = len(mine & {path.rpartition("/")[2] for path in theirs})
    return Kept(shared / max(1, len(mine)) if shared else None, made, real, False)


def planned_share(plan: pd.DataFrame) -> float:
    """The share of people's real images that a plan keeps."""
    people = plan[plan["pid"] > 0]["action"].value_counts()
    kept, dropped = int(people.get("keep", 0)), int(people.get("drop", 0))
    return kept / max(1, kept + dropped)


def check_share(row: Folder, column: Column, data: ReidData, original: ReidData, wanted: float) -> None:
    """Refuse a folder whose own plan keeps another share than the rows beside it do.

    Args:
        row: the row.
        column: the folder's.
        data: the folder.
        original: the table's data set.
        wanted: the share that the column's own plan keeps.

    Raises:
        InputError: it does.
    """
    kept = kept_share(data, original)
    if kept.by_plan and kept.share is not None and abs(kept.share - wanted) > SLACK:
        raise InputError(
            f"row {row.name!r}: {data.root} keeps {100 * kept.share:.0f}% of the real training images, as its plan "
            f"says, but the rows beside it keep {100 * wanted:.0f}% at p = {column.label}: give a folder for each "
            "column (with {p} in its path), or list the columns that it is for (columns: [...])"
        )


def folder_notes(
    row: Folder, folders: Sequence[tuple[Column, ReidData, float]], seeds: int, original: ReidData
) -> list[str]:
    """Sentences under a table about a row of folders.

    Args:
        row: the row.
        folders: of each of its columns, for one seed, and the share that the column's own plan keeps.
        seeds: of plans in the table.
        original: the table's data set.
    """
    told = []
    for column, data, wanted in folders:
        kept = kept_share(data, original)
        if kept.share is None:
            said = "its names do not tell how many of the real training images are among them"
        else:
            how = "" if kept.by_plan else ", by their names"
            said = f"{100 * kept.share:.0f}% of the real training images are kept{how}"
            if abs(kept.share - wanted) > SLACK:
                said += f", where the other rows keep {100 * wanted:.0f}%: DO NOT COMPARE them"
        told.append(f"p = {column.label}: {kept.real} real and {kept.generated} marked as generated; {said}")
    notes = [f"Folders of `{row.name}`: {'; '.join(told)}."]
    if seeds > 1 and "{seed}" not in row.folder:
        notes.append(
            f"`{row.name}` has one folder for all seeds: its spread is that of trainings alone, without that of plans."
        )
    return notes
