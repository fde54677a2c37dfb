"""Generated views of training photos, for networks that learn from photos and views together (`reid_eval.beside`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from augment.generators.open import open_to_look
from augment.pose.keypoints import Keypoints
from augment.search.makers import GeneratedViews
from augment.search.searched_photos import Photos, photos_of
from augment.search.store import StoredViews, ViewStore
from augment.search.views import shipped_views
from reid_eval.beside import Beside
from reid_eval.datasets import ReidData
from reid_eval.settings import TrainSettings
from reid_eval.transforms import resized


def beside_photos(stored: StoredViews, names: Sequence[str], size: tuple[int, int]) -> Beside:
    """The stored views of some photos, at the size of a training.

    Args:
        stored: of these photos and perhaps others.
        names: of the training images in their order, some of the stored photos.
        size: (H, W).

    Raises:
        InputError: a block cannot be read.
    """
    place = {name: number for number, name in enumerate(stored.photos.names)}
    rows = np.array([place[name] for name in names], np.int64)
    blocks, there = zip(*((_sized(images, size), known) for images, known in stored), strict=True)
    return Beside(np.concatenate(blocks)[rows], np.concatenate(there)[rows])


def _sized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Views uint8 `[n, V, 3, h, w]` at `size` (H, W)."""
    if images.shape[3:] == size:
        return images
    flat = resized(torch.from_numpy(images).flatten(0, 1), size).to(torch.uint8)
    sized: NDArray[np.uint8] = flat.unflatten(0, images.shape[:2]).numpy()
    return sized


class TrainingViews:
    """What `reid_eval.compare` takes as `beside`: views of a data set's training photos, made once for all networks.

    A generated image has none, and is looked at alone: its views would be made of what was made.

    Args:
        weights: of the generator; None: the best for the device.
        device: where the generator works.
        precision: as in `augment.generators.open.open_to_look`.
        folder: for the views; the caller's to remove.
        joints: of each data set that is trained on, by its folder.
        allow_code: whether `weights` may be code to import: only if a person wrote it on the command line.

    Raises:
        InputError: no such generator.
    """

    def __init__(
        self,
        weights: str | None,
        device: str,
        precision: str,
        folder: Path,
        joints: Mapping[Path, Keypoints],
        allow_code: bool = False,
    ) -> None:
        self.generator, self._how = open_to_look(weights, device, precision, allow_code=allow_code)
        self.folder, self._joints = folder, joints

    def __call__(self, data: ReidData, settings: TrainSettings) -> Beside:
        """Views of the training images, `settings.views` of each, at `settings.size`.

        Raises:
            InputError: a photo cannot be read, or more poses than ship.
        """
        maker = GeneratedViews(self.generator, shipped_views(settings.views), self._how.precision)
        names = data.train["path"].tolist()
        photos = photos_of(data, self._joints[data.root], names)
        made = (data.train["source"] == "generated").to_numpy()
        joints = np.where(made[:, None, None], np.float32(np.nan), photos.joints)
        stored = ViewStore(self.folder, str(data.root)).ensure(maker, Photos(photos.root, photos.names, joints))
        return beside_photos(stored, names, settings.size)
