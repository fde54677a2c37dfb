"""People to train on, held on the device: the last generations of an endless stream."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from augment.synth.pedestrians import Rendered
from augment.synth.stream import PedestrianStream


class Pool:
    """The last generations of a stream, as tensors on the device; a new one takes the place of the oldest."""

    def __init__(self, stream: PedestrianStream, generations: int) -> None:
        self.stream, self.generations, self.drawn = stream, generations, 0
        self._each = stream.settings.identities * stream.settings.images_per_id
        self._columns: tuple[Tensor, ...] | None = None
        self.seconds = 0.0

    def grow(self, *, quiet: bool = True) -> None:
        """Draw the next generation."""
        start = time.monotonic()
        self._put(self.drawn, self.stream.generation(self.drawn, quiet=quiet))
        self.drawn += 1
        if self.stream.renderer.device.type == "cuda":
            torch.cuda.synchronize()  # or the time would be somebody else's
        self.seconds += time.monotonic() - start

    def restore(self, drawn: int) -> None:
        """Be as after `drawn` calls of `grow`."""
        for number in range(max(0, drawn - self.generations), drawn):
            self._put(number, self.stream.generation(number))
        self.drawn = drawn

    def sample(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images uint8, masks bool, true positions, and whether each joint is seen; drawn with replacement."""
        assert self._columns is not None
        filled = min(self.drawn, self.generations) * self._each
        rows = torch.randint(filled, (count,), generator=generator, device=generator.device)
        image, mask, xy, there = (column[rows] for column in self._columns)
        return image, mask, xy, there

    def _put(self, number: int, drawn: Rendered) -> None:
        fresh = (drawn.image, drawn.mask, drawn.true_keypoints, ~drawn.keypoints.isnan().any(-1))
        if self._columns is None:
            rows = self._each * self.generations
            self._columns = tuple(c.new_zeros((rows, *c.shape[1:])) for c in fresh)
        start = number % self.generations * self._each
        for column, new in zip(self._columns, fresh, strict=True):
            column[start : start + self._each] = new
