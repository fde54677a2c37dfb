"""Images beside a photo: the person generated in other poses, and what else could explain a gain by them.

Each maker turns photos into a few images each, which `augment.search.fusion` fuses with the photo. None looks at other
people, at other images or at cameras.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.generators.base import PoseGenerator
from augment.generators.open import engine_of, generator_sha256
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.search.searched_photos import Photos, as_tensors, same_shape
from augment.search.views import generate_views, poses_at
from reid_eval.datasets import load_images
from reid_eval.runtime import sha256_bytes

_BATCH = 16  # photos whose views are made at once

Made = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Images `[N, V, 3, H, W]`, and which photos have some, `[N]`; zeros for the others."""


class ViewMaker(Protocol):
    """Makes images beside photos."""

    count: int
    """Images a photo, V."""
    size: tuple[int, int]
    """(H, W) of them."""

    def facts(self) -> Mapping[str, Any]:
        """All that the images depend on besides the photos and their joints; JSON-able."""
        ...

    def make(self, photos: Photos) -> Made:
        """The images of some photos; the same whatever others are asked for at once.

        Raises:
            InputError: a photo cannot be read.
        """
        ...


class GeneratedViews:
    """The person of each photo in the same poses, or in the photo's own.

    Args:
        generator: moves people into the poses.
        poses: see `augment.search.normalized.PoseNormalized`; None: each photo's own.
        precision: of the generator, `float32` or `bf16`; an engine has its own.
    """

    def __init__(self, generator: PoseGenerator, poses: Keypoints | None, precision: str = "float32") -> None:
        self.generator, self.poses, self.precision = generator, poses, precision
        self.size = generator.size
        self.count = 1 if poses is None else len(poses.names)

    def facts(self) -> Mapping[str, Any]:
        """Generator, poses, precision, engine."""
        told: dict[str, Any] = {
            "generator": generator_sha256(self.generator),
            "precision": self.precision,
            "size": list(self.size),
        }
        told["poses"] = "own" if self.poses is None else _hash(poses_at(self.poses, self.size))
        blocks = self.generator.describe().get("blocks")  # how many of them run is no part of the weights
        return told | ({} if blocks is None else {"blocks": blocks}) | engine_of(self.generator)

    def make(self, photos: Photos) -> Made:
        """See `ViewMaker`."""
        made = [self._make(part) for part in photos.parts(max(1, len(photos)))]
        return np.concatenate([np.zeros((0, self.count, 3, *self.size), np.uint8), *made]), photos.known

    def _make(self, photos: Photos) -> NDArray[np.uint8]:
        """Views of photos that may be held all at once."""
        images = as_tensors(photos.read())
        out = np.zeros((len(photos), self.count, 3, *self.size), np.uint8)
        for rows in same_shape(images, np.flatnonzero(photos.known).tolist(), _BATCH):
            batch = torch.stack([images[row] for row in rows])
            joints = photos.joints[rows]
            targets = self._targets(joints, (batch.shape[2], batch.shape[3]))
            out[rows] = generate_views(self.generator, batch, joints, targets, self.precision).cpu().numpy()
        return out

    def _targets(self, joints: NDArray[np.float32], own: tuple[int, int]) -> Tensor:
        if self.poses is None:
            found = scale_joints(joints, own, self.size)[:, None]
        else:
            fixed = poses_at(self.poses, self.size)
            found = np.broadcast_to(fixed, (len(joints), *fixed.shape))
        return torch.from_numpy(np.array(found, np.float32)).to(self.generator.device)


class MirrorImage:
    """The photo's mirror image at `size` (H, W)."""

    count = 1

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def facts(self) -> Mapping[str, Any]:
        """Its size."""
        return {"mirror": list(self.size)}

    def make(self, photos: Photos) -> Made:
        """See `ViewMaker`."""
        images = load_images(photos.root, photos.names, self.size)
        return np.ascontiguousarray(images[:, None, :, :, ::-1]), np.ones(len(photos), np.bool_)


class JitteredCopies:
    """Copies of the photo at `size`, each shifted by up to 4 pixels of 128, blurred, and 10 % lighter or darker."""

    def __init__(self, size: tuple[int, int], count: int = 4, seed: int = 0) -> None:
        self.size, self.count, self.seed = size, count, seed

    def facts(self) -> Mapping[str, Any]:
        """Size, number and seed."""
        return {"jitter": list(self.size), "count": self.count, "seed": self.seed}

    def make(self, photos: Photos) -> Made:
        """See `ViewMaker`."""
        images = load_images(photos.root, photos.names, self.size)
        out = np.empty((len(photos), self.count, *images.shape[1:]), np.uint8)
        for row, name in enumerate(photos.names):
            digest = sha256_bytes(f"{self.seed}\x1f{name}".encode())
            draw = np.random.default_rng(int(digest[:16], 16))
            for copy in range(self.count):
                out[row, copy] = self._jitter(torch.from_numpy(images[row]), draw)
        return out, np.ones(len(photos), np.bool_)

    def _jitter(self, image: Tensor, draw: np.random.Generator) -> NDArray[np.uint8]:
        reach = max(1, self.size[0] // 32)
        down, right = draw.integers(-reach, reach + 1, 2).tolist()
        padded = torch.nn.functional.pad(image[None].float(), (reach + 1,) * 4, mode="replicate")
        top, left = reach + down, reach + right
        cut = padded[:, :, top : top + self.size[0] + 2, left : left + self.size[1] + 2]
        soft = torch.nn.functional.avg_pool2d(cut, 3, 1)
        made: NDArray[np.uint8] = (soft * draw.uniform(0.9, 1.1)).round().clamp(0, 255).to(torch.uint8)[0].numpy()
        return made


def _hash(array: NDArray[Any]) -> str:
    return sha256_bytes(np.ascontiguousarray(array).tobytes())[:16]
