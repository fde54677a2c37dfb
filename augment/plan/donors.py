"""Where target poses come from: for each image to generate, the picture (or library row) that lends its pose.

Every draw is by rendezvous hashing: each candidate gets a number from a hash of seed, candidate and draw, and the
highest wins. It is uniform, the same on every machine and with every numpy, and a new identity takes its share of the
draws while all others stay as they were; a random generator over a list would reshuffle everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augment.pose.geometry import normalise, pose_distance, torso, upright
from reid_eval.runtime import InputError

POSE_SOURCES = ("dataset", "identity", "camera", "diverse", "library")
DIVERSE_CANDIDATES = 128
"""`diverse` looks at so many donors an identity, drawn from all; with more, every identity gets the same outliers."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


def stable_hash(*parts: object) -> int:
    """64 bits of SHA-256 of the parts' text: the same in every process, version and machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass(frozen=True, eq=False)
class PosePool:
    """N pictures whose pose may be lent: kept images with usable keypoints, or the rows of a library.

    Attributes:
        names: what goes into the plan's `pose` column.
        pids, camids: int64 `[N]`; -1 in a library.
        xy: `[N, 18, 2]`, (x, y) pixels, NaN missing.
        seed: of the plan.
    """

    names: Sequence[str]
    pids: Rows
    camids: Rows
    xy: NDArray[np.float32]
    seed: int

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The candidates' hashes, uint64 `[N]`."""
        return np.array([stable_hash(self.seed, "donor", name) for name in self.names], dtype=np.uint64)

    @cached_property
    def shape(self) -> NDArray[np.float64]:
        """Poses without place and size, float64 `[N, 18, 2]`."""
        return normalise(self.xy)

    @cached_property
    def credible(self) -> NDArray[np.bool_]:
        """Poses that look like a pedestrian's, not like a detector's mistake, bool `[N]`: upright, of a common size."""
        size = torso(self.xy)
        return upright(self.xy) & (abs(np.log2(np.maximum(size, 1) / max(np.median(size), 1))) < 0.8)

    def scores(self, *draw: object) -> NDArray[np.uint64]:
        """Each candidate's number in this draw, uint64 `[N]`: the finaliser of splitmix64 over both hashes."""
        x = self.keys ^ np.uint64(stable_hash(self.seed, "draw", *draw))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def draw_poses(pool: PosePool, pid: int, conditions: Rows | None, count: int, source: str, exclude: bool) -> list[int]:
    """Choose the donors of one identity's `count` generated images.

    Args:
        pool: all candidates; the identity's own among them.
        pid: the identity.
        conditions: `[count]` rows of `pool`, the condition image of each; None in a library.
        count: how many.
        source: one of `POSE_SOURCES`. `identity` and `camera` fall back to the data set where they find nobody.
        exclude: the donor must not be the condition image itself.

    Returns:
        `count` rows of `pool`; within an identity no donor comes twice before all candidates have come once.

    Raises:
        InputError: `exclude`, and there is but one image to choose from.
    """
    if source == "diverse" and conditions is not None:
        return _draw_diverse(pool, pid, conditions, exclude)
    unused = np.ones(len(pool), dtype=bool)
    chosen = []
    for number in range(count):
        condition = -1 if conditions is None else int(conditions[number])
        allowed = _allowed(pool, pid, condition, source, exclude)
        if not (allowed & unused).any():
            unused |= allowed
        candidates = np.flatnonzero(allowed & unused)
        row = int(candidates[np.argmax(pool.scores(pid, number)[candidates])])
        unused[row] = False
        chosen.append(row)
    return chosen


def _allowed(pool: PosePool, pid: int, condition: int, source: str, exclude: bool) -> Mask:
    allowed = np.ones(len(pool), dtype=bool)
    if exclude and condition >= 0:
        allowed[condition] = False
    if not allowed.any():
        raise InputError("--exclude-same-image: there is but one kept image with usable keypoints to take poses from")
    narrow = allowed
    if source == "identity":
        narrow = allowed & (pool.pids == pid)
    elif source == "camera":
        narrow = allowed & (pool.camids == pool.camids[condition])
    return narrow if narrow.any() else allowed


def _draw_diverse(pool: PosePool, pid: int, conditions: Rows, exclude: bool) -> list[int]:
    """Farthest-point sampling: each pose is the farthest from all that the identity has, shown or chosen before.

    What is farthest of all is a detector's mistake; hence only credible poses are lent, if there are any.
    """
    order = np.argsort(pool.scores(pid, "diverse"), kind="stable")[::-1]
    people = order[pool.credible[order]]
    candidates = (people if len(people) > 1 else order)[:DIVERSE_CANDIDATES]
    start = pose_distance(pool.shape[candidates], pool.shape[pool.pids == pid]).min(axis=1)
    gap = start.copy()
    chosen = []
    for condition in conditions:
        open_ = candidates != condition if exclude else np.ones(len(candidates), dtype=bool)
        if not open_.any():
            _allowed(pool, pid, int(condition), "dataset", exclude)
        if not (gap[open_] > 0).any():
            gap = start.copy()
        best = int(np.argmax(np.where(open_, gap, -1.0)))  # candidates are in hash order, so ties fall by hash
        gap = np.minimum(gap, pose_distance(pool.shape[candidates], pool.shape[candidates[best : best + 1]])[:, 0])
        gap[best] = 0.0
        chosen.append(int(candidates[best]))
    return chosen


def redraw_pose(
    pool: PosePool, pid: int, condition: int, used: Sequence[str], source: str, exclude: bool, *draw: object
) -> int | None:
    """Another donor for an image that the gate rejected.

    Args:
        pool: all candidates.
        pid: the identity.
        condition: row of the condition image in `pool`, -1 in a library.
        used: names that were tried.
        source: one of `POSE_SOURCES`; `diverse` takes any credible pose here.
        exclude: the donor must not be the condition image itself.
        draw: names this draw.

    Returns:
        A row of `pool`, None if every candidate was tried.
    """
    if exclude and condition >= 0 and len(pool) < 2:
        return None
    allowed = _allowed(pool, pid, condition, source, exclude)
    if source == "diverse" and (allowed & pool.credible).any():
        allowed = allowed & pool.credible
    allowed = allowed & ~np.isin(np.array(pool.names, dtype=object), list(used))
    candidates = np.flatnonzero(allowed)
    return int(candidates[np.argmax(pool.scores(pid, *draw)[candidates])]) if len(candidates) else None
