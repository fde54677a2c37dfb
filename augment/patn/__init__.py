"""PATN (Zhu et al., CVPR 2019): generator, discriminators, weights, training."""

from augment.patn.builders import (
    BUILDERS,
    build_discriminators,
    build_generator,
    patn_fashion,
    patn_market,
    patn_tiny,
)
from augment.patn.discriminators import PATNDiscriminator
from augment.patn.generator import PATNGenerator

__all__ = [
    "BUILDERS",
    "PATNDiscriminator",
    "PATNGenerator",
    "build_discriminators",
    "build_generator",
    "patn_fashion",
    "patn_market",
    "patn_tiny",
]
