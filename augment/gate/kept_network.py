"""A re-ID network trained on kept photos alone: it cannot tell what was removed. The table's filter's, and the gate's.

Nothing else trains such a network: `train_on_kept` is given photos in memory, `kept_network` keeps what it gives in
the cache, named by all that determines it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.folder.carry import Source
from augment.folder.layout import folder_plan
from augment.folder.manifest import read_manifest
from augment.quality.retrieval import is_whole
from augment.runs import cache_dir, cache_errors
from reid_eval.backbones import save_model
from reid_eval.datasets import load_images
from reid_eval.runtime import InputError, sha256_bytes
from reid_eval.settings import TrainSettings, settings_from
from reid_eval.training import Trained, train_on

STEPS = 200
"""Of the training, batches of 32."""
BACKBONE = "inception_v2"
_LEAST_PEOPLE = 2


@dataclass(frozen=True, eq=False)
class KeptPhotos:
    """M photos of people that a plan keeps, in its order.

    Attributes:
        root: the folder that paths are relative to.
        paths: of their files.
        pids: int64 `[M]`, above 0.
    """

    root: Path
    paths: tuple[str, ...]
    pids: NDArray[np.int64]

    def check(self) -> None:
        """Refuse what nobody can be told apart in.

        Raises:
            InputError: photos of fewer than two people.
        """
        if (count := len(np.unique(self.pids))) < _LEAST_PEOPLE:
            raise InputError(
                f"the gate's test of the person takes kept photos of {_LEAST_PEOPLE} people, there are those of "
                f"{count}: keep more, or leave the test out"
            )


def planned_photos(source: Source, plan: pd.DataFrame) -> KeptPhotos:
    """The photos that a plan keeps, where they lie in its data set."""
    kept = _kept(plan)
    paths = tuple(source.original(path) for path in kept["image"])
    return KeptPhotos(source.data.root, paths, kept["pid"].to_numpy(np.int64))


def folder_photos(out: Path) -> KeptPhotos:
    """The photos that the plan of an augmented folder kept when it was asked for: none that stand in for images that a
    gate gave up, so that they are those that the gate saw.

    Raises:
        InputError: no finished folder.
    """
    instead = set(read_manifest(out).reports.get("gate_kept_instead", ()))
    kept = _kept(folder_plan(out))
    kept = kept[~kept["image"].isin(instead)]
    return KeptPhotos(out, tuple(kept["output"]), kept["pid"].to_numpy(np.int64))


def _kept(plan: pd.DataFrame) -> pd.DataFrame:
    return plan[(plan["action"] == "keep") & (plan["pid"] > 0)]


def kept_settings(seed: int, device: str) -> TrainSettings:
    """How such a network is trained."""
    return settings_from("quick", {"backbone": BACKBONE, "batch_size": 32, "seed": seed, "device": device})


def train_on_kept(
    images: NDArray[np.uint8], pids: NDArray[np.int64], settings: TrainSettings, steps: int, label: str
) -> Trained:
    """Train on photos: uint8 `[M, 3, H, W]`, RGB, of people int64 `[M]`; `label` is the progress bar's.

    Raises:
        InputError: as `reid_eval.training.train_on`.
    """
    return train_on(images, labels_of(pids), settings, steps, label=label)


def labels_of(pids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels 0..C-1 of people, in the order of their numbers: int64 `[M]`."""
    return np.unique(pids, return_inverse=True)[1].reshape(-1).astype(np.int64)


def kept_network(photos: KeptPhotos, device: str) -> Path:
    """The file of a network trained on kept photos, from the cache, or trained now and kept there.

    Args:
        photos: that the plan keeps.
        device: where it trains.

    Raises:
        InputError: photos of fewer than two people, or one that cannot be read.
    """
    photos.check()
    settings = kept_settings(0, device)
    images = load_images(photos.root, photos.paths, settings.size)
    path = _place(images, photos.pids, settings)
    if not is_whole(path):
        trained = train_on_kept(images, photos.pids, settings, STEPS, "the gate's network")
        with cache_errors(path):
            if not is_whole(path):  # another shard may have been quicker, and be at work with its network
                save_model(path, trained.model, {"data": {"n_train": len(images), "n_generated": 0}})
    return path


def cached_network(photos: KeptPhotos) -> Path | None:
    """The file that `kept_network` left in the cache for these photos; None if it is not there.

    Raises:
        InputError: a photo that cannot be read.
    """
    settings = kept_settings(0, "auto")
    path = _place(load_images(photos.root, photos.paths, settings.size), photos.pids, settings)
    return path if is_whole(path) else None


def _place(images: NDArray[np.uint8], pids: NDArray[np.int64], settings: TrainSettings) -> Path:
    """Where in the cache the network of these photos is: by their pixels, labels and how it is trained."""
    facts = json.dumps([settings.facts(), STEPS, list(images.shape)], sort_keys=True)
    bare = (np.ascontiguousarray(images).tobytes(), labels_of(pids).tobytes())
    key = sha256_bytes("".join([facts, *map(sha256_bytes, bare)]).encode())[:16]
    return cache_dir() / f"kept-{key}.safetensors"
