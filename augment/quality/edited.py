"""Plan and keypoints in an augmented folder belong together, unless somebody edited one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.pose.keypoints import Keypoints
from reid_eval.runtime import InputError


def kept_outputs(plan: pd.DataFrame, images: list[str], out: Path) -> list[str]:
    """Where kept images lie in an augmented folder.

    Args:
        plan: that was carried out.
        images: names in the data set.
        out: the folder, for messages.

    Raises:
        InputError: the plan, which somebody edited, does not keep one of them.
    """
    kept = plan[plan["action"] == "keep"]
    place = dict(zip(kept["image"], kept["output"], strict=True))
    if lost := next((name for name in images if name not in place), None):
        raise InputError(
            f"{out}: its plan generates from {lost} but does not keep it: it was edited, verify the folder"
        )
    return [place[name] for name in images]


def own_rows(keypoints: Keypoints, paths: list[str], out: Path) -> NDArray[np.int64]:
    """Rows of an augmented folder's images in its keypoints.

    Raises:
        InputError: an image without one: somebody edited plan or keypoints.
    """
    rows = keypoints.rows(paths)
    if (rows < 0).any():
        lost = paths[int(np.flatnonzero(rows < 0)[0])]
        raise InputError(f"{out}: {lost} of its plan has no row in its keypoints: one was edited, verify the folder")
    return rows
