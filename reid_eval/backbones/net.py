"""The one interface of all backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from reid_eval.settings import TrainSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ReidNet(nn.Module):
    """A trunk, maybe a neck, and a linear classifier.

    Args:
        trunk: normalised images [B, 3, H, W] to features [B, D], in training and evaluation alike.
        width: D.
        num_classes: C, identities of the training set.
        neck: `none`, or `bnneck` (Luo et al., CVPRW 2019): batch normalisation that scales but does not shift, before a
            classifier without bias.
        size: (H, W) of the images that it is meant for.
        mean, std: of the trunk's images, RGB in 0..1.
    """

    mean: Tensor
    std: Tensor
    settings: TrainSettings | None = None
    """What it was trained with; None: it was not, or its file does not say."""
    people: tuple[int | str, ...] | None = None
    """Pid of each label, or the name of the identity's folder; None: not known."""
    init: str = "scratch"
    """What it started from: `scratch`, `imagenet`, or a file and what was taken from it."""

    def __init__(
        self,
        trunk: nn.Module,
        width: int,
        num_classes: int,
        neck: str = "none",
        size: tuple[int, int] = (128, 64),
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.width = width
        self.size = size
        self.neck: nn.Module = nn.Identity()
        self.classifier = nn.Linear(width, num_classes, bias=neck != "bnneck")
        if neck == "bnneck":
            self.neck = nn.BatchNorm1d(width)
            self.neck.bias.requires_grad_(False)
            nn.init.normal_(self.classifier.weight, std=0.001)  # as in the authors' code
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def pool(self, images: Tensor) -> Tensor:
        """Images float [B, 3, H, W], RGB in [-1, 1], to the trunk's features [B, D]."""
        features: Tensor = self.trunk((images * 0.5 + 0.5 - self.mean) / self.std)
        return features

    def embed(self, images: Tensor) -> Tensor:
        """Images as in `pool` to the features that are ranked, [B, D]: after the neck."""
        features: Tensor = self.neck(self.pool(images))
        return features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images as in `pool` to features before the neck [B, D] and logits [B, C], in either mode."""
        features = self.pool(images)
        return features, self.classifier(self.neck(features))

    def head(self) -> list[nn.Parameter]:
        """Learnable parameters of neck and classifier."""
        return [p for part in (self.neck, self.classifier) for p in part.parameters() if p.requires_grad]
