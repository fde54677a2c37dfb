"""What is done to drawn people so that a network trained on them also finds real ones. All of it on the device.

Drawn pictures are cleaner, better centred and less varied than photographs. So each is turned, scaled and shifted,
mirrored with its joints, put before another picture, partly covered, re-coloured, blurred or sharpened, made coarse,
grainy and blocky. In the manner of domain randomisation (Tobin et al., IROS 2017) and copy-paste (Ghiasi et al., CVPR
2021).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.pose.skeleton import MIRROR


class Example(NamedTuple):
    """A batch to train on.

    image: float `[B, 3, H, W]` in [-1, 1]. xy: float `[B, 18, 2]`, (x, y) pixels, NaN where the joint lies outside of
    the image. seen: bool `[B, 18]`, whether an estimator should report the joint.
    """

    image: Tensor
    xy: Tensor
    seen: Tensor


class Luck:
    """Random numbers on one device, each call `[B, 1, ...]` shaped to multiply a batch."""

    def __init__(self, generator: torch.Generator, batch: int) -> None:
        self.generator, self.batch = generator, batch

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """`[B, *shape]` uniform in [low, high)."""
        size = (self.batch, *shape)
        return low + (high - low) * torch.rand(size, generator=self.generator, device=self.generator.device)

    def normal(self, *shape: int) -> Tensor:
        """`[B, *shape]` standard normal."""
        return torch.randn((self.batch, *shape), generator=self.generator, device=self.generator.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """`[B, *shape]` float, 1 with the probability, else 0."""
        return (self.between(0, 1, *shape) < probability).float()


def augment(image: Tensor, mask: Tensor, xy: Tensor, seen: Tensor, generator: torch.Generator) -> Example:
    """Vary a batch.

    Args:
        image: uint8 `[B, 3, H, W]`, RGB; H and W multiples of 8.
        mask: bool `[B, H, W]`, the person.
        xy: float `[B, 18, 2]`, (x, y) pixels, NaN where not known.
        seen: bool `[B, 18]`.
        generator: on the images' device; its state alone decides what is done.

    Returns:
        The varied batch.
    """
    luck = Luck(generator, len(image))
    layers = torch.cat([image.float() / 255.0, mask[:, None].float()], dim=1)
    picture, xy, seen = _place(layers, xy, seen, luck)
    picture, xy, seen = _mirror(picture, xy, seen, luck)
    picture, seen = _cut_out(picture, xy, seen, luck)
    picture = develop(picture, luck)
    return Example(picture * 2.0 - 1.0, xy, seen)


def _affine(luck: Luck, size: tuple[int, int], scale: Tensor, turn: float, shift: Tensor) -> tuple[Tensor, Tensor]:
    """A turn, a scale and a shift (share of width and height) of the picture: `[B, 2, 2]` and `[B, 2]` in pixels."""
    height, width = size
    angle = luck.normal() * turn
    stretch = luck.between(-0.08, 0.08).exp()
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([torch.stack([cos * stretch, -sin], -1), torch.stack([sin, cos / stretch], -1)], dim=-2)
    return matrix, shift * torch.tensor([width, height], device=shift.device)


def _warp(layers: Tensor, matrix: Tensor, shift: Tensor, padding: str) -> Tensor:
    """Move pictures about their middle: a point p goes to matrix (p - middle) + middle + shift."""
    height, width = layers.shape[2:]
    half = torch.tensor([width / 2, height / 2], device=layers.device)
    (a, b), (c, d) = matrix[:, 0].unbind(-1), matrix[:, 1].unbind(-1)
    back = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / (a * d - b * c)[:, None, None]
    # grid_sample counts from -1 to 1 across the picture.
    linear = back * half[None, None, :] / half[None, :, None]
    offset = -(back @ shift[..., None])[..., 0] / half
    grid = F.affine_grid(torch.cat([linear, offset[..., None]], -1), list(layers.shape), align_corners=False)
    return F.grid_sample(layers, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _place(layers: Tensor, xy: Tensor, seen: Tensor, luck: Luck) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, scale and shift the person; behind and before it, at times, another picture."""
    size = (layers.shape[2], layers.shape[3])
    near = luck.chance(0.12)
    scale = torch.where(near > 0, luck.between(0.25, 0.65), luck.between(-0.5, 0.28)).exp()
    shift = luck.normal(2) * torch.tensor([0.06, 0.05], device=layers.device)
    matrix, shift = _affine(luck, size, scale, 0.10, shift)
    moved = _warp(layers, matrix, shift, "border")
    alpha = _warp(layers[:, 3:], matrix, shift, "zeros")
    middle = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], device=xy.device)
    # Written out: a batched product would use reduced precision on some devices.
    xy = (matrix[:, None] * (xy - middle)[..., None, :]).sum(-1) + middle + shift[:, None]
    other = _others(layers, luck)
    # A person made smaller stands before another picture more often than before smeared borders.
    behind = (luck.between(0, 1) < torch.where(scale < 0.85, 0.7, 0.25)).float()[:, None, None, None]
    picture = moved[:, :3] * (1 - behind) + (alpha * moved[:, :3] + (1 - alpha) * other[:, :3]) * behind
    picture = _recolour(picture, alpha, luck)
    # The same picture is not at once behind and before.
    before = luck.chance(0.12)[:, None, None, None] * (1 - behind) * other[:, 3:]
    picture = picture * (1 - before) + other[:, :3] * before
    inside = _inside(xy, size)
    covered = _at(before[:, 0], xy) > 0.5
    return picture, xy.masked_fill(~inside[..., None], torch.nan), seen & inside & ~covered


def _others(layers: Tensor, luck: Luck) -> Tensor:
    """The pictures of other examples, moved to a side so that their people do not stand in the middle."""
    size = (layers.shape[2], layers.shape[3])
    side = luck.chance(0.5) * 2 - 1
    shift = torch.stack([side * luck.between(0.4, 0.9), luck.between(-0.25, 0.25)], -1)
    matrix, shift = _affine(luck, size, luck.between(-0.3, 0.4).exp(), 0.1, shift)
    rolled = layers.roll(1, 0)
    moved = _warp(rolled, matrix, shift, "reflection")
    return torch.cat([moved[:, :3], _warp(rolled[:, 3:], matrix, shift, "zeros")], dim=1)


def _recolour(picture: Tensor, alpha: Tensor, luck: Luck) -> Tensor:
    """Other colours and contrast for the person alone: dark clothes before dark ground are too rare by themselves."""
    gain = (luck.normal(3) * 0.25 + luck.normal(1) * 0.35).exp()[:, :, None, None]
    changed = (picture * gain + luck.normal(3)[:, :, None, None] * 0.06).clamp(0, 1)
    return torch.lerp(picture, changed, alpha * luck.chance(0.35, 1, 1, 1))


def _mirror(picture: Tensor, xy: Tensor, seen: Tensor, luck: Luck) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror half of the pictures; left and right joints change places."""
    flip = luck.chance(0.5) > 0
    order = torch.tensor(MIRROR, device=xy.device)
    other = torch.stack([picture.shape[3] - 1 - xy[:, order, 0], xy[:, order, 1]], -1)
    return (
        torch.where(flip[:, None, None, None], picture.flip(3), picture),
        torch.where(flip[:, None, None], other, xy),
        torch.where(flip[:, None], seen[:, order], seen),
    )


def _inside(xy: Tensor, size: tuple[int, int]) -> Tensor:
    """Which joints lie in the picture, bool `[B, 18]`; NaN does not."""
    height, width = size
    x, y = xy.unbind(-1)
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def _at(plane: Tensor, xy: Tensor) -> Tensor:
    """Values of `[B, H, W]` at the joints, `[B, 18]`; 0 outside."""
    height, width = plane.shape[1:]
    x, y = (axis.nan_to_num(-9).round().to(torch.int64) for axis in xy.unbind(-1))
    there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return plane.flatten(1).gather(1, index) * there


def _cut_out(picture: Tensor, xy: Tensor, seen: Tensor, luck: Luck) -> tuple[Tensor, Tensor]:
    """Cover a box of a quarter of the pictures with one colour; the joints under it are not seen."""
    height, width = picture.shape[2:]
    row = torch.arange(height, device=picture.device)[None, :, None]
    column = torch.arange(width, device=picture.device)[None, None, :]
    tall, wide = luck.between(8, 0.4 * height, 1, 1), luck.between(6, 0.6 * width, 1, 1)
    top, left = luck.between(0, height, 1, 1) - tall / 2, luck.between(0, width, 1, 1) - wide / 2
    box = (row >= top) & (row < top + tall) & (column >= left) & (column < left + wide)
    box = (box & (luck.chance(0.25, 1, 1) > 0)).float()
    colour = luck.between(0, 1, 3, 1, 1)
    return torch.lerp(picture, colour.expand_as(picture), box[:, None]), seen & (_at(box, xy) < 0.5)


def develop(picture: Tensor, luck: Luck) -> Tensor:
    """Everything between the scene and the file: colour, light, optics, resolution, grain, compression.

    `[B, 3, H, W]` in [0, 1] to the same.
    """
    picture = _colours(picture, luck)
    picture = _coarser(picture, luck)
    soft = _smooth(picture)
    amount = luck.between(-1.0, 1.6, 1, 1, 1) * luck.chance(0.7, 1, 1, 1)  # below 0 blurs, above 0 sharpens
    picture = picture + amount * (picture - soft)
    grain = luck.between(0, 0.05, 1, 1, 1) * luck.chance(0.5, 1, 1, 1)
    picture = (picture + grain * luck.normal(*picture.shape[1:])).clamp(0, 1)
    step = luck.between(0.01, 0.10, 1, 1, 1, 1, 1)
    return torch.lerp(picture, blocky(picture, step), luck.chance(0.5, 1, 1, 1)).clamp(0, 1)


def _colours(picture: Tensor, luck: Luck) -> Tensor:
    light = F.interpolate(luck.normal(3, 4, 2), size=picture.shape[2:], mode="bicubic", align_corners=True)
    picture = picture * (1 + 0.12 * luck.chance(0.5, 1, 1, 1) * light)
    grey = picture.mean(1, keepdim=True)
    saturation = luck.between(0.3, 1.6, 1, 1, 1) * luck.chance(0.93, 1, 1, 1)
    picture = grey + saturation * (picture - grey)
    turned = torch.where(luck.chance(0.1, 1, 1, 1) > 0, picture.roll(1, 1), picture)  # red to green to blue
    gain = (0.08 * luck.normal(3, 1, 1) + 0.15 * luck.normal(1, 1, 1)).exp()
    level = turned.mean((1, 2, 3), keepdim=True)
    picture = (turned - level) * luck.between(0.6, 1.4, 1, 1, 1) + level
    return (picture * gain).clamp(1e-3, 1) ** (0.25 * luck.normal(1, 1, 1)).exp()


def _coarser(picture: Tensor, luck: Luck) -> Tensor:
    """Half of the resolution, for three of ten pictures."""
    small = F.avg_pool2d(picture, 2)
    coarse = F.interpolate(small, size=picture.shape[2:], mode="bilinear", align_corners=False)
    return torch.lerp(picture, coarse, luck.chance(0.3, 1, 1, 1) * luck.between(0.5, 1, 1, 1, 1))


def _smooth(picture: Tensor) -> Tensor:
    """A 5x5 binomial blur."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=picture.device) / 16
    padded = F.pad(picture, (2, 2, 2, 2), mode="replicate").flatten(0, 1)[:, None]
    blurred = F.conv2d(F.conv2d(padded, taps.view(1, 1, 1, 5)), taps.view(1, 1, 5, 1))
    return blurred.view(picture.shape)


@lru_cache(maxsize=4)
def _cosines(device: torch.device) -> Tensor:
    """The 8x8 cosine transform, orthonormal: rows are frequencies."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    table = torch.cos(math.pi * (n + 0.5) * k / 8) * 0.5
    table[0] *= 0.5**0.5
    return table.to(device)


def blocky(picture: Tensor, step: Tensor) -> Tensor:
    """JPEG's loss without its file: 8x8 cosine transform, rounding that grows with the frequency, and back.

    Args:
        picture: `[B, C, H, W]`, H and W multiples of 8.
        step: `[B, 1, 1, 1, 1, 1]`, the rounding of the lowest frequency on the scale of `picture`.
    """
    batch, channels, height, width = picture.shape
    table = _cosines(picture.device)
    blocks = picture.view(batch, channels, height // 8, 8, width // 8, 8)
    frequencies = torch.einsum("kp,lq,bcrpsq->bcrksl", table, table, blocks)
    grow = 1 + torch.arange(8.0, device=picture.device)
    steps = step * (grow[:, None, None] + grow[None, None, :] - 1)
    rounded = (frequencies / steps).round() * steps
    return torch.einsum("kp,lq,bcrksl->bcrpsq", table, table, rounded).reshape(picture.shape)
