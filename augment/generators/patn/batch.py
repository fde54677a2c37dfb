"""Where training pairs come from: two images of one person, with their joints."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass
class PairBatch:
    """A batch of ordered pairs (condition, target) of one person each, on the training device.

    Attributes:
        image: float `[B, 3, H, W]` in [-1, 1], the condition image.
        condition_keypoints: float32 `[B, 18, 2]`, (x, y) pixels in `image`, NaN missing.
        target_keypoints: float32 `[B, 18, 2]`, (x, y) pixels in `target_image`, NaN missing.
        target_image: float `[B, 3, H, W]` in [-1, 1].
        target_mask: the person in `target_image`, `[B, 1, H, W]` in {0, 1}, where known.
        fed: what these pairs are, for the message when a loss is not finite (row numbers, names).
    """

    image: Tensor
    condition_keypoints: Tensor
    target_keypoints: Tensor
    target_image: Tensor
    target_mask: Tensor | None = None
    fed: object = None


class PairSource(Protocol):
    """An endless supply of pairs that is a pure function of the step, so that resuming needs none of its state."""

    size: tuple[int, int]
    """(H, W) of the images."""

    def sample(self, step: int, batch_size: int) -> PairBatch:
        """The batch of this step: the same for the same source, seed, step and size."""
        ...

    def preview(self, count: int) -> PairBatch:
        """Always the same pairs, for sample sheets."""
        ...


def step_generator(seed: int, step: int) -> torch.Generator:
    """A CPU generator that depends on nothing but seed and step; neighbouring steps are unrelated."""
    digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
