"""A gate that rejects by the hash of the image, and a generation through it: for tests of shards and interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from drawn import standing
from toy import Says, Toy

from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.folder.manifest import Manifest
from augment.gate.judge import Gate, GateThresholds, Verdict
from augment.gate.redraw import GateRun
from augment.gate.strategy import GatedRendering
from augment.plan.sampler import make_plan
from augment.pose import load_annotations
from reid_eval.datasets import ReidData

LIMITS = GateThresholds(pose=-0.1, colour=12.0, contrast=8.0, saturated=0.5, noise=15.0)


class Blind(Gate):
    """Rejects a share of all images by their bytes: repeatable, and blind."""

    def __init__(self, share: float) -> None:
        super().__init__(Says(standing()), LIMITS)
        self.share = share

    def judge(
        self,
        images: np.ndarray,
        poses: np.ndarray,
        photos: np.ndarray,
        photo_poses: np.ndarray,
        pids: np.ndarray | None = None,
    ) -> list[Verdict]:
        bad = [int(image.astype(np.int64).sum()) % 100 < 100 * self.share for image in images]
        return [Verdict(0.5, 1.0, 50.0, 0.0, 2.0, ("pose",) if b else ()) for b in bad]


def gated(data: ReidData, out: Path, *, share: float = 0.5, toy: Toy | None = None, **more: Any) -> Manifest | None:
    """Half of the images of a plan of ten (two chunks) are rejected; one retry each."""
    keypoints = load_annotations(data.root)
    plan = make_plan(data.train, keypoints, ratio=0.6, seed=1)
    gate = GatedRendering(GateRun(Blind(share), retries=1, seed=1))
    return generate(Source(data, keypoints), plan, toy or Toy(), out, rendering=gate, **more)
