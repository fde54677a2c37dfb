"""The 18 joints of OpenPose (COCO model): names, limbs, mirror image, and which of them a pose has.

Every array here is float, `[..., 18, 2]`, in (x, y) pixels with x to the right and y down; a missing joint is NaN.
The sides are the person's own: seen from the front, the right shoulder lies at the smaller x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Joints 14-17 are right eye, left eye, right ear, left ear. The label list in the authors' `pose_utils.py` calls them
# Leye, Reye, Lear, Rear, but data disagree: in pets_mini joint 14 lies on the same side of joint 15 as joint 2 (Rsho)
# of joint 5 (Lsho) in 97% of the images (ears, 16 and 17: 96%), as often as the right hip does of the left (97%), and
# ear 16 is on average 2.4 pixels from eye 14 but 4.0 from eye 15. Nothing is permuted when files are read or written.
JOINTS = (
    "nose",
    "neck",
    "Rsho",
    "Relb",
    "Rwri",
    "Lsho",
    "Lelb",
    "Lwri",
    "Rhip",
    "Rkne",
    "Rank",
    "Lhip",
    "Lkne",
    "Lank",
    "Reye",
    "Leye",
    "Rear",
    "Lear",
)
JOINT_COUNT = len(JOINTS)
SHOULDERS = (2, 5)
HIPS = (8, 11)
HEAD = (0, 14, 15, 16, 17)

LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)

# MIRROR[i] is the joint that takes the place of joint i in a mirrored image.
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)


def seen(xy: Array) -> NDArray[np.bool_]:
    """Which joints are there: `[..., 18, 2]` to bool `[..., 18]`."""
    return np.asarray(~np.isnan(xy).any(axis=-1))


def usable(xy: Array) -> NDArray[np.bool_]:
    """The authors' rule for a pose to generate from: both shoulders and both hips seen; `[..., 18, 2]` to `[...]`."""
    return np.asarray(seen(xy)[..., list(SHOULDERS + HIPS)].all(axis=-1))
