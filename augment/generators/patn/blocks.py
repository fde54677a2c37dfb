"""Parts of PATN's networks: norm layers, encoders, the decoder, residual blocks and the pose-attentional block.

The layers sit in `nn.Sequential`s at the indices of the authors' code (paddings and dropouts count), so that the
keys of a state dict are theirs. Zhu et al., "Progressive Pose Attention Transfer for Person Image Generation",
CVPR 2019, section 3.1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reid_eval.runtime import InputError

Norm = Literal["batch", "instance"]
NORMS: tuple[str, ...] = ("batch", "instance")


def norm_layer(norm: str, channels: int) -> nn.Module:
    """`batch`: affine, with running statistics. `instance`: neither, as the authors train DeepFashion.

    Raises:
        InputError: another name.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels)
    raise InputError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def is_norm(layer: nn.Module) -> bool:
    """Whether `norm_layer` (or its twin that is synchronised over processes) made this layer."""
    return isinstance(layer, nn.modules.batchnorm._NormBase)


def conv_has_bias(norm: str) -> bool:
    """A convolution before BatchNorm needs no bias; the authors give one to those before InstanceNorm."""
    return norm == "instance"


class Dropout(nn.Dropout):
    """`nn.Dropout`, seven times faster on a CPU at a rate of one half, where one random bit decides a value.

    PyTorch draws each decision from a serial generator, which takes a tenth of a training step; here 64 come from one
    draw of the same generator (torch's global one). Any rate other than 0.5, and any other device, is PyTorch's own.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as nn.Dropout
        if not self.training or self.p != 0.5 or x.device.type != "cpu":
            return super().forward(x)
        words = torch.empty((x.numel() + 63) // 64, dtype=torch.int64).random_(-(2**63), None)
        bits = (words.view(torch.uint8).unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
        scale = bits.flatten()[: x.numel()].to(x.dtype).mul_(2)
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            batch, channels, height, width = x.shape
            return x * scale.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return x * scale.view(x.shape)


def encoder(in_channels: int, width: int, n_downsampling: int, norm: str, cap: int | None = None) -> list[nn.Module]:
    """7x7 convolution at full size, then `n_downsampling` 3x3 ones of stride 2; width doubles at each.

    `[B, in_channels, H, W]` to `[B, width·2^n, H/2^n, W/2^n]`, non-negative. `cap` bounds the multiple of `width`
    (the authors' discriminators stop at 4).
    """
    bias = conv_has_bias(norm)
    layers = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(in_channels, width, 7, bias=bias),
        norm_layer(norm, width),
        nn.ReLU(inplace=True),
    ]
    for level in range(n_downsampling):
        wide = width * min(2**level, cap or 2**level)
        wider = width * min(2 ** (level + 1), cap or 2 ** (level + 1))
        layers += [
            nn.Conv2d(wide, wider, 3, stride=2, padding=1, bias=bias),
            norm_layer(norm, wider),
            nn.ReLU(inplace=True),
        ]
    return layers


def decoder(out_channels: int, width: int, n_downsampling: int, norm: str) -> list[nn.Module]:
    """The mirror of `encoder` with transposed convolutions; `[B, out_channels, H, W]` in [-1, 1] by a tanh.

    The last convolution has a bias whatever the norm: no norm follows it.
    """
    layers: list[nn.Module] = []
    for level in range(n_downsampling, 0, -1):
        wide, narrow = width * 2**level, width * 2 ** (level - 1)
        layers += [
            nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1, bias=conv_has_bias(norm)),
            norm_layer(norm, narrow),
            nn.ReLU(inplace=True),
        ]
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]


def two_convs(channels: int, out_channels: int, norm: str, dropout: float, last_norm: bool) -> nn.Sequential:
    """Pad, 3x3, norm, ReLU, (dropout), pad, 3x3, (norm): `[B, channels, h, w]` to `[B, out_channels, h, w]`.

    With `dropout` 0 the layer is absent, which moves the second convolution from index 6 to 5, as in the original.
    """
    bias = conv_has_bias(norm)
    layers = [
        nn.ReflectionPad2d(1),
        nn.Conv2d(channels, channels, 3, bias=bias),
        norm_layer(norm, channels),
        nn.ReLU(inplace=True),
    ]
    if dropout > 0:
        layers.append(Dropout(dropout))
    layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, out_channels, 3, bias=bias)]
    if last_norm:
        layers.append(norm_layer(norm, out_channels))
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """`x + two_convs(x)`, no ReLU after the sum: the discriminators' block. Shape `[B, channels, h, w]` kept."""

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.conv_block = two_convs(channels, channels, norm, dropout, last_norm=True)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, h, w]` to the same shape."""
        return x + self.conv_block(x)


class PATBlock(nn.Module):
    """Pose-Attentional Transfer Block (section 3.1.2, equations 2 to 5).

    The pose path says by a sigmoid mask where the image code changes; the new image code is fed back to the pose.
    The first block's pose code has `channels` channels; the others' has twice as many, being a concatenation.
    """

    def __init__(self, channels: int, norm: str, dropout: float, first: bool) -> None:
        super().__init__()
        pose_channels = channels if first else 2 * channels
        self.conv_block_stream1 = two_convs(channels, channels, norm, dropout, last_norm=True)
        self.conv_block_stream2 = two_convs(pose_channels, channels, norm, dropout, last_norm=False)

    def forward(self, image_code: Tensor, pose_code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One transfer.

        Args:
            image_code: `[B, C, h, w]`.
            pose_code: `[B, C, h, w]` in the first block, `[B, 2C, h, w]` in the others.

        Returns:
            The new image code `[B, C, h, w]`; the pose path before its sigmoid `[B, C, h, w]`, to be joined with
            the image code by `join_codes` for the next block; the mask `[B, C, h, w]` in (0, 1).
        """
        change = self.conv_block_stream1(image_code)
        pose = self.conv_block_stream2(pose_code)
        mask = torch.sigmoid(pose)
        return image_code + change * mask, pose, mask


def join_codes(pose: Tensor, image_code: Tensor) -> Tensor:
    """The next block's pose code: pose path and new image code, in this order, `[B, 2C, h, w]` (equation 5)."""
    return torch.cat((pose, image_code), dim=1)
