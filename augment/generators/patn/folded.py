"""PATN's generator as it is used, not trained: BatchNorm inside the convolutions, one depth, no dropout.

The numbers are those of `PATNGenerator` in evaluation mode but for the rounding of float32. What makes it cheaper
(`augment.generators.patn.slim`) replaces convolutions of it by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from augment.generators.patn.blocks import Dropout, join_codes
from augment.generators.patn.generator import PATNGenerator


class FoldedBlock(nn.Module):
    """A `PATBlock` with its BatchNorm folded: `image` is the path of the image code, `pose` that of the pose code."""

    def __init__(self, image: Iterable[nn.Module], pose: Iterable[nn.Module]) -> None:
        super().__init__()
        self.image, self.pose = fold(image), fold(pose)

    def forward(self, image_code: Tensor, pose_code: Tensor) -> tuple[Tensor, Tensor]:
        """The new image code and the pose path before its sigmoid, both `[B, C, h, w]`."""
        pose = self.pose(pose_code)
        return image_code + self.image(image_code) * torch.sigmoid(pose), pose


class FoldedPATN(nn.Module):
    """A trained generator at the depth that it is set to; shares no memory with it.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: PATNGenerator) -> None:
        super().__init__()
        parts = network.model
        self.pose_channels: int = network.architecture["pose_channels"]
        self.image_in, self.pose_in = fold(parts.stream1_down), fold(parts.stream2_down)
        self.blocks = nn.ModuleList(
            FoldedBlock(block.conv_block_stream1, block.conv_block_stream2)  # type: ignore[arg-type]
            for block in parts.att[: network.blocks]
        )
        self.image_out = fold(network.decoder_layers())
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> Tensor:
        """As `PATNGenerator.forward`."""
        image_code = self.image_in(image)
        pose_code = self.pose_in(torch.cat((condition_map, target_map), dim=1))
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            image_code, pose = block(image_code, pose_code)
            if number < last:
                pose_code = join_codes(pose, image_code)
        made: Tensor = self.image_out(image_code)
        return made


def fold(layers: Iterable[nn.Module]) -> nn.Sequential:
    """Copies of layers in evaluation mode, each BatchNorm inside the convolution before it, dropout left out.

    InstanceNorm stays: its statistics are each image's own.
    """
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            before = kept.pop()
            assert isinstance(before, nn.Conv2d | nn.ConvTranspose2d)
            kept.append(fuse_conv_bn_eval(before, layer, transpose=isinstance(before, nn.ConvTranspose2d)))
        elif isinstance(layer, nn.ReLU):
            kept.append(nn.ReLU())  # in place, it would write into what a replaced convolution still needs
        elif not isinstance(layer, Dropout):
            kept.append(deepcopy(layer))
    return nn.Sequential(*kept)
