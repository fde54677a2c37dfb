"""PATN as a `PoseGenerator`: the network, and what its weights file says of size, sigma and origin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.generators.patn.engines import PLAIN, Engine, How
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.load import load_generator, trained_for
from augment.generators.weights import WeightsFile, read_weights


class PATNTransfer:
    """A PATN network behind the toolkit's protocol.

    Args:
        network: in evaluation mode, on the device where it is to work.
        name: of its weights, for messages and manifests.
        size: (H, W) of its images in pixels.
        sigma: of the pose maps that it was trained with, in pixels.
        weights_sha256: of its file, None without one.
        info: what its file tells of the training.
    """

    sigma: float | None

    def __init__(
        self,
        network: PATNGenerator,
        name: str = "patn",
        size: tuple[int, int] = (128, 64),
        sigma: float = 6.0,
        weights_sha256: str | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        self.network, self.name, self.size, self.sigma = network, name, size, sigma
        self.weights_sha256, self.info = weights_sha256, info or {}
        self.pose_channels: int = network.architecture["pose_channels"]
        self.engine: Engine | None = None
        """Carries `transfer` out; None: the network itself, in the precision of the autocast around the call."""

    @classmethod
    def open(
        cls, weights: Path | str | WeightsFile, device: torch.device | str = "cpu", name: str = ""
    ) -> PATNTransfer:
        """Load weights: a file, the name of weights that ship, or what `read_weights` gave (then with a `name`).

        Raises:
            InputError: as `load_generator`.
        """
        file = weights if isinstance(weights, WeightsFile) else read_weights(weights)
        if not isinstance(weights, WeightsFile):
            name = name or Path(weights).name
        size, sigma = trained_for(file)
        return cls(load_generator(file, device), name or "patn", size, sigma, file.sha256, file.info)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def blocks(self) -> int:
        """Pose-attentional blocks in use."""
        return self.network.blocks

    def use_blocks(self, blocks: int) -> PATNTransfer:
        """Leave after so many blocks from now on; see `PATNGenerator.use_blocks`. An engine, made for a depth, goes."""
        self.network.use_blocks(blocks)
        self.engine = None
        return self

    @property
    def how(self) -> How:
        """Backend, form and precision of `transfer`; without an engine the precision is what an autocast says."""
        return PLAIN if self.engine is None else self.engine.how

    def transfer(
        self,
        image: Tensor,
        condition_pose: Tensor,
        target_pose: Tensor,
        generators: Sequence[torch.Generator] = (),  # noqa: ARG002
    ) -> Tensor:
        """Redraw people in other poses, see `PoseGenerator.transfer`; nothing is drawn at random."""
        if self.engine is not None:
            return self.engine(image, condition_pose, target_pose)
        made: Tensor = self.network(image, condition_pose, target_pose)
        return made

    def attention(self, image: Tensor, condition_pose: Tensor, target_pose: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `transfer`, with each block's mask; see `PATNGenerator.attention`."""
        return self.network.attention(image, condition_pose, target_pose)

    @property
    def engine_facts(self) -> dict[str, Any]:
        """Of the engine, for manifests; nothing without one."""
        if self.engine is None:
            return {}
        return {"form": self.how.form, **self.engine.facts}

    @property
    def engine_identity(self) -> dict[str, Any]:
        """What an engine adds to all that the images depend on; nothing without one."""
        return {"engine": str(self.how), **self.engine_facts} if self.engine is not None else {}

    def describe(self) -> dict[str, Any]:
        """For manifests."""
        return {
            "generator": "patn",
            "weights": self.name,
            "weights_sha256": self.weights_sha256,
            "architecture": dict(self.network.architecture),
            "blocks": self.blocks,
            "size": list(self.size),
            "sigma": self.sigma,
            **self.engine_identity,
        }
