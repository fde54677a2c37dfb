"""Who a synthetic pedestrian is: body, hair, garments, colours. A pure function of (seed, pid)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.synth.draws import Draws

# Material slots of a person; every primitive of the body names one or two of them.
SKIN, HAIR, UPPER, LOWER, SHOES, BAG, HAT, INNER, ITEM, SOCKS, SCARF = range(11)
MATERIALS = 11

# Patterns of the upper garment.
PLAIN, STRIPES, PLAID, YOKE, LOGO, OPEN, ZIP, HEM, PATCHES = range(9)

_SKIN = torch.tensor(
    [
        [0.87, 0.69, 0.58],
        [0.80, 0.60, 0.48],
        [0.73, 0.53, 0.40],
        [0.60, 0.42, 0.31],
        [0.44, 0.30, 0.22],
        [0.31, 0.21, 0.16],
    ]
)
_HAIR = torch.tensor(
    [
        [0.06, 0.05, 0.05],
        [0.12, 0.08, 0.06],
        [0.24, 0.15, 0.09],
        [0.42, 0.28, 0.15],
        [0.70, 0.55, 0.33],
        [0.55, 0.54, 0.52],
    ]
)
_NEUTRALS = torch.tensor(
    [
        [0.05, 0.05, 0.06],  # black
        [0.11, 0.11, 0.12],  # charcoal
        [0.30, 0.30, 0.31],  # grey
        [0.55, 0.55, 0.55],  # light grey
        [0.88, 0.88, 0.87],  # white
        [0.07, 0.09, 0.20],  # navy
        [0.20, 0.14, 0.10],  # brown
        [0.66, 0.57, 0.44],  # beige
        [0.26, 0.27, 0.18],  # olive
    ]
)
_VIVIDS = torch.tensor(
    [
        [0.74, 0.08, 0.10],  # red
        [0.38, 0.05, 0.10],  # burgundy
        [0.13, 0.32, 0.67],  # blue
        [0.45, 0.68, 0.86],  # sky
        [0.08, 0.38, 0.22],  # green
        [0.42, 0.62, 0.25],  # lime
        [0.88, 0.74, 0.18],  # yellow
        [0.88, 0.43, 0.12],  # orange
        [0.86, 0.52, 0.62],  # pink
        [0.42, 0.20, 0.48],  # purple
        [0.10, 0.48, 0.52],  # teal
        [0.80, 0.72, 0.62],  # cream
    ]
)
_DENIM = torch.tensor([[0.10, 0.13, 0.22], [0.18, 0.25, 0.40], [0.30, 0.40, 0.56], [0.48, 0.57, 0.68]])
_COLOURS = torch.cat([_NEUTRALS, _VIVIDS, _DENIM])
# Weights of the colours above: nine neutrals, twelve vivid ones, four denims.
# fmt: off
_UPPER_WEIGHTS = [5.0, 4.0, 3.0, 2.0, 3.5, 3.5, 1.8, 1.6, 1.4,
                  2.2, 1.0, 2.0, 1.6, 1.2, 0.8, 1.0, 0.9, 1.2, 0.8, 0.9, 1.0,
                  0.4, 0.4, 0.4, 0.4]
_LOWER_WEIGHTS = [5.0, 3.5, 2.0, 0.8, 0.8, 2.5, 1.0, 1.6, 1.0,
                  0.3, 0.3, 0.4, 0.1, 0.2, 0.0, 0.1, 0.1, 0.2, 0.1, 0.1, 0.3,
                  3.0, 4.0, 3.0, 1.5]
_ACCENT_WEIGHTS = [2.0, 1.0, 1.0, 1.0, 3.0, 1.5, 0.6, 0.8, 0.4,
                   2.0, 0.8, 1.6, 1.0, 1.0, 0.8, 1.6, 1.2, 0.8, 0.6, 0.8, 0.8,
                   0.1, 0.1, 0.1, 0.1]
_SHOE_WEIGHTS = [5.0, 3.0, 1.5, 1.0, 2.5, 0.6, 2.0, 0.8, 0.2,
                 0.5, 0.1, 0.4, 0.1, 0.1, 0.2, 0.1, 0.2, 0.2, 0.1, 0.1, 0.1,
                 0.0, 0.0, 0.0, 0.0]
# fmt: on


@dataclass(frozen=True)
class Identities:
    """A batch of people. Lengths in metres, shares of stature, or factors; flags are bool; all tensors `[B]`.

    `colours` is `[B, MATERIALS, 3]` and `second` (stripes, yoke, logo, hem) `[B, 3]`, linear-ish RGB in [0, 1].
    """

    stature: Tensor
    build: Tensor
    shoulders: Tensor
    hips: Tensor
    sleeve: Tensor  # 0 none ... 1 upper arm covered ... 2 both arms covered
    bulk: Tensor  # thickness of the upper garment, share of stature
    leg_cover: Tensor  # 0 bare ... 1 thigh covered ... 2 down to the ankle
    leg_width: Tensor  # looseness of trousers, share of stature
    tail: Tensor  # length below the hip of coat, dress or skirt, share of stature; 0 for none
    tail_flare: Tensor
    tail_is_upper: Tensor
    pattern: Tensor
    frequency: Tensor
    hair_length: Tensor  # 0 short ... 1 down to the shoulder blades
    bald: Tensor
    beard: Tensor
    hat: Tensor
    hood: Tensor
    scarf: Tensor
    backpack: Tensor
    handbag: Tensor  # -1 right, 0 none, 1 left
    strap: Tensor
    gait_stride: Tensor
    arm_swing: Tensor
    colours: Tensor
    second: Tensor
    phase: Tensor


def _tinted(draws: Draws, colour: Tensor, amount: float) -> Tensor:
    """The palette is a set of centres: move each colour a little in brightness and hue."""
    light = draws.bell(1.0, amount)[:, None]
    shift = torch.stack([draws.bell(0.0, 0.35 * amount * 0.5) for _ in range(3)], dim=1)
    return (colour * light + shift * colour.mean(1, keepdim=True)).clamp(0.02, 0.95)


def make_identities(seed: int, pids: Tensor) -> Identities:
    """Draw the people numbered `pids` (int64 `[B]`, any values up to 2^31) of the world `seed`."""
    draws = Draws(seed, "identity", pids, count=256)
    woman = draws.chance(0.48)
    as_float = woman.to(torch.float32)
    stature = draws.bell(1.77, 0.06) - 0.12 * as_float
    build = draws.bell(1.0, 0.09)
    coat_type = draws.choice([3.2, 4.5, 1.6, 1.1])  # T-shirt or shirt, jacket or jumper, long coat, dress
    coat_type = torch.where((coat_type == 3) & ~woman, torch.ones_like(coat_type), coat_type)
    light_top = coat_type == 0
    skirt = woman & draws.chance(0.18) & (coat_type != 3)
    dress = coat_type == 3
    short_sleeve = draws.choice([0.6, 3.0, 2.4])  # sleeveless, short, long
    sleeve_light = torch.tensor([0.25, 0.75, 2.0], device=pids.device)[short_sleeve]
    sleeve = torch.where(light_top | (dress & draws.chance(0.6)), sleeve_light, torch.full_like(stature, 2.0))
    bare = (light_top & draws.chance(0.25)) | skirt | dress
    shorts = draws.between(0.55, 1.15)
    tights = draws.chance(0.4)
    leg_cover = torch.where(
        bare & ~((skirt | dress) & tights), torch.where(skirt | dress, draws.unit() * 0, shorts), 2.0
    )
    coat_tail = torch.where(coat_type == 2, draws.between(0.10, 0.26), draws.between(-0.02, 0.05))
    tail = torch.where(skirt | dress, draws.between(0.13, 0.36), coat_tail).clamp_min(0.0)
    tail_is_upper = ~skirt
    slim = torch.where(woman, draws.between(0.0, 0.008), draws.between(0.004, 0.017))
    pattern_light = draws.choice([3.0, 2.0, 1.2, 0.7, 2.0, 0.0, 0.0, 0.6, 0.5])
    pattern_heavy = draws.choice([3.5, 0.5, 0.5, 1.3, 0.5, 2.2, 1.6, 0.5, 0.3])
    flags = _accessories(draws, woman)
    return Identities(
        stature=stature,
        build=build,
        shoulders=draws.bell(0.105, 0.004) - 0.011 * as_float,
        hips=draws.bell(0.051, 0.003) + 0.004 * as_float,
        sleeve=sleeve,
        bulk=torch.where(light_top | dress, draws.between(0.0, 0.006), draws.between(0.006, 0.020)),
        leg_cover=leg_cover,
        leg_width=slim,
        tail=tail,
        tail_flare=torch.where(skirt | dress, draws.between(0.0, 0.05), draws.between(0.0, 0.02)),
        tail_is_upper=tail_is_upper,
        pattern=torch.where(light_top | dress, pattern_light, pattern_heavy),
        frequency=draws.between(9.0, 26.0),
        hair_length=torch.where(
            woman, draws.between(-0.25, 1.0).clamp_min(0.0), draws.between(-1.6, 0.5).clamp_min(0.0)
        ),
        bald=~woman & draws.chance(0.16),
        beard=~woman & draws.chance(0.25),
        gait_stride=draws.bell(1.0, 0.12),
        arm_swing=draws.bell(1.0, 0.25).clamp(0.3, 1.8),
        phase=draws.unit(),
        colours=_colours(draws, dress),
        second=_tinted(draws, draws.row(_COLOURS, _ACCENT_WEIGHTS), 0.12),
        **flags,
    )


def _accessories(draws: Draws, woman: Tensor) -> dict[str, Tensor]:
    bag = draws.choice([6.0, 2.2, 1.2, 1.2])  # none, backpack, handbag, messenger bag with a strap
    side = torch.where(draws.chance(0.5), 1, -1)
    has_bag = ((bag == 2) | (bag == 3)) & (woman | (bag == 3))
    return {
        "hat": draws.chance(0.10),
        "hood": draws.chance(0.14),
        "scarf": draws.chance(0.10),
        "backpack": bag == 1,
        "handbag": torch.where(has_bag, side, torch.zeros_like(side)),
        "strap": bag == 3,
    }


def _colours(draws: Draws, dress: Tensor) -> Tensor:
    skin = _tinted(draws, draws.row(_SKIN, [4.0, 4.0, 2.5, 1.2, 1.0, 0.8]), 0.06)
    hair = _tinted(draws, draws.row(_HAIR, [3.5, 3.0, 2.0, 1.2, 1.0, 0.8]), 0.12)
    upper = _tinted(draws, draws.row(_COLOURS, _UPPER_WEIGHTS), 0.13)
    lower = _tinted(draws, draws.row(_COLOURS, _LOWER_WEIGHTS), 0.13)
    shoes = _tinted(draws, draws.row(_COLOURS, _SHOE_WEIGHTS), 0.13)
    bag = _tinted(draws, draws.row(_COLOURS, _UPPER_WEIGHTS), 0.13)
    hat = _tinted(draws, draws.row(_COLOURS, _ACCENT_WEIGHTS), 0.13)
    inner = _tinted(draws, draws.row(_COLOURS, _ACCENT_WEIGHTS), 0.10)
    item = draws.between(0.55, 0.95)[:, None].expand(-1, 3)
    socks = torch.where(draws.chance(0.5)[:, None], 0.85 * torch.ones_like(skin), 0.08 * torch.ones_like(skin))
    lower = torch.where(dress[:, None], 0.5 * upper, lower)  # tights under a dress
    return torch.stack([skin, hair, upper, lower, shoes, bag, hat, inner, item, socks, hat.flip(1)], dim=1)
