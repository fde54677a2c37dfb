"""All that a training changes: networks, optimizers, pools, the moving average; how it is built, saved and restored."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Adam

from augment.generators.patn.blocks import is_norm
from augment.generators.patn.builders import (
    Discriminator,
    build_discriminators,
    build_generator,
    build_patch_discriminators,
)
from augment.generators.patn.distributed import Processes, freeze_batchnorm, sync_batchnorm
from augment.generators.patn.feature_losses import Perceptual, load_perceptual
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.graph import GraphedStep
from augment.generators.patn.image_pool import ImagePool
from augment.generators.patn.load import load_generator
from augment.generators.patn.settings import PATNTrainSettings
from reid_eval.runtime import InputError


@dataclass
class DiscriminatorState:
    """A discriminator with its optimizer and its pool of earlier generated pairs."""

    network: Discriminator
    optimizer: Adam
    pool: ImagePool


@dataclass
class TrainState:
    """All that training changes. `step` counts iterations done, `losses` are the last ones looked at by the loop.

    `perceptual` never changes and is in no checkpoint.
    """

    generator: PATNGenerator
    optimizer: Adam
    appearance: DiscriminatorState
    shape: DiscriminatorState
    perceptual: Perceptual | None
    average: PATNGenerator | None
    device: torch.device
    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    graph: GraphedStep | None = None
    processes: Processes = field(default_factory=Processes)
    discriminator_names: ClassVar[tuple[str, ...]] = ("appearance", "shape")

    def discriminator(self, name: str) -> DiscriminatorState:
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
        for name in self.discriminator_names:
            discriminator = self.discriminator(name)
            state[name] = {
                "network": discriminator.network.state_dict(),
                "optimizer": discriminator.optimizer.state_dict(),
                "pool": discriminator.pool.state_dict(),
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        if type(state["step"]) is not int or state["step"] < 0 or not isinstance(state["losses"], dict):
            raise ValueError("its step and losses are no numbers")
        self.step, self.losses = state["step"], state["losses"]
        self.generator.load_state_dict(state["generator"])
        _load_adam(self.optimizer, state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for name in self.discriminator_names:
            discriminator = self.discriminator(name)
            discriminator.network.load_state_dict(state[name]["network"])
            _load_adam(discriminator.optimizer, state[name]["optimizer"])
            discriminator.pool.load_state_dict(state[name]["pool"], self.device)


def build_state(
    settings: PATNTrainSettings, device: torch.device | str = "cpu", processes: Processes | None = None
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
    discriminators = _discriminators(generator.architecture, settings)
    wanted = settings.perceptual if settings.lambda_perceptual else "off"
    perceptual = load_perceptual(wanted, settings.perceptual_texture)
    networks: list[nn.Module] = [generator, *discriminators, *([perceptual] if perceptual else [])]
    for network in networks:
        network.to(device, memory_format=memory_format_of(settings))  # type: ignore[call-overload]
    appearance, shape = (
        DiscriminatorState(
            network, _adam(network, settings, device), ImagePool(settings.pool_size, 2 * settings.seed + n)
        )
        for n, network in enumerate(discriminators)
    )
    processes = processes or Processes()
    if settings.batchnorm == "frozen":
        freeze_batchnorm(generator)
    if processes.world > 1 and settings.batchnorm == "synced":
        generator, *discriminators = (sync_batchnorm(network, device) for network in (generator, *discriminators))  # type: ignore
    average = copy.deepcopy(generator).eval().requires_grad_(False) if settings.ema_decay else None
    optimizer = _adam(generator, settings, device)
    if settings.compile:
        _compile(generator, discriminators)
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


def _discriminators(numbers: dict[str, Any], settings: PATNTrainSettings) -> tuple[Discriminator, Discriminator]:
    channels = numbers["image_channels"], numbers["pose_channels"]
    if settings.discriminators == "patches":
        return build_patch_discriminators(*channels, settings.ndf)
    return build_discriminators(
        *channels,
        settings.batchnorm_gain,
        ndf=settings.ndf,
        n_blocks=settings.d_blocks,
        norm=numbers["norm"],
        dropout=settings.d_dropout,
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


def _compile(generator: PATNGenerator, discriminators: tuple[Discriminator, ...]) -> None:
    """Compile part by part: all blocks but the first share one compilation, and names of weights stay as they are."""
    streams = generator.model
    for part in (streams.stream1_down, streams.stream2_down, *streams.att, streams.stream1_up, *discriminators):
        part.compile(dynamic=False)  # shapes never change; else the second size would be compiled for any


def _adam(network: nn.Module, settings: PATNTrainSettings, device: torch.device, rate: float = 0.0) -> Adam:
    """Adam in one kernel where this PyTorch has it for the device (a CPU: since 2.4).

    In a CUDA graph the rate has to be a tensor: a number would be frozen into the recording.
    """
    rate = rate or settings.lr
    arguments: dict[str, Any] = {"lr": rate, "betas": (settings.beta1, 0.999)}
    if settings.cuda_graph and device.type == "cuda":
        arguments.update(lr=torch.tensor(rate, device=device), capturable=True)
    try:
        return Adam(network.parameters(), fused=device.type in ("cpu", "cuda"), **arguments)
    except RuntimeError:
        return Adam(network.parameters(), **arguments)


def _load_adam(optimizer: Adam, state: dict[str, Any]) -> None:
    """Load, but keep the group's own numbers, which follow from the settings; its rate lies where this run needs it,
    and `_set_rate` sets it each step."""
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, numbers in zip(optimizer.param_groups, own, strict=True):
        group.update(numbers)


def memory_format_of(settings: PATNTrainSettings) -> torch.memory_format:
    """Of the networks and what they are fed."""
    return torch.channels_last if settings.channels_last else torch.contiguous_format
