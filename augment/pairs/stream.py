"""The endless synthetic stream as a source of training pairs."""

from __future__ import annotations

from dataclasses import replace

import torch

from augment.generators.patn.batch import PairBatch
from augment.pairs.tensors import TensorPairs
from augment.synth.pedestrians import Rendered
from augment.synth.stream import PedestrianStream, StreamSettings

_PREVIEW_GENERATION = 1 << 24


class StreamPairs:
    """The stream as a `PairSource`: ordered pairs of two images of one unseen person.

    One generation of people feeds `steps_per_generation` steps, then the next is drawn. Everything is a pure function
    of (settings, step), so a resumed training draws the same people again.
    """

    def __init__(
        self, settings: StreamSettings, device: torch.device | str = "cpu", *, steps_per_generation: int = 500
    ) -> None:
        self.size = settings.size
        self._stream = PedestrianStream(settings, device)
        self._device, self._steps = torch.device(device), steps_per_generation
        self._number, self._pairs = -1, None  # type: int, TensorPairs | None

    def sample(self, step: int, batch_size: int) -> PairBatch:
        """The batch of this step; draws a new generation first if its time has come."""
        number = step // self._steps
        if self._pairs is None or number != self._number:
            self._pairs, self._number = self._as_pairs(self._stream.generation(number)), number
        return self._pairs.sample(step, batch_size)

    def preview(self, count: int) -> PairBatch:
        """Pairs of people whom no training meets."""
        settings = self._stream.settings
        people = replace(settings, identities=max(2, count))
        rows = PedestrianStream.rows(people, _PREVIEW_GENERATION)
        return self._as_pairs(self._stream.renderer.render(*rows)).preview(count)

    def _as_pairs(self, drawn: Rendered) -> TensorPairs:
        settings = self._stream.settings
        group = drawn.pids
        if settings.pairing == "camera":
            group = group * (settings.cameras + 1) + drawn.camids
        return TensorPairs(drawn.image, drawn.keypoints, group, settings.seed, self._device, drawn.mask)
