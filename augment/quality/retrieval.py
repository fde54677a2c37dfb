"""Are people found again by their generated images? Ranking of real photos by a network that saw only real ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from augment.quality.extras import Unavailable, need
from augment.quality.judged import judging_network
from augment.runs import cache_dir, cache_errors
from reid_eval.backbones import build, load_model, save_model
from reid_eval.ranking import JUNK, Ranking, match_ranks, ranking_of
from reid_eval.runtime import InputError, sha256_bytes
from reid_eval.settings import TrainSettings, settings_from
from reid_eval.training import train_on

STEPS = 200
"""Of the training of the network that ranks, batches of 32."""
_BACKBONE = "timm:mobilenetv2_100"  # laid out as torchvision's, so that its ImageNet weights fit
_MAX_RANK = 10


class Photos(NamedTuple):
    """Real photos to train on: uint8 `[N, 3, H, W]`, RGB, and int64 `[N]` labels 0 ... C-1."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gallery:
    """G real photos, of which N pairs were made.

    Attributes:
        images: uint8 RGB `[G, H, W, 3]`.
        pids: int64 `[G]`; -1 is junk, which is not ranked.
        camids: int64 `[G]`.
        conditions: int64 `[N]`, the row of each pair's photo.
        targets: int64 `[N]`, the row of the real image that shows the pose asked for.
        training: photos of other people that no generated image is of, for a network that ranks.
    """

    images: NDArray[np.uint8]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    conditions: NDArray[np.int64]
    targets: NDArray[np.int64]
    training: Callable[[], Photos]


def search(
    queries: NDArray[np.floating], photos: NDArray[np.floating], gallery: Gallery, likes: NDArray[np.int64]
) -> Ranking:
    """Rank the gallery for each pair by Market-1501's protocol.

    A query has person and camera of the photo `likes`: a generated image those of its condition photo, whose light
    and background it has. Photos of that person by that camera are taken out, as is the pair's target, which a
    generated image was made to resemble.

    Args:
        queries: `[N, D]`, features of length 1, in the order of the pairs.
        photos: `[G, D]`, likewise.
        gallery: the photos.
        likes: int64 `[N]`, rows of the gallery.

    Raises:
        Unavailable: no pair has a photo by another camera.
    """
    found, valid = [], gallery.pids != JUNK
    for query, like, target in zip(queries, likes, gallery.targets, strict=True):
        same, here = gallery.pids == gallery.pids[like], gallery.camids == gallery.camids[like]
        keep = valid & ~(same & here)
        keep[target] = False
        found.append(match_ranks((1 - photos @ query)[keep], np.flatnonzero(same[keep])))
    try:
        return ranking_of(found, _MAX_RANK)
    except InputError:
        raise Unavailable("no pair has a photo of its person by another camera") from None


def ranking_network(training: Callable[[], Photos], device: torch.device | str = "cpu") -> Path:
    """A re-ID network trained on real photos alone, from the cache, or trained now and kept there.

    MobileNetV2, from ImageNet weights of an installed package, with a batch-normalised neck, `STEPS` steps with a fixed
    seed. The file is named by what determines it, the photos' pixels among that.

    Returns:
        A file of `reid_eval`.

    Raises:
        Unavailable: timm or the package is not installed.
        InputError: photos of fewer than two people.
    """
    need("timm", "timm")
    state = _imagenet()
    photos = training()
    changes = {"backbone": _BACKBONE, "batch_size": 32, "neck": "bnneck", "label_smoothing": 0.1}
    settings = settings_from("quick", {**changes, "device": str(device)})
    path = cache_dir() / f"ranking-{_key(photos, settings, state)}.safetensors"
    if not is_whole(path):
        with tempfile.TemporaryDirectory() as folder:
            start = Path(folder) / "mobilenet_v2.pth"  # trained networks tell its name
            torch.save(state, start)
            settings = replace(settings, init=str(start))
            trained = train_on(photos.images, photos.labels, settings, STEPS, label="the network that ranks")
        with cache_errors(path):
            save_model(path, trained.model, {"data": {"images": len(photos.labels)}})
    return path


def _imagenet() -> dict[str, torch.Tensor]:
    """MobileNetV2's weights under timm's names, which are in torchvision's order."""
    weights = judging_network().layers.state_dict()
    return dict(zip(build(_BACKBONE, 1).trunk.state_dict(), weights.values(), strict=True))


def _key(photos: Photos, settings: TrainSettings, state: dict[str, torch.Tensor]) -> str:
    first = next(iter(state.values())).numpy().tobytes()
    facts = [settings.facts(), STEPS, list(photos.images.shape), sha256_bytes(first)]
    bare = (np.ascontiguousarray(photos.images).tobytes(), photos.labels.astype(np.int64).tobytes())
    return sha256_bytes("".join([json.dumps(facts, sort_keys=True), *map(sha256_bytes, bare)]).encode())[:16]


def is_whole(path: Path) -> bool:
    """Whether the cache has a network whole; what somebody damaged is trained again."""
    try:
        load_model(path)
    except InputError:
        return False
    return True
