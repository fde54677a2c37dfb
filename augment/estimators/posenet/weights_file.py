"""What stands in the weights files of pose estimators, see `augment.generators.weights` for their format.

The metadata, under `patn_pose`, has `architecture` (the arguments of `PoseNet`), `size` (H, W), `thresholds` (18
scores), and `info`, whatever the training wants to tell.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.estimators.posenet.network import PoseNet
from augment.generators.weights import load_strictly, read_weights, write_weights
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.limits import MOST_SIDE
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import problems_of

METADATA_KEY = "patn_pose"
SHIPPED = "pose-synth"


class _Architecture(BaseModel):
    """The arguments of `PoseNet`, within what is built of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dims: Annotated[list[Annotated[int, Field(ge=1, le=2048)]], Field(min_length=2, max_length=8)]
    blocks: Annotated[list[Annotated[int, Field(ge=0, le=64)]], Field(min_length=2, max_length=8)]
    joints: Literal[JOINT_COUNT] = JOINT_COUNT  # type: ignore[valid-type]


class _Metadata(BaseModel):
    """Of a file's metadata what the network is built from and used with."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    architecture: _Architecture
    size: Annotated[list[Annotated[int, Field(ge=1, le=MOST_SIDE)]], Field(min_length=2, max_length=2)]
    thresholds: Annotated[list[float], Field(min_length=JOINT_COUNT, max_length=JOINT_COUNT)]


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
    """Write weights atomically, matrices in 8 bits with a scale a channel; the same input gives the same bytes.

    Args:
        path: where to, `*.safetensors`.
        network: mode and device do not matter.
        size: (H, W) of the images it was trained on.
        thresholds: of the 18 scores; a joint below its own is missing.
        info: JSON-able facts: data, schedule, figures.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: info that is not JSON, or a weight that is not finite.
    """
    metadata = {
        "architecture": network.architecture,
        "size": list(size),
        "thresholds": [round(float(t), 4) for t in thresholds],
        "info": dict(info),
    }
    return write_weights(path, network.state_dict(), metadata, "int8", key=METADATA_KEY)


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
        told = _Metadata.model_validate(file.metadata)
        with torch.device("meta"):
            network = PoseNet(**told.architecture.model_dump())
    except (ValidationError, InputError) as error:
        reason = problems_of(error)[:500] if isinstance(error, ValidationError) else error
        raise InputError(f"{path}: bad metadata: {reason}; get the file again") from None
    height, width = told.size
    step = 2 ** len(told.architecture.dims)
    if height % step or width % step:
        raise InputError(f"{path}: bad metadata: size {height}x{width} is no multiple of {step}; get the file again")
    load_strictly(network, file.tensors, str(path))
    return PoseWeights(network.to(device).eval(), (height, width), tuple(told.thresholds), file.info, file.sha256)
