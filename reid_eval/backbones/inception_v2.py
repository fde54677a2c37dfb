"""Inception-v2: the BN-Inception of Ioffe & Szegedy, Batch Normalization, 2015 (arXiv:1502.03167), figure 5.

Every convolution is followed by batch normalisation and ReLU and has no bias, which the normalisation would cancel.
The paper's table contradicts itself: the filters of 4c and 4d add up to 608, its column of outputs says 576 (and 1024
instead of 1056 after 4e). The filters are taken here, as in the Caffe port whose ImageNet weights circulate: 10,270,240
parameters with that port's convolution biases, 10,260,224 without. TF-slim narrows two pooling branches to 96 instead.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(NamedTuple):
    """One row of the paper's table: widths of the branches of an inception block."""

    one: int
    """1x1 branch; 0 in the stride-2 blocks, which have none."""
    three_reduce: int
    three: int
    double_reduce: int
    double: int
    pool: str
    """`avg` or `max`."""
    project: int
    """1x1 after the pooling; 0 passes the pooled input through."""

    @property
    def stride(self) -> int:
        """2 in the pass-through blocks 3c and 4e."""
        return 1 if self.project else 2

    def width(self, inputs: int) -> int:
        """Output channels for a block with `inputs` channels."""
        return self.one + self.three + self.double + (self.project or inputs)


BLOCKS = {
    "3a": Block(64, 64, 64, 64, 96, "avg", 32),
    "3b": Block(64, 64, 96, 64, 96, "avg", 64),
    "3c": Block(0, 128, 160, 64, 96, "max", 0),
    "4a": Block(224, 64, 96, 96, 128, "avg", 128),
    "4b": Block(192, 96, 128, 96, 128, "avg", 128),
    "4c": Block(160, 128, 160, 128, 160, "avg", 128),
    "4d": Block(96, 128, 192, 160, 192, "avg", 128),
    "4e": Block(0, 128, 192, 192, 256, "max", 0),
    "5a": Block(352, 192, 320, 160, 224, "avg", 128),
    "5b": Block(352, 192, 320, 192, 224, "max", 128),
}


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the size at stride 1; batch normalisation; ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Inception(nn.Module):
    """1x1, 3x3, double 3x3 and pooling branches, concatenated in this order.

    Maps [B, inputs, H, W] to [B, block.width(inputs), H / stride, W / stride], halves rounded up; `stride` is the
    block's own where it is None.
    """

    def __init__(self, inputs: int, block: Block, stride: int | None = None) -> None:
        super().__init__()
        self.kind, self.stride = block.pool, stride or block.stride
        self.one = conv(inputs, block.one, 1) if block.one else None
        self.three = nn.Sequential(
            conv(inputs, block.three_reduce, 1), conv(block.three_reduce, block.three, 3, self.stride)
        )
        self.twice = nn.Sequential(
            conv(inputs, block.double_reduce, 1),
            conv(block.double_reduce, block.double, 3),
            conv(block.double, block.double, 3, self.stride),
        )
        self.project = conv(inputs, block.project, 1) if block.project else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        pool = functional.max_pool2d if self.kind == "max" else functional.avg_pool2d
        pooled = pool(x, 3, self.stride, padding=1)
        branches = [self.three(x), self.twice(x), self.project(pooled) if self.project is not None else pooled]
        return torch.cat(branches if self.one is None else [self.one(x), *branches], 1)


class InceptionV2(nn.Module):
    """Images [B, 3, H, W] to pooled features [B, 1024].

    The last map is [B, 1024, H/32, W/32]; it is averaged over its whole area, which at 224x224 is the paper's 7x7.
    `last_stride` 1, of block 4e, doubles its sides, as the bag of tricks does with ResNet's last stage.
    """

    width = 1024

    def __init__(self, last_stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(3, 64, 7, 2),
            nn.MaxPool2d(3, 2, padding=1),
            conv(64, 64, 1),
            conv(64, 192, 3),
            nn.MaxPool2d(3, 2, padding=1),
        )
        blocks, channels = {}, 192
        for name, block in BLOCKS.items():
            blocks[f"inception_{name}"] = Inception(channels, block, last_stride if name == "4e" else None)
            channels = block.width(channels)
        self.blocks = nn.ModuleDict(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        x: Tensor = self.stem(images)
        for block in self.blocks.values():
            x = block(x)
        return x.mean((2, 3))


def inception_v2_trunk(last_stride: int = 2) -> tuple[nn.Module, int]:
    """The trunk and its width 1024.

    Raises:
        InputError: `last_stride` is neither 2, the paper's, nor 1.
    """
    from reid_eval.runtime import InputError

    if last_stride not in (1, 2):
        raise InputError(f"last_stride {last_stride}: expected 1 or 2")
    return InceptionV2(last_stride), InceptionV2.width
