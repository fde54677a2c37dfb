"""What a plan is about: a data set, the joints in its images, and a library of poses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.folder.render import Task
from augment.plan.file import LIBRARY
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of
from reid_eval.datasets import ReidData
from reid_eval.runtime import sha256_bytes


@dataclass(frozen=True, eq=False)
class Source:
    """What a plan is about.

    Attributes:
        data: the data set.
        keypoints: of its images; (x, y) pixels of each image.
        library: where `library:NAME` poses come from; (x, y) pixels of this data set's images, or of the frame that a
            name tells. None where no pose is from a library.
    """

    data: ReidData
    keypoints: Keypoints
    library: Keypoints | None = None

    @cached_property
    def poses(self) -> dict[str, NDArray[np.float32]]:
        """`[18, 2]` of every name that a plan may give as condition or pose."""
        paths = self.data.train["path"].tolist()
        known = bool(len(self.keypoints))
        found = dict(zip(paths, self.keypoints.xy[self.keypoints.rows(paths)], strict=True)) if known else {}
        if self.library is not None:
            found.update({LIBRARY + name: xy for name, xy in zip(self.library.names, self.library.xy, strict=True)})
        return found

    def sha256(self) -> str:
        """Of the joints of all images and, if there is one, of the library."""
        tables = [table for table in (self.keypoints, self.library) if table is not None and len(table)]
        parts = [part for table in tables for part in ("\n".join(table.names).encode(), table.xy.tobytes())]
        return sha256_bytes(b"\0".join(parts))

    def tasks(self, plan: pd.DataFrame, out: Path) -> list[Task]:
        """The images that a plan generates in the folder `out`, in its order."""
        made = plan[plan["action"] == "generate"]
        return [
            self.task(photo, pose, out / output)
            for photo, pose, output in zip(made["condition"], made["pose"], made["output"], strict=True)
        ]

    def task(self, photo: str, pose: str, output: Path) -> Task:
        """One image: a photo in a pose, both by the names that a plan has for them."""
        foreign = pose.startswith(LIBRARY)
        return Task(
            self.data.root / photo,
            self.poses[photo],
            None if foreign else self.data.root / pose,
            self.poses[pose],
            output,
            frame_of(pose) if foreign else None,
        )
