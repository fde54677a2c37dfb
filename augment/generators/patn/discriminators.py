"""PATN's two discriminators: D_A for appearance, D_S for shape (section 3.2 of Zhu et al., CVPR 2019).

As the authors' code has them: there is no head that brings the features down to one channel. Each of the 256x32x16
values (for 128x64) is itself a verdict.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from augment.generators.patn.blocks import ResidualBlock, encoder
from reid_eval.runtime import InputError


class PATNDiscriminator(nn.Module):
    """7x7 convolution, strided convolutions, residual blocks.

    D_A sees [generated or target image, condition image], 6 channels; D_S sees [image, target pose], 21 channels.
    The original ends in a sigmoid when trained with BCE and in nothing for LSGAN. Here the scores before the
    sigmoid come out, and `losses.gan_loss` applies it in float32, where it is safe under mixed precision.

    Args:
        in_channels: channels of image and condition, concatenated.
        ndf: width of the first convolution (authors: 64).
        n_blocks: residual blocks (authors: 3).
        n_downsampling: strided convolutions (authors: 2 for both data sets); width stops growing at 4·ndf.
        norm: `batch` or `instance`.
        dropout: rate in the residual blocks (authors: 0.5).

    Raises:
        InputError: an argument out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        ndf: int = 64,
        n_blocks: int = 3,
        n_downsampling: int = 2,
        norm: str = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if min(in_channels, ndf) < 1 or min(n_blocks, n_downsampling) < 0 or not 0 <= dropout < 1:
            raise InputError(
                "a discriminator needs in_channels and ndf of at least 1, n_blocks and n_downsampling of at least 0, "
                f"dropout in [0, 1); got {in_channels}, {ndf}, {n_blocks}, {n_downsampling}, {dropout}"
            )
        self.architecture: dict[str, Any] = {
            "in_channels": in_channels,
            "ndf": ndf,
            "n_blocks": n_blocks,
            "n_downsampling": n_downsampling,
            "norm": norm,
            "dropout": dropout,
        }
        channels = ndf * min(2**n_downsampling, 4)
        blocks = [ResidualBlock(channels, norm, dropout) for _ in range(n_blocks)]
        self.model = nn.Sequential(*encoder(in_channels, ndf, n_downsampling, norm, cap=4), *blocks)

    def forward(self, pair: Tensor) -> Tensor:
        """`[B, in_channels, H, W]` to scores before the sigmoid, `[B, 4·ndf, H/4, W/4]`, unbounded."""
        return self.model(pair)


def init_discriminator(discriminator: nn.Module, batchnorm_gain: str = "uniform") -> None:
    """The authors' start, in place: they call no initialiser, so it is that of their PyTorch, 0.3.1.

    That one differs from today's in one thing: BatchNorm gains are uniform in (0, 1), not 1. `batchnorm_gain`
    `ones` gives today's. Draws from torch's global generator.

    Raises:
        InputError: `batchnorm_gain` is neither `uniform` nor `ones`.
    """
    if batchnorm_gain not in ("uniform", "ones"):
        raise InputError(f"batchnorm_gain must be uniform or ones, got {batchnorm_gain!r}")
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            if batchnorm_gain == "uniform":
                nn.init.uniform_(module.weight)
