"""Which generated images help: by features of a re-ID network, that they show their person, and something new of it.

Jiang et al. (2021) report that choosing generated images by both beats taking them all. The network must be trained on
kept real images only: one that has seen more would tell what was removed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def margins(made: Floats, made_pids: NDArray[np.int64], real: Floats, real_pids: NDArray[np.int64]) -> Floats:
    """How much nearer each generated image is to its person's photos than to anybody else's: float32 [N], -2..2.

    Cosine similarity to the nearest photo of its own person less that to the nearest of others; above 0 a search among
    the photos finds the person.

    Args:
        made: float32 [N, D], features of generated images.
        made_pids: int64 [N].
        real: float32 [M, D], features of photos.
        real_pids: int64 [M]; every pid of `made_pids` is among them, and another one.
    """
    alike = _unit(made) @ _unit(real).T
    own = made_pids[:, None] == real_pids[None]
    found: Floats = np.where(own, alike, -np.inf).max(1) - np.where(own, -np.inf, alike).max(1)
    return found


def choose(
    made: Floats, made_pids: NDArray[np.int64], real: Floats, real_pids: NDArray[np.int64], keep: float
) -> NDArray[np.bool_]:
    """Which generated images to train on: bool [N].

    Of each person at most the share `keep` of its images, rounded: only those with a margin above 0, and of these, one
    after the other, that which is farthest from the person's photos and from those chosen before.

    Args:
        made, made_pids, real, real_pids: as in `margins`.
        keep: 0..1; 1 keeps all that show their person.
    """
    own, photos = _unit(made), _unit(real)
    good = margins(made, made_pids, real, real_pids) > 0
    kept = np.zeros(len(made), np.bool_)
    for pid in np.unique(made_pids):
        mine = np.flatnonzero(made_pids == pid)
        left = mine[good[mine]].tolist()
        seen = photos[real_pids == pid]
        for _ in range(min(round(keep * len(mine)), len(left))):
            nearest = (own[left] @ seen.T).max(1)
            best = left.pop(int(np.argmin(nearest)))
            kept[best] = True
            seen = np.concatenate([seen, own[best : best + 1]])
    return kept


def _unit(features: Floats) -> Floats:
    length: Floats = np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return features / length
