"""Pairs to measure on, with what is known of them: who is on which photo, by which camera, and others to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from augment.pairs.photos import FolderPairs, posed_images
from augment.pairs.tensors import TensorPairs
from augment.quality.retrieval import Photos
from augment.runs import Say
from augment.synth.stream import UNSEEN_WORLD, PedestrianStream, StreamSettings
from augment.synth.world import NEWEST
from reid_eval.datasets import load_images, read_dataset
from reid_eval.datasets.tables import train_labels

UNSEEN = StreamSettings(seed=UNSEEN_WORLD, identities=128, images_per_id=4, cameras=12)
"""People that no shipped weights were trained on."""
RANKING = replace(UNSEEN, seed=778, identities=256, images_per_id=8, cameras=24, walk_images=1)
"""People, again others, that a network learns to rank from: no generator is trained or measured on them."""


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """Pairs of G photos.

    Attributes:
        pairs: what draws them; its `PairBatch.fed` counts rows as the others do.
        images: uint8 `[G, 3, H, W]`, RGB.
        pids, camids: int64 `[G]`.
        training: photos of other people.
    """

    pairs: TensorPairs
    images: NDArray[np.uint8]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    training: Callable[[], Photos]


def drawn_pairs(settings: StreamSettings = UNSEEN, device: torch.device | str = "cpu") -> KnownPairs:
    """Pairs of drawn people; the seed of the pairs is that of the people."""
    drawn = PedestrianStream(settings, device).generation(0)
    pairs = TensorPairs(drawn.image, drawn.keypoints, drawn.pids, settings.seed, device, masks=drawn.mask)

    def training() -> Photos:
        others = replace(RANKING, size=settings.size, world=settings.world)
        learnt = PedestrianStream(others, device).generation(0)
        return Photos(learnt.image.cpu().numpy(), (learnt.pids - learnt.pids.min()).cpu().numpy())

    pids, camids = (column.cpu().numpy() for column in (drawn.pids, drawn.camids))
    return KnownPairs(pairs, drawn.image.cpu().numpy(), pids, camids, training)


def folder_known_pairs(root: Path, size: tuple[int, int], device: torch.device | str = "cpu") -> KnownPairs:
    """Pairs of a data set's gallery; its real training photos are the others.

    Raises:
        InputError: no data set, no joints, or no identity with two usable images.
    """
    found = posed_images(root, split="gallery", size=size)
    images = load_images(found.root, found.paths, size)
    pids, camids = (found.table[key].to_numpy(np.int64) for key in ("pid", "camid"))

    def training() -> Photos:
        data = read_dataset(root)
        real = data.train[data.train["source"] != "generated"]
        return Photos(load_images(data.root, real["path"], size), train_labels(real))

    return KnownPairs(
        FolderPairs(images, found.joints, pids.copy(), 0, device, names=found.names), images, pids, camids, training
    )


def known_pairs(
    size: tuple[int, int],
    data: Path | None,
    device: torch.device,
    say: Say,
    count: int = 1,
    world: int = NEWEST,
) -> KnownPairs:
    """The pairs that a generator is measured on.

    Args:
        size: (H, W), the generator's.
        data: pairs of its test split; None is drawn people that no shipped weights were trained on.
        device: where they go.
        say: told where they come from, if nobody named that.
        count: pairs that will be asked for: of more than 512, there is one drawn photo a pair.
        world: version of how people are drawn.
    """
    if data is not None:
        return folder_known_pairs(data, size, device)
    people = max(UNSEEN.identities, -(-count // UNSEEN.images_per_id))
    say(
        f"Pairs of {people} synthetic people, seed {UNSEEN.seed}, which no shipped weights were trained on; "
        f"drawn by version {world}."
    )
    return drawn_pairs(replace(UNSEEN, identities=people, size=size, world=world), device)
