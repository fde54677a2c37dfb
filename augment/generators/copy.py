"""The control that every table should have: a "generator" that returns the photo as it is.

Whatever a training gains with it is gained by repeating images under another name, not by new poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from augment.pose.skeleton import JOINT_COUNT


class CopyGenerator:
    """Returns the photo.

    Args:
        size: (H, W) of the images in pixels.
        device: where they are.
    """

    name = "entry:copy"
    pose_channels = JOINT_COUNT
    sigma: float | None = None

    def __init__(self, size: tuple[int, int] = (128, 64), device: torch.device | str = "cpu") -> None:
        self.size, self.device = size, torch.device(device)

    def transfer(
        self,
        image: Tensor,
        condition_pose: Tensor,  # noqa: ARG002
        target_pose: Tensor,  # noqa: ARG002
        generators: Sequence[torch.Generator] = (),  # noqa: ARG002
    ) -> Tensor:
        """The photos, as they are; see `PoseGenerator.transfer`."""
        return image.clone()

    def describe(self) -> dict[str, Any]:
        """For manifests."""
        return {"generator": "copy", "version": 1, "size": list(self.size), "trained_on": "nothing"}
