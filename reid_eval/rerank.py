"""Re-ranking: Zhong, Zheng, Cao & Li, Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.

With D the squared Euclidean distances over queries and gallery together, each row divided by its maximum (as in the
authors' code; the paper leaves the scale open), N(p, k) the k nearest of p and p itself:

    R(p, k)  = those of N(p, k) that have p among their own N(., k)                                       (equation 3)
    R*(p)    = R(p, k1), and R(q, k1/2) of each of its q of which more than 2/3 lies in R(p, k1)          (equation 5)
    V(p, g)  = exp(-D(p, g)) for g in R*(p), 0 elsewhere, scaled to sum 1; then the mean of V over N(p)'s first k2
    J(p, g)  = 1 - sum min(V(p), V(g)) / sum max(V(p), V(g))                                              (equation 10)
    distance = (1 - weight) J + weight D                                                                  (equation 12)

The paper writes "at least 2/3", the authors' code "more than"; published figures come from the code, so this follows
the code. Everything is kept sparse: memory is for a block of rows of D and for the result, not for all pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from reid_eval.features import check_features
from reid_eval.runtime import InputError, progress

K1, K2, WEIGHT = 20, 6, 0.3
BLOCK_BYTES = 256 << 20
Rows = Callable[[int, int], Tensor]
"""(start, stop) to those rows of the squared distances among queries, then gallery: float32 [stop - start, Q + G]."""


def rerank_features(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    metric: str = "cosine",
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Re-ranked distances float32 [Q, G] of features [Q, D] and [G, D]; see the module's head.

    Args:
        query: float32.
        gallery: float32.
        metric: `cosine` normalises the features first, `euclidean` takes them as they are.
        k1: neighbours of the encoding; needs more than k1 images in all.
        k2: neighbours that are averaged; 1 for none.
        weight: of the original distance, 0..1.
        device: where distances are computed.

    Raises:
        InputError: unknown metric, features of different width, or numbers out of range.
    """
    check_features(query, gallery, metric)
    every = torch.cat([torch.as_tensor(query), torch.as_tensor(gallery)]).float().to(device)
    if metric == "cosine":
        every = torch.nn.functional.normalize(every)
    squares = (every**2).sum(1)

    def rows(start: int, stop: int) -> Tensor:
        products = every[start:stop] @ every.T
        return (squares[start:stop, None] + squares - 2 * products).clamp(min=0)

    return _rerank(rows, len(query), len(every), k1, k2, weight)


def rerank(
    query_gallery: ArrayLike,
    query_query: ArrayLike,
    gallery_gallery: ArrayLike,
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> NDArray[np.float32]:
    """Re-ranked distances float32 [Q, G] from distances [Q, G], [Q, Q] and [G, G], as torchreid's `re_ranking`."""
    between, queries, others = (
        torch.as_tensor(np.asarray(table, np.float32)) for table in (query_gallery, query_query, gallery_gallery)
    )
    count = len(queries)

    def rows(start: int, stop: int) -> Tensor:
        top = torch.cat([queries[start:stop], between[start:stop]], 1)
        low = slice(max(start - count, 0), max(stop - count, 0))
        return torch.cat([top, torch.cat([between.T[low], others[low]], 1)]) ** 2

    return _rerank(rows, count, count + len(others), k1, k2, weight)


def _rerank(rows: Rows, queries: int, total: int, k1: int, k2: int, weight: float) -> NDArray[np.float32]:
    if not (1 <= k2 <= k1 + 1 and k1 < total and 0 <= weight <= 1):
        raise InputError(
            f"re-ranking: k1 {k1}, k2 {k2}, weight {weight} with {total} images: expected 1 <= k2 <= k1 + 1, k1 below "
            "the number of images, and a weight in 0..1"
        )
    near = _neighbours(rows, total, k1)
    wide = _reciprocal(near)
    encoded = _weights(rows, _expanded(wide, _reciprocal(near[:, : int(np.around(k1 / 2)) + 1])))
    if k2 > 1:
        encoded = _adjacency(near[:, :k2]) @ encoded / k2
    final = np.empty((queries, total - queries), np.float32)
    jaccard = _jaccard(encoded[:queries], encoded[queries:])
    for start, stop in _blocks(queries, total):
        table = rows(start, stop)
        scaled = (table / table.amax(1, keepdim=True))[:, queries:].cpu().numpy()
        for row in range(start, stop):
            final[row] = (1 - weight) * next(jaccard) + weight * scaled[row - start]
    return final


def _blocks(count: int, total: int) -> list[tuple[int, int]]:
    size = max(1, BLOCK_BYTES // (16 * total))
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def _neighbours(rows: Rows, total: int, k1: int) -> NDArray[np.int64]:
    """int64 [N, k1 + 1]: nearest images of each, itself among them, nearest first."""
    found = []
    with progress("Re-ranking: neighbours", total) as bar:
        for start, stop in _blocks(total, total):
            found.append(rows(start, stop).topk(k1 + 1, largest=False).indices.cpu().numpy())
            bar.advance(stop - start)
    return np.concatenate(found)


def _adjacency(near: NDArray[np.int64]) -> Any:
    """Sparse [N, N]: 1 where column is among row's neighbours."""
    from scipy.sparse import csr_matrix

    count, width = near.shape
    starts = np.arange(0, count * width + 1, width)
    return csr_matrix((np.ones(near.size, np.float32), near.reshape(-1), starts), shape=(count, count))


def _reciprocal(near: NDArray[np.int64]) -> Any:
    """R(p, k) as a sparse matrix of ones."""
    found = _adjacency(near)
    return found.multiply(found.T).tocsr()


def _expanded(wide: Any, half: Any) -> Any:
    """R*(p) as a sparse matrix, nonzero at its members."""
    sizes = np.asarray(half.sum(1)).reshape(-1)
    shared = wide.multiply(wide @ half.T).tocsr()
    columns = shared.indices
    shared.data = (shared.data > 2 / 3 * sizes[columns]).astype(np.float32)
    shared.eliminate_zeros()
    return (wide + shared @ half).tocsr()


def _weights(rows: Rows, members: Any) -> Any:
    """V: exp(-D) at the members, each row of sum 1."""
    total = members.shape[0]
    with progress("Re-ranking: weights", total) as bar:
        for start, stop in _blocks(total, total):
            part = rows(start, stop)
            table = (part / part.amax(1, keepdim=True)).cpu().numpy()
            for row in range(start, stop):
                span = slice(members.indptr[row], members.indptr[row + 1])
                values = np.exp(-table[row - start, members.indices[span]])
                members.data[span] = values / values.sum()
            bar.advance(stop - start)
    return members


def _jaccard(query: Any, gallery: Any) -> Any:
    """Rows of J, float32 [G], one a query: only images that share a neighbour with it are looked at."""
    columns, count = gallery.tocsc(), gallery.shape[0]
    for row in range(query.shape[0]):
        span = slice(query.indptr[row], query.indptr[row + 1])
        least = np.zeros(count, np.float32)
        for column, value in zip(query.indices[span], query.data[span], strict=True):
            part = slice(columns.indptr[column], columns.indptr[column + 1])
            least[columns.indices[part]] += np.minimum(value, columns.data[part])
        yield 1 - least / (2 - least)
