"""A pool of earlier generated pairs, so that a discriminator does not only see the latest generator.

Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017, as
the authors of PATN use it: one pool a discriminator, of 50 concatenated pairs (0 for DeepFashion).
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps `size` pairs; hands each new pair back, or in half of the cases an older one in exchange for it.

    Args:
        size: pairs kept; 0 makes `query` the identity.
        seed: of the pool's own generator, so that no other random draw moves it.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = random.Random(seed)
        self._kept: Tensor | None = None
        self._count = 0

    @torch.no_grad()
    def query(self, pairs: Tensor) -> Tensor:
        """`[B, C, H, W]` in, `[B, C, H, W]` out, detached; a pair of this batch may itself be exchanged later in it.

        What is exchanged is decided on the host without looking at the data, and only what changes places is moved.
        """
        pairs = pairs.detach()
        if self.size == 0:
            return pairs
        if self._kept is None:
            self._kept = pairs.new_zeros((self.size, *pairs.shape[1:]))
        last_put: dict[int, int] = {}  # slot -> the pair of this batch that now has it
        from_kept: list[tuple[int, int]] = []
        from_batch: list[tuple[int, int]] = []
        for n in range(len(pairs)):
            if self._count < self.size:
                last_put[self._count] = n
                self._count += 1
            elif self._random.uniform(0, 1) > 0.5:
                slot = self._random.randrange(self.size)
                (from_batch if slot in last_put else from_kept).append((n, last_put.get(slot, slot)))
                last_put[slot] = n
        out = pairs.clone()
        for source, moves in ((self._kept, from_kept), (pairs, from_batch)):
            if moves:
                out[[n for n, _ in moves]] = source[[where for _, where in moves]]
        if last_put:
            self._kept[list(last_put)] = pairs[list(last_put.values())]
        return out

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs; `kept` is `[size, C, H, W]`, or None before the first query."""
        return {"kept": self._kept, "count": self._count, "random": self._random.getstate()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from `state_dict()`."""
        self._kept = None if state["kept"] is None else state["kept"].to(device)
        self._count = state["count"]
        version, words, gauss = state["random"]
        self._random.setstate((version, tuple(words), gauss))
