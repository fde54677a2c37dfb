"""Discriminators that judge patches and keep a gradient worth following; not the authors', see docs/training.md."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from reid_eval.runtime import InputError

_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Convolutions under spectral normalisation without norm layers, and a head of one channel.

    A verdict for each patch of 28x28 pixels, as pix2pix has it (Isola et al., CVPR 2017), with the weights' largest
    singular values held at 1 (Miyato et al., ICLR 2018), for a hinge loss. Sees the same pairs as the authors'
    discriminators: [image, condition image] or [image, target pose].

    Args:
        in_channels: channels of image and condition, concatenated.
        ndf: width of the first convolution; it doubles twice.

    Raises:
        InputError: an argument below 1.
    """

    def __init__(self, in_channels: int, ndf: int = 64) -> None:
        super().__init__()
        if min(in_channels, ndf) < 1:
            raise InputError(f"a discriminator needs in_channels and ndf of at least 1, got {in_channels}, {ndf}")
        self.architecture: dict[str, Any] = {"kind": "patches", "in_channels": in_channels, "ndf": ndf}
        shapes = [(in_channels, ndf, 3, 1), (ndf, 2 * ndf, 4, 2), (2 * ndf, 4 * ndf, 4, 2), (4 * ndf, 4 * ndf, 3, 1)]
        self.layers = nn.ModuleList(_normed(*shape) for shape in shapes)
        self.head = _normed(4 * ndf, 1, 3, 1)

    def forward(self, pair: Tensor) -> Tensor:
        """`[B, in_channels, H, W]` to scores, `[B, 1, H/4, W/4]`, unbounded."""
        return self.features(pair)[-1]

    def features(self, pair: Tensor) -> list[Tensor]:
        """What each layer gives, the scores last."""
        found = []
        for layer in self.layers:
            pair = nn.functional.leaky_relu(layer(pair), _SLOPE)
            found.append(pair)
        return [*found, self.head(pair)]


def _normed(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return spectral_norm(layer)
