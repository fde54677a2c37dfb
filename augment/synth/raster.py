"""Batched rasteriser: every primitive of every person in one pass over the pixels, no ray marching.

A tapered capsule with an elliptical section becomes, in a frame squeezed so that the section is round, a sphere swept
along a segment. Seen along the view ray its silhouette is a 2-D capsule, so a pixel needs one clamp and one square
root per primitive; the depth buffer keeps the nearest. Orthographic rays; perspective enters through the positions.
The depth is that of the sphere whose centre the ray passes closest: exact for an axis across the view, a little deep
for one that points at the camera.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_FAR = -1e4


class Solids(NamedTuple):
    """Tapered capsules in view space (metres: x right, y up, z towards the camera), `[B, K, ...]`."""

    a: Tensor  # [B, K, 3]
    axis: Tensor  # [B, K, 3] unit, from a to b
    left: Tensor  # [B, K, 3] unit
    forward: Tensor  # [B, K, 3] unit
    flat: Tensor  # [B, K]
    length: Tensor  # [B, K]
    ra: Tensor  # [B, K]
    rb: Tensor  # [B, K]
    split: Tensor  # [B, K] axial share where `trim` begins
    trim: Tensor  # [B, K] added to the radius beyond the split
    trimmed: tuple[bool, ...]  # K: whether anybody's part of this kind is trimmed
    cut: tuple[int, ...]  # K: -1 open at a, 1 open at b (a hem, no round cap), 0 closed


class Hits(NamedTuple):
    """What each pixel sees: depth `[B, H, W]` (-1e4 where nothing), index of the part, axial share in [0, 1]."""

    depth: Tensor
    part: Tensor
    share: Tensor

    @property
    def mask(self) -> Tensor:
        """`[B, H, W]` bool: some part is there."""
        return self.depth > _FAR / 2


def make_solids(
    a: Tensor, b: Tensor, ra: Tensor, rb: Tensor, left: Tensor, flat: Tensor, split: Tensor, trim: Tensor,
    trimmed: tuple[bool, ...], cut: tuple[int, ...],
) -> Solids:  # fmt: skip
    """Complete the local frames of parts given by their ends; the rest of `Solids` is passed on."""
    length = (b - a).norm(dim=-1).clamp_min(1e-4)
    axis = (b - a) / length[..., None]
    lateral = left - (left * axis).sum(-1, keepdim=True) * axis
    lateral = lateral / lateral.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    # For an axis that points up and `left` to the person's left, left x up is the way the person faces.
    return Solids(a, axis, lateral, torch.linalg.cross(lateral, axis), flat, length, ra, rb, split, trim, trimmed, cut)


def _coefficients(s: Solids) -> Tensor:
    """`[K, 15, B]` numbers with which a pixel (x, y) finds share, side distance and depth by multiply-adds."""
    squeeze = torch.stack([torch.ones_like(s.flat), torch.ones_like(s.flat), 1.0 / s.flat], dim=-1)
    frame = torch.stack([s.axis, s.left, s.forward], dim=-2) * squeeze[..., None]  # rows map view space to local
    ray = frame[..., 2]  # local image of the view ray (0, 0, 1)
    norm = ray.norm(dim=-1, keepdim=True)
    ray = ray / norm
    along = torch.zeros_like(ray)
    along[..., 0] = 1.0
    planar = along - ray[..., :1] * ray
    seen = planar.norm(dim=-1, keepdim=True)
    fallback = torch.linalg.cross(ray, torch.tensor([0.0, 1.0, 0.0]).to(ray).expand_as(ray), dim=-1)
    u = torch.where(seen > 1e-3, planar / seen.clamp_min(1e-3), fallback)
    v = torch.linalg.cross(ray, u, dim=-1)
    # Project (x, y, 0) - a onto u, v, and the (unit) ray.
    # Products written out: batched matrix multiplication may round differently with the batch size.
    rows_uvw = torch.stack([u, v, ray], dim=-2)
    basis = (rows_uvw[..., :, :, None] * frame[..., None, :, :]).sum(-2)  # [B, K, 3, 3]
    offset = -(basis * s.a[..., None, :]).sum(-1)
    seen_length = (s.length * seen[..., 0]).clamp_min(1e-3)
    inverse = 1.0 / norm[..., 0]
    rows = [
        basis[..., 0, 0] / seen_length, basis[..., 0, 1] / seen_length, offset[..., 0] / seen_length,
        seen_length,
        basis[..., 1, 0], basis[..., 1, 1], offset[..., 1],
        -basis[..., 2, 0] * inverse, -basis[..., 2, 1] * inverse, -offset[..., 2] * inverse,
        s.length * ray[..., 0] * inverse, inverse,
        s.ra, s.rb - s.ra, s.split,
    ]  # fmt: skip
    return torch.stack(rows, dim=0).permute(2, 0, 1).contiguous()


def _windows(s: Solids, x: Tensor, y: Tensor) -> list[tuple[slice, slice] | None]:
    """For each part the rows and columns that it may touch in some image of the batch; None if in none.

    Only on a CPU: elsewhere reading the bounds back would stall the device, and whole images cost little.
    """
    batch, height, width = x.shape[0], y.shape[1], x.shape[2]
    everything = (slice(0, height), slice(0, width))
    if x.device.type != "cpu":
        return [everything] * s.a.shape[1]
    end = s.a + s.axis * s.length[..., None]
    reach = (torch.maximum(s.ra, s.rb) + s.trim.clamp_min(0.0)) * s.flat.clamp_min(1.0)
    bounds = []
    for axis, pixels in ((1, y.reshape(batch, height)), (0, x.reshape(batch, width))):
        low = torch.minimum(s.a[..., axis], end[..., axis]) - reach
        high = torch.maximum(s.a[..., axis], end[..., axis]) + reach
        step = (pixels[:, -1:] - pixels[:, :1]) / (pixels.shape[1] - 1)
        first, last = (low - pixels[:, :1]) / step, (high - pixels[:, :1]) / step
        there = reach > 0
        start = torch.where(there, torch.minimum(first, last), 1e6).amin(0).floor().clamp(0, pixels.shape[1])
        stop = torch.where(there, torch.maximum(first, last), -1e6).amax(0).ceil().add(1).clamp(0, pixels.shape[1])
        bounds.append(list(zip(start.to(torch.int64).tolist(), stop.to(torch.int64).tolist(), strict=True)))
    return [
        (slice(*rows), slice(*columns)) if rows[0] < rows[1] and columns[0] < columns[1] else None
        for rows, columns in zip(*bounds, strict=True)
    ]


def rasterise(solids: Solids, x: Tensor, y: Tensor) -> Hits:
    """Find the nearest part at each pixel.

    Args:
        solids: the parts in view space.
        x: `[B, 1, W]` view-space x of the pixel columns, metres.
        y: `[B, H, 1]` view-space y of the pixel rows, metres (decreasing downwards).
    """
    table = _coefficients(solids)
    batch, height, width = x.shape[0], y.shape[1], x.shape[2]
    depth = torch.full((batch, height, width), _FAR, device=x.device)
    part = torch.zeros((batch, height, width), dtype=torch.int16, device=x.device)
    share = torch.zeros_like(depth)
    for index, window in enumerate(_windows(solids, x, y)):
        if window is None:
            continue
        rows, columns = window
        t, z = _sweep(solids, table[index], index, x[:, :, columns], y[:, rows])
        area = (slice(None), rows, columns)
        nearer = z > depth[area]
        depth[area] = torch.where(nearer, z, depth[area])
        share[area] = torch.where(nearer, t, share[area])
        part[area] = part[area].masked_fill(nearer, index)
    return Hits(depth, part, share)


def _sweep(solids: Solids, coefficients: Tensor, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Axial share and depth of part `index` at the pixels; the depth is -inf where the part is not."""
    tx, ty, t0, seen, vx, vy, v0, zx, zy, z0, zt, zh, ra, dr, split = (c[:, None, None] for c in coefficients)
    raw = tx * x + (ty * y + t0)
    t = raw.clamp(0.0, 1.0)
    missed = None
    if solids.cut[index]:
        missed = raw > 1.0 if solids.cut[index] > 0 else raw < 0.0
    raw.sub_(t).mul_(seen)
    side = vx * x + (vy * y + v0)
    radius = torch.addcmul(ra, dr, t)
    if solids.trimmed[index]:
        radius = radius + solids.trim[:, index, None, None] * (t > split)
    gap = radius.square_().addcmul_(raw, raw, value=-1).addcmul_(side, side, value=-1)
    missed = gap <= 0 if missed is None else missed | (gap <= 0)
    z = (zx * x + (zy * y + z0)).addcmul_(zt, t).addcmul_(zh, gap.clamp_min_(0.0).sqrt_())
    return t, z.masked_fill_(missed, -torch.inf)
