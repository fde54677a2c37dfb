"""What lies where in an augmented folder; the one place that knows.

    OUT/bounding_box_train              kept and generated images
    OUT/query, OUT/bounding_box_test    as they were
    OUT/market-annotation-train.csv     joints of all training images; a generated one has its target pose
    OUT/market-annotation-test.csv
    OUT/augmentation/plan.csv           the plan as it was carried out
    OUT/augmentation/manifest.json      there once all else is
    OUT/augmentation/gate.csv           with a gate: all attempts

While it is made: `augmentation/unfinished.json`, records of gated chunks, and `.part-` files that are being written.
`OUT.run.json`, beside it, tells of the run: the folder's bytes must not depend on where or when it was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from augment.plan.file import TRAIN, read_plan
from augment.pose.keypoints import read_keypoints

if TYPE_CHECKING:
    import pandas as pd

    from augment.pose.keypoints import Keypoints

TEST_FOLDERS = {"query": "query", "gallery": "bounding_box_test"}
IMAGE_FOLDERS = (TRAIN, *TEST_FOLDERS.values())
PLAN = "augmentation/plan.csv"
MANIFEST = "augmentation/manifest.json"
UNFINISHED = "augmentation/unfinished.json"
RECORDS = "augmentation/gate"
GATE_LOG = "augmentation/gate.csv"
ANNOTATIONS = ("market-annotation-train.csv", "market-annotation-test.csv")
"""Of the training split, and of the test splits."""
PART = ".part-"
"""How names of files begin that are being written, see `reid_eval.runtime.atomic_path`."""


def folder_plan(out: Path) -> pd.DataFrame:
    """The plan that was carried out in a folder.

    Raises:
        InputError: as `augment.plan.file.read_plan`.
    """
    return read_plan(out / PLAN)


def train_keypoints(out: Path) -> Keypoints:
    """Joints of a folder's training images, (x, y) pixels of each.

    Raises:
        InputError: as `augment.pose.keypoints.read_keypoints`.
    """
    return read_keypoints(out / ANNOTATIONS[0])


def run_file(out: Path) -> Path:
    """The description of the run that made `out`."""
    out = out.absolute()
    return out.parent / f"{out.name}.run.json"
