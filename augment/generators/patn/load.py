"""PATN's weights: what stands in their metadata, and the way from a file to a network and back.

Beside what `augment.generators.weights` asks for, the metadata has `name` (a builder) and `architecture`, the arguments
of `PATNGenerator`. The authors' own files are read by `augment.generators.patn.authors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from augment.generators.patn.builders import architecture_name
from augment.generators.patn.generator import PATNGenerator
from augment.generators.weights import WeightsFile, load_strictly, read_weights, write_weights
from reid_eval.runtime import InputError


def save_generator(path: Path | str, model: PATNGenerator, info: Mapping[str, Any], dtype: str = "float16") -> str:
    """Write a generator's weights, atomically; the same weights and info give the same bytes.

    Args:
        path: where to, usually `*.safetensors`.
        model: the generator; its mode and device do not matter.
        info: JSON-able facts for the metadata: data, schedule, losses, figures.
        dtype: `float16`, `float32` or `int8`; see `write_weights`.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: unknown dtype, info that is not JSON, or a weight that is not finite in `dtype`.
    """
    name = architecture_name(model.architecture)
    metadata = {"name": name, "architecture": model.architecture, "dtype": dtype, "info": dict(info)}
    return write_weights(path, model.state_dict(), metadata, dtype)


def load_generator(name_or_path: Path | str | WeightsFile, device: torch.device | str = "cpu") -> PATNGenerator:
    """Load a generator in evaluation mode, weights as float32.

    Args:
        name_or_path: a file, the name of weights that ship (`available_weights()`), or what `read_weights` gave.
        device: where the generator goes.

    Returns:
        The generator; what its file says of itself is `read_weights(name_or_path).metadata`.

    Raises:
        InputError: unknown name; a file that can't be read; a key missing, unexpected or of another shape.
    """
    file = name_or_path if isinstance(name_or_path, WeightsFile) else read_weights(name_or_path)
    try:
        with torch.device("meta"):
            model = PATNGenerator(**file.metadata["architecture"])
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{file.source}: bad architecture in the metadata: {error}; get the file again") from None
    model.to_empty(device="cpu")
    load_strictly(model, file.tensors, file.source)
    return model.to(device).eval()


def trained_for(metadata: Mapping[str, Any]) -> tuple[tuple[int, int], float]:
    """(H, W) of the images and sigma of the pose maps that weights were trained with, as their file says."""
    info = metadata.get("info", {})
    size = info.get("size") or (128, 64)
    return (int(size[0]), int(size[1])), float(info.get("settings", {}).get("sigma", 6.0))
