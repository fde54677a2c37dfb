"""How bodies are seen: rotation, weak perspective, and the box that is cut out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class View(NamedTuple):
    """How a batch is seen: rotation body -> view, perspective, and the box that is cut, all per image."""

    rotation: Tensor  # [B, 3, 3]
    distance: Tensor  # [B] metres
    centre: Tensor  # [B, 2] view-space centre of the box
    extent: Tensor  # [B, 2] width and height of the box in metres

    def to_view(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Body-space points `[B, ..., 3]` -> view space, and the perspective factor `[B, ...]`."""
        extra = points.dim() - 2
        rotation = self.rotation.view(-1, *([1] * extra), 3, 3)
        # A written-out product: batched matrix multiplication may round differently with the batch size.
        turned = (rotation * points[..., None, :]).sum(-1)
        distance = self.distance.view(-1, *([1] * extra))
        scale = distance / (distance - turned[..., 2]).clamp_min(1.0)
        return torch.cat([turned[..., :2] * scale[..., None], turned[..., 2:]], dim=-1), scale


def rotation_of(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Body to view, `[B, 3, 3]`: turned by yaw, tilted by the camera's pitch, rolled; radians, `[B]` each."""

    def matrix(rows: list[list[Tensor]]) -> Tensor:
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    turn = matrix([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    tilt = matrix([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    lean = matrix([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)

    return product(lean, product(tilt, turn))


def direction(view: View, vectors: Tensor) -> Tensor:
    """Unit vectors of body-space directions `[B, 3]` in view space."""
    turned = (view.rotation * vectors[..., None, :]).sum(-1)
    return turned / turned.norm(dim=-1, keepdim=True).clamp_min(1e-6)
