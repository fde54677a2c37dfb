"""One optimisation step, and the state it moves; the loop around it is `augment.generators.patn.train`."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from augment.generators.patn.batch import PairBatch, step_generator
from augment.generators.patn.blocks import is_norm
from augment.generators.patn.builders import build_discriminators, build_generator
from augment.generators.patn.discriminators import PATNDiscriminator
from augment.generators.patn.distributed import Processes, sync_batchnorm
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.graph import GraphedStep
from augment.generators.patn.image_pool import ImagePool
from augment.generators.patn.load import load_generator
from augment.generators.patn.losses import PerceptualLoss, gan_loss, l1_loss, load_perceptual
from augment.generators.patn.settings import TrainSettings
from augment.pose.heatmaps import pose_maps
from reid_eval.runtime import InputError

LOSS_NAMES = ("total", "l1", "perceptual", "gan_appearance", "gan_shape", "d_appearance", "d_shape")


@dataclass
class Judge:
    """A discriminator with its optimizer and its pool of earlier generated pairs."""

    network: PATNDiscriminator
    optimizer: Adam
    pool: ImagePool


@dataclass
class TrainState:
    """All that training changes. `step` counts iterations done, `losses` are the last ones looked at by the loop.

    `perceptual` never changes and is in no checkpoint.
    """

    generator: PATNGenerator
    optimizer: Adam
    appearance: Judge
    shape: Judge
    perceptual: PerceptualLoss | None
    average: PATNGenerator | None
    device: torch.device
    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    graph: GraphedStep | None = None
    processes: Processes = field(default_factory=Processes)
    judge_names: ClassVar[tuple[str, ...]] = ("appearance", "shape")

    def judge(self, name: str) -> Judge:
        """`appearance` or `shape`."""
        return self.appearance if name == "appearance" else self.shape

    @property
    def exported(self) -> PATNGenerator:
        """The generator to keep: the moving average where there is one."""
        return self.average or self.generator

    def state_dict(self) -> dict[str, Any]:
        """Everything but the random state, as tensors and plain values."""
        state: dict[str, Any] = {
            "step": self.step,
            "losses": self.losses,
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        for name in self.judge_names:
            judge = self.judge(name)
            state[name] = {
                "network": judge.network.state_dict(),
                "optimizer": judge.optimizer.state_dict(),
                "pool": judge.pool.state_dict(),
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.step, self.losses = state["step"], state["losses"]
        self.generator.load_state_dict(state["generator"])
        _load_adam(self.optimizer, state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for name in self.judge_names:
            judge = self.judge(name)
            judge.network.load_state_dict(state[name]["network"])
            _load_adam(judge.optimizer, state[name]["optimizer"])
            judge.pool.load_state_dict(state[name]["pool"], self.device)


def build_state(
    settings: TrainSettings, device: torch.device | str = "cpu", processes: Processes | None = None
) -> TrainState:
    """Networks as the seed makes them, optimizers, empty pools; the same in every process but for dropout's draws.

    Raises:
        InputError: settings that no network has, weights that can't be had or have another architecture.
    """
    device = torch.device(device)
    torch.manual_seed(settings.seed)
    generator = build_generator(settings.generator, **settings.overrides)
    if settings.init_weights:
        _start_from(generator, settings.init_weights)
    numbers = generator.architecture
    judges = build_discriminators(
        numbers["image_channels"],
        numbers["pose_channels"],
        settings.batchnorm_gain,
        ndf=settings.ndf,
        n_blocks=settings.d_blocks,
        norm=numbers["norm"],
        dropout=settings.d_dropout,
    )
    perceptual = load_perceptual(settings.perceptual) if settings.lambda_perceptual else None
    networks: list[nn.Module] = [generator, *judges, *([perceptual] if perceptual else [])]
    for network in networks:
        network.to(device, memory_format=_memory_format(settings))  # type: ignore[call-overload]
    appearance, shape = (
        Judge(network, _adam(network, settings, device), ImagePool(settings.pool_size, 2 * settings.seed + n))
        for n, network in enumerate(judges)
    )
    processes = processes or Processes()
    if processes.world > 1 and settings.batchnorm == "synced":
        generator, *judges = (sync_batchnorm(network, device) for network in (generator, *judges))  # type: ignore
    average = copy.deepcopy(generator).eval().requires_grad_(False) if settings.ema_decay else None
    optimizer = _adam(generator, settings, device)
    if settings.compile:
        _compile(generator, judges)
    graphed = settings.cuda_graph and device.type == "cuda" and processes.world == 1
    if processes.rank:
        torch.manual_seed(settings.seed + 7919 * processes.rank)
    return TrainState(
        generator.train(),
        optimizer,
        appearance,
        shape,
        perceptual,
        average,
        device,
        graph=GraphedStep(device) if graphed else None,
        processes=processes,
    )


def _start_from(generator: PATNGenerator, weights: str) -> None:
    """Fine-tuning's start. A plain network's weights start an any-depth one too: each exit has the decoder's norms."""
    start = load_generator(weights)
    wanted = dict(generator.architecture)
    grows = bool(wanted.pop("any_depth", False)) and not start.architecture.get("any_depth", False)
    if start.architecture != (wanted if grows else generator.architecture):
        raise InputError(
            f"train.init_weights {weights} is {start.architecture}, the training builds {generator.architecture}"
        )
    if not grows:
        generator.load_state_dict(start.state_dict())
        return
    generator.model.load_state_dict(start.model.state_dict())
    norms = [layer for layer in generator.model.stream1_up if is_norm(layer)]
    for exit_norms in generator.exits or ():
        for own, norm in zip(exit_norms, norms, strict=True):  # type: ignore[call-overload]
            own.load_state_dict(norm.state_dict())


def _compile(generator: PATNGenerator, judges: tuple[PATNDiscriminator, ...]) -> None:
    """Compile part by part: all blocks but the first share one compilation, and names of weights stay as they are."""
    streams = generator.model
    for part in (streams.stream1_down, streams.stream2_down, *streams.att, streams.stream1_up, *judges):
        part.compile(dynamic=False)  # shapes never change; else the second size would be compiled for any


def train_step(state: TrainState, batch: PairBatch, settings: TrainSettings) -> Tensor:
    """One iteration in the authors' order: generator, appearance discriminator, shape discriminator.

    Losses (section 3.3): the generator's is `λ_gan (A + S) / 2 + λ_l1 L1 + λ_perceptual P`; each discriminator's is
    `λ_gan (real + generated) / 2`. A discriminator judges real and generated in two passes, because BatchNorm would
    mix them in one; `judges_at_once` makes it one where the norm is per image.

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
    for name in state.judge_names if adversarial else ():
        everyone = len(batch.image) * state.processes.world
        inputs[f"{name}_out"], inputs[f"{name}_kept"] = state.judge(name).pool.draw(everyone)
    return inputs


def _compute(state: TrainState, inputs: dict[str, Tensor], settings: TrainSettings, adversarial: bool) -> Tensor:
    """The step's arithmetic: nothing here looks at a value, so that a CUDA graph can hold it."""
    layout = _memory_format(settings)
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
        judge = state.judge(name)
        pairs = state.processes.gather(torch.cat((generated.detach(), other), dim=1))
        pooled = state.processes.rows(judge.pool.exchange(pairs, inputs[f"{name}_out"], inputs[f"{name}_kept"]))
        losses[f"d_{name}"] = _update_judge(state, judge, torch.cat((target, other), dim=1), pooled, settings)
    return state.processes.average(torch.stack([losses.get(name, zero).detach() for name in LOSS_NAMES]))


def _update_generator(
    state: TrainState,
    generated: Tensor,
    image: Tensor,
    target: Tensor,
    target_map: Tensor,
    mask: Tensor | None,
    settings: TrainSettings,
    adversarial: bool,
) -> dict[str, Tensor]:
    losses = {"l1": l1_loss(generated, target, mask, settings.mask_weight, state.processes.average)}
    total = settings.lambda_l1 * losses["l1"]
    if state.perceptual is not None:
        with _autocast(state, settings):
            losses["perceptual"] = state.perceptual(generated, target)
        total = total + settings.lambda_perceptual * losses["perceptual"]
    if adversarial:
        for name, judge, other in (
            ("gan_shape", state.shape, target_map),
            ("gan_appearance", state.appearance, image),
        ):
            judge.network.requires_grad_(False)  # its own gradients of this pass would be thrown away
            scores = _judge(state, judge, torch.cat((generated, other), dim=1), settings)
            judge.network.requires_grad_(True)
            losses[name] = gan_loss(scores, True, settings.gan)
        total = total + settings.lambda_gan * (losses["gan_appearance"] + losses["gan_shape"]) / 2
    losses["total"] = total
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    state.processes.average_gradients(state.generator)
    state.optimizer.step()
    return losses


def _update_judge(state: TrainState, judge: Judge, real: Tensor, pooled: Tensor, settings: TrainSettings) -> Tensor:
    judge.optimizer.zero_grad(set_to_none=True)
    if settings.judges_at_once:
        on_real, on_fake = _judge(state, judge, torch.cat((real, pooled)), settings).chunk(2)
    else:
        on_real, on_fake = _judge(state, judge, real, settings), _judge(state, judge, pooled, settings)
    loss = settings.lambda_gan * (gan_loss(on_real, True, settings.gan) + gan_loss(on_fake, False, settings.gan)) / 2
    loss.backward()
    state.processes.average_gradients(judge.network)
    judge.optimizer.step()
    return loss


def _judge(state: TrainState, judge: Judge, pairs: Tensor, settings: TrainSettings) -> Tensor:
    # A context of its own each time: autocast keeps casts of weights, which are stale after an update
    with _autocast(state, settings):
        return judge.network(pairs)


def blocks_at(step: int, architecture: dict[str, Any], settings: TrainSettings) -> int:
    """Blocks that the generator uses in this iteration: of seed and step alone, so that resuming needs no state."""
    most = int(architecture["n_blocks"])
    if not architecture.get("any_depth") or most == 1:
        return most
    generator = step_generator(settings.seed + 1_000_003, step)
    early = float(torch.rand((), generator=generator)) < settings.exit_share
    return int(torch.randint(1, most, (), generator=generator)) if early else most


@torch.no_grad()
def _update_average(state: TrainState, settings: TrainSettings) -> None:
    """Move the average towards the generator; early on it follows faster, or the start would linger."""
    if state.average is None:
        return
    decay = min(settings.ema_decay, (1 + state.step) / (10 + state.step))
    averages: list[Tensor] = list(state.average.parameters())
    values: list[Tensor] = list(state.generator.parameters())
    torch._foreach_lerp_(averages, values, 1 - decay)
    for average, value in zip(state.average.buffers(), state.generator.buffers(), strict=True):
        average.copy_(value)


def _adam(network: nn.Module, settings: TrainSettings, device: torch.device) -> Adam:
    """Adam in one kernel where this PyTorch has it for the device (a CPU: since 2.4).

    In a CUDA graph the rate has to be a tensor: a number would be frozen into the recording.
    """
    arguments: dict[str, Any] = {"lr": settings.lr, "betas": (settings.beta1, 0.999)}
    if settings.cuda_graph and device.type == "cuda":
        arguments.update(lr=torch.tensor(settings.lr, device=device), capturable=True)
    try:
        return Adam(network.parameters(), fused=device.type in ("cpu", "cuda"), **arguments)
    except RuntimeError:
        return Adam(network.parameters(), **arguments)


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _load_adam(optimizer: Adam, state: dict[str, Any]) -> None:
    """Load, but keep the group's own rate, which lies where this run needs it; `_set_rate` sets it each step."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _autocast(state: TrainState, settings: TrainSettings) -> AbstractContextManager[Any]:
    return torch.autocast(state.device.type, torch.bfloat16, enabled=settings.precision == "bf16")


def _memory_format(settings: TrainSettings) -> torch.memory_format:
    return torch.channels_last if settings.channels_last else torch.contiguous_format
