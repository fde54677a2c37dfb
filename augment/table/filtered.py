"""Which generated images a row with a filter trains on, chosen by a network that saw its kept real images alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from augment.gate.same_person import choose
from reid_eval.datasets import ReidData, load_images
from reid_eval.features import extract
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import InputError, write_json
from reid_eval.settings import settings_from
from reid_eval.table.runner import TrainingSet
from reid_eval.training import train_on

if TYPE_CHECKING:
    from augment.table.table_recipe import Chosen

CHOICE = 1
"""Raise it when the same images begin to be chosen otherwise."""
_BACKBONE = "inception_v2"


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    images: list[str]
    """Of those generated, paths in their folder."""
    of: int
    """Generated images there were."""


def write_choice(path: Path, data: ReidData, training: TrainingSet, how: Chosen, seed: int, device: str) -> None:
    """Train on the real images of a training set, look at its generated ones, and write which stay.

    Args:
        path: JSON to write.
        data: that the real images are of.
        training: with its generated images there.
        how: see there.
        seed: of the network's training.
        device: where it trains.
    """
    assert training.folder is not None  # it has generated images
    settings = settings_from("quick", {"backbone": _BACKBONE, "batch_size": 32, "seed": seed, "device": device})
    count = len(training.real)
    pids = np.array(training.pids)
    real = load_images(data.root, training.real, settings.size)
    made = load_images(training.folder, training.others, settings.size)
    labels = np.unique(pids[:count], return_inverse=True)[1].reshape(-1).astype(np.int64)
    trained = train_on(real, labels, settings, how.steps, label="the filter")
    features = [extract(trained.model, images, batch_size=128, flip=True, amp=trained.amp) for images in (made, real)]
    kept = choose(features[0], pids[count:], features[1], pids[:count], how.keep)
    names = [name for name, stays in zip(training.others, kept, strict=True) if stays]
    write_json(path, {"images": names, "of": len(kept)})


def read_choice(path: Path) -> frozenset[str]:
    """Names of the images that stay, as `write_choice` wrote them.

    Raises:
        InputError: damaged.
    """
    try:
        return frozenset(_Choice.model_validate(read_json(path, MOST_TABLE_BYTES)).images)
    except (OSError, ValueError) as error:
        reason = "not the expected fields" if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"cannot read {path} ({reason}): delete it, and the images are chosen again") from None
