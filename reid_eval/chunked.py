"""The exact ranking from features, in blocks: no table of all distances, on any device.

For every query the gallery's distances are computed and compared with those of its correct images only; how many come
before each is its rank. A CPU sorts each row and looks them up, as `reid_eval.ranking` does; another device counts, all
rows of a block at once: distances become integers that order alike, joined with the gallery's index. Either way equal
distances keep the gallery's order to the letter. Memory: the features, and one block of queries by the whole gallery.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from reid_eval.features import check_features
from reid_eval.ranking import JUNK, Ranking, check_pids, match_ranks, ranking_of, refuse_nan
from reid_eval.runtime import InputError, progress

BLOCK_BYTES = 512 << 20
GALLERY_CHUNK = 1 << 16
LAST = torch.iinfo(torch.int64).max
FeatureArray = NDArray[np.float32] | Tensor
Pids = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Query and gallery pids, query and gallery cameras."""


class Ranker(Protocol):
    """Turns blocks of distances into ranks."""

    bytes_a_pair: int
    """Memory at the peak, for each distance."""

    def __call__(self, table: Tensor, start: int) -> list[NDArray[np.int64]]:
        """Ascending ranks (from 1) of the correct images of queries `start`, `start + 1`, ...; `table` is [B, G]."""
        ...


@torch.inference_mode()
def evaluate_features(
    query: FeatureArray,
    gallery: FeatureArray,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike | None = None,
    gallery_camids: ArrayLike | None = None,
    max_rank: int = 50,
    *,
    metric: str = "cosine",
    device: torch.device | str = "cpu",
    block_bytes: int = BLOCK_BYTES,
) -> Ranking:
    """`reid_eval.ranking.evaluate` of the distances of features, in bounded memory.

    Args:
        query: [Q, D] float32.
        gallery: [G, D] float32, or a memory map of it; it stays where it is and is read a piece at a time.
        query_pids, gallery_pids, query_camids, gallery_camids, max_rank: as for `evaluate`.
        metric: `cosine` or `euclidean`, as for `reid_eval.features.distances`.
        device: where distances are computed and compared.
        block_bytes: memory for one block, about; at least one query is taken at a time (40 bytes a gallery image, 4
            on a CPU and as many again for each thread).

    Raises:
        InputError: as for `evaluate` and `distances`.
    """
    check_features(query, gallery, metric)
    pids = check_pids(query_pids, gallery_pids, query_camids, gallery_camids, max_rank, (len(query), len(gallery)))
    ranker: Ranker = Sorting(pids) if torch.device(device).type == "cpu" else Counting(pids, device)
    block = max(1, block_bytes // (ranker.bytes_a_pair * max(1, len(gallery))))
    squares = _squares(gallery, device)
    found: list[NDArray[np.int64]] = []
    with progress("Ranking", len(query), "queries") as bar:
        for start in range(0, len(query), block):
            table = _distances(query[start : start + block], gallery, squares, metric, device)
            if not torch.isfinite(table.sum(1)).all():
                _refuse(table)
            found += ranker(table, start)
            bar.advance(len(table))
    return ranking_of(found, max_rank)


def _squares(features: FeatureArray, device: torch.device | str) -> Tensor:
    """[N]: squared lengths, a piece at a time."""
    pieces = [(_piece(features, start, device) ** 2).sum(1) for start in range(0, len(features), GALLERY_CHUNK)]
    return torch.cat([torch.empty(0, device=device), *pieces])


def _piece(features: FeatureArray, start: int, device: torch.device | str) -> Tensor:
    piece = features[start : start + GALLERY_CHUNK]
    piece = piece if isinstance(piece, Tensor) else torch.from_numpy(np.array(piece, np.float32))
    return piece.to(device, torch.float32)


def _distances(
    query: FeatureArray, gallery: FeatureArray, squares: Tensor, metric: str, device: torch.device | str
) -> Tensor:
    """float32 [B, G] on the device."""
    block = torch.as_tensor(query).to(device, torch.float32)
    table = torch.empty(len(block), len(gallery), device=device)
    if metric == "cosine":
        block = torch.nn.functional.normalize(block)
    for start in range(0, len(gallery), GALLERY_CHUNK):
        part = slice(start, start + GALLERY_CHUNK)
        torch.mm(block, _piece(gallery, start, device).T, out=table[:, part])
    if metric == "cosine":
        return table.div_(squares.sqrt().clamp(min=1e-12)).neg_().add_(1)
    return table.mul_(-2).add_((block**2).sum(1, keepdim=True)).add_(squares).clamp_(min=0).sqrt_()


def _refuse(table: Tensor) -> None:
    """Raise for a block that holds what is no distance; a sum may overflow where no distance does."""
    if torch.isnan(table).any():
        refuse_nan()
    if torch.isinf(table).any():
        raise InputError("evaluate: distances are infinite: the features are too large for float32; normalise them")


class Sorting:
    """Sorts each row, a thread a row: on a CPU faster than counting, however many correct images there are."""

    bytes_a_pair = 4

    def __init__(self, pids: Pids) -> None:
        self.q_pids, g_pids, self.q_cams, self.g_cams = pids
        self.junk = np.flatnonzero(g_pids == JUNK)
        self._order = np.argsort(g_pids, kind="stable")
        self._sorted = g_pids[self._order]

    def __call__(self, table: Tensor, start: int) -> list[NDArray[np.int64]]:
        """See `Ranker`; the table is changed."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(
                pool.map(partial(self._row, table.numpy()), range(start, start + len(table)), range(len(table)))
            )

    def _row(self, table: NDArray[np.float32], query: int, row: int) -> NDArray[np.int64]:
        ends = np.searchsorted(self._sorted, [self.q_pids[query], self.q_pids[query] + 1])
        same = self._order[ends[0] : ends[1]]
        near = self.g_cams[same] == self.q_cams[query]
        # What is left out comes last, where it is before nothing.
        table[row, self.junk] = table[row, same[near]] = np.inf
        matches = same[~near] if self.q_pids[query] != JUNK else same[:0]
        return match_ranks(table[row], matches)


class Counting:
    """Counts, for all rows of a block at once, what falls before each correct image."""

    bytes_a_pair = 40  # distance, key, bucket (twice) and masks

    def __init__(self, pids: Pids, device: torch.device | str) -> None:
        self._columns = [torch.tensor(column, device=device) for column in pids]

    def __call__(self, table: Tensor, start: int) -> list[NDArray[np.int64]]:
        """See `Ranker`."""
        q_pids, g_pids, q_cams, g_cams = self._columns
        part = slice(start, start + len(table))
        same = q_pids[part, None] == g_pids
        out = (g_pids == JUNK) | (same & (q_cams[part, None] == g_cams))
        return _ranks(table, same & ~out, out)


def _ranks(table: Tensor, matches: Tensor, out: Tensor) -> list[NDArray[np.int64]]:
    """For each row, ascending ranks (from 1) of its matches among what is not `out`; all tensors [B, G]."""
    keys = _keys(table).masked_fill_(out, LAST)
    rows, columns = matches.nonzero(as_tuple=True)
    counts = matches.sum(1)
    most = int(counts.max()) if len(counts) else 0
    place = torch.arange(len(rows), device=table.device) - (counts.cumsum(0) - counts)[rows]
    wanted = torch.full((len(table), most), LAST, device=table.device)
    wanted[rows, place] = keys[rows, columns]
    wanted = wanted.sort(1).values
    # Each gallery image falls between two matches; those that fall before the k-th come before it.
    bucket = torch.searchsorted(wanted, keys, right=True)
    filled = torch.zeros(len(table), most + 1, dtype=torch.int64, device=table.device)
    filled.scatter_add_(1, bucket, torch.ones((), dtype=torch.int64, device=table.device).expand_as(bucket))
    ranks = (filled.cumsum(1)[:, :most] + 1).cpu().numpy()
    return [row[:count] for row, count in zip(ranks, counts.tolist(), strict=True)]


def _keys(table: Tensor) -> Tensor:
    """int64 [B, G], all different in a row, that order like (distance, index): both in one number."""
    bits = (table + 0.0).view(torch.int32)  # -0 becomes 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats order the other way round
    index = torch.arange(table.shape[1], device=table.device)
    return (ordered.to(torch.int64) << 32).add_(index)
