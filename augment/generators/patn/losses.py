"""PATN's training losses (section 3.3 of Zhu et al., CVPR 2019), always computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.generators.patn.authors import read_state_dict
from reid_eval.runtime import InputError

GAN_LOSSES = ("bce", "lsgan")
_CHOICES = "choose torchvision (downloads 548 MB once), a file with VGG-19's state dict, or off for perceptual"


def gan_loss(scores: Tensor, real: bool, kind: str) -> Tensor:
    """How far a discriminator's scores are from calling everything real, or everything generated.

    `bce` is binary cross-entropy after a sigmoid, computed from the scores before it: equal to the authors' sigmoid
    and BCELoss, but finite where float32 rounds their sigmoid to 0 or 1. `lsgan` is the squared distance to 1 or 0.

    Args:
        scores: any shape, before the sigmoid.
        real: the label, 1 or 0, of every score.
        kind: `bce` (the authors' Market-1501) or `lsgan` (their DeepFashion).

    Returns:
        A float32 scalar, the mean over all scores.

    Raises:
        InputError: another kind.
    """
    scores = scores.float()
    if kind == "bce":
        return F.softplus(-scores if real else scores).mean()
    if kind == "lsgan":
        return (scores - float(real)).square().mean()
    raise InputError(f"the GAN loss must be one of {', '.join(GAN_LOSSES)}, got {kind!r}")


def l1_loss(
    generated: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    mask_weight: float = 0.0,
    over_processes: Callable[[Tensor], Tensor] = lambda mean: mean,
) -> Tensor:
    """Mean absolute difference of two images, `[B, 3, H, W]` in [-1, 1], as a float32 scalar.

    The paper's loss has no mask. With one (`[B, 1, H, W]` in {0, 1}), a pixel inside it counts 1 + `mask_weight`
    times a pixel outside; the weights are normalised to a mean of 1 over the batch, which `over_processes` makes that
    of all processes.
    """
    difference = (generated.float() - target.float()).abs()
    if mask is None or mask_weight == 0:
        return difference.mean()
    weight = 1 + mask_weight * mask.float()
    return (difference * weight).mean() / over_processes(weight.mean())


class PerceptualLoss(nn.Module):
    """L1 between VGG-19's features after relu1_2 (section 3.3, equation 11).

    Args:
        weights: a state dict with VGG-19's first two convolutions, as `features.0.weight` or `0.weight`.
        source: where they came from; training records it.

    Raises:
        InputError: the convolutions are not there, or of another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: dict[str, Tensor], source: str) -> None:
        super().__init__()
        self.source = source
        self.features = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        prefix = "features." if "features.0.weight" in weights else ""
        try:
            self.features.load_state_dict({k: weights[prefix + k] for k in self.features.state_dict()})
        except (KeyError, RuntimeError):
            raise InputError(
                f"{source} has no VGG-19: needs features.0 (3 to 64) and features.2 (64 to 64); {_CHOICES}"
            ) from None
        self.requires_grad_(False)
        # ImageNet's statistics; not persistent, so that they follow the device and stay out of checkpoints
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, generated: Tensor, target: Tensor) -> Tensor:
        """`[B, 3, H, W]` in [-1, 1] twice, to a float32 scalar; no gradient reaches `target`."""
        with torch.no_grad():
            wanted = self._relu1_2(target)
        return (self._relu1_2(generated).float() - wanted.float()).abs().mean()

    def _relu1_2(self, image: Tensor) -> Tensor:
        return F.relu(self.features(((image.float() + 1) / 2 - self.mean) / self.std))


def load_perceptual(source: str) -> PerceptualLoss | None:
    """The perceptual loss from `torchvision`, from a file of VGG-19's weights, or None for `off`.

    Raises:
        InputError: the weights can't be had; the message lists the choices.
    """
    if source == "off":
        return None
    if source == "torchvision":
        return PerceptualLoss(_download(), "torchvision VGG19_Weights.IMAGENET1K_V1")
    if not Path(source).is_file():
        raise InputError(f"perceptual {source}: no such file; {_CHOICES}")
    return PerceptualLoss(read_state_dict(source), Path(source).name)


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    try:
        return torch.hub.load_state_dict_from_url(
            VGG19_Weights.IMAGENET1K_V1.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a proxy's page, a full disk, a truncated file: the remedy is the same
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"could not download VGG-19 for the perceptual loss ({reason}); {_CHOICES}") from None
