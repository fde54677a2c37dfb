"""Deferred shading: only pixels that the rasteriser found on a person get a material, a pattern and light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.synth import identity as who
from augment.synth.body import HEAD, LIMB, PACK, PELVIS, TORSO, Parts
from augment.synth.identity import MATERIALS, Identities
from augment.synth.raster import Hits, Solids
from augment.synth.world import World


@dataclass(frozen=True)
class Light:
    """Light in view space, `[B, 3]` or `[B]`: world up, direction to the sun, its strength, the sky's share."""

    up: Tensor
    sun: Tensor
    strength: Tensor


@dataclass(frozen=True)
class Surface:
    """Where the M visible pixels lie on the body: everything the patterns need, `[M]` or `[M, 3]`."""

    item: Tensor  # index into the batch
    normal: Tensor  # view space
    side: Tensor  # lateral position on the part, metres, + to the person's left
    front: Tensor  # -1 back ... 1 front
    around: Tensor  # angle around the part, radians
    along: Tensor  # metres along the part, continued across parts
    above: Tensor  # metres above the lower end of the part (may leave [0, length] in the caps)
    height: Tensor  # metres above the pelvis along the spine
    bend: Tensor  # metres to the nearer end of the part, where joints are
    region: Tensor
    material: Tensor


def _flatten(hits: Hits, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    item, row, column = torch.nonzero(hits.mask, as_tuple=True)
    point = torch.stack([x[item, 0, column], y[item, row, 0], hits.depth[item, row, column]], dim=-1)
    return item, row, column, point


def locate(
    parts: Parts, solids: Solids, hits: Hits, x: Tensor, y: Tensor, spine: tuple[Tensor, Tensor]
) -> tuple[Surface, Tensor, Tensor]:
    """Find where on its part each visible pixel lies. `spine` is (pelvis, up) in view space, `[B, 3]` each."""
    item, row, column, point = _flatten(hits, x, y)
    count = parts.first.shape[1]
    index = item * count + hits.part[item, row, column].to(torch.int64)
    share = hits.share[item, row, column]
    scalars = torch.stack(
        [solids.flat, solids.length, solids.ra, solids.rb, parts.split, parts.offset], dim=-1
    ).flatten(0, 1)[index]
    flat, length, ra, rb, split, offset = scalars.unbind(-1)
    vectors = torch.cat([solids.a, solids.axis, solids.left, solids.forward], dim=-1).flatten(0, 1)[index]
    origin, axis, left, forward = vectors.split(3, dim=-1)
    relative = point - origin
    above, side, ahead = (relative * axis).sum(-1), (relative * left).sum(-1), (relative * forward).sum(-1) / flat
    radius = (ra + (rb - ra) * share).clamp_min(1e-3)
    local = torch.stack([above - share * length, side, ahead], dim=-1) / radius[:, None]
    normal = local[:, :1] * axis + local[:, 1:2] * left + (local[:, 2:] / flat[:, None]) * forward
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    beyond = share > split
    material = torch.where(beyond, parts.second.flatten()[index], parts.first.flatten()[index])
    pelvis, up = spine
    surface = Surface(
        item=item, normal=normal, side=side, front=local[:, 2], around=torch.atan2(side, ahead),
        along=share * length + offset, above=above, height=((point - pelvis[item]) * up[item]).sum(-1),
        bend=torch.minimum(share, 1.0 - share) * length, region=parts.region.flatten()[index], material=material,
    )  # fmt: skip
    return surface, row, column


def _noise_at(noise: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Nearest sample of a periodic noise tile."""
    size = noise.shape[-1]
    # Wrap as integers: the float remainder of a tiny negative number is `size` itself.
    return noise[u.floor().to(torch.int64) % size, v.floor().to(torch.int64) % size]


def _upper_garment(s: Surface, people: Identities, colour: Tensor, blotch: Tensor) -> Tensor:
    """Draw the pattern of the upper garment over its base colour `[M, 3]`."""
    h = people.stature[s.item]
    pattern, second = people.pattern[s.item], people.second[s.item]
    inner = people.colours[s.item, who.INNER]
    wave = torch.sin(2 * torch.pi * people.frequency[s.item] * s.along)
    cross = torch.sin(2 * torch.pi * people.frequency[s.item] * 1.3 * s.side)
    torso, front = s.region == TORSO, s.front > 0.25
    width = s.side.abs()
    opening = 0.012 * h + 0.22 * (s.height - 0.05 * h).clamp_min(0.0) * 0.45
    hem = (s.height < 0.055 * h) & torso
    logo = torso & front & (width < 0.042 * h) & ((s.height - 0.185 * h).abs() < 0.026 * h)
    masks = {
        who.STRIPES: wave > 0.1,
        who.PLAID: (wave > 0.3) ^ (cross > 0.3),
        who.YOKE: s.height > 0.205 * h,
        who.LOGO: logo,
        who.ZIP: torso & (s.front > 0) & (width < 0.006 * h),
        who.HEM: hem,
        who.PATCHES: blotch > 0.15,
    }
    use = torch.zeros_like(torso)
    for number, mask in masks.items():
        use |= (pattern == number) & mask
    strength = torch.where(pattern == who.PLAID, 0.55, 1.0)[:, None]
    colour = torch.where(use[:, None], colour + strength * (second - colour), colour)
    shirt = (pattern == who.OPEN) & torso & (s.front > 0.1) & (width < opening)
    return torch.where(shirt[:, None], inner, colour)


def _straps(s: Surface, people: Identities, colour: Tensor) -> Tensor:
    h, bag = people.stature[s.item], people.colours[s.item, who.BAG]
    torso = s.region == TORSO
    pack = (
        people.backpack[s.item] & (s.front > 0) & ((s.side.abs() - 0.062 * h).abs() < 0.011 * h) & (s.height > 0.11 * h)
    )
    hand = people.handbag[s.item].to(h.dtype)
    slant = s.side * hand + (s.height - 0.14 * h) * 0.62
    sling = people.strap[s.item] & (hand != 0) & (slant.abs() < 0.013 * h)
    return torch.where((torso & (pack | sling))[:, None], bag * 0.85, colour)


def _head(s: Surface, people: Identities, colour: Tensor) -> Tensor:
    """Hair, beard, eyes and mouth, painted on the skull by height above the jaw and by which way it faces."""
    h, hair = people.stature[s.item], people.colours[s.item, who.HAIR]
    bald, level = people.bald[s.item], s.above / h
    lateral = s.side / (0.045 * h)
    hairline = torch.where(bald, 0.2, 0.066)
    behind = s.front < torch.where(bald, -0.35, -0.02) + 0.35 * (level - 0.045).clamp_min(0.0) / 0.05
    scalp = (behind & (level > 0.0)) | (level > hairline)
    beard = people.beard[s.item] & (level < 0.016) & (s.front > -0.1)
    eyes = ((level - 0.043).abs() < 0.006) & ((lateral.abs() - 0.38).abs() < 0.2) & (s.front > 0.4)
    brow = ((level - 0.053).abs() < 0.004) & ((lateral.abs() - 0.38).abs() < 0.24) & (s.front > 0.4)
    mouth = ((level - 0.004).abs() < 0.004) & (lateral.abs() < 0.32) & (s.front > 0.5)
    colour = torch.where((beard | (brow & ~scalp))[:, None], 0.35 * colour + 0.65 * hair, colour)
    colour = torch.where(mouth[:, None], colour * torch.tensor([0.80, 0.55, 0.55]).to(colour), colour)
    colour = torch.where(eyes[:, None], 0.38 * colour, colour)
    return torch.where(scalp[:, None], hair, colour)


def _albedo(s: Surface, people: Identities, noise: Tensor, world: World) -> Tensor:
    flat_palette = people.colours.flatten(0, 1)
    colour = flat_palette[s.item * MATERIALS + s.material]
    shift = people.phase[s.item] * 251.0
    blotch = _noise_at(noise, s.along * 420 + shift, s.around * 14 + shift)
    upper = s.material == who.UPPER
    colour = torch.where(upper[:, None], _upper_garment(s, people, colour, blotch), colour)
    colour = _straps(s, people, colour)
    colour = torch.where((s.region == HEAD)[:, None], _head(s, people, colour), colour)
    pocket = (s.region == PACK) & (s.front < -0.3) & ((s.above - 0.12).abs() < 0.012)
    colour = torch.where(pocket[:, None], colour * 0.55, colour)
    faded = 1.0 + 0.10 * s.front * ((s.material == who.LOWER) & (s.region != PELVIS))
    folds = _noise_at(noise, s.along * 300 + 3 * shift, s.around * 30 + 7 * shift)
    cloth = (s.material != who.SKIN) & (s.material != who.ITEM)
    level = 1.0 + torch.where(cloth, world.cloth, world.skin) * folds
    if world.folds:
        level = level * (1.0 + world.folds * cloth * _folds(s, noise, shift))
    return colour * faded[:, None] * level[:, None]


def _folds(s: Surface, noise: Tensor, shift: Tensor) -> Tensor:
    """How cloth falls, about -1 to 1: creases across the limb where it bends, soft long ones between. `[M]`."""
    wander = _noise_at(noise, s.along * 90 + 5 * shift, s.around * 9 + shift)
    crease = torch.sin(70.0 * s.along + 2.2 * (s.around + shift).sin() + 2.0 * wander + shift)
    near = torch.exp(-((s.bend / 0.07) ** 2)) * torch.where(s.region == LIMB, 1.0, 0.25)
    return near * crease * (0.5 - 0.5 * wander).clamp(0.0, 1.2) - (1 - near) * 0.4 * wander


def _occlusion(hits: Hits, row: Tensor, column: Tensor, item: Tensor) -> Tensor:
    """Darken what lies just behind a nearer part: `[M]` factor in [0.6, 1]. Measured at half resolution."""
    mask = hits.mask.to(hits.depth.dtype)
    pair = F.avg_pool2d(torch.stack([hits.depth * mask, mask], dim=1), 2, ceil_mode=True)
    pair = F.avg_pool2d(pair, 5, stride=1, padding=2)
    mean = pair[:, 0] / pair[:, 1].clamp_min(1e-4)
    behind = mean[item, row // 2, column // 2] - hits.depth[item, row, column]
    return 1.0 - ((behind - 0.015) * 3.2).clamp(0.0, 0.40)


def shade(parts: Parts, solids: Solids, hits: Hits, x: Tensor, y: Tensor, people: Identities, light: Light,
          spine: tuple[Tensor, Tensor], noise: Tensor, world: World) -> Tensor:  # fmt: skip
    """Colour the people: `[B, 3, H, W]` linear RGB, zero where nobody is."""
    s, row, column = locate(parts, solids, hits, x, y, spine)
    sky = 0.5 + 0.5 * (s.normal * light.up[s.item]).sum(-1)
    sun = (s.normal * light.sun[s.item]).sum(-1).clamp_min(0.0)
    strength = light.strength[s.item]
    level = (1.0 - strength) * (0.45 + 0.65 * sky) + strength * (0.38 + 0.25 * sky + 0.85 * sun)
    level = level * _occlusion(hits, row, column, s.item)
    colour = _albedo(s, people, noise, world) * level[:, None]
    batch, height, width = hits.depth.shape
    canvas = torch.zeros((batch, height, width, 3), device=colour.device)
    canvas[s.item, row, column] = colour
    return canvas.permute(0, 3, 1, 2)
