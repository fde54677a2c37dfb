"""Where target poses come from: for each image to generate, the picture (or library row) that lends its pose.

Every draw is by rendezvous hashing: each candidate gets a number from a hash of seed, candidate and draw, and the
highest wins. It is uniform, the same on every machine and with every numpy, and a new identity takes its share of the
draws while all others stay as they were; a random generator over a list would reshuffle everything.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.plan.file import LIBRARY
from augment.pose.keypoints import Keypoints
from augment.pose.skeleton import normalise, pose_distance, torso, upright
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
    def places(self) -> dict[str, int]:
        """Row of each name."""
        return {name: row for row, name in enumerate(self.names)}

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


def kept_pool(plan: pd.DataFrame, keypoints: Keypoints, seed: int) -> PosePool:
    """The kept images of people that lend poses in a plan, in its order."""
    kept = plan[(plan["action"] == "keep") & (plan["pid"] > 0)]
    rows = keypoints.rows(kept["image"].tolist())
    good = (rows >= 0) & np.append(keypoints.usable, False)[rows]
    pids, camids = (kept.loc[good, name].to_numpy(np.int64) for name in ("pid", "camid"))
    return PosePool(kept.loc[good, "image"].tolist(), pids, camids, keypoints.xy[rows[good]], seed)


def library_pool(library: Keypoints, seed: int) -> PosePool:
    """The usable poses of a library, under the names that a plan gives them."""
    rows = np.flatnonzero(library.usable)
    nobody = np.full(len(rows), -1, dtype=np.int64)
    return PosePool([LIBRARY + library.names[row] for row in rows.tolist()], nobody, nobody, library.xy[rows], seed)


def draw_pairs(
    pool: PosePool, lender: PosePool, pid: int, count: int, source: str, exclude: bool
) -> list[tuple[int, int]]:
    """Choose photo and donor of one identity's `count` generated images.

    The identity's photos take turns. No donor comes twice before all candidates have come once, but where that would
    repeat a pair. A pair of photo and pose comes again only when the pose source has no other left for any of the
    photos: then all of them may come once more.

    Args:
        pool: the kept images with usable keypoints; the identity's own among them.
        lender: who lends poses: `pool`, or the rows of a library.
        pid: the identity.
        count: how many.
        source: one of `POSE_SOURCES`. `identity` and `camera` fall back to the data set where they find nobody.
        exclude: the donor must not be the condition image itself.

    Returns:
        (row of `pool`, row of `lender`) of each image.

    Raises:
        InputError: `exclude`, and there is but one image to choose from.
    """
    own: list[int] = np.flatnonzero(pool.pids == pid).tolist()
    own.sort(key=lambda row: stable_hash(pool.seed, "turn", pid, pool.names[row]))
    if source == "diverse":
        return _draw_diverse(pool, pid, own, count, exclude)
    if lender is not pool:
        turns = _Turns(own, lambda _: np.ones(len(lender), dtype=bool))
    else:
        turns = _Turns(own, lambda condition: _allowed(pool, pid, condition, source, exclude))
    unused = np.ones(len(lender), dtype=bool)
    chosen = []
    for number in range(count):
        condition, allowed, free = turns.take(number)
        if not (allowed & unused).any():
            unused |= allowed
        best = free & unused
        candidates = np.flatnonzero(best if best.any() else free)
        row = int(candidates[np.argmax(lender.scores(pid, number)[candidates])])
        unused[row] = False
        turns.given[condition][row] = True
        chosen.append((condition, row))
    return chosen


class _Turns:
    """Whose turn it is among an identity's photos, and which poses are still new to it.

    Args:
        own: rows of the photos, in the order of their turns.
        allowed: the donors that the pose source allows for a photo, by its row; bool `[N]`.
    """

    def __init__(self, own: Sequence[int], allowed: Callable[[int], Mask]) -> None:
        self.own, self.allowed = own, allowed
        self.given: defaultdict[int, Mask] = defaultdict(lambda: np.zeros(len(allowed(own[0])), dtype=bool))

    def take(self, number: int) -> tuple[int, Mask, Mask]:
        """The photo of the `number`-th image, whom it may take a pose from, and who of those has not lent it one.

        A photo that has had all of its poses passes its turn on; when all have, all begin anew.
        """
        first = number % len(self.own)
        for condition in [*self.own[first:], *self.own[:first]]:
            allowed = self.allowed(condition)
            free = allowed & ~self.given[condition]
            if free.any():
                return condition, allowed, free
        self.given.clear()
        allowed = self.allowed(self.own[first])
        return self.own[first], allowed, allowed


def _allowed(pool: PosePool, pid: int, condition: int, source: str, exclude: bool) -> Mask:
    allowed = np.ones(len(pool), dtype=bool)
    if exclude and condition >= 0:
        allowed[condition] = False
    if not allowed.any():
        message = "exclude_same_image: there is but one kept image with usable keypoints to take poses from"
        raise InputError(message, "exclude_same_image")
    narrow = allowed
    if source == "identity":
        narrow = allowed & (pool.pids == pid)
    elif source == "camera":
        narrow = allowed & (pool.camids == pool.camids[condition])
    return narrow if narrow.any() else allowed


def _draw_diverse(pool: PosePool, pid: int, own: Sequence[int], count: int, exclude: bool) -> list[tuple[int, int]]:
    """Farthest-point sampling: each pose is the farthest from all that the identity has, shown or chosen before.

    What is farthest of all is a detector's mistake; hence only credible poses are lent, if there are any.
    """
    order = np.argsort(pool.scores(pid, "diverse"), kind="stable")[::-1]
    people = order[pool.credible[order]]
    enough = max(DIVERSE_CANDIDATES, -(-count // len(own)) + 1)  # for each photo to have as many as its turns
    candidates = (people if len(people) > 1 else order)[:enough]
    looked_at = np.zeros(len(pool), dtype=bool)
    looked_at[candidates] = True
    turns = _Turns(own, lambda condition: looked_at & _allowed(pool, pid, condition, "diverse", exclude))
    start = pose_distance(pool.shape[candidates], pool.shape[pool.pids == pid]).min(axis=1)
    gap = start.copy()
    chosen = []
    for number in range(count):
        condition, *masks = turns.take(number)
        allowed, free = (mask[candidates] for mask in masks)
        if not (gap[allowed] > 0).any():
            gap = start.copy()
        far = gap if (gap[free] > 0).any() else start
        best = int(np.argmax(np.where(free, far, -1.0)))  # candidates are in hash order, so ties fall by hash
        gap = np.minimum(gap, pose_distance(pool.shape[candidates], pool.shape[candidates[best : best + 1]])[:, 0])
        gap[best] = 0.0
        turns.given[condition][candidates[best]] = True
        chosen.append((condition, int(candidates[best])))
    return chosen


def redraw_pose(
    pool: PosePool, pid: int, condition: int, used: Collection[str], source: str, exclude: bool, *draw: object
) -> int | None:
    """Another donor for an image that the gate rejected.

    Args:
        pool: all candidates.
        pid: the identity.
        condition: row of the condition image in `pool`, -1 in a library.
        used: names that this photo has had, or is to have, in whichever of its images.
        source: one of `POSE_SOURCES`; `diverse` takes any credible pose here.
        exclude: the donor must not be the condition image itself.
        draw: names this draw.

    Returns:
        A row of `pool`, None if every candidate is used.
    """
    if exclude and condition >= 0 and len(pool) < 2:
        return None
    allowed = redraw_allowed(pool, pid, condition, source, exclude).copy()
    allowed[[row for name in used if (row := pool.places.get(name)) is not None]] = False
    candidates = np.flatnonzero(allowed)
    return int(candidates[np.argmax(pool.scores(pid, *draw)[candidates])]) if len(candidates) else None


def redraw_allowed(pool: PosePool, pid: int, condition: int, source: str, exclude: bool) -> Mask:
    """Whom a pose may be taken from, bool `[N]`; arguments as in `redraw_pose`."""
    allowed = _allowed(pool, pid, condition, source, exclude)
    if source == "diverse" and (allowed & pool.credible).any():
        allowed = allowed & pool.credible
    return allowed
