"""Joints as images change their size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scale_joints(xy: NDArray[np.float32], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float32]:
    """Joints `[..., 18, 2]` of an image of size `old` (H, W), after it is resized to `new`; pixel centres are kept."""
    if old == new:
        return xy
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    return np.asarray((xy + 0.5) * factor - 0.5, dtype=np.float32)
