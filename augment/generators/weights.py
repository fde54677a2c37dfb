"""The only reader and writer of weights that ship: safetensors, and JSON metadata that says what they are.

The metadata holds one JSON object under a key that tells the kind of file (`patn_augment`: a generator). In it are
`format_version`, `dtype`, `info` (whatever the training wants to tell) and what the kind needs to build its network.
`augment.generators.patn.load` and `augment.estimators.weights` say what that is.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from reid_eval.alike import did_you_mean
from reid_eval.datasets.names import distinct_names, image_stem, is_image
from reid_eval.foreign import parse_json, read_foreign, reason_of
from reid_eval.limits import LONGEST_NAME, MOST_HEADER_BYTES, MOST_WEIGHTS_BYTES
from reid_eval.runtime import InputError, sha256_bytes, write_bytes

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FORMAT_VERSION = 1
METADATA_KEY = "patn_augment"
"""Of generators."""
DTYPES = {"float16": torch.float16, "float32": torch.float32, "int8": torch.int8}
_SCALE = ".int8_scale"
_MOST_NAMED = 100  # keys in a message
# A count of training batches; with BatchNorm's momentum fixed at 0.1 nothing reads it, and files leave it out.
_COUNTER = ".num_batches_tracked"


class WeightsFile(NamedTuple):
    """A weights file taken apart: where it came from, its metadata, its tensors (int8 undone), its bytes' SHA-256."""

    source: str
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str

    @property
    def info(self) -> dict[str, Any]:
        """What the training told."""
        info = self.metadata.get("info", {})
        return info if isinstance(info, dict) else {}


def write_weights(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    dtype: str = "float16",
    key: str = METADATA_KEY,
) -> str:
    """Write weights, atomically; the same tensors and metadata give the same bytes.

    Matrices are stored as `dtype`; vectors (biases, BatchNorm) stay float32: they are few and their range is wide.
    `int8` keeps a scale for each first index (a convolution's output channel), largest value 127, and is undone on
    reading: half of float16's size, and rounding of about one per cent of a weight.

    Args:
        path: where to, usually `*.safetensors`.
        tensors: a network's state dict; its device does not matter.
        metadata: JSON-able; `format_version` is added.
        dtype: `float16`, `float32` or `int8`.
        key: tells the kind of file.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: unknown dtype, metadata that is not JSON, or a weight that is not finite in `dtype`.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    packed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not name.endswith(_COUNTER):
            parts = _pack(name, value.detach().cpu(), dtype if value.ndim > 1 else "float32")
            if not all(kept.isfinite().all() for kept in parts.values()):
                raise InputError(f"weight {name} is not finite in {dtype}: nothing was written")
            packed.update(parts)
    try:
        text = json.dumps({**metadata, "format_version": FORMAT_VERSION}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"info of the weights is not JSON: {error}") from None
    data = safetensors.torch.save(packed, {key: text})
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
        ValueError: a scale of another length: broadcast, it would make a large tensor of small ones.
    """
    plain = {}
    for key, value in tensors.items():
        if value.dtype == torch.int8:
            scale = tensors[key + _SCALE]
            if value.ndim == 0 or scale.numel() != value.shape[0]:
                raise ValueError(f"{key} does not fit its scale")
            value = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        if not key.endswith(_SCALE):
            plain[key] = value
    return plain


def read_weights(
    name_or_path: Path | str, key: str = METADATA_KEY, kind: str = "generator of patn-augment"
) -> WeightsFile:
    """Read a weights file whole, without building a network.

    Args:
        name_or_path: a file, or the name of weights that ship (`available_weights()`).
        key: of the metadata, as for `write_weights`.
        kind: what the file should be, for the message.

    Raises:
        InputError: unknown name, not a safetensors file, or not one of this kind.
    """
    source, data = _read_bytes(name_or_path, key)
    try:
        header = _header(data)
        tensors = _unpack(safetensors.torch.load(data))
    except Exception as error:  # the parsers raise many types on damaged bytes
        raise InputError(f"{source} is not a readable safetensors file ({reason_of(error)}): get it again") from None
    try:
        metadata = parse_json(header["__metadata__"][key])
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError):
        hint = (
            "convert the authors' .pth with `patn-augment import-checkpoint`"
            if key == METADATA_KEY
            else "get the file again"
        )
        raise InputError(f"{source} has no {key!r} metadata: not a {kind}; {hint}") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{source} has format version {version}, this program reads {FORMAT_VERSION}: update it")
    return WeightsFile(source, metadata, tensors, sha256_bytes(data))


def weights_sha256(name_or_path: Path | str) -> str:
    """SHA-256 of a generator's weights file, named as for `read_weights`.

    Raises:
        InputError: unknown name, or a file that can't be read.
    """
    return sha256_bytes(_read_bytes(name_or_path, METADATA_KEY)[1])


def available_weights(key: str = METADATA_KEY) -> list[str]:
    """Names of the weights of one kind that ship, sorted."""
    try:
        return sorted(
            Path(entry.name).stem
            for entry in _folder().iterdir()
            if entry.name.endswith(".safetensors") and _is_kind(entry, key)
        )
    except FileNotFoundError:
        return []


def load_strictly(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the model as float32; every key of either side must be in the other.

    The model may be on the meta device: it gets memory on the CPU only when the keys are compared.

    Raises:
        InputError: keys missing, unexpected or of another shape, many of them named; values not finite.
    """
    wanted = model.state_dict()
    check_keys({k: tuple(v.shape) for k, v in wanted.items()}, {k: tuple(v.shape) for k, v in tensors.items()}, source)
    for key, value in tensors.items():
        if not key.endswith(_COUNTER) and not (value.is_floating_point() and value.isfinite().all()):
            raise InputError(f"{source}: {key} holds values that are not finite numbers; get the file again")
    if any(value.is_meta for value in wanted.values()):
        # Not by to_empty, whose first call imports a computer algebra system, half a second of every start
        empty = {key: torch.empty(value.shape, dtype=value.dtype) for key, value in wanted.items()}
        model.load_state_dict(empty, assign=True)
        wanted = model.state_dict()
    with torch.no_grad():
        for key, value in wanted.items():  # state_dict's tensors share memory with the model
            value.copy_(tensors[key]) if key in tensors else value.zero_()


def check_keys(wanted: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Compare names and shapes; BatchNorm's batch counters may be missing.

    Raises:
        InputError: any difference, up to a hundred keys of each kind named.
    """
    differences = [
        ("missing", [k for k in wanted if k not in got and not k.endswith(_COUNTER)]),
        ("unexpected", [k for k in got if k not in wanted]),
        ("of another shape", [f"{k} {got[k]} for {wanted[k]}" for k in got if k in wanted and got[k] != wanted[k]]),
    ]
    found = "; ".join(f"{len(keys)} {what}: {_named(keys)}" for what, keys in differences if keys)
    if found:
        raise InputError(f"{source} does not fit its architecture, keys {found}")


def _named(keys: list[str]) -> str:
    return ", ".join(key[:200] for key in keys[:_MOST_NAMED]) + (", ..." if len(keys) > _MOST_NAMED else "")


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 of the sorted image names, one a line, suffixes left off; folders too, unless names repeat."""
    distinct = set(distinct_names({_without_suffix(name) for name in names}))
    return sha256_bytes("\n".join(sorted(distinct)).encode())


def _without_suffix(path: str) -> str:
    place = PurePosixPath(path)
    return (place.parent / image_stem(place.name)).as_posix() if is_image(place.name) else path


def _header(data: bytes) -> dict[str, Any]:
    """The JSON at a safetensors file's head, its length checked against the file's.

    Raises:
        ValueError: no such header.
    """
    length = _header_length(data[:8], len(data))
    header = parse_json(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping")
    return header


def _header_length(head: bytes, size: int) -> int:
    length = int.from_bytes(head, "little")
    if len(head) < 8 or not 2 <= length <= min(size - 8, MOST_HEADER_BYTES):
        raise ValueError("its header is cut off")
    return length


def _is_kind(entry: Traversable, key: str) -> bool:
    """Whether a file holds weights of this kind: the folder of what ships has several."""
    with entry.open("rb") as file:
        try:
            header = parse_json(file.read(_header_length(file.read(8), _size(file))))
        except ValueError:
            return False
    return isinstance(header, dict) and key in header.get("__metadata__", {})


def _size(file: IO[bytes]) -> int:
    place = file.tell()
    size = file.seek(0, 2)
    file.seek(place)
    return size


def _folder() -> Traversable:
    return importlib.resources.files("augment") / "weights"


def _read_bytes(name_or_path: Path | str, key: str) -> tuple[str, bytes]:
    """The file's description for messages, and its bytes. A file on disk wins only if it looks like a path."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.name == name_or_path and path.suffix != ".safetensors":
        entry = _folder() / f"{name_or_path}.safetensors"
        if len(name_or_path) > LONGEST_NAME or not entry.is_file():
            known = available_weights(key)
            names, meant = ", ".join(known) or "none", did_you_mean(name_or_path, known)
            raise InputError(
                f"no weights named {name_or_path[:200]!r}: {meant}give a .safetensors file or one of: {names}"
            )
        return f"weights {name_or_path!r}", entry.read_bytes()
    try:
        return str(path), read_foreign(path, MOST_WEIGHTS_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"can't read weights {str(path)[:500]}: {reason_of(error)}") from None
