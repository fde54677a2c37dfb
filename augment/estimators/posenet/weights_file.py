"""What stands in the weights files of pose estimators, see `augment.generators.weights` for their format.

The metadata, under `patn_pose`, has `architecture` (the arguments of `PoseNet`), `size` (H, W), `thresholds` (18
scores), and `info`, whatever the training wants to tell.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from augment.estimators.posenet.network import PoseNet
from augment.generators.weights import load_strictly, read_weights, write_weights
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError

METADATA_KEY = "patn_pose"
SHIPPED = "pose-synth"


class PoseWeights(NamedTuple):
    """An estimator's weights: the network in evaluation mode, what its file says, the file's SHA-256."""

    network: PoseNet
    size: tuple[int, int]
    thresholds: tuple[float, ...]
    info: dict[str, Any]
    sha256: str


def save_weights(
    path: Path | str, network: PoseNet, size: tuple[int, int], thresholds: Sequence[float], info: Mapping[str, Any]
) -> str:
    """Write weights atomically, matrices as float16; the same weights and info give the same bytes.

    Args:
        path: where to, `*.safetensors`.
        network: mode and device do not matter.
        size: (H, W) of the images it was trained on.
        thresholds: of the 18 scores; a joint below its own is missing.
        info: JSON-able facts: data, schedule, figures.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: info that is not JSON, or a weight that is not finite in float16.
    """
    metadata = {
        "architecture": network.architecture,
        "size": list(size),
        "thresholds": [round(float(t), 4) for t in thresholds],
        "info": dict(info),
    }
    return write_weights(path, network.state_dict(), metadata, key=METADATA_KEY)


def shipped_weights() -> Path | None:
    """The file that ships, None where there is none."""
    entry = importlib.resources.files("augment") / "weights" / f"{SHIPPED}.safetensors"
    return Path(str(entry)) if entry.is_file() else None


def load_weights(path: Path | str | None = None, device: torch.device | str = "cpu") -> PoseWeights:
    """Load weights as float32; without a path the file that ships.

    Raises:
        InputError: no such file, not one of ours, or keys that do not fit its architecture.
    """
    path = path or shipped_weights()
    if path is None:
        raise InputError("this installation has no shipped estimator weights: give a file of weights", "weights")
    file = read_weights(Path(path), METADATA_KEY, "pose estimator of patn-augment")
    try:
        size, thresholds = (tuple(file.metadata[key]) for key in ("size", "thresholds"))
        network = PoseNet(**file.metadata["architecture"])
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: bad metadata: {error}; get the file again") from None
    if len(thresholds) != JOINT_COUNT:
        raise InputError(f"{path} has {len(thresholds)} thresholds for {JOINT_COUNT} joints: get the file again")
    load_strictly(network, file.tensors, str(path))
    return PoseWeights(network.to(device).eval(), size, thresholds, file.info, file.sha256)
