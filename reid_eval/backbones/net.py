"""The one interface of all backbones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ReidNet(nn.Module):
    """A trunk and a linear classifier on its pooled features.

    Args:
        trunk: ImageNet-normalised images [B, 3, H, W] to features [B, D], in training and evaluation alike.
        width: D.
        num_classes: C, identities of the training set.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.width = width
        self.classifier = nn.Linear(width, num_classes)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images float [B, 3, H, W], RGB in [-1, 1], to features [B, D] and logits [B, C], in either mode."""
        features = self.trunk((images * 0.5 + 0.5 - self.mean) / self.std)
        return features, self.classifier(features)
