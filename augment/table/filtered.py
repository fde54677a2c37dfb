"""Which generated images a row with a filter trains on, chosen by a network that saw its kept real images alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from augment.gate.kept_network import kept_settings, train_on_kept
from augment.gate.same_person import choose
from reid_eval.datasets import ReidData, load_images
from reid_eval.features import extract
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import InputError, write_json
from reid_eval.table.runner import TrainingSet

if TYPE_CHECKING:
    from augment.table.table_recipe import Chosen

CHOICE = 1
"""Raise it when the same images begin to be chosen otherwise."""


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

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
    settings = kept_settings(seed, device)
    count = len(training.real)
    pids = np.array(training.pids)
    real = load_images(data.root, training.real, settings.size)
    made = load_images(training.folder, training.others, settings.size)
    trained = train_on_kept(real, pids[:count], settings, how.steps, "the filter")
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
