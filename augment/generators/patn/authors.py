"""Converts the authors' generator checkpoints (`latest_net_netG.pth`) to our weights file, strictly.

The architecture is read off the keys and shapes. Differences that are understood and harmless are put right and
reported; any other key that is missing, unexpected or of another shape is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.generators.patn.builders import architecture_name
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.load import meta_generator, save_generator
from augment.generators.weights import check_keys, load_strictly
from reid_eval.runtime import InputError, sha256_file
from reid_eval.torch_file import read_torch

_RUNNING = (".running_mean", ".running_var", ".num_batches_tracked")


@dataclass(frozen=True)
class ImportReport:
    """What a conversion did.

    `name` is the builder that has this architecture, or `patn`; `parameters` counts trainable numbers; `dropped`
    are the keys left out (InstanceNorm's statistics, which evaluation of a non-tracking norm never reads);
    `without_prefix` counts keys that lost a `module.` of DataParallel; `sha256` is that of the file written.
    """

    path: Path
    name: str
    architecture: dict[str, Any]
    parameters: int
    dropped: tuple[str, ...]
    without_prefix: int
    sha256: str

    def lines(self) -> list[str]:
        """The report for people."""
        numbers = ", ".join(f"{key}={value}" for key, value in self.architecture.items())
        lines = [f"{self.name}: {self.parameters:,} parameters ({numbers})", f"written {self.path}"]
        if self.dropped:
            lines.append(f"dropped {len(self.dropped)} InstanceNorm statistics that the network does not use")
        if self.without_prefix:
            lines.append(f"removed DataParallel's `module.` from {self.without_prefix} keys")
        return lines


_SIZES = {"batch": (128, 64), "instance": (256, 176)}


def import_checkpoint(
    pth_path: Path | str, out_path: Path | str, dtype: str = "float32", size: tuple[int, int] | None = None
) -> ImportReport:
    """Convert a generator checkpoint of the authors' code.

    Args:
        pth_path: `latest_net_netG.pth` or the like, from any PyTorch since 0.3; read with `weights_only`.
        out_path: the safetensors file to write, atomically.
        dtype: `float32` keeps every bit, `float16` halves the file.
        size: (H, W) it was trained at; default: 128x64 with BatchNorm, 256x176 with InstanceNorm.

    Returns:
        What was found, dropped and written.

    Raises:
        InputError: a file that can't be read, holds code, is not a state dict of tensors, or whose keys are not
            exactly those of a PATN generator.
    """
    source = str(pth_path)
    state, without_prefix = _plain_names(read_state_dict(pth_path), source)
    architecture = infer_architecture(state, source)
    model = meta_generator(architecture, source)
    dropped: tuple[str, ...] = ()
    if architecture["norm"] == "instance":
        # Only statistics of the norm layers, whose places are known: 2, 5, 8, ... in the encoders, and so on.
        allowed = {f"{name}{end}" for name in _norm_names(model) for end in _RUNNING}
        dropped = tuple(sorted(key for key in state if key in allowed))
    kept = {key: value for key, value in state.items() if key not in set(dropped)}
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    check_keys(shapes, {key: tuple(value.shape) for key, value in kept.items()}, source)
    load_strictly(model, kept, source)
    info = {
        "imported_from": Path(pth_path).name,
        "imported_sha256": sha256_file(pth_path),
        "data": f"whatever the authors' {Path(pth_path).name} was trained on",
        "licence": f"unspecified; converted from the authors' {Path(pth_path).name}",
        # Their two releases: BatchNorm for Market-1501, InstanceNorm for DeepFashion.
        "size": list(size or _SIZES[architecture["norm"]]),
        "settings": {"sigma": 6.0},
    }
    sha256 = save_generator(out_path, model, info, dtype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    name = architecture_name(architecture)
    return ImportReport(Path(out_path), name, architecture, parameters, dropped, without_prefix, sha256)


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read a `.pth` state dict without running anything in it.

    Raises:
        InputError: missing, damaged, holding code or other objects, or not a dict of named tensors.
    """
    state = read_torch(path)
    if not isinstance(state, Mapping) or not state:
        raise InputError(f"{path} holds a {type(state).__name__}, not a state dict: give latest_net_netG.pth")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InputError(f"{path}: entry {key!r} is a {type(value).__name__}, not a named tensor")
    return dict(state)


def infer_architecture(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """The arguments of `PATNGenerator` from the names and shapes of its state dict.

    The rate of dropout is not in a checkpoint; where the layers are there it is the authors' 0.5.

    Raises:
        InputError: a key from which a number is read is missing or has the wrong number of dimensions.
    """
    image, pose = (_convolution(state, f"model.stream{n}_down.1.weight", source) for n in (1, 2))
    blocks = {match[1] for key in state if (match := re.match(r"model\.att\.(\d+)\.", key))}
    levels = [key for key in state if re.fullmatch(r"model\.stream1_down\.(4|7|10|13|16)\.weight", key)]
    if pose[1] % 2:
        raise InputError(f"{source}: model.stream2_down.1.weight takes {pose[1]} channels, not two poses")
    with_dropout = "model.att.0.conv_block_stream1.6.weight"
    has_dropout = with_dropout in state and state[with_dropout].ndim == 4
    return {
        "image_channels": image[1],
        "pose_channels": pose[1] // 2,
        "ngf": image[0],
        "n_blocks": len(blocks),
        "n_downsampling": len([key for key in levels if state[key].ndim == 4]),
        "norm": "batch" if "model.stream1_down.2.weight" in state else "instance",
        "dropout": 0.5 if has_dropout else 0.0,
    }


def _convolution(state: Mapping[str, Tensor], key: str, source: str) -> tuple[int, ...]:
    if key not in state:
        first = ", ".join(sorted(state)[:3])
        raise InputError(f"{source} is not a PATN generator: no key {key} (it has {first}, ...)")
    if state[key].ndim != 4:
        raise InputError(f"{source}: {key} has shape {tuple(state[key].shape)}, a convolution has 4 dimensions")
    return tuple(state[key].shape)


def _plain_names(state: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], int]:
    """Take DataParallel's `module.` out of the names, wherever it stands."""
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part != "module")
        if name in plain:
            raise InputError(f"{source}: {name} is there twice, with and without DataParallel's `module.`")
        plain[name] = value
    return plain, sum("module" in key.split(".") for key in state)


def _norm_names(model: PATNGenerator) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.InstanceNorm2d)]
