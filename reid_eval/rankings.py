"""The first of each query's ranking, and which queries to look at: what was won, what was lost, and a sample."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from reid_eval.foreign import reason_of
from reid_eval.foreign_arrays import open_arrays
from reid_eval.limits import LARGEST_INTEGER, LONGEST_IMAGE_NAME
from reid_eval.numbers_in_files import Count, Share
from reid_eval.ranking import JUNK
from reid_eval.runtime import InputError, write_bytes

if TYPE_CHECKING:
    from reid_eval.datasets import ReidData
    from reid_eval.settings import TrainSettings

TOP = 10
_BLOCK = 256
Lists = NDArray[np.int32]
"""[Q, k]: rows of the gallery table, nearest first; -1 where the ranking is shorter."""

ImagePath = Annotated[str, Field(max_length=LONGEST_IMAGE_NAME)]
Name = Annotated[str, Field(max_length=1000)]
Number = Annotated[int, Field(ge=-1, le=LARGEST_INTEGER)]


class Strict(BaseModel):
    """Of a file that somebody else may have made."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Photo(Strict):
    """An image of query or gallery; the path is relative to the data set."""

    path: ImagePath
    pid: Number
    camid: Count
    right: bool | None = None
    """In a ranking: whether it shows the query's person."""


class RankedQuery(Strict):
    """One query: its average precision, rank of the first correct image, and first images, by each network."""

    query: Photo
    precision: dict[Name, Share]
    first_rank: dict[Name, Count]
    lists: dict[Name, Annotated[list[Photo], Field(max_length=1000)]]


def top_lists(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    test: ReidData,
    settings: TrainSettings,
    device: str = "cpu",
    k: int = TOP,
) -> Lists:
    """The first `k` of each query's ranking by Market-1501's protocol: junk, and images of the query's person by
    its own camera, are left out, as they are where scores are counted. Equal distances keep the gallery's order.

    Args:
        query, gallery: features [Q, D] and [G, D].
        test: whose query and gallery they are of.
        settings: `distance`, and `rerank` by k-reciprocal encoding, which takes a table of all distances.
        device: where re-ranking computes.
        k: how many.
    """
    from reid_eval.features import distances
    from reid_eval.rerank import rerank_features

    whole = rerank_features(query, gallery, settings.distance, device=device) if settings.rerank else None
    columns = [table[name].to_numpy() for name in ("pid", "camid") for table in (test.query, test.gallery)]
    q_pids, g_pids, q_cams, g_cams = columns
    found = np.full((len(query), k), -1, np.int32)
    for start in range(0, len(query), _BLOCK):
        part = slice(start, start + _BLOCK)
        table = np.array(whole[part] if whole is not None else distances(query[part], gallery, settings.distance))
        out = np.broadcast_to(g_pids == JUNK, table.shape).copy()
        if test.has_cameras:
            out |= (q_pids[part, None] == g_pids) & (q_cams[part, None] == g_cams)
        table[out] = np.inf
        first = np.argsort(table, axis=1, kind="stable")[:, :k]
        there = ~np.take_along_axis(out, first, 1)
        found[part, : first.shape[1]] = np.where(there, first, -1)
    return found


def write_lists(path: Path, lists: Lists) -> None:
    """Write rankings as `.npz`, atomically; the same rankings give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, lists=lists)
    write_bytes(path, buffer.getvalue())


def read_lists(path: Path, queries: int, gallery: int) -> Lists:
    """Rankings of so many queries in a gallery of so many images.

    Raises:
        InputError: the file cannot be read, or is of another data set.
    """
    try:
        with open_arrays(path) as file:
            lists = file["lists"]
    except Exception as error:  # numpy and zipfile raise many kinds on damaged bytes
        raise InputError(f"cannot read rankings from {path} ({reason_of(error)}): delete it") from None
    if lists.dtype != np.int32 or lists.ndim != 2 or len(lists) != queries or lists.shape[1] > 1000:
        raise InputError(f"{path} holds no rankings of {queries} queries: delete it")
    if lists.size and not -1 <= int(lists.min()) <= int(lists.max()) < gallery:
        raise InputError(f"{path} ranks images that a gallery of {gallery} has not: delete it")
    return lists


def choose_queries(
    paths: list[str], ours: NDArray[np.float64], theirs: NDArray[np.float64], count: int, seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Queries to look at: `wins`, `losses` and a random `sample`.

    Args:
        paths: [Q], names of the queries.
        ours, theirs: [Q], average precision of each query by the two networks, NaN where it counts for nothing.
        count: queries of each kind, at most.
        seed: of the sample, which does not look at the scores; a query may be in it and in another kind.

    Returns:
        Rows: wins by how much higher `ours` is, the largest first; losses by how much lower; the sample by hash.
    """
    gain = np.asarray(ours) - np.asarray(theirs)
    counted = np.flatnonzero(~np.isnan(gain))
    order = counted[np.argsort(-gain[counted], kind="stable")]
    wins = order[gain[order] > 0][:count]
    losses = order[gain[order] < 0][::-1][:count]
    keys = {row: hashlib.sha256(f"{seed}\0{paths[row]}".encode()).digest() for row in counted.tolist()}
    sample = sorted(keys, key=keys.__getitem__)[:count]
    return {"wins": wins, "losses": losses, "sample": np.array(sample, np.int64)}


def photo_of(test: ReidData, split: str, row: int, of: int | None = None) -> Photo:
    """An image of a data set's query or gallery; `of` is the query's pid, for those of a ranking."""
    told = test.split(split).iloc[row]
    pid = int(told["pid"])
    return Photo(path=told["path"], pid=pid, camid=int(told["camid"]), right=None if of is None else pid == of)
