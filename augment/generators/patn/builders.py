"""The numbers of each published or shipped PATN, one function a model; the modules take plain arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from augment.generators.patn.discriminators import PATNDiscriminator, init_discriminator
from augment.generators.patn.generator import PATNGenerator, init_generator
from augment.generators.patn.patches import PatchDiscriminator
from reid_eval.runtime import InputError

# Architecture numbers by name. `patn_market` and `patn_fashion` are the authors'; `patn_tiny` is the same network
# made small enough for a CPU and a few megabytes of weights.
NUMBERS: dict[str, dict[str, Any]] = {
    "patn_market": {"ngf": 64, "n_blocks": 9, "norm": "batch", "dropout": 0.5},
    "patn_fashion": {"ngf": 64, "n_blocks": 9, "norm": "instance", "dropout": 0.5},
    "patn_tiny": {"ngf": 24, "n_blocks": 5, "norm": "batch", "dropout": 0.5},
}


def patn_market(**overrides: Any) -> PATNGenerator:
    """The generator for Market-1501 (128x64): 41,365,763 parameters, 9 blocks, BatchNorm."""
    return _build("patn_market", overrides)


def patn_fashion(**overrides: Any) -> PATNGenerator:
    """The generator for DeepFashion (256x176): 9 blocks, non-affine InstanceNorm, convolutions with bias."""
    return _build("patn_fashion", overrides)


def patn_tiny(**overrides: Any) -> PATNGenerator:
    """The same network at ngf 24 with 5 blocks: the CPU's default, and the tests'."""
    return _build("patn_tiny", overrides)


BUILDERS: dict[str, Callable[..., PATNGenerator]] = {
    "patn_market": patn_market,
    "patn_fashion": patn_fashion,
    "patn_tiny": patn_tiny,
}


def build_generator(name: str, **overrides: Any) -> PATNGenerator:
    """Build by name, in training mode, with the authors' initialisation drawn from torch's global generator.

    Args:
        name: a key of `BUILDERS`.
        **overrides: arguments of `PATNGenerator` that replace the builder's.

    Raises:
        InputError: unknown name or argument, or an argument out of its range.
    """
    if name not in BUILDERS:
        raise InputError(f"unknown generator {name!r}: use one of {', '.join(sorted(BUILDERS))}")
    return BUILDERS[name](**overrides)


Discriminator = PATNDiscriminator | PatchDiscriminator
DISCRIMINATORS = ("authors", "patches")


def build_patch_discriminators(
    image_channels: int = 3, pose_channels: int = 18, ndf: int = 64
) -> tuple[PatchDiscriminator, PatchDiscriminator]:
    """The two that judge patches, of the same pairs as the authors'.

    Raises:
        InputError: an argument out of its range.
    """
    return PatchDiscriminator(2 * image_channels, ndf), PatchDiscriminator(image_channels + pose_channels, ndf)


def build_discriminators(
    image_channels: int = 3, pose_channels: int = 18, batchnorm_gain: str = "uniform", **arguments: Any
) -> tuple[PATNDiscriminator, PATNDiscriminator]:
    """D_A over [image, condition image] and D_S over [image, target pose], initialised as the authors' are.

    Args:
        image_channels: channels of the image, 3.
        pose_channels: joints of one pose, 18.
        batchnorm_gain: `uniform` (the authors' PyTorch) or `ones` (today's); see `init_discriminator`.
        **arguments: arguments of `PATNDiscriminator`: ndf, n_blocks, n_downsampling, norm, dropout.

    Raises:
        InputError: an argument out of its range.
    """
    appearance = PATNDiscriminator(2 * image_channels, **arguments)
    shape = PATNDiscriminator(image_channels + pose_channels, **arguments)
    init_discriminator(appearance, batchnorm_gain)
    init_discriminator(shape, batchnorm_gain)
    return appearance, shape


def architecture_name(architecture: dict[str, Any]) -> str:
    """The name of the builder that gives this architecture, or `patn` if none does."""
    for name in BUILDERS:
        with torch.device("meta"):
            if PATNGenerator(**NUMBERS[name]).architecture == architecture:
                return name
    return "patn"


def _build(name: str, overrides: dict[str, Any]) -> PATNGenerator:
    try:
        generator = PATNGenerator(**{**NUMBERS[name], **overrides})
    except TypeError as error:
        raise InputError(f"{name}: {error}") from None
    init_generator(generator)
    return generator
