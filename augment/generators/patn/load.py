"""PATN's weights: what stands in their metadata, and the way from a file to a network and back.

Beside what `augment.generators.weights` asks for, the metadata has `name` (a builder) and `architecture`, the arguments
of `PATNGenerator`. The authors' own files are read by `augment.generators.patn.authors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.generators.patn.architecture import checked_architecture
from augment.generators.patn.builders import architecture_name
from augment.generators.patn.generator import PATNGenerator
from augment.generators.weights import WeightsFile, load_strictly, read_weights, write_weights
from reid_eval.foreign import reason_of
from reid_eval.limits import MOST_SIDE
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import problems_of

_Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]


class _Settings(BaseModel):
    """Of a training's settings what bears on the use of its weights."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    sigma: Annotated[float, Field(gt=0, le=MOST_SIDE)] | None = None


class _Info(BaseModel):
    """Of what a training told what bears on the use of its weights."""

    model_config = ConfigDict(strict=True)

    size: Annotated[list[_Side], Field(min_length=2, max_length=2)] | None = None
    settings: _Settings = _Settings()


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
    model = meta_generator(file.metadata.get("architecture"), file.source)
    load_strictly(model, file.tensors, file.source)
    return model.to(device).eval()


def meta_generator(architecture: object, source: str) -> PATNGenerator:
    """The network that a file asks for, without memory, so that false numbers cost nothing.

    Raises:
        InputError: a number that is missing or beyond what any such network has.
    """
    try:
        with torch.device("meta"):
            return PATNGenerator(**checked_architecture(architecture))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{source}: bad architecture: {reason_of(error)}; get the file again") from None


class TrainedFor(NamedTuple):
    """What weights were trained with: (H, W) of the images, sigma of the pose maps; in pixels."""

    size: tuple[int, int]
    sigma: float


def trained_for(file: WeightsFile) -> TrainedFor:
    """What a file says that its weights were trained with; 128x64 and 6 where it does not.

    Raises:
        InputError: it says what cannot be.
    """
    try:
        info = _Info.model_validate(file.metadata.get("info") or {})
    except ValidationError as error:
        raise InputError(f"{file.source}: info: {problems_of(error)[:500]}; get the file again") from None
    height, width = info.size or (128, 64)
    return TrainedFor((height, width), 6.0 if info.settings.sigma is None else info.settings.sigma)
