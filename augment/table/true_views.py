"""What the renderer of a drawn data set can show beside a photo, and no generator can: the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from augment.pose.keypoints import Keypoints
from augment.search.makers import Made
from augment.search.searched_photos import Photos
from augment.synth.again import NEUTRAL, masked_photos, render_in_poses
from augment.synth.dataset import SynthSettings, facts


class MaskedPhoto:
    """The photo without its background, by the renderer's own mask."""

    count = 1

    def __init__(self, settings: SynthSettings) -> None:
        self.settings, self.size = settings, settings.size

    def facts(self) -> Mapping[str, Any]:
        """The world, and the colour that stands for the background."""
        return {"mask": facts(self.settings), "colour": list(NEUTRAL)}

    def make(self, photos: Photos) -> Made:
        """See `augment.search.makers.ViewMaker`."""
        return masked_photos(photos.root, _file_names(photos))[:, None], np.ones(len(photos), np.bool_)


class TrueViews:
    """The person truly drawn in the poses, with the photo's place, light and camera.

    Only of photos whose joints a generator could use, so that both are asked the same.
    """

    def __init__(self, settings: SynthSettings, poses: Keypoints, background: bool) -> None:
        self.settings, self.poses, self.background = settings, poses, background
        self.size, self.count = settings.size, len(poses.names)

    def facts(self) -> Mapping[str, Any]:
        """The world, the poses and whether there is a background."""
        told = {"oracle": facts(self.settings), "poses": list(self.poses.names)}
        return told if self.background else {**told, "colour": list(NEUTRAL)}

    def make(self, photos: Photos) -> Made:
        """See `augment.search.makers.ViewMaker`."""
        known = photos.known
        out = np.zeros((len(photos), self.count, 3, *self.size), np.uint8)
        names = [name for name, there in zip(_file_names(photos), known, strict=True) if there]
        if names:
            drawn = render_in_poses(self.settings, names, self.poses.names)
            shown, mask = drawn.image.cpu().numpy(), drawn.mask.cpu().numpy()[:, None]
            if not self.background:
                shown = np.where(mask, shown, np.array(NEUTRAL, np.uint8)[None, :, None, None])
            out[known] = shown.reshape(len(names), self.count, *shown.shape[1:])
        return out, known


def _file_names(photos: Photos) -> list[str]:
    return [PurePosixPath(name).name for name in photos.names]
