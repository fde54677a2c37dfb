"""Files of the slim form's directions: the only reader and writer. They ship with weights, or lie in the user's cache.

The metadata names the weights that they were measured on (`weights_sha256`) and after how many blocks (`blocks`).
Directions of other weights would give pictures that are wrong, so they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from augment.generators.patn.drawn_inputs import drawn_inputs
from augment.generators.patn.folded import FoldedPATN
from augment.generators.patn.slim import SLIM_KEY, Directions, Shares, as_tensors, directions_of, find_directions
from augment.generators.weights import WeightsFile, available_weights, read_weights, write_weights
from augment.runs import Say, cache_dir
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.generators.patn.patn_transfer import PATNTransfer

KIND = "slim form of a generator"
VERSION = 1
"""Of how directions are measured: files in the cache of another version are made anew."""


class Slim(NamedTuple):
    """Directions by the name of a layer, and the SHA-256 of their file."""

    directions: dict[str, Directions]
    sha256: str


def slim_for(transfer: PATNTransfer) -> Slim | None:
    """Directions that ship for these weights; None if there are none.

    Those of all blocks do for fewer: each layer was measured behind those before it only.
    """
    file = _shipped(transfer.weights_sha256)
    if file is None:
        return None
    network = FoldedPATN(transfer.network)
    return Slim({name: one for name, one in directions_of(file).items() if _has(network, name)}, file.sha256)


def _has(network: FoldedPATN, name: str) -> bool:
    return name in {one for one, _ in network.named_modules()}


@lru_cache(maxsize=1)
def _shipped(weights_sha256: str | None) -> WeightsFile | None:
    for name in available_weights(SLIM_KEY):
        file = read_weights(name, SLIM_KEY, KIND)
        if weights_sha256 is not None and file.metadata.get("weights_sha256") == weights_sha256:
            return file
    return None


def make_slim(transfer: PATNTransfer, say: Say) -> Slim:
    """Directions of weights for which none ship: from the user's cache, or measured now on drawn people.

    Args:
        transfer: with a weights file.
        say: told before it takes a while.

    Raises:
        InputError: a network without a weights file, or one of instance norm, whose layers' outputs have no mean.
    """
    sha256 = transfer.weights_sha256
    if sha256 is None:
        raise InputError("the slim form is kept by the weights' file: write the weights to one first", "form")
    path = cache_dir() / "slim" / f"{sha256[:32]}-{transfer.blocks}.safetensors"
    kept = _kept(path, sha256, transfer.blocks)
    if kept is None:
        say(f"Measuring the slim form of {transfer.name} on drawn people, once ...")
        write_slim(path, measure_slim(transfer), sha256, transfer.blocks)
        return read_slim(path)
    return Slim(directions_of(kept), kept.sha256)


def read_slim(path: Path | str) -> Slim:
    """Directions of a file.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    file = read_weights(path, SLIM_KEY, KIND)
    return Slim(directions_of(file), file.sha256)


def _kept(path: Path, sha256: str, blocks: int) -> WeightsFile | None:
    """The file in the cache, if it is there and of use; what is not is made anew."""
    try:
        file = read_weights(path, SLIM_KEY, KIND)
        directions_of(file)
    except InputError:
        return None
    told = tuple(file.metadata.get(key) for key in ("weights_sha256", "blocks", "version"))
    return file if told == (sha256, blocks, VERSION) else None


def measure_slim(transfer: PATNTransfer, shares: Shares | None = None, count: int = 24) -> dict[str, Directions]:
    """Directions of a generator's layers, on `count` drawn people."""
    inputs = drawn_inputs(transfer.size, transfer.sigma, count)
    with _one_thread():
        return find_directions(FoldedPATN(transfer.network).cpu(), inputs, shares)


def write_slim(path: Path, directions: dict[str, Directions], weights_sha256: str, blocks: int) -> str:
    """Write directions; returns the file's SHA-256. They are stored in 8 bits, the means in float32."""
    metadata = {"weights_sha256": weights_sha256, "blocks": blocks, "version": VERSION, "dtype": "int8"}
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_weights(path, as_tensors(directions), metadata, "int8", SLIM_KEY)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same sums in the same order whatever the number of threads, so that machines agree on the file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
