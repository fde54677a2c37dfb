"""The only reader and writer of estimator weights: safetensors, and JSON metadata that says what they are.

The metadata holds one JSON object under `patn_pose`: `format_version`, `architecture` (the arguments of `PoseNet`),
`size` (H, W), `thresholds` (18 scores), and `info`, whatever the training wants to tell.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from augment.estimators.posenet.network import PoseNet
from augment.generators.weights import check_keys
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError, sha256_bytes, write_bytes

FORMAT_VERSION = 1
METADATA_KEY = "patn_pose"
SHIPPED = "pose-synth"
_COUNTER = ".num_batches_tracked"  # nothing reads it


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
    tensors = {}
    for key, value in network.state_dict().items():
        if not key.endswith(_COUNTER):
            kept = value.detach().to("cpu", torch.float16 if value.ndim > 1 else torch.float32)
            if not kept.isfinite().all():
                raise InputError(f"weight {key} is not finite in float16: nothing was written")
            tensors[key] = kept.contiguous()
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": network.architecture,
        "size": list(size),
        "thresholds": [round(float(t), 4) for t in thresholds],
        "info": dict(info),
    }
    try:
        text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"info of the weights is not JSON: {error}") from None
    data = safetensors.torch.save(tensors, {METADATA_KEY: text})
    write_bytes(path, data)
    return sha256_bytes(data)


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
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"can't read estimator weights {path}: {error.strerror or error}") from None
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        version, size, thresholds = (metadata[k] for k in ("format_version", "size", "thresholds"))
    except Exception:  # the parsers raise many types on damaged bytes
        raise InputError(f"{path} holds no weights of a pose estimator: get the file again") from None
    if version != FORMAT_VERSION or len(thresholds) != JOINT_COUNT:
        raise InputError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update it")
    network = PoseNet(**metadata["architecture"])
    wanted = network.state_dict()
    check_keys(
        {k: tuple(v.shape) for k, v in wanted.items()}, {k: tuple(v.shape) for k, v in tensors.items()}, str(path)
    )
    network.load_state_dict({key: tensors[key].float() if key in tensors else wanted[key] for key in wanted})
    facts = metadata.get("info", {})
    return PoseWeights(network.to(device).eval(), tuple(size), tuple(thresholds), facts, sha256_bytes(data))
