"""Lists of training and test pairs, as the authors of PATN publish them: the only reader and writer of `*-pairs-*.csv`.

Columns `from` and `to`: image names, condition and target; paths in the data set where file names repeat. Their rules
(section 4; the lists of Siarohin et al., Deformable GANs, CVPR 2018, which they use): ordered pairs of two different
images of one identity, both with shoulders and hips, neither junk nor distractor; for training all of them, for testing
12,000 drawn without replacement.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.pose.skeleton import usable
from reid_eval.datasets.names import distinct_names
from reid_eval.foreign import reason_of
from reid_eval.foreign_csv import read_csv
from reid_eval.runtime import InputError, first_five, write_bytes

TEST_PAIRS = 12_000


def all_pairs(joints: NDArray[np.float32], pids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every ordered pair that the rules allow, int64 `[P, 2]` rows (condition, target), in order of identity.

    Args:
        joints: `[N, 18, 2]`, NaN missing.
        pids: `[N]`.
    """
    rows = np.flatnonzero(usable(joints) & (pids > 0))
    pairs = []
    for pid in np.unique(pids[rows]):
        own = rows[pids[rows] == pid]
        first, second = np.meshgrid(own, own, indexing="ij")
        different = first != second
        pairs.append(np.stack([first[different], second[different]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def draw_pairs(
    names: Sequence[str], joints: NDArray[np.float32], pids: NDArray[np.int64], count: int | None, seed: int = 0
) -> pd.DataFrame:
    """Pairs by the authors' rules, with columns `from` and `to`.

    Args:
        names: of the images, as paths in their data set. The list has file names where these tell the images apart,
            as the authors' have, else paths.
        joints: `[N, 18, 2]`, NaN missing.
        pids: `[N]`.
        count: how many to draw without replacement; None for all.
        seed: of the drawing.

    Raises:
        InputError: no pair is allowed.
    """
    pairs = all_pairs(joints, pids)
    if len(pairs) == 0:
        raise InputError("no identity has two images with shoulders and hips: no pair can be made")
    if count is not None and count < len(pairs):
        pairs = pairs[np.random.default_rng(seed).choice(len(pairs), count, replace=False)]
    table = np.asarray(distinct_names(names), dtype=object)
    return pd.DataFrame({"from": table[pairs[:, 0]], "to": table[pairs[:, 1]]})


def write_pairs(path: Path | str, pairs: pd.DataFrame) -> None:
    """Write a list, atomically; the same pairs give the same bytes."""
    buffer = io.StringIO()
    pairs[["from", "to"]].to_csv(buffer, index=False, lineterminator="\n")
    write_bytes(path, buffer.getvalue().encode())


def read_pairs(path: Path | str) -> pd.DataFrame:
    """Read a list, ours or the authors' (theirs may have an index column).

    Raises:
        InputError: not such a list, an empty one, or a name missing; the row is named, counted from 1 with the header.
    """
    try:
        table = read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read pairs {path}: {reason_of(error)}") from None
    if not {"from", "to"} <= set(table.columns):
        raise InputError(
            f"{path}: row 1: a list of pairs has the columns from and to, this has {list(table.columns)[:9]}"
        )
    empty = np.flatnonzero((table["from"] == "") | (table["to"] == ""))
    if len(empty):
        raise InputError(f"{path}: row {int(empty[0]) + 2}: a name is missing")
    if table.empty:
        raise InputError(f"{path}: no pairs in it")
    return table[["from", "to"]]


def pair_rows(pairs: pd.DataFrame, names: Sequence[str], source: str) -> NDArray[np.int64]:
    """Row numbers of a list's images among `names`, int64 `[P, 2]`.

    Args:
        pairs: its images named by path, or by file name where only one of `names` has that.
        names: of the images, as paths in their data set.
        source: of the list, for messages.

    Raises:
        InputError: an image that is not among them, or a file name that several have; the first five are named.
    """
    place = {name: row for row, name in enumerate(names)}
    counts = Counter(Path(name).name for name in names)
    place |= {Path(name).name: row for row, name in enumerate(names) if counts[Path(name).name] == 1}
    wanted = {name for column in ("from", "to") for name in pairs[column]}
    if unclear := sorted(name for name in wanted - set(place) if counts[name] > 1):
        raise InputError(
            f"{source} names images by file name that several have: {first_five(unclear)}; write their paths"
        )
    absent = sorted(wanted - set(place))
    if absent:
        raise InputError(f"{source} names images that are not there or have no keypoints: {first_five(absent)}")
    return np.stack([pairs[column].map(place).to_numpy(np.int64) for column in ("from", "to")], axis=1)
