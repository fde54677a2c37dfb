"""The only reader and writer of trained re-ID networks' files: safetensors with JSON metadata that says what they are.

The metadata holds one JSON object under `reid_eval`: `format_version`, `settings` (of `TrainSettings`), `backbone`,
`people` (the pid of each label, or the name where people have names; null where neither is known), `classes` (how many
labels), `width` (of the features), `size` ((H, W) of the images), `init` (what the training started from), `versions`,
and what the training wants to tell, such as `data` and `scores`. `reid_eval.backbones.saved` makes networks of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reid_eval.foreign import open_regular, parse_json, read_foreign, reason_of
from reid_eval.limits import MOST_HEADER_BYTES, MOST_WEIGHTS_BYTES
from reid_eval.runtime import InputError, sha256_bytes, write_bytes

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
METADATA_KEY = "reid_eval"


class ModelFile(NamedTuple):
    """A file taken apart."""

    source: str
    """Its path, for messages."""
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str
    """Of its bytes."""


def write_model_file(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Write tensors and metadata, atomically; the same ones give the same bytes. Returns the file's SHA-256.

    Raises:
        InputError: the metadata is not JSON, or a tensor is not finite: nothing is written.
    """
    import safetensors.torch

    if wild := [key for key, value in tensors.items() if not value.isfinite().all()]:
        raise InputError(f"weight {wild[0]} is not finite: nothing was written")
    try:
        text = json.dumps({"format_version": FORMAT_VERSION, **metadata}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata of the network is not JSON: {error}") from None
    data = safetensors.torch.save(
        {key: value.detach().cpu().contiguous() for key, value in tensors.items()}, {METADATA_KEY: text}
    )
    write_bytes(path, data)
    return sha256_bytes(data)


def is_model_file(path: Path | str) -> bool:
    """Whether a file is one of ours, by its header; False for what cannot be read."""
    try:
        with open_regular(path) as file:
            return METADATA_KEY in _header(file.read(8), file.read(MOST_HEADER_BYTES)).get("__metadata__", {})
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def read_model_file(path: Path | str) -> ModelFile:
    """Read a file whole, without building the network.

    Raises:
        InputError: it is missing, damaged, not one of ours, or of another version.
    """
    import safetensors.torch

    path = Path(path)
    try:
        data = read_foreign(path, MOST_WEIGHTS_BYTES)
    except OSError as error:
        raise InputError(f"can't read the network {path}: {error.strerror or error}") from None
    try:
        header = _header(data[:8], data[8 : 8 + MOST_HEADER_BYTES])
        tensors = safetensors.torch.load(data)
    except Exception as error:  # the parsers raise many types on damaged bytes
        raise InputError(f"{path} is not a readable safetensors file ({reason_of(error)}): get it again") from None
    try:
        metadata = parse_json(header["__metadata__"][METADATA_KEY])
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} has no {METADATA_KEY!r} metadata: not a network that reid-eval saved; "
            "plain weights can only start a training"
        ) from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update it")
    return ModelFile(str(path), metadata, tensors, sha256_bytes(data))


def _header(length: bytes, rest: bytes) -> dict[str, Any]:
    """The JSON header of a safetensors file; `rest` holds at least that or `MOST_HEADER_BYTES` bytes.

    Raises:
        ValueError: it is no JSON object, or longer than the file or than `MOST_HEADER_BYTES`.
    """
    size = int.from_bytes(length, "little")
    if len(length) < 8 or size > len(rest):
        raise ValueError(f"a header of {size} bytes")
    header = parse_json(rest[:size])
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header
