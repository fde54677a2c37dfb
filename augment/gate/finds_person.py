"""The gate's test of the person: does a search among the kept photos find whom a generated image shows?

The network must have seen kept real images only. One that has seen what the plan removed, or generated images, would
pass on what it knows of them.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.gate.kept_network import KeptPhotos, cached_network, kept_network
from augment.gate.same_person import margins
from augment.runs import Say
from reid_eval.backbones import ReidNet, load_model
from reid_eval.datasets.images import images_ahead
from reid_eval.features import extract_features
from reid_eval.helping import helping_threads
from reid_eval.model_file import ModelFile, read_model_file
from reid_eval.runtime import InputError, resolve_device

LEAST = 0.0
"""Above this margin a search finds the person. Other thresholds are set on real photos; this one would be set on those
that the network was trained on, and so be too strict for any image that it has not seen."""
_LOOKED_AT = 128
"""Photos that are read at a time."""


class PersonTest:
    """Holds images against kept photos, by a network's features.

    Args:
        model: trained on kept photos only.
        sha256: of its file.
        photos: that are searched.
        size: (H, W) of the images that are judged; photos are looked at in it, too.
        least: the margin that an image must be above, see `augment.gate.same_person.margins`.

    Raises:
        InputError: photos of fewer than two people.
    """

    def __init__(
        self, model: ReidNet, sha256: str, photos: KeptPhotos, size: tuple[int, int], least: float = LEAST
    ) -> None:
        photos.check()
        self.model, self.sha256, self.photos, self.size, self.least = model, sha256, photos, size, least

    def described(self) -> dict[str, Any]:
        """What of it bears on verdicts, for the manifest."""
        return {"network_sha256": self.sha256, "margin": self.least}

    def margins(self, images: NDArray[np.uint8], pids: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much nearer each image is to its person's photos than to anybody else's: `[N]`, -2..2, NaN of people
        without a kept photo.

        Args:
            images: uint8 RGB `[N, H, W, 3]`.
            pids: int64 `[N]`.
        """
        found = np.full(len(images), np.nan)
        known = np.isin(pids, self.photos.pids)
        if known.any():
            made = self._features(np.ascontiguousarray(images[known].transpose(0, 3, 1, 2)))
            found[known] = margins(made, pids[known], self._gallery, self.photos.pids)
        return found

    @cached_property
    def _gallery(self) -> NDArray[np.float32]:
        with helping_threads(self.model.mean.device) as pool:
            blocks = images_ahead(self.photos.root, self.photos.paths, self.size, _LOOKED_AT, pool)
            return np.concatenate([self._features(block) for block in blocks])

    def _features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        # In float32: the rounding of bfloat16 is coarse, and differs with the images that are looked at together.
        return extract_features(self.model, images, amp="off")


def open_person_test(
    photos: KeptPhotos, reid_weights: Path | None, size: tuple[int, int], least: float, device: str, say: Say
) -> PersonTest:
    """A test by a network of a file, or by one that is trained on the kept photos now (or was, and is in the cache).

    Args:
        photos: that the plan keeps.
        reid_weights: a file of `reid-eval --save`; None: trained here.
        size, least: see `PersonTest`.
        device: of the network.
        say: told what is used.

    Raises:
        InputError: no such network, one that was trained on generated images, or photos of fewer than two people.
    """
    photos.check()
    file = read_model_file(reid_weights or kept_network(photos, device))
    if reid_weights is None:
        say(f"Test of the person: by a network trained on the {len(photos.paths)} kept photos alone")
    else:
        _check_training(file, len(photos.paths), say)
        say(f"Test of the person: by {reid_weights}")
    return PersonTest(load_model(file, resolve_device(device)), file.sha256, photos, size, least)


def _check_training(file: ModelFile, kept: int, say: Say) -> None:
    """Refuse a network that saw generated images; tell of one that saw more photos than are kept."""
    told = file.metadata.get("data")
    made, seen = (told.get(name) if isinstance(told, dict) else None for name in ("n_generated", "n_train"))
    if isinstance(made, int) and made > 0:
        raise InputError(
            f"{file.source} was trained on {made} generated images, too: the gate takes a network of kept photos only",
            "reid_weights",
        )
    if not isinstance(seen, int):
        say(f"Note: {file.source} does not say what it was trained on; it should be the kept photos only")
    elif seen > kept:
        say(
            f"Note: {file.source} was trained on {seen} photos, {kept} are kept: if removed ones are among them, it "
            "passes on what it knows of these"
        )


def recorded_person_test(
    photos: KeptPhotos, sha256: str, size: tuple[int, int], least: float, device: str, say: Say
) -> PersonTest | None:
    """The test that a folder was made with, if its network is in the cache; else None, and that it is left out is said.

    Args:
        photos: that the folder's plan kept.
        sha256: of the network, as the manifest tells.
        size, least, device, say: see `open_person_test`.
    """
    path = cached_network(photos)
    file = None if path is None else read_model_file(path)
    if file is None or file.sha256 != sha256:
        say(
            f"Note: the test of the person is left out: its network (SHA-256 {sha256[:16]}...) is not in the cache; "
            "name the file to have it"
        )
        return None
    say("Test of the person: by the network that the folder was made with.")
    return PersonTest(load_model(file, resolve_device(device)), sha256, photos, size, least)
