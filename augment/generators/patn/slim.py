"""Cheaper convolutions that give nearly the same: what a layer puts out lies close to a space of few dimensions.

Most of PATN's work is in the pose paths, whose 512 or 256 output channels say little that is not said by a tenth of
them. A convolution W whose outputs y have mean m and principal directions V (as columns, measured on drawn people) is
replaced by the convolution V'W of few outputs and the 1x1 convolution m + V(V'y - V'm): Zhang et al., Accelerating Very
Deep Convolutional Networks, TPAMI 2016, section 3.1 (their linear case). All blocks stay.

Means and directions are found once for given weights and kept in a file: beside the weights that ship, in the user's
cache for others. The layers are gone through in order, each measured behind those that were replaced already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from augment.generators.patn.blocks import join_codes
from augment.generators.patn.folded import FoldedPATN
from augment.generators.weights import WeightsFile
from reid_eval.runtime import InputError

SLIM_KEY = "patn_augment_slim"
"""Of the metadata of files of directions."""
_STEP = 16  # ranks are multiples of a vector register's width
_WORTH = 0.85  # of the work of the whole layer, at most, else it stays whole


class Directions(NamedTuple):
    """Of a layer's outputs: mean `[C]`, orthonormal columns `[C, r]`."""

    mean: Tensor
    vectors: Tensor


class Shares(NamedTuple):
    """Of the variance of a layer's outputs, what may be lost; 0 leaves the layer whole."""

    pose_in: float = 1e-3
    pose: tuple[float, float] = (1e-2, 5e-3)
    image: tuple[float, float] = (1e-2, 1e-2)


Inputs = tuple[Tensor, Tensor, Tensor]
"""Image `[B, 3, H, W]`, maps of the condition's and the target's pose `[B, 18, H, W]`."""


@torch.inference_mode()
def find_directions(network: FoldedPATN, inputs: Inputs, shares: Shares | None = None) -> dict[str, Directions]:
    """Measure where layers' outputs lie, and replace those layers in `network`.

    Args:
        network: float32; changed.
        inputs: of some dozens of images.
        shares: what may be lost.

    Returns:
        Name of a layer to its directions, for `slim_down`.
    """
    found: dict[str, Directions] = {}
    shares = shares or Shares()
    image = network.image_in(inputs[0])
    pose = _measure(network, "pose_in", torch.cat(inputs[1:], dim=1), (shares.pose_in,), found)
    for number in range(len(network.blocks)):
        change = _measure(network, f"blocks.{number}.image", image, shares.image, found)
        pose = _measure(network, f"blocks.{number}.pose", pose, shares.pose, found)
        image = image + change * torch.sigmoid(pose)
        pose = join_codes(pose, image)
    return found


def _measure(
    network: FoldedPATN, part: str, x: Tensor, shares: tuple[float, ...], found: dict[str, Directions]
) -> Tensor:
    """Run a sequence of layers, its first convolutions measured and replaced; what it puts out."""
    wanted = iter(shares)
    for place, layer in network.get_submodule(part).named_children():
        y = layer(x)
        if isinstance(layer, nn.Conv2d) and (share := next(wanted, 0.0)):
            directions = principal(y, share)
            if _is_worth(layer, directions.vectors.shape[1]):
                found[f"{part}.{place}"] = directions
                slim_down(network, {f"{part}.{place}": directions})
                y = network.get_submodule(f"{part}.{place}")(x)
        x = y
    return x


def principal(y: Tensor, share: float) -> Directions:
    """Mean and as many principal directions of `[B, C, h, w]` as leave out at most `share` of its variance."""
    rows = y.permute(0, 2, 3, 1).reshape(-1, y.shape[1]).double()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    values = values.flip(0).clamp(min=0)
    rank = int((values.cumsum(0) < (1 - share) * values.sum()).sum()) + 1
    rank = min(-(-rank // _STEP) * _STEP, len(values))
    return Directions(mean.float(), vectors.flip(1)[:, :rank].float().contiguous())


def _is_worth(layer: nn.Conv2d, rank: int) -> bool:
    """Whether the replaced layer is enough cheaper; both work at as many places."""
    patch = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
    return rank * (patch + layer.out_channels) <= _WORTH * patch * layer.out_channels


def slim_down(network: FoldedPATN, directions: Mapping[str, Directions]) -> FoldedPATN:
    """Replace layers by two cheaper ones each, in place.

    Raises:
        InputError: a name that is no convolution of this network, or directions of another shape.
    """
    layers = dict(network.named_modules())
    for name, (mean, vectors) in directions.items():
        layer = layers.get(name)
        if not isinstance(layer, nn.Conv2d):
            raise InputError(f"slim form: the network has no convolution {name[:80]}")
        channels = layer.out_channels
        if mean.shape != (channels,) or vectors.ndim != 2 or vectors.shape[0] != channels:
            raise InputError(f"slim form: {name}: directions {tuple(vectors.shape)} for {channels} channels")
        parent, _, place = name.rpartition(".")
        setattr(network.get_submodule(parent), place, _two_layers(layer, mean.double(), vectors.double()))
    return network


def _two_layers(layer: nn.Conv2d, mean: Tensor, vectors: Tensor) -> nn.Sequential:
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    few = nn.Conv2d(
        layer.in_channels, vectors.shape[1], layer.kernel_size, layer.stride, layer.padding,  # type: ignore[arg-type]
        padding_mode=layer.padding_mode,
    )  # fmt: skip
    many = nn.Conv2d(vectors.shape[1], layer.out_channels, 1)
    with torch.no_grad():
        few.weight.copy_(torch.einsum("or,oikl->rikl", vectors, layer.weight.double()))
        few.bias.copy_(vectors.T @ (bias - mean))  # type: ignore[union-attr]
        many.weight.copy_(vectors[:, :, None, None])
        many.bias.copy_(mean)  # type: ignore[union-attr]
    pair = nn.Sequential(few, many).requires_grad_(False)
    return pair.to(memory_format=torch.channels_last)


def as_tensors(directions: Mapping[str, Directions]) -> dict[str, Tensor]:
    """For a weights file; the vectors are stored transposed, `[r, C]`, so that 8 bits get a scale a direction."""
    pairs = ((name, one) for name, one in directions.items())
    return {key: value for name, one in pairs for key, value in _tensors(name, one)}


def _tensors(name: str, one: Directions) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.mean", one.mean
    yield f"{name}.vectors", one.vectors.T.contiguous()


def directions_of(file: WeightsFile) -> dict[str, Directions]:
    """What `as_tensors` gave, from its file, as float32.

    Raises:
        InputError: a tensor is missing, unexpected, not finite, or of another shape.
    """
    names = {key.rpartition(".")[0] for key in file.tensors}
    wanted = {f"{name}.{part}" for name in names for part in Directions._fields}
    if not file.tensors or wanted != set(file.tensors):
        raise InputError(f"{file.source}: it lacks means or directions of layers; get the file again")
    found = {}
    for name in sorted(names):
        mean, vectors = (file.tensors[f"{name}.{part}"] for part in Directions._fields)
        numbers = all(value.is_floating_point() and value.isfinite().all() for value in (mean, vectors))
        if (
            not numbers
            or mean.ndim != 1
            or vectors.ndim != 2
            or vectors.shape[1:] != mean.shape
            or len(vectors) > len(mean)
        ):
            raise InputError(f"{file.source}: {name[:80]}: no mean and directions; get the file again")
        found[name] = Directions(mean.float(), vectors.float().T.contiguous())
    return found
