"""A generator that needs no weights and can die in the middle of its work; an estimator that never looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Toy(torch.nn.Module):
    """A generator: a seeded convolution of photo and poses; after `stop` calls it dies."""

    name, size, pose_channels, sigma, device = "toy", (128, 64), 18, 6.0, torch.device("cpu")

    def __init__(self, stop: int | None = None, version: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = torch.nn.Conv2d(39, 3, 5, padding=2).requires_grad_(False)
        for parameter in self.conv.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator).sub(0.5).mul(0.2))
        self.calls, self.stop, self.version = 0, stop, version
        self.batches: set[int] = set()

    def describe(self) -> dict[str, Any]:
        return {"generator": "toy", "version": self.version}

    def transfer(
        self, image: Tensor, source: Tensor, target: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        self.seeds = [generator.initial_seed() for generator in generators]
        self.calls += 1
        self.batches.add(len(image))
        if self.stop is not None and self.calls > self.stop:
            self.die()
        return torch.tanh(self.conv(torch.cat([image, source, target], 1)))

    def die(self) -> None:
        raise KeyboardInterrupt


class Says:
    """An estimator that gives the same joints for every image."""

    name = "says"

    def __init__(self, xy: np.ndarray) -> None:
        self.xy = xy

    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([self.xy] * len(images)), np.ones((len(images), 18), np.float32)
