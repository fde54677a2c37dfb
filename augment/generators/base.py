"""What a generator is to the rest of the toolkit: PATN, the controls that ship, and anybody else's.

Images are float `[B, 3, H, W]` in [-1, 1]. A pose is what the generator asks for: Gaussian maps `[B, K, H, W]` in
[0, 1] where it names a `sigma`, joints `[B, 18, 2]`, (x, y) pixels at its size, NaN missing, where `sigma` is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from augment.pose.heatmaps import pose_maps


@runtime_checkable
class PoseGenerator(Protocol):
    """Moves people into other poses.

    Attributes:
        name: short, for messages and manifests: `patn-synth`, `entry:copy`.
        size: (H, W) of its images in pixels; whoever calls it resizes to that, joints with it.
        pose_channels: K, channels of one pose map; 18 for OpenPose's joints.
        sigma: of the pose maps in pixels; None if it takes joints instead of maps.
        device: where its inputs must be.
    """

    name: str
    size: tuple[int, int]
    pose_channels: int
    sigma: float | None
    device: torch.device

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """Redraw each person of a batch in another pose.

        Args:
            image: float `[B, 3, H, W]` in [-1, 1], the condition photos.
            condition_pose: maps `[B, K, H, W]`, or joints `[B, 18, 2]` where `sigma` is None, of the photos.
            target_pose: likewise, of the poses to take.
            generators: one an image, on the CPU, seeded by the output it is for, so that an output's bytes do not
                depend on its neighbours. A generator that draws nothing ignores them.

        Returns:
            float `[B, 3, H, W]` in [-1, 1].
        """
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts that, together with the inputs, determine every output: versions, hashes, settings."""
        ...


def as_pose(generator: PoseGenerator, joints: Tensor) -> Tensor:
    """Joints `[B, 18, 2]`, (x, y) pixels at the generator's size, NaN missing, as the pose that it asks for."""
    return joints if generator.sigma is None else pose_maps(joints, generator.size, generator.sigma)
