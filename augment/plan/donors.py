"""Where target poses come from: for each image to generate, the picture (or library row) that lends its pose.

Every draw is by rendezvous hashing: each candidate gets a number from a hash of seed, candidate and draw, and the
highest wins. It is uniform, the same on every machine and with every numpy, and a new identity takes its share of the
draws while all others stay as they were; a random generator over a list would reshuffle everything.

Where very many lend poses (`MANY`), an identity draws from some of them only: those that follow its own hash in the
order of theirs. Each comes into as many such windows as any other, to a few percent, and a million images cost what
their own windows cost and not a million times a million numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.plan.file import LIBRARY
from augment.pose.geometry import normalise, pose_distance, torso, upright
from augment.pose.keypoints import Keypoints
from reid_eval.runtime import InputError

POSE_SOURCES = ("dataset", "identity", "camera", "diverse", "library")
DIVERSE_CANDIDATES = 128
"""`diverse` looks at so many donors an identity, drawn from all; with more, every identity gets the same outliers."""
MANY = 16_384
"""Pools of fewer are looked at in full by every draw."""
WINDOW = 512
"""Candidates of an identity in larger ones; more where it is asked for many images."""
_BLOCK = 1 << 16  # poses that are normalised at a time: float64 of a million would take a gigabyte

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


def stable_hash(*parts: object) -> int:
    """64 bits of SHA-256 of the parts' text: the same in every process, version and machine."""
    text = "\x1f".join(map(str, parts))
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
        return len(self.pids)

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
        blocks = [self.xy[start : start + _BLOCK] for start in range(0, len(self.xy), _BLOCK)] or [self.xy]
        size = np.concatenate([torso(block) for block in blocks])
        stands = np.concatenate([upright(block) for block in blocks])
        return stands & (abs(np.log2(np.maximum(size, 1) / max(np.median(size), 1))) < 0.8)

    @cached_property
    def _order(self) -> dict[int | None, tuple[Rows, NDArray[np.uint64]]]:
        """Rows in the order of their keys, and those keys: of all (None), and of each camera."""
        order = np.argsort(self.keys, kind="stable")
        parts: dict[int | None, Rows] = {None: order}
        parts.update({int(camid): order[self.camids[order] == camid] for camid in np.unique(self.camids)})
        return {name: (rows, self.keys[rows]) for name, rows in parts.items()}

    def window(self, pid: int, own: Rows, count: int, by_camera: bool) -> tuple[PosePool, Rows | None]:
        """The candidates of one identity, and their rows here, its own first; all of them and None where not many.

        Args:
            pid: the identity.
            own: rows of its photos, which are always among them.
            count: how many images it is asked for.
            by_camera: have as many of each camera of the photos, and none of others.
        """
        if len(self) < MANY:
            return self, None
        wide, start = max(WINDOW, 2 * count), np.uint64(stable_hash(self.seed, "window", pid))
        groups: list[int | None] = list(np.unique(self.camids[own]).tolist()) if by_camera else [None]
        parts = []
        for group in groups:
            rows, keys = self._order[group]
            first = int(np.searchsorted(keys, start))
            parts += [rows[first : first + wide], rows[: max(0, min(first, first + wide - len(rows)))]]
        others = np.concatenate(parts)
        rows = np.concatenate([own, others[~np.isin(others, own)] if len(own) else others])
        part = PosePool((), self.pids[rows], self.camids[rows], self.xy[rows], self.seed)
        part.__dict__["keys"] = self.keys[rows]  # what is known of all of them, and is of all of them
        if "credible" in self.__dict__:
            part.__dict__["credible"] = self.credible[rows]
        return part, rows

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


def draw_poses(
    pool: PosePool, pid: int, own: Rows, count: int, source: str, exclude: bool, library: bool = False
) -> list[tuple[int, int]]:
    """Choose photo and pose of one identity's `count` generated images.

    The identity's photos take turns. No photo gets the same pose twice while any of them could get another: where one
    has had all of its candidates, the next takes its turn. What is asked for beyond that repeats, all pairs in turn.

    Args:
        pool: all that lend poses; the identity's own among them unless it is a library.
        pid: the identity.
        own: its photos in the order of their turns: rows of `pool`, or any numbers with a library.
        count: how many.
        source: one of `POSE_SOURCES`. `identity` and `camera` fall back to the data set where they find nobody.
        exclude: the donor must not be the photo itself.
        library: `pool` is a library's.

    Returns:
        `count` pairs (place in `own`, row of `pool`); within an identity no donor comes twice before all candidates
        have come once, unless a photo has no other left.

    Raises:
        InputError: `exclude`, and there is but one image to choose from.
    """
    if source == "diverse" and len(pool) >= MANY:
        assert len(pool.credible)  # of all, before it is asked of a part
    pool, rows = pool.window(pid, own[:0] if library else own, count, source == "camera")
    conditions = [-1] * len(own) if library else (own if rows is None else np.arange(len(own))).tolist()
    had: list[set[int]] = [set() for _ in conditions]
    enough = -(-count // len(own)) + 1 if len(own) else 0  # so many for each photo's turns, itself left out
    draw = _Diverse(pool, pid, enough) if source == "diverse" and not library else _Hashed(pool, pid)
    chosen = []
    for number in range(count):
        turns = [(number + step) % len(conditions) for step in range(len(conditions))]
        open_ = ((turn, draw.allowed(conditions[turn], source, exclude)) for turn in turns)
        found = next(((turn, mask) for turn, mask in open_ if np.count_nonzero(mask) > len(had[turn])), None)
        if found is None:  # all pairs are there: once more from the start, so that none comes again before all did
            had = [set() for _ in conditions]
            found = turns[0], draw.allowed(conditions[turns[0]], source, exclude)
        turn, allowed = found
        row = draw(number, allowed, had[turn])
        had[turn].add(row)
        chosen.append((turn, row if rows is None else int(rows[row])))
    return chosen


class _Hashed:
    """Any candidate with equal chance, none twice before all have come once."""

    def __init__(self, pool: PosePool, pid: int) -> None:
        self.pool, self.pid = pool, pid
        self.unused = np.ones(len(pool), dtype=bool)

    def allowed(self, condition: int, source: str, exclude: bool) -> Mask:
        return _allowed(self.pool, self.pid, condition, source, exclude)

    def __call__(self, number: int, allowed: Mask, taken: set[int]) -> int:
        free = allowed & self.unused
        free[list(taken)] = False
        if not free.any():
            self.unused |= allowed
            free = allowed & self.unused
            free[list(taken)] = False
        candidates = np.flatnonzero(free)
        row = int(candidates[np.argmax(self.pool.scores(self.pid, number)[candidates])])
        self.unused[row] = False
        return row


class _Diverse:
    """Farthest-point sampling: each pose is the farthest from all that the identity has, shown or chosen before.

    What is farthest of all is a detector's mistake; hence only credible poses are lent, if there are any.

    Args:
        pool: all that lend poses.
        pid: the identity.
        enough: look at so many candidates at least.
    """

    def __init__(self, pool: PosePool, pid: int, enough: int = 0) -> None:
        self.pool, self.pid = pool, pid
        order = np.argsort(pool.scores(pid, "diverse"), kind="stable")[::-1]
        people = order[pool.credible[order]]
        # In hash order, so that ties fall by hash.
        self.candidates = (people if len(people) > 1 else order)[: max(DIVERSE_CANDIDATES, enough)]
        self.start = pose_distance(pool.shape[self.candidates], pool.shape[pool.pids == pid]).min(axis=1)
        self.gap = self.start.copy()

    def allowed(self, condition: int, source: str, exclude: bool) -> Mask:  # noqa: ARG002  # as _Hashed is asked
        mask = np.zeros(len(self.pool), dtype=bool)
        mask[self.candidates] = True
        if exclude and condition >= 0:
            mask[condition] = False
        return mask if mask.any() else _allowed(self.pool, self.pid, condition, "dataset", exclude)

    def __call__(self, number: int, allowed: Mask, taken: set[int]) -> int:  # noqa: ARG002  # as _Hashed is called
        open_ = allowed[self.candidates] & ~np.isin(self.candidates, list(taken))
        if not open_.any():  # nobody credible is left: anyone who is allowed
            return next(row for row in np.flatnonzero(allowed).tolist() if row not in taken)
        if not (self.gap[open_] > 0).any():
            self.gap = self.start.copy()
        best = int(np.argmax(np.where(open_, self.gap, -1.0)))
        apart = pose_distance(self.pool.shape[self.candidates], self.pool.shape[self.candidates[best : best + 1]])
        self.gap = np.minimum(self.gap, apart[:, 0])
        self.gap[best] = 0.0
        return int(self.candidates[best])


def _allowed(pool: PosePool, pid: int, condition: int, source: str, exclude: bool) -> Mask:
    allowed = np.ones(len(pool), dtype=bool)
    if exclude and condition >= 0:
        allowed[condition] = False
    if not allowed.any():
        raise InputError(
            "there is but one kept image with usable keypoints: no pose can come from another one than the photo itself"
        )
    narrow = allowed
    if source == "identity":
        narrow = allowed & (pool.pids == pid)
    elif source == "camera":
        narrow = allowed & (pool.camids == pool.camids[condition])
    return narrow if narrow.any() else allowed


def redraw_pose(
    pool: PosePool, pid: int, condition: int, free: Mask, source: str, exclude: bool, *draw: object
) -> int | None:
    """Another donor for an image that was rejected.

    Args:
        pool: all candidates.
        pid: the identity.
        condition: row of the condition image in `pool`, -1 in a library.
        free: bool `[N]`: those that may be taken.
        source: one of `POSE_SOURCES`; `diverse` takes any credible pose here.
        exclude: the donor must not be the condition image itself.
        draw: names this draw.

    Returns:
        A row of `pool`, None if no candidate is free.
    """
    if exclude and condition >= 0 and len(pool) < 2:
        return None
    candidates = np.flatnonzero(redraw_allowed(pool, pid, condition, source, exclude) & free)
    return int(candidates[np.argmax(pool.scores(pid, *draw)[candidates])]) if len(candidates) else None


def redraw_allowed(pool: PosePool, pid: int, condition: int, source: str, exclude: bool) -> Mask:
    """Whom a pose may be taken from, bool `[N]`; arguments as in `redraw_pose`."""
    allowed = _allowed(pool, pid, condition, source, exclude)
    if source == "diverse" and (allowed & pool.credible).any():
        allowed = allowed & pool.credible
    return allowed
