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

    What is exchanged is decided on the host (`draw`) without looking at the data; moving it (`exchange`) is two
    gathers of a fixed shape, which a CUDA graph can replay.

    Args:
        size: pairs kept; 0 makes `query` the identity.
        seed: of the pool's own generator, so that no other random draw moves it.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = random.Random(seed)
        self._kept: Tensor | None = None
        self._count = 0

    def query(self, pairs: Tensor) -> Tensor:
        """`[B, C, H, W]` in, `[B, C, H, W]` out, detached; a pair of this batch may itself be exchanged later in it."""
        return self.exchange(pairs, *self.draw(len(pairs)))

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Decide the exchanges of a batch: int64 `[B]` and `[size]`, on the CPU.

        Both index the kept pairs followed by the batch's: what comes out, and what is kept from now on.
        """
        out = list(range(self.size, self.size + batch))
        kept = list(range(self.size))
        for n in range(batch if self.size else 0):
            if self._count < self.size:
                kept[self._count] = self.size + n
                self._count += 1
            elif self._random.uniform(0, 1) > 0.5:
                slot = self._random.randrange(self.size)
                out[n], kept[slot] = kept[slot], self.size + n
        return torch.tensor(out), torch.tensor(kept, dtype=torch.int64)

    @torch.no_grad()
    def exchange(self, pairs: Tensor, out: Tensor, kept: Tensor) -> Tensor:
        """Carry out what `draw` decided; `out` and `kept` may be on the CPU or on the pairs' device."""
        pairs = pairs.detach()
        if self.size == 0:
            return pairs
        if self._kept is None:
            self._kept = pairs.new_zeros((self.size, *pairs.shape[1:]))
        everything = torch.cat((self._kept, pairs))
        self._kept.copy_(everything.index_select(0, kept.to(pairs.device)))
        return everything.index_select(0, out.to(pairs.device))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs; `kept` is `[size, C, H, W]`, or None before the first query."""
        return {"kept": self._kept, "count": self._count, "random": self._random.getstate()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from `state_dict()`."""
        self._kept = None if state["kept"] is None else state["kept"].to(device)
        self._count = state["count"]
        version, words, gauss = state["random"]
        self._random.setstate((version, tuple(words), gauss))
