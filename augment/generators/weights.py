"""The only reader and writer of generator weights: safetensors, and JSON metadata that says what they are.

The metadata holds one JSON object under `patn_augment`: `format_version`, `name`, `architecture` (the arguments of
`PATNGenerator`), `dtype`, and `info`, whatever the training wants to tell. The authors' own files are read by
`augment.generators.patn.authors`.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from augment.generators.patn.builders import architecture_name
from augment.generators.patn.generator import PATNGenerator
from reid_eval.datasets.names import image_stem
from reid_eval.runtime import InputError, sha256_bytes, write_bytes

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FORMAT_VERSION = 1
METADATA_KEY = "patn_augment"
DTYPES = {"float16": torch.float16, "float32": torch.float32, "int8": torch.int8}
_SCALE = ".int8_scale"
# A count of training batches; with BatchNorm's momentum fixed at 0.1 nothing reads it, and files leave it out.
_COUNTER = ".num_batches_tracked"


class WeightsFile(NamedTuple):
    """A weights file taken apart: where it came from, its metadata, its tensors (int8 undone), its bytes' SHA-256."""

    source: str
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def save_generator(path: Path | str, model: PATNGenerator, info: Mapping[str, Any], dtype: str = "float16") -> str:
    """Write a generator's weights, atomically; the same weights and info give the same bytes.

    Convolutions' weights are stored as `dtype`; vectors (biases, BatchNorm) stay float32: they are few and their
    range is wide. `int8` keeps a scale for each first index (a convolution's output channel), largest value 127, and
    is undone on reading: half of float16's size, and rounding of about one per cent of a weight.

    Args:
        path: where to, usually `*.safetensors`.
        model: the generator; its mode and device do not matter.
        info: JSON-able facts for the metadata: data, schedule, losses, figures.
        dtype: `float16`, `float32` or `int8`.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: unknown dtype, info that is not JSON, or a weight that is not finite in `dtype`.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    tensors = {}
    for key, value in model.state_dict().items():
        if not key.endswith(_COUNTER):
            packed = _pack(key, value.detach().cpu(), dtype if value.ndim > 1 else "float32")
            if not all(kept.isfinite().all() for kept in packed.values()):
                raise InputError(f"weight {key} is not finite in {dtype}: nothing was written")
            tensors.update(packed)
    metadata = {
        "format_version": FORMAT_VERSION,
        "name": architecture_name(model.architecture),
        "architecture": model.architecture,
        "dtype": dtype,
        "info": dict(info),
    }
    try:
        text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"info of the weights is not JSON: {error}") from None
    data = safetensors.torch.save(tensors, {METADATA_KEY: text})
    write_bytes(path, data)
    return sha256_bytes(data)


def _pack(key: str, value: Tensor, dtype: str) -> dict[str, Tensor]:
    value = value.contiguous()
    if dtype != "int8":
        return {key: value.to(DTYPES[dtype])}
    scale = value.float().abs().amax(tuple(range(1, value.ndim)), keepdim=True) / 127
    scale = torch.where(scale > 0, scale, 1.0)
    return {key: (value / scale).round().to(torch.int8), key + _SCALE: scale.flatten()}


def _unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `int8`; everything else as it is.

    Raises:
        KeyError: an int8 tensor without its scale.
    """
    plain = {}
    for key, value in tensors.items():
        if value.dtype == torch.int8:
            value = value.float() * tensors[key + _SCALE].view(-1, *[1] * (value.ndim - 1))
        if not key.endswith(_SCALE):
            plain[key] = value
    return plain


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


def weights_sha256(name_or_path: Path | str) -> str:
    """SHA-256 of a weights file's bytes, named as for `load_generator`.

    Raises:
        InputError: unknown name, or a file that can't be read.
    """
    return sha256_bytes(_read_bytes(name_or_path)[1])


def available_weights() -> list[str]:
    """Names of the weights that ship, sorted."""
    try:
        return sorted(
            Path(entry.name).stem
            for entry in _folder().iterdir()
            if entry.name.endswith(".safetensors") and _is_ours(entry)
        )
    except FileNotFoundError:
        return []


def read_weights(name_or_path: Path | str) -> WeightsFile:
    """Read a weights file whole, without building the network.

    Raises:
        InputError: unknown name, not a safetensors file, or not one of ours.
    """
    source, data = _read_bytes(name_or_path)
    try:
        tensors = _unpack(safetensors.torch.load(data))
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as error:  # the parsers raise many types on damaged bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source} is not a readable safetensors file ({reason}): get it again") from None
    try:
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{source} has no {METADATA_KEY!r} metadata: not a generator of patn-augment; "
            "convert the authors' .pth with `patn-augment import-checkpoint`"
        ) from None
    if version != FORMAT_VERSION:
        raise InputError(f"{source} has format version {version}, this program reads {FORMAT_VERSION}: update it")
    return WeightsFile(source, metadata, tensors, sha256_bytes(data))


def load_strictly(model: PATNGenerator, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the model as float32; every key of either side must be in the other.

    Raises:
        InputError: keys missing, unexpected or of another shape, all named; values not finite.
    """
    wanted = model.state_dict()
    check_keys({k: tuple(v.shape) for k, v in wanted.items()}, {k: tuple(v.shape) for k, v in tensors.items()}, source)
    for key, value in tensors.items():
        if not key.endswith(_COUNTER) and not (value.is_floating_point() and value.isfinite().all()):
            raise InputError(f"{source}: {key} holds values that are not finite numbers; get the file again")
    with torch.no_grad():
        for key, value in wanted.items():  # state_dict's tensors share memory with the model
            value.copy_(tensors[key]) if key in tensors else value.zero_()


def check_keys(wanted: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Compare names and shapes; BatchNorm's batch counters may be missing.

    Raises:
        InputError: any difference, each key named.
    """
    differences = [
        ("missing", [k for k in wanted if k not in got and not k.endswith(_COUNTER)]),
        ("unexpected", [k for k in got if k not in wanted]),
        ("of another shape", [f"{k} {got[k]} for {wanted[k]}" for k in got if k in wanted and got[k] != wanted[k]]),
    ]
    found = "; ".join(f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in differences if keys)
    if found:
        raise InputError(f"{source} does not fit its architecture, keys {found}")


def _is_ours(entry: Traversable) -> bool:
    """Whether a file holds a generator: the folder of what ships has estimators, too."""
    with entry.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return METADATA_KEY in json.loads(file.read(length)).get("__metadata__", {})


def _folder() -> Traversable:
    return importlib.resources.files("augment") / "weights"


def _read_bytes(name_or_path: Path | str) -> tuple[str, bytes]:
    """The file's description for messages, and its bytes. A file on disk wins only if it looks like a path."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.name == name_or_path and path.suffix != ".safetensors":
        entry = _folder() / f"{name_or_path}.safetensors"
        if not entry.is_file():
            names = ", ".join(available_weights()) or "none"
            raise InputError(f"no weights named {name_or_path!r}: give a .safetensors file or one of: {names}")
        return f"weights {name_or_path!r}", entry.read_bytes()
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read weights {path}: {error.strerror or error}") from None


DEFAULT_CPU_WEIGHTS = "patn-synth-tiny"


DEFAULT_GPU_WEIGHTS = "patn-synth"


def pick_weights(weights: str | None, device: str) -> str:
    """The user's weights, or the best that ship for this device.

    Raises:
        InputError: nothing ships and nothing was named.
    """
    if weights:
        return weights
    from reid_eval.runtime import resolve_device

    shipped = available_weights()
    if DEFAULT_GPU_WEIGHTS in shipped and resolve_device(device).type == "cuda":
        return DEFAULT_GPU_WEIGHTS
    if DEFAULT_CPU_WEIGHTS in shipped:
        return DEFAULT_CPU_WEIGHTS
    raise InputError("no weights ship with this installation: give --weights FILE (see `patn-augment train --help`)")


def trained_for(metadata: dict[str, Any]) -> tuple[tuple[int, int], float]:
    """(H, W) of the images and sigma of the pose maps that weights were trained with, as their file says."""
    info = metadata.get("info", {})
    size = info.get("size") or (128, 64)
    return (int(size[0]), int(size[1])), float(info.get("settings", {}).get("sigma", 6.0))


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 of the sorted image names, one a line, folders and suffixes left off."""
    return sha256_bytes("\n".join(sorted({image_stem(name) for name in names})).encode())
