"""The tables that every reader returns and everything else takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reid_eval.limits import LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError, first_five
from reid_eval.shown import is_harmless, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("path", "pid", "camid", "seq", "frame", "source")
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True, eq=False)
class ReidData:
    """A re-ID data set as three tables.

    Each table has the columns `path` (POSIX, relative to `root`), `pid`, `camid` (as written in the name, so 1-based
    in Market-1501), `seq`, `frame` (integers) and `source` (`real` or `generated`), is sorted by path and indexed
    0..n-1. pid -1 is junk (kept in the gallery table, ignored by the evaluation), 0 a distractor.
    """

    root: Path
    layout: str
    """One of `reid_eval.datasets.LAYOUTS`, never `auto`."""
    train: pd.DataFrame
    query: pd.DataFrame
    gallery: pd.DataFrame
    identities: Mapping[int, str] = field(default_factory=dict)
    """pid to the identity folder's name, for the layout `folders`; empty for the others."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Path to what the file is called where it is written, see `reid_eval.datasets.as_market`; empty: as it is."""

    def __repr__(self) -> str:
        """A line: notebooks print what a cell ends with, and three tables are much."""
        counts = ", ".join(f"{len(self.split(name))} {name}" for name in SPLITS)
        return f"ReidData({self.root}: {self.layout}, {counts})"

    @property
    def has_cameras(self) -> bool:
        """False for the layout `folders`: camid 1 everywhere means unknown, so no pair can be called same-camera."""
        return self.layout != "folders"

    def split(self, name: str) -> pd.DataFrame:
        """The table `train`, `query` or `gallery`.

        Raises:
            InputError: another name.
        """
        if name not in SPLITS:
            raise InputError(f"split {name!r}: choose from {', '.join(SPLITS)}")
        table: pd.DataFrame = getattr(self, name)
        return table

    def train_labels(self) -> NDArray[np.int64]:
        """Class of each training image, int64 [n_train] in 0..identities-1: ranks of the sorted pids."""
        return train_labels(self.train)


def train_labels(table: pd.DataFrame) -> NDArray[np.int64]:
    """Ranks of the sorted pids of `table`, int64 [n]."""
    labels = np.unique(table["pid"].to_numpy(dtype=np.int64), return_inverse=True)[1]
    return labels.reshape(-1).astype(np.int64)


def make_table(rows: Sequence[tuple[Any, ...]], root: Path | None = None) -> pd.DataFrame:
    """Rows in the order of `COLUMNS` to a table sorted by path, with integer columns even when it is empty.

    Raises:
        InputError: a path that no table can hold, of a data set at `root`: no column has a place for undecodable bytes.
    """
    if root is not None:
        check_paths(root, [row[0] for row in rows])
    table = pd.DataFrame(sorted(rows), columns=list(COLUMNS))
    return table.astype({"path": str, "pid": np.int64, "camid": np.int64, "seq": np.int64, "frame": np.int64})


def check_paths(root: Path, paths: Iterable[str]) -> None:
    """Images' names go into tables and lists: line ends and bytes that are no text are found here, before any work.

    Raises:
        InputError: names the first five.
    """
    if bad := [path for path in paths if not _can_stand(path)]:
        told = first_five([repr(one_line(path, 200)) for path in bad])
        raise InputError(
            f"{root}: {len(bad)} images have names with control characters or undecodable bytes, blanks at an end, or "
            f"too long ones: {told}; rename them"
        )


def _can_stand(path: str) -> bool:
    parts = path.split("/")
    return is_harmless(path) and len(path) <= LONGEST_IMAGE_NAME and all(part == part.strip() for part in parts)


def check_data(data: ReidData) -> ReidData:
    """Check what holds for every layout; return `data` itself.

    Raises:
        InputError: a path that no table can hold, an identity that is in training and in test, or junk (pid -1) in
            train or query.
    """
    check_paths(data.root, [path for split in SPLITS for path in data.split(split)["path"]])
    for name in ("train", "query"):
        table = data.split(name)
        junk = table.loc[table["pid"] == -1, "path"].tolist()
        if junk:
            raise InputError(
                f"{data.root}: {len(junk)} junk images (pid -1) in {name}: {first_five(junk)}; "
                "only the gallery may hold junk, move or delete them"
            )
    test = set(data.query["pid"]) | set(data.gallery["pid"])
    shared = sorted(pid for pid in set(data.train["pid"]) & test if pid > 0)
    if shared:
        names = [data.identities.get(pid, pid) for pid in shared]
        raise InputError(
            f"{data.root}: {len(shared)} identities are in train and in test (query or gallery): {first_five(names)}; "
            "a re-ID evaluation needs people never trained on, so move each to one side"
        )
    return data
