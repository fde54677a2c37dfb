"""A baseline without learning: the photo's limbs, cut out and moved from pose to pose like those of a jointed doll.

Each part (torso, head, upper and lower arms and legs) has a frame: an axis between two points of the skeleton and a
width. A target pixel in a part's frame is looked up at the same place of that part's frame in the photo. Parts are
painted over each other with soft edges, over the photo whose person is filled up with what is left and right of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.pose.skeleton import HEAD, HIPS, JOINT_COUNT, SHOULDERS

# A person who stands and looks at us, OpenPose's 18 joints, (x, y) in torso lengths from the middle of the hips.
_STANDING = torch.tensor(
    [(0, -1.33), (0, -1.03), (-.23, -1), (-.33, -.54), (-.38, -.10), (.23, -1), (.33, -.54), (.38, -.10), (-.13, 0),
     (-.15, .62), (-.18, 1.23), (.13, 0), (.15, .62), (.18, 1.23), (-.05, -1.38), (.05, -1.38), (-.10, -1.36),
     (.10, -1.36)]
)  # fmt: skip
# First and last joint, radius, and how far the part goes beyond each; all in torso lengths.
_LEGS = ((9, 10, 0.12, 0.02, 0.10), (12, 13, 0.12, 0.02, 0.10), (8, 9, 0.16, 0.02, 0.02), (11, 12, 0.16, 0.02, 0.02))
_ARMS = ((3, 4, 0.09, 0.0, 0.12), (6, 7, 0.09, 0.0, 0.12), (2, 3, 0.11, 0.0, 0.0), (5, 6, 0.11, 0.0, 0.0))


class _Frame(NamedTuple):
    """Where a part is: `start` `[B, 2]`, `axis` `[B, 2]` from there to its end, `across` `[B, 2]` half its width."""

    start: Tensor
    axis: Tensor
    across: Tensor


class _Part(NamedTuple):
    """A part: its frame, whether it is a box or a capsule, and the joints without which it is not drawn."""

    frame: _Frame
    box: bool = False
    needs: tuple[int, ...] = ()


class WarpGenerator:
    """Moves the photo's limbs from pose to pose by affine parts.

    Args:
        size: (H, W) of the images in pixels.
        device: where they are.
    """

    name = "entry:warp"
    pose_channels = JOINT_COUNT
    sigma: float | None = None

    def __init__(self, size: tuple[int, int] = (128, 64), device: torch.device | str = "cpu") -> None:
        self.size, self.device = size, torch.device(device)

    @torch.no_grad()
    def transfer(
        self,
        image: Tensor,
        condition_pose: Tensor,
        target_pose: Tensor,
        generators: Sequence[torch.Generator] = (),  # noqa: ARG002
    ) -> Tensor:
        """Redraw people in other poses, see `PoseGenerator.transfer`; poses are joints `[B, 18, 2]`, NaN missing.

        A missing arm of the target is not drawn, a missing leg stands. Joints that the photo's pose lacks are guessed
        from the others.
        """
        with torch.autocast(image.device.type, enabled=False):  # coordinates need all of float32's bits
            return _warped(image.float(), condition_pose.float(), target_pose.float())

    def describe(self) -> dict[str, Any]:
        """For manifests."""
        return {"generator": "warp", "version": 1, "size": list(self.size), "trained_on": "nothing"}


def _warped(image: Tensor, condition: Tensor, target: Tensor) -> Tensor:
    height, width = image.shape[2:]
    grid = _pixels(height, width, image)
    before, after = (_parts(_complete(joints, height)) for joints in (condition, target))
    margin = 0.14 * _long(_complete(condition, height))[..., None]
    old = torch.stack([_cover(part, grid, margin) for part in before]).amax(0)
    made = torch.lerp(image, _fill(image, old), old[:, None])
    there = ~target.isnan().any(-1)
    for then, now in zip(before, after, strict=True):
        alpha = _cover(now, grid) * there[:, list(now.needs)].all(-1)[:, None, None]
        made = torch.lerp(made, _sample(image, _move(grid, now.frame, then.frame)), alpha[:, None])
    return made.clamp(-1, 1)


def _pixels(height: int, width: int, like: Tensor) -> Tensor:
    rows, columns = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)


def _middle(joints: Tensor, pair: Sequence[int]) -> Tensor:
    return joints[:, list(pair)].mean(1)


def _complete(joints: Tensor, height: int) -> Tensor:
    """Joints `[B, 18, 2]` without NaN: what is missing is where a standing person of that place and size has it."""
    standing = _STANDING.to(joints).expand_as(joints)
    seen = (~joints.isnan().any(-1, keepdim=True)).to(joints)
    found = joints.nan_to_num(0.0)
    count = seen.sum(1, keepdim=True)
    centre, rest = ((seen * points).sum(1, keepdim=True) / count.clamp(min=1) for points in (found, standing))
    spread, usual = (
        (seen * (points - middle))[..., 1].square().sum(1, keepdim=True).sqrt()
        for points, middle in ((found, centre), (standing, rest))
    )
    known = (count[..., 0] >= 2) & (usual > 0.1)
    scale = torch.where(known, spread / usual.clamp(min=0.1), 0.3 * height)[..., None].clamp(min=0.05 * height)
    width = _facing(found, seen) / scale[..., 0]
    sideways = torch.where(width.isnan(), torch.ones_like(width), width.clamp(-1.3, 1.3))[..., None]
    factor = torch.cat((scale * sideways, scale), -1)
    half = torch.tensor((0.25, 0.5), device=joints.device) * height
    place = torch.where(count > 0, centre, half)
    return torch.where(seen > 0, found, (standing - torch.where(count > 0, rest, 0.0)) * factor + place)


def _facing(found: Tensor, seen: Tensor) -> Tensor:
    """Pixels a torso length across, by the width of shoulders and hips, `[B, 1]`: negative from behind, NaN unknown."""
    total, known = torch.zeros_like(found[:, 0, 0]), torch.zeros_like(found[:, 0, 0])
    for (right, left), usual in ((SHOULDERS, 0.46), (HIPS, 0.26)):
        both = seen[:, right, 0] * seen[:, left, 0]
        total = total + both * (found[:, left, 0] - found[:, right, 0]) / usual
        known = known + both
    return (total / known)[:, None]


def _long(joints: Tensor) -> Tensor:
    """Length of the torso in pixels, `[B, 1]`, at least 2."""
    return (_middle(joints, SHOULDERS) - _middle(joints, HIPS)).norm(dim=-1, keepdim=True).clamp(min=2.0)


def _parts(joints: Tensor) -> list[_Part]:
    """All parts in the order of painting."""
    neck, hips, long = _middle(joints, SHOULDERS), _middle(joints, HIPS), _long(joints)
    spine = _at_least(neck - hips, long, (0.0, -1.0), 0.5)
    # The line from the neck to the face's middle is the head's axis.
    axis = _at_least(joints[:, list(HEAD)].mean(1) - neck, 0.33 * long, (0.0, -1.0), 0.5)
    unit = axis / axis.norm(dim=-1, keepdim=True)
    head = _Frame(neck + 0.18 * long * unit, axis - 0.12 * long * unit, _across(axis) * 0.20 * long)
    legs = [_Part(_limb(joints, limb, long)) for limb in _LEGS]
    arms = [_Part(_limb(joints, limb, long), needs=limb[:2]) for limb in _ARMS]
    return [*legs, _Part(_torso(joints, hips, spine, long), box=True), *arms, _Part(head)]


def _at_least(vector: Tensor, length: Tensor, other: tuple[float, float], share: float) -> Tensor:
    """Vectors `[B, 2]`, those shorter than a share of `length` replaced by `other`, a direction, of that length."""
    short = vector.norm(dim=-1, keepdim=True) < share * length
    return torch.where(short, torch.tensor(other, device=vector.device) * length, vector)


def _across(axis: Tensor) -> Tensor:
    """Unit vectors across axes `[B, 2]`."""
    unit = axis / axis.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return torch.stack((-unit[:, 1], unit[:, 0]), -1)


def _limb(joints: Tensor, limb: tuple[int, int, float, float, float], long: Tensor) -> _Frame:
    first, last, radius, before, after = limb
    axis = _at_least(joints[:, last] - joints[:, first], 0.1 * long, (0.0, 1.0), 1.0)
    unit = axis / axis.norm(dim=-1, keepdim=True)
    start = joints[:, first] - before * long * unit
    return _Frame(start, axis + (before + after) * long * unit, _across(axis) * radius * long)


def _torso(joints: Tensor, hips: Tensor, spine: Tensor, long: Tensor) -> _Frame:
    """From below the hips to above the shoulders; mirrored where the person is seen from behind."""
    shoulders, pelvis = (joints[:, pair[1]] - joints[:, pair[0]] for pair in (SHOULDERS, HIPS))
    across = _across(spine)
    span = ((0.6 * shoulders + 0.6 * pelvis) * across).sum(-1, keepdim=True)
    half = (0.5 * span.abs() + 0.08 * long).clamp(min=0.25 * long)
    sign = torch.where(span < -0.15 * long, -1.0, 1.0)
    return _Frame(hips - 0.12 * spine, 1.20 * spine, across * half * sign)


def _coordinates(grid: Tensor, frame: _Frame) -> tuple[Tensor, Tensor]:
    """Pixels in a frame: along the axis (0 at its start, 1 at its end) and across (1 at the edge), `[B, H, W]` each."""
    away = grid - frame.start[:, None, None]
    along, across = (
        (away * vector[:, None, None]).sum(-1) / vector.square().sum(-1)[:, None, None].clamp(min=1e-6)
        for vector in (frame.axis, frame.across)
    )
    return along, across


def _move(grid: Tensor, now: _Frame, then: _Frame) -> Tensor:
    """Where the photo shows what the target has at each pixel: `[B, H, W, 2]` pixels."""
    along, across = _coordinates(grid, now)
    return (
        then.start[:, None, None]
        + along[..., None] * then.axis[:, None, None]
        + across[..., None] * then.across[:, None, None]
    )


def _cover(part: _Part, grid: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """How much of each pixel a part covers, 0 to 1, `[B, H, W]`: a capsule or a box, grown by `margin` pixels."""
    along, across = _coordinates(grid, part.frame)
    length, radius = (vector.norm(dim=-1)[:, None, None] for vector in (part.frame.axis, part.frame.across))
    side = across.abs() * radius
    if part.box:
        distance = torch.maximum(((along - 0.5).abs() - 0.5) * length, side - radius)
    else:
        distance = torch.hypot((along - along.clamp(0, 1)) * length, side) - radius
    return torch.sigmoid(2.0 * (margin - distance))


def _sample(image: Tensor, places: Tensor) -> Tensor:
    height, width = image.shape[2:]
    scale = torch.tensor((width - 1, height - 1), device=image.device, dtype=image.dtype).clamp(min=1)
    return F.grid_sample(image, places / scale * 2 - 1, padding_mode="border", align_corners=True)


def _fill(image: Tensor, hole: Tensor) -> Tensor:
    """The photo with its hole `[B, H, W]` filled up from the same rows, and from all of it where those have nothing."""
    free = (1 - hole)[:, None]
    everywhere = (image * free).sum((2, 3), keepdim=True) / free.sum((2, 3), keepdim=True).clamp(min=1e-3)
    total, weight = image * free + 1e-3 * everywhere, free + 1e-3
    for dim, sigma in ((3, image.shape[3] / 6), (2, image.shape[2] / 40)):
        total, weight = _blurred(total, dim, sigma), _blurred(weight, dim, sigma)
    return total / weight


def _blurred(image: Tensor, dim: int, sigma: float) -> Tensor:
    places = torch.arange(image.shape[dim], device=image.device, dtype=image.dtype)
    kernel = torch.exp(-((places[:, None] - places).square()) / (2 * sigma**2))
    return kernel @ image if dim == 2 else image @ kernel
