"""How a plan that was read from a file was drawn. It does not say so itself, and it may have been edited since.

A pose source explains a plan if every pose of it could come from there. Several may: all that `identity` gives,
`dataset` can give, too. The narrowest is taken, so that what is drawn anew is nothing that the plan would not do.
"""

from __future__ import annotations

import pandas as pd

from augment.plan.donors import PosePool, kept_pool, redraw_allowed
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
    pool, exclude = kept_pool(plan, keypoints, seed=0), never_same(plan)
    return tuple(source for source in _NARROWEST_FIRST if _explains(source, own, pool, exclude))


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


def _explains(source: str, made: pd.DataFrame, pool: PosePool, exclude: bool) -> bool:
    return all(
        redraw_allowed(pool, pid, pool.places[photo], source, exclude)[pool.places[pose]]
        for pid, photo, pose in zip(made["pid"].tolist(), made["condition"], made["pose"], strict=True)
    )
