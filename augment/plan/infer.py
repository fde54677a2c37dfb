"""How a plan that was read from a file was drawn. It does not say so itself, and it may have been edited since.

A pose source explains a plan if every pose of it could come from there. Several may: all that `identity` gives,
`dataset` can give, too. The narrowest is taken, so that what is drawn anew is nothing that the plan would not do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from augment.plan.donors import PosePool, Rows, kept_pool
from augment.plan.file import LIBRARY
from augment.pose.keypoints import Keypoints
from reid_eval.runtime import InputError

_NARROWEST_FIRST = ("identity", "camera", "diverse", "dataset")


def explaining_sources(plan: pd.DataFrame, keypoints: Keypoints) -> tuple[str, ...]:
    """The pose sources that explain a plan, the narrowest first.

    `library` explains a plan all of whose poses are from one. In a plan of both kinds the others are about the poses
    that are not.

    Args:
        plan: checked by `augment.plan.file.check_plan`.
        keypoints: of the data set.
    """
    made = plan[plan["action"] == "generate"]
    own = made[~made["pose"].str.startswith(LIBRARY)]
    if len(made) and own.empty:
        return ("library",)
    found = _Found(own, kept_pool(plan, keypoints, seed=0), never_same(plan))
    return tuple(source for source in _NARROWEST_FIRST if found.explained_by(source))


def never_same(plan: pd.DataFrame) -> bool:
    """Whether a plan makes images, and none in the pose of its own photo."""
    made = plan[plan["action"] == "generate"]
    return bool(len(made)) and not (made["pose"] == made["condition"]).any()


def infer_pose_source(
    plan: pd.DataFrame, keypoints: Keypoints, pose_source: str | None = None, exclude: bool | None = None
) -> tuple[str, bool]:
    """How to draw more poses for a plan: pose source, and whether the photo's own pose is excluded.

    Args:
        plan: checked by `augment.plan.file.check_plan`.
        keypoints: of the data set.
        pose_source: what the user says; None: the narrowest that explains the plan.
        exclude: what the user says; None: True if no image of the plan has the pose of its own photo.

    Raises:
        InputError: the user's pose source could not be heeded: library poses are replaced by library poses, and others
            by others.
    """
    sources = explaining_sources(plan, keypoints)
    if pose_source is not None and (pose_source == "library") != (sources == ("library",)):
        likely = " or ".join(sources)
        raise InputError(
            f"pose_source {pose_source} contradicts the plan, whose poses are from {likely}: leave it out",
            "pose_source",
        )
    return pose_source or sources[0], never_same(plan) if exclude is None else exclude


class _Found:
    """Where the poses of a plan's generated images come from, as rows of those that lend poses.

    The answers are those of `augment.plan.donors.redraw_allowed`, image by image; asking it for a million images would
    look at a million poses each time.

    Args:
        made: generated images whose pose is no library's.
        pool: all that lend poses.
        exclude: no image has the pose of its own photo.
    """

    def __init__(self, made: pd.DataFrame, pool: PosePool, exclude: bool) -> None:
        self.pool, self.exclude = pool, exclude
        self.pids = made["pid"].to_numpy(np.int64)
        self.photos = _rows(pool, made["condition"])
        poses = _rows(pool, made["pose"])
        self.strange = bool((poses < 0).any())  # a distractor's, in a plan that somebody edited
        self.poses = np.maximum(poses, 0)

    def explained_by(self, source: str) -> bool:
        """Whether a pose source could have given all of them."""
        if source == "dataset":
            return True
        if self.strange:
            return False
        if not len(self.poses):
            return True
        if source == "diverse":
            return self._all_of(self.pool.credible.astype(np.int64), np.ones_like(self.pids))
        if source == "camera":
            return self._all_of(self.pool.camids, self.pool.camids[self.photos])
        return self._all_of(self.pool.pids, self.pids)

    def _all_of(self, kinds: Rows, wanted: Rows) -> bool:
        """Whether each pose is of the kind that its image wants; where nobody else is, any will do.

        Args:
            kinds: of those that lend poses.
            wanted: of each image.
        """
        values, counts = np.unique(kinds, return_counts=True)
        place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
        there = np.where(values[place] == wanted, counts[place], 0)
        there -= self.exclude & (kinds[self.photos] == wanted)
        return bool(((kinds[self.poses] == wanted) | (there == 0)).all())


def _rows(pool: PosePool, names: pd.Series) -> Rows:
    """Rows of images among those that lend poses, -1 where they do not."""
    return np.array([pool.places.get(name, -1) for name in names.tolist()], np.int64)
