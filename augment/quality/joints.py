"""PCKh as the PATN authors compute it (`tool/calPCKH_market.py`): joints found in a generated image against asked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.pose.skeleton import seen

HEAD_BOX = (0, 1, 14, 15, 16, 17)  # nose, neck, eyes, ears
ALPHA = 0.5


class Pckh(NamedTuple):
    """Counts over all images; `share` is the metric."""

    right: int
    asked: int
    """Joints of target poses whose head box is known."""
    images: int
    """Images whose head box is known; the others count for nothing."""

    @property
    def share(self) -> float:
        """`right / asked`, NaN without any."""
        return self.right / self.asked if self.asked else float("nan")


def head_boxes(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Width and height of the box around nose, neck, eyes and ears.

    Args:
        xy: `[N, 18, 2]`, (x, y) pixels, NaN missing.

    Returns:
        `[N, 2]` pixels, NaN where fewer than two of the six are there.
    """
    head = np.asarray(xy, dtype=np.float64)[:, list(HEAD_BOX)]
    enough: NDArray[np.bool_] = np.asarray(seen(head).sum(1) >= 2)
    high = np.where(np.isnan(head), -np.inf, head).max(1)
    low = np.where(np.isnan(head), np.inf, head).min(1)
    boxes = np.full((len(head), 2), np.nan)
    boxes[enough] = high[enough] - low[enough]
    return boxes


def pckh(found: NDArray[np.floating], asked: NDArray[np.floating], alpha: float = ALPHA) -> Pckh:
    """Count joints that are nearer than `alpha` head sizes, along each axis by itself.

    A joint is right if it was found, and is off by less than `alpha` times the width of the target's head box in x and
    less than `alpha` times its height in y. A joint not found is wrong. So a head seen in profile, whose box is narrow,
    is stricter than one seen from the front: as the authors have it.

    Args:
        found: `[N, 18, 2]` joints found in the generated images, NaN missing.
        asked: `[N, 18, 2]` target poses, NaN missing.
        alpha: share of the head box.
    """
    boxes = head_boxes(asked)
    known: NDArray[np.bool_] = np.asarray(~np.isnan(boxes).any(1))
    with np.errstate(invalid="ignore"):
        near = (np.abs(np.asarray(found, np.float64) - asked) < alpha * boxes[:, None]).all(-1)
    there = seen(asked) & known[:, None]
    return Pckh(int((near & there).sum()), int(there.sum()), int(known.sum()))
