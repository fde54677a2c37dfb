"""Pose diversity and coverage: how much of pose space a person's images show.

Pose space is divided into the cells of the shipped library (12 views of 8 moments of a gait cycle and of standing):
each pose falls to the library pose nearest to it. An identity covers the cells that one of its images falls into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from augment.plan.file import LIBRARY
from augment.pose.geometry import normalise, pose_distance
from augment.pose.keypoints import Keypoints
from augment.pose.library import shipped_library
from augment.pose.skeleton import usable

Poses = NDArray[np.float32]
Pids = NDArray[np.int64]
_CHUNK = 4096


@dataclass(frozen=True)
class PoseSpace:
    """Cells of pose space; `library` gives them their centres and names."""

    library: Keypoints

    def cells(self, xy: NDArray[np.floating]) -> NDArray[np.int64]:
        """The cell of each usable pose, `[N, 18, 2]` to `[N]`."""
        centres = normalise(self.library.xy)
        parts = [
            pose_distance(normalise(xy[start : start + _CHUNK]), centres).argmin(1)
            for start in range(0, len(xy), _CHUNK)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def occupancy(self, xy: NDArray[np.floating], pids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of identities with an image in each cell, `[cells]`; `xy` `[N, 18, 2]` usable, `pids` `[N]`."""
        pairs = np.unique(np.stack([pids, self.cells(xy)], 1), axis=0) if len(xy) else np.empty((0, 2), np.int64)
        people = max(1, len(np.unique(pids)))
        return np.bincount(pairs[:, 1], minlength=len(self.library)) / people

    def coverage(self, xy: NDArray[np.floating], pids: NDArray[np.int64]) -> float:
        """The share of all cells that an identity covers, mean over identities; in [0, 1], higher is better."""
        return float(self.occupancy(xy, pids).sum() / len(self.library))


def pose_space() -> PoseSpace:
    """The cells of the shipped library."""
    return PoseSpace(shipped_library())


def save_pose_space(before: tuple[Poses, Pids], after: tuple[Poses, Pids], target: Path) -> tuple[float, float]:
    """Write the picture of pose space before and after, PNG; returns the coverage of both."""
    from augment.pictures import save_sheet

    space = pose_space()
    shares = space.coverage(*before), space.coverage(*after)
    picture = pose_space_picture(space, space.occupancy(*before), space.occupancy(*after), shares)
    save_sheet(Image.fromarray(picture), target)
    return shares


def pose_diversity(xy: NDArray[np.floating], pids: NDArray[np.int64]) -> float:
    """Mean distance between two poses of an identity, mean over identities with several; NaN without any.

    Args:
        xy: `[N, 18, 2]` usable poses.
        pids: `[N]`.

    Returns:
        Torso lengths (see `augment.pose.skeleton.pose_distance`); higher is better.
    """
    means = []
    for pid in np.unique(pids):
        own = normalise(xy[pids == pid])
        if len(own) > 1:
            means.append(pose_distance(own, own).sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(means)) if means else float("nan")


def plan_poses(
    plan: pd.DataFrame, keypoints: Keypoints, library: Keypoints | None = None
) -> tuple[tuple[Poses, Pids], tuple[Poses, Pids]]:
    """The usable poses that a plan starts from and those that it leads to, without generating anything.

    Args:
        plan: from `augment.plan.sampler`.
        keypoints: of the data set's images.
        library: where its `library:NAME` poses come from.

    Returns:
        (poses `[N, 18, 2]`, pids `[N]`) of all real training images, and of kept and generated ones.
    """
    table = plan[plan["pid"] > 0].assign(pose_of=plan["pose"].where(plan["action"] == "generate", plan["image"]))
    names = sorted(set(table["pose_of"]))
    known = dict(zip(names, keypoints.rows(names).tolist(), strict=True))
    lent = {} if library is None else {LIBRARY + n: xy for n, xy in zip(library.names, library.xy, strict=True)}
    poses = [lent[name] if name in lent else _row(keypoints, known[name]) for name in table["pose_of"]]
    xy = np.stack(poses) if poses else np.empty((0, 18, 2), np.float32)
    good, pids, action = usable(xy), table["pid"].to_numpy(np.int64), table["action"].to_numpy()
    before, after = good & (action != "generate"), good & (action != "drop")
    return (xy[before], pids[before]), (xy[after], pids[after])


def _row(keypoints: Keypoints, row: int) -> Poses:
    return keypoints.xy[row] if row >= 0 else np.full((18, 2), np.nan, np.float32)


def pose_space_picture(
    space: PoseSpace,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    coverage: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Pose space before and after: a skeleton a cell, on a ground as bright as the share of identities that has it.

    Args:
        space: the cells.
        before, after: `[cells]` in [0, 1] from `occupancy`.
        coverage: of both, for the title.

    Returns:
        uint8 RGB: views from left to right, moments downwards; before on the left, after on the right, and how bright
        a ground is how large a share.
    """
    from augment.pictures import colour_strip, grid

    views, moments = _table(space.library.names)
    rows = []
    for moment in moments:
        row: list[NDArray[np.uint8] | None] = []
        for occupancy in (before, after):
            for view in views:
                cell = next(i for i, n in enumerate(space.library.names) if f"view{view}" in n and moment in n)
                row.append(_cell(space.library.xy[cell], float(occupancy[cell])))
        rows.append(row)
    captions = [f"{view}°" for view in views] * 2
    names = [moment.strip("/").replace("@", "") for moment in moments]
    told = ("", "") if coverage is None else (f" ({100 * share:.1f}% an identity)" for share in coverage)
    title = "Poses that identities have: before{} on the left, after{} on the right"
    sheet = grid(
        rows, title=title.format(*told), column_captions=captions, row_captions=names, scale=1, padding=3,
        gap_every=len(views),
    )  # fmt: skip
    grounds = np.stack([_ground(share) for share in np.linspace(0, 1, 240)])
    scale = colour_strip(grounds, "no identity has it", "all have it", sheet.width)
    return np.vstack([np.asarray(sheet), scale])


def _table(names: Sequence[str]) -> tuple[list[str], list[str]]:
    views = sorted({name.split("view")[1][:3] for name in names})
    phases = sorted({"/" + name.split("/")[2].partition("@")[0] + "@" for name in names if name.startswith("gait")})
    return views, [*phases, "stand/"]


def _ground(share: float) -> NDArray[np.uint8]:
    """The colour of a share of identities."""
    empty, full = np.array([24.0, 24.0, 28.0]), np.array([244.0, 226.0, 150.0])
    return np.asarray((empty + (full - empty) * share**0.5).round(), np.uint8)


def _cell(xy: NDArray[np.float32], share: float) -> NDArray[np.uint8]:
    from augment.pose.draw import draw_skeleton

    ground = np.broadcast_to(_ground(share), (128, 64, 3)).copy()
    small: NDArray[np.uint8] = draw_skeleton(ground, xy, thickness=3)[::2, ::2]
    return np.ascontiguousarray(small)
