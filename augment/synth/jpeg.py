"""JPEG's loss without its bytes: 4:2:0, 8 x 8 cosine transforms, quantised; batched, on any device.

Sums are written out: a matrix product may round differently with the batch size, and a rounding decides over a
coefficient. Not differentiable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 8
# Annex K of the JPEG standard, as every encoder has them.
_LUMA = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]  # fmt: skip
_CHROMA = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
]  # fmt: skip
_BASIS = torch.tensor(
    [
        [(0.5 if k else 0.5**1.5) * math.cos((2 * x + 1) * k * math.pi / 16) for x in range(_BLOCK)]
        for k in range(_BLOCK)
    ]
)


def to_planes(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """RGB `[B, 3, H, W]` in [0, 255] to luma `[B, 1, H', W']` and (Cb, Cr) `[B, 2, H'/2, W'/2]`, both about 0.

    H' and W' are the next multiples of 16; the border is repeated, as encoders do.
    """
    height, width = rgb.shape[2:]
    rgb = F.pad(rgb, (0, -width % 16, 0, -height % 16), mode="replicate")
    red, green, blue = rgb.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = torch.stack([0.564 * (blue - luma), 0.713 * (red - luma)], dim=1)
    return (luma - 128.0)[:, None], F.avg_pool2d(colour, 2)


def from_planes(luma: Tensor, colour: Tensor, size: tuple[int, int]) -> Tensor:
    """The way back: RGB `[B, 3, H, W]` uint8; colour is interpolated, as decoders do."""
    blue, red = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False).unbind(1)
    luma = luma[:, 0] + 128.0
    red, blue = luma + red / 0.713, luma + blue / 0.564
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    rgb = torch.stack([red, green, blue], dim=1)[:, :, : size[0], : size[1]]
    return (rgb + 0.5).clamp(0, 255).to(torch.uint8)


def quantise(luma: Tensor, colour: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """What planes of `to_planes` are after compression with a quality `[B]`, whole numbers 1 to 100."""
    scale = torch.where(quality < 50, torch.floor(5000 / quality), 200 - 2 * quality)[:, None]

    def steps(table: list[int]) -> Tensor:
        base = torch.tensor(table, dtype=torch.float32, device=quality.device)
        return torch.floor((base * scale + 50) / 100).clamp(1, 255).view(-1, 1, 1, _BLOCK, 1, _BLOCK)

    return _quantised(luma, steps(_LUMA)), _quantised(colour, steps(_CHROMA))


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Images uint8 `[B, 3, H, W]`, RGB, as a JPEG of the given quality `[B]` shows them."""
    luma, colour = quantise(*to_planes(images.to(torch.float32)), quality.to(torch.float32))
    return from_planes(luma, colour, (images.shape[2], images.shape[3]))


def _quantised(plane: Tensor, steps: Tensor) -> Tensor:
    batch, channels, height, width = plane.shape
    basis = _BASIS.to(plane.device)
    blocks = plane.view(batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    found = _transform(_transform(blocks, basis, 3), basis, 5)
    found = torch.round(found / steps) * steps
    return _transform(_transform(found, basis.t(), 3), basis.t(), 5).reshape(plane.shape)


def _transform(blocks: Tensor, basis: Tensor, axis: int) -> Tensor:
    """Multiply by the rows of `basis` along an axis of 8."""
    shape = [1] * blocks.dim()
    shape[axis] = _BLOCK
    total = blocks.narrow(axis, 0, 1) * basis[:, 0].reshape(shape)
    for k in range(1, _BLOCK):
        total = torch.addcmul(total, blocks.narrow(axis, k, 1), basis[:, k].reshape(shape))
    return total
