"""How good an estimator is: positions and presence of joints against annotations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.pose.skeleton import JOINT_COUNT, JOINTS, MIRROR, seen
from augment.synth.stream import UNSEEN_WORLD, PedestrianStream, StreamSettings


class Annotated(NamedTuple):
    """Images uint8 `[N, 3, H, W]` and their annotated joints, float `[N, 18, 2]`, NaN missing."""

    images: Tensor
    xy: NDArray[np.floating]


def synthetic_people(
    world: int = UNSEEN_WORLD,
    identities: int = 512,
    images_per_id: int = 4,
    cameras: int = 12,
    size: tuple[int, int] = (128, 64),
    device: torch.device | str = "cpu",
) -> Annotated:
    """People of a world nobody trained in, with the joints that an estimator should report."""
    settings = StreamSettings(world, identities, images_per_id, cameras, size)
    drawn = PedestrianStream(settings, device).generation(0)
    return Annotated(drawn.image, drawn.keypoints.cpu().numpy())


def best_thresholds(score: NDArray[np.floating], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The threshold of each joint at which reporting `score >= threshold` has the highest F1.

    Args:
        score: `[N, 18]` in [0, 1].
        there: bool `[N, 18]`, what should be reported.

    Returns:
        `[18]` in [0, 1]; of equally good thresholds the middle one, 0.5 for a joint that is never there.
    """
    steps = np.arange(1, 100) / 100
    best = np.full(score.shape[1], 0.5)
    for joint in np.flatnonzero(there.any(0)):
        reported = score[:, joint, None] >= steps
        right = (reported & there[:, joint, None]).sum(0)
        f1 = 2 * right / (reported.sum(0) + there[:, joint].sum())
        best[joint] = steps[f1 >= f1.max() - 1e-12].mean()
    return best


def joint_accuracy(
    xy: NDArray[np.floating], reported: NDArray[np.bool_], truth: NDArray[np.floating], height: int
) -> dict[str, Any]:
    """Compare with annotations.

    Args:
        xy: `[N, 18, 2]` positions of every joint, reported or not.
        reported: bool `[N, 18]`.
        truth: `[N, 18, 2]`, NaN missing.
        height: of the images, pixels.

    Returns:
        `images`; over all joints and for each by its name under `joints`: `pck05` and `pck10` (share of annotated
        joints reported within 0.05 and 0.1 of the height; a missed one is wrong; higher is better), `located05` and
        `located10` (the same, whether reported or not), `error` (mean pixels, reported and annotated; lower is
        better), `precision` and `recall` of being reported, `annotated` (share of images). `located05_unsided` is
        `located05` when a pose may have all left and right joints exchanged: the rest is front taken for back.
    """
    there = seen(truth)
    distance = np.nan_to_num(np.linalg.norm(xy - truth, axis=-1), nan=np.inf)
    swapped = np.nan_to_num(np.linalg.norm(xy[:, list(MIRROR)] - truth, axis=-1), nan=np.inf)
    near = np.stack([distance, swapped]) <= 0.05 * height
    better = np.where((near[1].sum(1) > near[0].sum(1))[:, None], near[1], near[0])
    everything = _row(distance, reported, there, height, slice(None))
    return {
        "images": len(xy),
        **everything,
        "located05_unsided": _share(better & there, there),
        "joints": {
            JOINTS[joint]: _row(distance, reported, there, height, slice(joint, joint + 1))
            for joint in range(JOINT_COUNT)
        },
    }


def _row(
    distance: NDArray[np.floating], reported: NDArray[np.bool_], there: NDArray[np.bool_], height: int, which: slice
) -> dict[str, float | None]:
    distance, reported, there = distance[:, which], reported[:, which], there[:, which]
    both = reported & there
    row: dict[str, float | None] = {}
    for name, radius in (("05", 0.05), ("10", 0.10)):
        near = distance <= radius * height
        row[f"pck{name}"] = _share(near & both, there)
        row[f"located{name}"] = _share(near & there, there)
    row["error"] = round(float(distance[both].mean()), 3) if both.any() else None
    row["precision"], row["recall"] = _share(both, reported), _share(both, there)
    row["annotated"] = _share(there, np.ones_like(there))
    return row


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    return round(float(part.sum() / whole.sum()), 4) if whole.any() else None


def summary(result: dict[str, Any]) -> str:
    """A table for people, percent and pixels; a line a joint."""
    columns = ("pck05", "pck10", "located05", "located10", "error", "precision", "recall", "annotated")
    lines = ["joint  " + "".join(f"{name:>11}" for name in columns)]
    for name, row in [("all", result), *result["joints"].items()]:
        cells = [
            "-" if row[c] is None else f"{row[c]:.2f}px" if c == "error" else f"{100 * row[c]:.1f}%" for c in columns
        ]
        lines.append(f"{name:<7}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)
