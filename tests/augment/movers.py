"""Generators after the protocol, without weights, that make it easy to see what they were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Marker:
    """Returns the photo with a white square at each target joint; keeps what it was called with.

    With a `sigma` it takes maps instead, and is white where they are above one half.
    """

    name = "marker"
    pose_channels = 18

    def __init__(self, size: tuple[int, int] = (128, 64), sigma: float | None = None) -> None:
        self.size, self.sigma, self.device = size, sigma, torch.device("cpu")
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        self.calls.append((image, condition_pose, target_pose))
        made = image.clone()
        if self.sigma is not None:
            return torch.where(target_pose.amax(1, keepdim=True) > 0.5, 1.0, made)
        rows, cols = torch.arange(self.size[0]), torch.arange(self.size[1])
        for picture, pose in zip(made, target_pose, strict=True):
            for x, y in pose[~pose.isnan().any(1)].tolist():
                near = ((rows - y).abs() <= 1.5)[:, None] & ((cols - x).abs() <= 1.5)[None]
                picture[:, near] = 1.0
        return made

    def describe(self) -> dict[str, Any]:
        return {"generator": "marker"}


class Noise(Marker):
    """Returns grey noise, drawn from the generator that each image comes with."""

    name = "noise"

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        assert len(generators) == len(image)
        return torch.stack([torch.rand(image.shape[1:], generator=one) * 2 - 1 for one in generators])


class Broken(Marker):
    """Gives values that are no numbers."""

    name = "broken"

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        return image * float("nan")
