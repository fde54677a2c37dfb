"""PATN (Zhu et al., CVPR 2019): generator, discriminators, weights, training."""

from augment.patn.authors import ImportReport, import_checkpoint
from augment.patn.builders import (
    BUILDERS,
    build_discriminators,
    build_generator,
    patn_fashion,
    patn_market,
    patn_tiny,
)
from augment.patn.checkpoint import (
    available_weights,
    load_generator,
    read_weights,
    save_generator,
    weights_sha256,
)
from augment.patn.discriminators import PATNDiscriminator
from augment.patn.generator import PATNGenerator
from augment.patn.pairs import PairBatch, PairSource, TensorPairs
from augment.patn.settings import TrainSettings
from augment.patn.train import TrainingDivergedError, TrainResult, train_generator

__all__ = [
    "BUILDERS",
    "ImportReport",
    "PATNDiscriminator",
    "PATNGenerator",
    "PairBatch",
    "PairSource",
    "TensorPairs",
    "TrainResult",
    "TrainSettings",
    "TrainingDivergedError",
    "available_weights",
    "build_discriminators",
    "build_generator",
    "import_checkpoint",
    "load_generator",
    "patn_fashion",
    "patn_market",
    "patn_tiny",
    "read_weights",
    "save_generator",
    "train_generator",
    "weights_sha256",
]
