"""One optimisation step of a `TrainState`; the loop around it is `augment.generators.patn.train`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from augment.generators.patn.batch import PairBatch, step_generator
from augment.generators.patn.losses import gan_loss, l1_loss
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import DiscriminatorState, TrainState, memory_format_of
from augment.pose.heatmaps import pose_maps

LOSS_NAMES = ("total", "l1", "perceptual", "gan_appearance", "gan_shape", "d_appearance", "d_shape")


def train_step(state: TrainState, batch: PairBatch, settings: PATNTrainSettings) -> Tensor:
    """One iteration in the authors' order: generator, appearance discriminator, shape discriminator.

    Losses (section 3.3): the generator's is `λ_gan (A + S) / 2 + λ_l1 L1 + λ_perceptual P`; each discriminator's is
    `λ_gan (real + generated) / 2`. A discriminator sees real and generated in two passes, because BatchNorm would
    mix them in one; `discriminators_at_once` makes it one where the norm is per image.

    Args:
        state: moved one step on, in place.
        batch: pairs on the state's device; this process's part, where there are several.
        settings: of the training.

    Returns:
        Detached float32 `[7]` on the device, in the order of `LOSS_NAMES`, before weighting except `total` and the
        `d_` ones; 0 where a loss is off.
    """
    for optimizer in (state.optimizer, state.appearance.optimizer, state.shape.optimizer):
        _set_rate(optimizer, settings.learning_rate(state.step))
    adversarial = settings.lambda_gan > 0 and state.step >= settings.gan_start
    blocks = blocks_at(state.step, state.generator.architecture, settings)
    state.generator.use_blocks(blocks)
    inputs = _inputs(state, batch, adversarial)

    def compute(tensors: dict[str, Tensor]) -> Tensor:
        return _compute(state, tensors, settings, adversarial)

    losses = state.graph((adversarial, blocks), inputs, compute) if state.graph else compute(inputs)
    _update_average(state, settings)
    state.step += 1
    return losses


def _inputs(state: TrainState, batch: PairBatch, adversarial: bool) -> dict[str, Tensor]:
    """All that differs from step to step, by name."""
    inputs = {
        "image": batch.image,
        "target": batch.target_image,
        "condition_keypoints": batch.condition_keypoints,
        "target_keypoints": batch.target_keypoints,
    }
    if batch.target_mask is not None:
        inputs["mask"] = batch.target_mask
    for name in state.discriminator_names if adversarial else ():
        everyone = len(batch.image) * state.processes.world
        inputs[f"{name}_out"], inputs[f"{name}_kept"] = state.discriminator(name).pool.draw(everyone)
    return inputs


def _compute(state: TrainState, inputs: dict[str, Tensor], settings: PATNTrainSettings, adversarial: bool) -> Tensor:
    """The step's arithmetic: nothing here looks at a value, so that a CUDA graph can hold it."""
    layout = memory_format_of(settings)
    image, target = (inputs[name].contiguous(memory_format=layout) for name in ("image", "target"))
    size = (image.shape[2], image.shape[3])
    condition_map, target_map = (
        pose_maps(inputs[name], size, settings.sigma).contiguous(memory_format=layout)
        for name in ("condition_keypoints", "target_keypoints")
    )
    with _autocast(state, settings):
        generated = state.generator(image, condition_map, target_map).float()
    mask = inputs.get("mask")
    losses = _update_generator(state, generated, image, target, target_map, mask, settings, adversarial)
    zero = losses["total"].new_zeros(())
    for name, other in (("appearance", image), ("shape", target_map)) if adversarial else ():
        discriminator = state.discriminator(name)
        pairs = state.processes.gather(torch.cat((generated.detach(), other), dim=1))
        pooled = state.processes.rows(discriminator.pool.exchange(pairs, inputs[f"{name}_out"], inputs[f"{name}_kept"]))
        losses[f"d_{name}"] = _update_discriminator(
            state, discriminator, torch.cat((target, other), dim=1), pooled, settings
        )
    return state.processes.average(torch.stack([losses.get(name, zero).detach() for name in LOSS_NAMES]))


def _update_generator(
    state: TrainState,
    generated: Tensor,
    image: Tensor,
    target: Tensor,
    target_map: Tensor,
    mask: Tensor | None,
    settings: PATNTrainSettings,
    adversarial: bool,
) -> dict[str, Tensor]:
    losses = {"l1": l1_loss(generated, target, mask, settings.mask_weight, state.processes.average)}
    total = settings.lambda_l1 * losses["l1"]
    if state.perceptual is not None:
        with _autocast(state, settings):
            losses["perceptual"] = state.perceptual(generated, target)
        total = total + settings.lambda_perceptual * losses["perceptual"]
    if adversarial:
        for name, discriminator, other in (
            ("gan_shape", state.shape, target_map),
            ("gan_appearance", state.appearance, image),
        ):
            discriminator.network.requires_grad_(False)  # its own gradients of this pass would be thrown away
            scores = _scores(state, discriminator, torch.cat((generated, other), dim=1), settings)
            discriminator.network.requires_grad_(True)
            losses[name] = gan_loss(scores, True, settings.gan)
        total = total + settings.lambda_gan * (losses["gan_appearance"] + losses["gan_shape"]) / 2
    losses["total"] = total
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    state.processes.average_gradients(state.generator)
    state.optimizer.step()
    return losses


def _update_discriminator(
    state: TrainState, discriminator: DiscriminatorState, real: Tensor, pooled: Tensor, settings: PATNTrainSettings
) -> Tensor:
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
    with _autocast(state, settings):
        return discriminator.network(pairs)


def blocks_at(step: int, architecture: dict[str, Any], settings: PATNTrainSettings) -> int:
    """Blocks that the generator uses in this iteration: of seed and step alone, so that resuming needs no state."""
    most = int(architecture["n_blocks"])
    if not architecture.get("any_depth") or most == 1:
        return most
    generator = step_generator(settings.seed + 1_000_003, step)
    early = float(torch.rand((), generator=generator)) < settings.exit_share
    return int(torch.randint(1, most, (), generator=generator)) if early else most


@torch.no_grad()
def _update_average(state: TrainState, settings: PATNTrainSettings) -> None:
    """Move the average towards the generator; early on it follows faster, or the start would linger."""
    if state.average is None:
        return
    decay = min(settings.ema_decay, (1 + state.step) / (10 + state.step))
    averages: list[Tensor] = list(state.average.parameters())
    values: list[Tensor] = list(state.generator.parameters())
    torch._foreach_lerp_(averages, values, 1 - decay)
    for average, value in zip(state.average.buffers(), state.generator.buffers(), strict=True):
        average.copy_(value)


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _autocast(state: TrainState, settings: PATNTrainSettings) -> AbstractContextManager[Any]:
    return torch.autocast(state.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
