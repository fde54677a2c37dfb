"""From skeleton and wardrobe to solid parts: tapered capsules with elliptical sections, in body space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.synth.gait import CARRY, PHONE_CALL, PHONE_LOOK, POCKETS, Motion, Skeleton
from augment.synth.identity import BAG, HAIR, HAT, INNER, ITEM, LOWER, SCARF, SHOES, SKIN, SOCKS, UPPER, Identities

# Regions: what the shader may draw on a part beyond its material.
TORSO, LIMB, HEAD, CLOTH, PLAIN_PART, PELVIS, PACK = range(7)


@dataclass(frozen=True)
class Parts:
    """K tapered capsules per person: ends `a`, `b` `[B, K, 3]`, radii `[B, K]`, and how their section is squeezed.

    `left` `[B, K, 3]` orients the section; `flat` scales it along the forward direction. `first` / `second` are
    material slots, `split` the axial share where the second begins; `offset` continues patterns across parts (metres);
    `trim` thins the part beyond the split, so that a hem is seen; `cut` opens an end (-1 at a, 1 at b).
    Absent parts have radius 0.
    """

    a: Tensor
    b: Tensor
    ra: Tensor
    rb: Tensor
    left: Tensor
    flat: Tensor
    first: Tensor
    second: Tensor
    split: Tensor
    trim: Tensor
    region: Tensor
    offset: Tensor
    trimmed: tuple[bool, ...]
    cut: tuple[int, ...]


class _Builder:
    def __init__(self, people: Identities, left: Tensor) -> None:
        self.people, self.left = people, left
        self.rows: list[tuple[Tensor, ...]] = []
        self.trimmed: list[bool] = []
        self.cut: list[int] = []

    def add(
        self,
        a: Tensor,
        b: Tensor,
        ra: Tensor | float,
        rb: Tensor | float,
        first: Tensor | int,
        region: int,
        *,
        second: Tensor | int | None = None,
        split: Tensor | float = 2.0,
        trim: Tensor | float = 0.0,
        flat: Tensor | float = 1.0,
        left: Tensor | None = None,
        present: Tensor | None = None,
        offset: Tensor | float = 0.0,
        cut: int = 0,
    ) -> None:
        """One part; see `Parts`. Radii and trim are shares of stature; they become metres here.

        Many arguments because a part is as many numbers, and each caller names only those that are not the usual ones.
        """
        h = self.people.stature

        def full(value: Tensor | float | int) -> Tensor:
            return value.to(h.dtype) if isinstance(value, Tensor) else torch.full_like(h, float(value))

        there = torch.ones_like(h) if present is None else present.to(h.dtype)
        self.trimmed.append(isinstance(trim, Tensor))
        self.cut.append(cut)
        self.rows.append(
            (
                a, b, full(ra) * h * there, full(rb) * h * there, self.left if left is None else left, full(flat),
                full(first), full(first if second is None else second), full(split), full(trim) * h,
                full(region), full(offset),
            )
        )  # fmt: skip

    def stack(self) -> Parts:
        a, b, ra, rb, left, flat, first, second, split, trim, region, offset = (
            torch.stack(column, dim=1) for column in zip(*self.rows, strict=True)
        )
        first, second, region = (column.to(torch.int64) for column in (first, second, region))
        return Parts(
            a, b, ra, rb, left, flat, first, second, split, trim, region, offset, tuple(self.trimmed), tuple(self.cut)
        )


def make_parts(people: Identities, skeleton: Skeleton, motion: Motion) -> Parts:
    """Dress the skeletons: about thirty parts a person, the same list for everyone (absent ones have radius 0)."""
    builder = _Builder(people, skeleton.torso_left)
    _add_torso(builder, people, skeleton)
    _add_head(builder, people, skeleton)
    for side in (0, 1):
        _add_arm(builder, people, skeleton, motion, side)
        _add_leg(builder, people, skeleton, side)
    _add_tail(builder, people, skeleton)
    _add_luggage(builder, people, skeleton)
    return builder.stack()


def _along(origin: Tensor, direction: Tensor, share: Tensor | float, people: Identities) -> Tensor:
    length = share * people.stature
    return origin + direction * (length[:, None] if isinstance(length, Tensor) else length)


def _add_torso(builder: _Builder, people: Identities, s: Skeleton) -> None:
    build, bulk = people.build, people.bulk
    up = (s.neck - s.pelvis) / (s.neck - s.pelvis).norm(dim=1, keepdim=True)
    seat = _along(s.pelvis, up, -0.005, people)
    hips = people.hips + 0.036
    builder.add(seat, s.waist, (hips + 0.004) * build, 0.074 * build, LOWER, PELVIS, flat=0.74, offset=0.1)
    # A garment's hem is open and hangs over the trousers, a little wider than they are.
    hem = _along(s.pelvis, up, -0.005, people)
    skirt = torch.maximum(0.079 * build, hips * build) + 0.008 + 0.5 * bulk
    builder.add(hem, s.waist, skirt, 0.077 * build + 0.7 * bulk, UPPER, TORSO, flat=0.74, cut=-1)
    first = (s.waist - hem).norm(dim=1)
    builder.add(
        s.waist, s.chest, 0.077 * build + 0.7 * bulk, 0.082 * build + 0.7 * bulk, UPPER, TORSO, flat=0.72, offset=first
    )
    breast = _along(s.neck, up, -0.092, people)
    wide = (people.shoulders - 0.020 + 0.4 * bulk) * (0.5 + 0.5 * build)
    length = (s.chest - hem).norm(dim=1)
    builder.add(s.chest, breast, 0.082 * build + 0.7 * bulk, wide, UPPER, TORSO, flat=0.68, offset=length)
    tank = torch.where(people.sleeve < 0.1, SKIN, UPPER)
    for side in (0, 1):
        inner = s.neck + 0.22 * (s.shoulder[:, side] - s.neck) + up * (0.004 * people.stature)[:, None]
        builder.add(inner, s.shoulder[:, side], 0.034 + 0.5 * bulk, 0.031 + 0.55 * bulk, tank, CLOTH, offset=2 * length)


def _add_head(builder: _Builder, people: Identities, s: Skeleton) -> None:
    throat = _along(s.neck, s.torso_forward, 0.004, people)
    builder.add(throat, s.head, 0.036, 0.031, SKIN, PLAIN_PART)
    collar_top = _along(s.neck, s.head_up, 0.030, people)
    collar = torch.where(people.scarf, SCARF, UPPER)
    high = people.scarf | (people.bulk > 0.011)
    builder.add(s.neck, collar_top, 0.047 + 0.3 * people.bulk, 0.040 + 0.2 * people.bulk, collar, CLOTH, present=high)
    jaw = s.head + s.head_up * (-0.032 * people.stature)[:, None] + s.head_forward * (0.012 * people.stature)[:, None]
    crown = _along(s.head, s.head_up, 0.016, people)
    builder.add(jaw, crown, 0.0375, 0.0475, SKIN, HEAD, flat=1.16, left=s.head_left)
    hat_low = s.head + s.head_up * (0.030 * people.stature)[:, None]
    hat_high = _along(s.head, s.head_up, 0.042, people)
    builder.add(hat_low, hat_high, 0.050, 0.040, HAT, CLOTH, present=people.hat, left=s.head_left, flat=1.15)
    back = _along(s.head, s.head_forward, -0.014, people)
    fall = people.hair_length
    behind = s.neck - s.torso_forward * (0.05 * people.stature)[:, None]
    tip = back + (behind - back) * (0.25 + 0.75 * fall.clamp(0, 1))[:, None]
    tip = tip - (0.10 * (fall - 0.4).clamp_min(0.0) * people.stature)[:, None] * torch.tensor([0.0, 1.0, 0.0]).to(tip)
    shows = (fall > 0.05) & ~people.bald
    builder.add(back, tip, 0.047, 0.034 + 0.012 * fall.clamp(0, 1), HAIR, PLAIN_PART, present=shows, left=s.head_left)
    hood_top = s.neck - s.torso_forward * (0.035 * people.stature)[:, None]
    hood = people.hood & (people.bulk > 0.006)
    builder.add(_along(hood_top, s.head_up, 0.012, people), _along(hood_top, s.head_up, -0.03, people),
                0.05, 0.04, UPPER, CLOTH, present=hood, flat=0.6)  # fmt: skip


def _add_arm(builder: _Builder, people: Identities, s: Skeleton, motion: Motion, side: int) -> None:
    build, bulk, sleeve = people.build, people.bulk, people.sleeve
    extra = 0.55 * bulk + 0.004
    bare = -extra
    shoulder, elbow, wrist, hand = s.shoulder[:, side], s.elbow[:, side], s.wrist[:, side], s.hand[:, side]
    upper = torch.where(sleeve < 0.1, SKIN, UPPER)
    upper_radius = 0.027 * build + extra
    builder.add(shoulder, elbow, 0.029 * build + extra, upper_radius - 0.003, upper, LIMB,
                second=SKIN, split=sleeve, trim=bare, offset=0.05)  # fmt: skip
    lower = torch.where(sleeve > 1.0, UPPER, SKIN)
    loose = torch.where(sleeve > 1.0, extra, torch.zeros_like(extra))
    builder.add(elbow, wrist, 0.0235 * build + loose, 0.017 * build + 0.9 * loose, lower, LIMB, offset=0.35)
    mode = motion.arm_mode[:, side]
    builder.add(wrist, hand, 0.0165, 0.015, SKIN, PLAIN_PART, flat=0.75, present=mode != POCKETS)
    paper = (mode == CARRY) & (people.handbag == 0)
    phone = (mode == PHONE_LOOK) | (mode == PHONE_CALL)
    reach = torch.where(paper, 0.055, 0.015)[:, None] * people.stature[:, None]
    item_end = hand + s.torso_forward * reach
    builder.add(hand, item_end, torch.where(paper, 0.035, 0.014), torch.where(paper, 0.035, 0.012),
                ITEM, PLAIN_PART, present=paper | phone, flat=0.3)  # fmt: skip


def _add_leg(builder: _Builder, people: Identities, s: Skeleton, side: int) -> None:
    build, width, cover = people.build, people.leg_width, people.leg_cover
    hip, knee, ankle, toe = s.hip[:, side], s.knee[:, side], s.ankle[:, side], s.toe[:, side]
    thigh = torch.where(cover < 0.1, SKIN, LOWER)
    loose = torch.where(cover < 0.1, torch.zeros_like(width), width + 0.003)
    builder.add(hip, knee, 0.052 * build + 0.4 * loose, 0.034 * build + loose, thigh, LIMB,
                second=SKIN, split=cover, trim=-loose, offset=0.2)  # fmt: skip
    shin = torch.where(cover > 1.0, LOWER, SKIN)
    shin_loose = torch.where(cover > 1.0, width + 0.003, torch.zeros_like(width))
    builder.add(knee, ankle, 0.033 * build + shin_loose, 0.020 + 1.25 * shin_loose, shin, LIMB,
                second=torch.where(cover > 1.0, LOWER, SOCKS), split=0.8, offset=0.62)  # fmt: skip
    heel = ankle + (ankle - toe) * 0.28
    drop = torch.tensor([0.0, -1.0, 0.0]).to(heel) * (0.018 * people.stature)[:, None]
    builder.add(heel + drop, toe + 0.6 * drop, 0.0225, 0.019, SHOES, PLAIN_PART)


def _add_tail(builder: _Builder, people: Identities, s: Skeleton) -> None:
    """Coat tail, skirt or dress: one flared part from waist to hem that follows the knees."""
    up = (s.neck - s.pelvis) / (s.neck - s.pelvis).norm(dim=1, keepdim=True)
    knees = s.knee.mean(1)
    share = (people.tail / 0.245)[:, None].clamp(0.0, 1.5)
    hem = s.pelvis + (knees - s.pelvis) * share
    gap = (s.knee[:, 0] - s.knee[:, 1]).norm(dim=1) / people.stature * share[:, 0]
    top = _along(s.pelvis, up, 0.0, people)
    material = torch.where(people.tail_is_upper, UPPER, LOWER)
    around_legs = (people.hips + 0.044) * people.build + 0.5 * people.leg_width + 0.6 * people.bulk
    squeeze = (0.68 + 1.6 * (gap - 0.08).clamp_min(0.0)).clamp_max(1.3)
    builder.add(top, hem, 0.085 * people.build + 0.6 * people.bulk, around_legs + people.tail_flare, material, CLOTH,
                present=people.tail > 0.02, flat=squeeze, offset=-0.05, cut=1)  # fmt: skip


def _add_luggage(builder: _Builder, people: Identities, s: Skeleton) -> None:
    behind = -s.torso_forward * ((0.080 + 0.6 * people.bulk) * people.stature)[:, None]
    top, low = s.neck + behind, s.pelvis + behind
    a = top + 0.24 * (low - top)
    b = top + 0.66 * (low - top)
    builder.add(a, b, 0.070, 0.076, BAG, PACK, present=people.backpack, flat=0.62)
    side = people.handbag.to(people.stature.dtype)
    hip = s.pelvis + s.torso_left * ((people.hips + 0.075) * people.stature * side)[:, None]
    hip = hip + 0.02 * s.torso_forward
    lower = hip - torch.tensor([0.0, 1.0, 0.0]).to(hip) * (0.045 * people.stature)[:, None]
    builder.add(hip, lower, 0.040, 0.044, BAG, PLAIN_PART, present=people.handbag != 0, left=s.torso_forward, flat=0.4)
    collar = s.neck + s.torso_forward * (0.03 * people.stature)[:, None]
    opening = torch.where(people.sleeve > 1.5, INNER, SKIN)
    builder.add(collar, _neckline(s, people), 0.022, 0.012, opening, PLAIN_PART, present=people.bulk < 0.014)


def _neckline(s: Skeleton, people: Identities) -> Tensor:
    return s.neck + s.torso_forward * (0.052 * people.stature)[:, None] - (s.neck - s.pelvis) * 0.07
