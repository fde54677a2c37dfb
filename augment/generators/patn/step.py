"""One optimisation step of a `TrainState`; the loop around it is `augment.generators.patn.train`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from augment.generators.patn.batch import PairBatch, step_generator
from augment.generators.patn.feature_losses import draw_shift
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import TrainState, memory_format_of
from augment.generators.patn.updates import Shown, autocast, update_discriminator, update_generator
from augment.pose.heatmaps import pose_maps

LOSS_NAMES = (
    *("total", "l1", "perceptual", "gan_appearance", "gan_shape", "d_appearance", "d_shape"),
    *("features", "grid", "gan_weight"),
)


def train_step(state: TrainState, batch: PairBatch, settings: PATNTrainSettings) -> Tensor:
    """One iteration in the authors' order: generator, appearance discriminator, shape discriminator.

    Losses (section 3.3): the generator's is `λ_gan (A + S) / 2 + λ_l1 L1 + λ_perceptual P`; each discriminator's is
    `λ_gan (real + generated) / 2`. A discriminator sees real and generated in two passes, because BatchNorm would
    mix them in one; `discriminators_at_once` makes it one where the norm is per image. What else the settings may ask
    for (patches, feature matching, a weight by gradients) is in `augment.generators.patn.updates`.

    Args:
        state: moved one step on, in place.
        batch: pairs on the state's device; this process's part, where there are several.
        settings: of the training.

    Returns:
        Detached float32 `[10]` on the device, in the order of `LOSS_NAMES`, before weighting except `total` and the
        `d_` ones; 0 where a loss is off. The last is no loss: the weight that `gan_ratio` gave the GAN losses.
    """
    _set_rate(state.optimizer, settings.learning_rate(state.step))
    for discriminator in (state.appearance, state.shape):
        _set_rate(discriminator.optimizer, settings.discriminator_rate(state.step))
    learn, hears = settings.discriminators_learn(state.step), settings.generator_hears(state.step)
    blocks = blocks_at(state.step, state.generator.architecture, settings)
    state.generator.use_blocks(blocks)
    inputs = _inputs(state, batch, settings)

    def compute(tensors: dict[str, Tensor]) -> Tensor:
        return _compute(state, tensors, settings, learn, hears)

    losses = state.graph((learn, hears, blocks), inputs, compute) if state.graph else compute(inputs)
    _update_average(state, settings)
    state.step += 1
    return losses


def _inputs(state: TrainState, batch: PairBatch, settings: PATNTrainSettings) -> dict[str, Tensor]:
    """All that differs from step to step, by name."""
    inputs = {
        "image": batch.image,
        "target": batch.target_image,
        "condition_keypoints": batch.condition_keypoints,
        "target_keypoints": batch.target_keypoints,
    }
    if batch.target_mask is not None:
        inputs["mask"] = batch.target_mask
    if state.perceptual is not None and settings.perceptual_shift:
        size = (batch.image.shape[2], batch.image.shape[3])
        shift = draw_shift(size, settings.perceptual_shift, settings.seed, state.step)
        inputs["shift_rows"], inputs["shift_columns"] = shift
    for name in state.discriminator_names if settings.discriminators_learn(state.step) else ():
        everyone = len(batch.image) * state.processes.world
        inputs[f"{name}_out"], inputs[f"{name}_kept"] = state.discriminator(name).pool.draw(everyone)
    return inputs


def _compute(
    state: TrainState, inputs: dict[str, Tensor], settings: PATNTrainSettings, learn: bool, hears: bool
) -> Tensor:
    """The step's arithmetic: nothing here looks at a value, so that a CUDA graph can hold it."""
    layout = memory_format_of(settings)
    image, target = (inputs[name].contiguous(memory_format=layout) for name in ("image", "target"))
    size = (image.shape[2], image.shape[3])
    condition_map, target_map = (
        pose_maps(inputs[name], size, settings.sigma).contiguous(memory_format=layout)
        for name in ("condition_keypoints", "target_keypoints")
    )
    with autocast(state, settings):
        generated = state.generator(image, condition_map, target_map).float()
    shift = (inputs["shift_rows"], inputs["shift_columns"]) if "shift_rows" in inputs else None
    shown = Shown(image, target, target_map, inputs.get("mask"), shift)
    losses = update_generator(state, generated, shown, settings, hears)
    zero = losses["total"].new_zeros(())
    for name in state.discriminator_names if learn else ():
        discriminator, other = state.discriminator(name), shown.other(name)
        pairs = state.processes.gather(torch.cat((generated.detach(), other), dim=1))
        pooled = state.processes.rows(discriminator.pool.exchange(pairs, inputs[f"{name}_out"], inputs[f"{name}_kept"]))
        real = torch.cat((target, other), dim=1)
        losses[f"d_{name}"] = update_discriminator(state, discriminator, real, pooled, settings)
    return state.processes.average(torch.stack([losses.get(name, zero).detach() for name in LOSS_NAMES]))


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
