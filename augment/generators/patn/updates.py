"""The two halves of a step that change weights: the generator's, and a discriminator's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augment.generators.patn.feature_losses import Shift
from augment.generators.patn.losses import feature_loss, gan_loss, generator_loss, grid_loss, l1_loss
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import DiscriminatorState, TrainState


@dataclass(frozen=True)
class Shown:
    """What a batch shows the losses: `[B, C, H, W]` each; `mask` and `shift` where there are any."""

    image: Tensor
    target: Tensor
    target_map: Tensor
    mask: Tensor | None
    shift: Shift | None

    def other(self, discriminator: str) -> Tensor:
        """What a discriminator, `appearance` or `shape`, sees beside the image."""
        return self.image if discriminator == "appearance" else self.target_map


def update_generator(
    state: TrainState, generated: Tensor, shown: Shown, settings: PATNTrainSettings, hears: bool
) -> dict[str, Tensor]:
    """Losses, gradients, Adam's step.

    Args:
        state: changed in place.
        generated: `[B, 3, H, W]`, float32, with its graph.
        shown: the batch.
        settings: of the training.
        hears: whether GAN losses count.

    Returns:
        Losses by their names in `LOSS_NAMES`.
    """
    losses = {"l1": l1_loss(generated, shown.target, shown.mask, settings.mask_weight, state.processes.average)}
    total = settings.lambda_l1 * losses["l1"]
    if state.perceptual is not None:
        with autocast(state, settings):
            losses["perceptual"] = state.perceptual(generated, shown.target, shown.shift)
        total = total + settings.lambda_perceptual * losses["perceptual"]
    if settings.lambda_grid:
        losses["grid"] = grid_loss(generated, shown.target)
        total = total + settings.lambda_grid * losses["grid"]
    state.optimizer.zero_grad(set_to_none=True)
    if not hears:
        total.backward()
    elif settings.gan_ratio:
        gan = _gan_terms(state, generated, shown, settings, losses)
        total = _backward_in_ratio(state, generated, total, gan, settings.gan_ratio, losses)
    else:
        total = total + settings.lambda_gan * _gan_terms(state, generated, shown, settings, losses)
        total.backward()
    losses["total"] = total
    state.processes.average_gradients(state.generator)
    state.optimizer.step()
    return losses


def _gan_terms(
    state: TrainState, generated: Tensor, shown: Shown, settings: PATNTrainSettings, losses: dict[str, Tensor]
) -> Tensor:
    """Both discriminators' verdicts, halved, with feature matching; they are noted in `losses`, too."""
    terms = []
    for name in ("shape", "appearance"):
        discriminator, other = state.discriminator(name), shown.other(name)
        discriminator.network.requires_grad_(False)  # its own gradients of this pass would be thrown away
        if settings.lambda_features:
            scores, features = _matched(state, discriminator, generated, shown.target, other, settings)
            losses["features"] = losses.get("features", 0) + features / 2
        else:
            scores = _scores(state, discriminator, torch.cat((generated, other), dim=1), settings)
        discriminator.network.requires_grad_(True)
        losses[f"gan_{name}"] = generator_loss(scores, settings.gan)
        terms.append(losses[f"gan_{name}"])
    gan = (terms[1] + terms[0]) / 2
    return gan + settings.lambda_features * losses["features"] if settings.lambda_features else gan


def _matched(
    state: TrainState,
    discriminator: DiscriminatorState,
    generated: Tensor,
    target: Tensor,
    other: Tensor,
    settings: PATNTrainSettings,
) -> tuple[Tensor, Tensor]:
    """Scores of the generated images, and how far a discriminator's layers are from those of the targets."""
    network: Any = discriminator.network
    with autocast(state, settings):
        with torch.no_grad():
            real = network.features(torch.cat((target, other), dim=1))
        fake = network.features(torch.cat((generated, other), dim=1))
    return fake[-1], feature_loss(fake, real)


def _backward_in_ratio(
    state: TrainState, generated: Tensor, rest: Tensor, gan: Tensor, ratio: float, losses: dict[str, Tensor]
) -> Tensor:
    """Gradients of `rest + weight * gan`, the weight such that at the image the second is `ratio` times the first.

    VQGAN (Esser et al., CVPR 2021) does so at the last layer's weights. Both gradients are taken at the image, where
    the generator's own backward pass has not begun: that runs once.
    """
    of_rest, of_gan = (torch.autograd.grad(loss, generated, retain_graph=True)[0] for loss in (rest, gan))
    norms = torch.stack([of_rest.square().mean(), of_gan.square().mean()])
    squares = state.processes.average(norms)
    weight = ratio * (squares[0] / squares[1].clamp_min(1e-16)).sqrt()
    generated.backward(of_rest + weight * of_gan)
    losses["gan_weight"] = weight
    return (rest + weight * gan).detach()


def update_discriminator(
    state: TrainState, discriminator: DiscriminatorState, real: Tensor, pooled: Tensor, settings: PATNTrainSettings
) -> Tensor:
    """One step of a discriminator on real and generated pairs `[B, C, H, W]`; its loss, weighted by λ_gan."""
    discriminator.optimizer.zero_grad(set_to_none=True)
    if settings.discriminators_at_once:
        on_real, on_fake = _scores(state, discriminator, torch.cat((real, pooled)), settings).chunk(2)
    else:
        on_real, on_fake = (
            _scores(state, discriminator, real, settings),
            _scores(state, discriminator, pooled, settings),
        )
    loss = settings.lambda_gan * (gan_loss(on_real, True, settings.gan) + gan_loss(on_fake, False, settings.gan)) / 2
    loss.backward()
    state.processes.average_gradients(discriminator.network)
    discriminator.optimizer.step()
    return loss


def _scores(state: TrainState, discriminator: DiscriminatorState, pairs: Tensor, settings: PATNTrainSettings) -> Tensor:
    # A context of its own each time: autocast keeps casts of weights, which are stale after an update
    with autocast(state, settings):
        return discriminator.network(pairs)


def autocast(state: TrainState, settings: PATNTrainSettings) -> AbstractContextManager[Any]:
    """bfloat16 where the settings say so."""
    return torch.autocast(state.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
