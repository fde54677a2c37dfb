"""The network of the shipped estimator: an encoder-decoder that gives a heat map a joint, and whether it is seen.

In the manner of Simple Baselines (Xiao et al., ECCV 2018) and feature pyramids (Lin et al., CVPR 2017), at a size that
a CPU runs: from 128x64 down to 8x4 and back up to half resolution, with additions from the way down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError

STRIDE = 2  # of the heat maps


class _Unit(nn.Module):
    """Convolution 3x3, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        x = self.norm(self.conv(x))
        return F.silu(x) if self.active else x


class _Residual(nn.Module):
    """Two convolutions and the way around them; the second norm starts at 0, so a block starts as nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        last = _Unit(dim, dim, active=False)
        nn.init.zeros_(last.norm.weight)
        self.body = nn.Sequential(_Unit(dim, dim), last)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, dim, H, W]` to the same."""
        return F.silu(x + self.body(x))


class PoseNet(nn.Module):
    """Heat maps of 18 joints, and a score for each that it is seen.

    Args:
        dims: channels at strides 2, 4, 8 and 16.
        blocks: residual blocks at those strides on the way down; one each on the way up.
        joints: 18.

    Raises:
        InputError: `dims` and `blocks` do not go together.
    """

    def __init__(self, dims: Sequence[int], blocks: Sequence[int], joints: int = JOINT_COUNT) -> None:
        super().__init__()
        if len(dims) != len(blocks) or len(dims) < 2 or min(*dims, joints) < 1 or min(blocks) < 0:
            raise InputError(f"PoseNet needs as many dims as blocks, at least two, got {dims} and {blocks}")
        self.architecture: dict[str, Any] = {"dims": list(dims), "blocks": list(blocks), "joints": joints}
        self.stem = _Unit(3, dims[0], stride=2)
        self.shrink = nn.ModuleList(_Unit(a, b, stride=2) for a, b in pairwise(dims))
        self.down = nn.ModuleList(
            nn.Sequential(*(_Residual(dim) for _ in range(n))) for dim, n in zip(dims, blocks, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(dims))
        self.up = nn.ModuleList(_Residual(dim) for dim in dims[:-1])
        self.maps = nn.Conv2d(dims[0], joints, 1)
        # A joint is judged by what lies under its heat map and by the whole person.
        self.local = nn.Parameter(torch.zeros(joints, dims[0]))
        self.whole = nn.Linear(dims[-1], joints)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Find the joints.

        Args:
            images: float `[B, 3, H, W]` in [-1, 1], RGB; H and W multiples of 2 ** len(dims).

        Returns:
            `[B, 18, H/2, W/2]` float32 logits, a softmax over all cells of a map gives the probability of the joint
            being in that cell; and `[B, 18]` float32 logits of the joint being seen.
        """
        x, skips = self.stem(images), []
        for level, down in enumerate(self.down):
            x = down(self.shrink[level - 1](x) if level else x)
            skips.append(x)
        whole = x.mean((2, 3))
        for level in reversed(range(len(self.up))):
            grown = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](skips[level] + grown)
        maps = self.maps(x).float()
        with torch.autocast(maps.device.type, enabled=False):
            under = torch.einsum("bjn,bcn->bjc", maps.detach().flatten(2).softmax(-1), x.float().flatten(2))
            seen = (under * self.local).sum(-1) + self.whole(whole.float())
        return maps, seen


def posenet_small() -> PoseNet:
    """The one that ships: 4.2 million parameters, 0.9 GFLOP at 128x64."""
    return PoseNet(dims=(32, 64, 128, 256), blocks=(1, 2, 3, 2))


def posenet_tiny() -> PoseNet:
    """For tests and first looks: 37,000 parameters."""
    return PoseNet(dims=(8, 16, 32), blocks=(0, 1, 1))


BUILDERS: dict[str, Callable[[], PoseNet]] = {"posenet_small": posenet_small, "posenet_tiny": posenet_tiny}


def build_network(name: str) -> PoseNet:
    """Build a network by its name in `BUILDERS`.

    Raises:
        InputError: unknown name.
    """
    if name not in BUILDERS:
        raise InputError(f"no pose network {name!r}: one of {', '.join(sorted(BUILDERS))}")
    return BUILDERS[name]()
