"""PATN's training losses (section 3.3 of Zhu et al., CVPR 2019), always computed in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from reid_eval.runtime import InputError

GAN_LOSSES = ("bce", "lsgan", "hinge")


def gan_loss(scores: Tensor, real: bool, kind: str) -> Tensor:
    """How far a discriminator's scores are from calling everything real, or everything generated.

    `bce` is binary cross-entropy after a sigmoid, computed from the scores before it: equal to the authors' sigmoid
    and BCELoss, but finite where float32 rounds their sigmoid to 0 or 1. `lsgan` is the squared distance to 1 or 0.
    `hinge` asks real scores to be above 1 and generated ones below -1, and no more (Lim and Ye, 2017); 1 is chance.

    Args:
        scores: any shape, before the sigmoid.
        real: the label, 1 or 0, of every score.
        kind: `bce` (the authors' Market-1501), `lsgan` (their DeepFashion) or `hinge`.

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
    if kind == "hinge":
        return F.relu(1 - scores if real else 1 + scores).mean()
    raise InputError(f"the GAN loss must be one of {', '.join(GAN_LOSSES)}, got {kind!r}")


def generator_loss(scores: Tensor, kind: str) -> Tensor:
    """What a generator is told by a discriminator's scores of its images: `gan_loss` as if real; of `hinge`, -mean.

    Raises:
        InputError: another kind.
    """
    return -scores.float().mean() if kind == "hinge" else gan_loss(scores, True, kind)


def feature_loss(generated: list[Tensor], real: list[Tensor]) -> Tensor:
    """Feature matching (Wang et al., pix2pixHD, CVPR 2018): mean L1 of a discriminator's layers, scores left aside.

    Args:
        generated: what each layer gives for generated images, the scores last.
        real: the same for the targets; no gradient reaches them.

    Returns:
        A float32 scalar.
    """
    layers = [(g.float() - r.detach().float()).abs().mean() for g, r in zip(generated[:-1], real[:-1], strict=True)]
    return sum(layers, start=generated[0].new_zeros((), dtype=layers[0].dtype)) / len(layers)


def grid_loss(generated: Tensor, target: Tensor) -> Tensor:
    """How far the spectrum of generated images stands out at periods of 8, 4 and 2 pixels, where a decoder prints.

    A transposed convolution of stride 2 can print a pattern that is the same everywhere, and a perceptual loss likes
    it: texture that cannot be guessed is missed less where there is any. The power at each frequency of the lattice,
    averaged over images and channels, is divided by that around it; what counts is by how much the logarithm exceeds
    that of the targets (which JPEG may have printed into), or 0.

    Args:
        generated, target: `[B, 3, H, W]` in [-1, 1]; no gradient reaches the second.

    Returns:
        A float32 scalar, the sum over the lattice's frequencies; 0 is none.
    """
    ours, theirs = (_stands_out(images.float()) for images in (generated, target.detach()))
    return F.relu(ours - F.relu(theirs)).sum()


def _stands_out(images: Tensor) -> Tensor:
    """Log of the power at each frequency of the lattice over that around it, `[63]`."""
    height, width = images.shape[2:]
    # A window, or the image's borders spread over whole rows of the spectrum
    window = torch.hann_window(height, device=images.device)[:, None] * torch.hann_window(width, device=images.device)
    centred = images - images.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(centred * window).abs().square().mean((0, 1))
    around = F.pad(power[None, None], (3, 3, 3, 3), mode="circular")
    sums = {side: F.avg_pool2d(around, side, 1) * side**2 for side in (3, 7)}
    peak = sums[3][0, 0, 2:-2, 2:-2] / 9
    ring = (sums[7][0, 0] - sums[3][0, 0, 2:-2, 2:-2]) / 40
    ratio = (peak / ring.clamp_min(1e-8)).clamp_min(1e-8).log()
    rows, columns = (torch.arange(8, device=images.device) * side // 8 for side in (height, width))
    return ratio[rows][:, columns].flatten()[1:]


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
