"""`PoseNormalized`: a re-ID network that also looks at every person in the same few generated poses.

The idea of fusing features over canonical poses is PN-GAN's (Qian et al., ECCV 2018), which trains a network of its own
for them; here the network stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.generators.base import PoseGenerator
from augment.pose.keypoints import Keypoints
from augment.pose.skeleton import usable
from augment.search.cache import FeatureCache, row_key
from augment.search.extractors import Extractor
from augment.search.fusion import Calibration, Floats, Parts, calibrate, fuse, unit
from augment.search.searched_photos import as_tensors, same_shape
from augment.search.views import generate_views, poses_at
from reid_eval.runtime import InputError, ProgressBar, progress


class PoseNormalized:
    """Features of photos, each fused with those of the same person generated in fixed poses.

    Args:
        extractor: uint8 RGB images `[B, 3, H, W]` to features `[B, D]`; see `augment.search.extractors`.
        generator: moves people into the poses.
        poses: the poses, in pixels of the frame that their names tell (`NAME@HxW`), else of the generator's size; none
            for the photos alone.
        weight: of the views' mean against the photo, see `augment.search.fusion.fuse`.
        batch_size: photos in one pass; the extractor sees them and their views at once.
        precision: of the generator: `float32` or `bf16`.
        cache: where features are kept; needs `identity`.
        identity: what the extractor is, such as the SHA-256 of its weights: part of every cache key.

    Raises:
        InputError: a pose that lacks shoulders or hips, or a cache without `identity`.
    """

    def __init__(
        self,
        extractor: Extractor,
        generator: PoseGenerator,
        poses: Keypoints,
        *,
        weight: float = 1.0,
        batch_size: int = 16,
        precision: str = "float32",
        cache: FeatureCache | None = None,
        identity: str = "",
    ) -> None:
        if not poses.usable.all():
            raise InputError("the poses to search in must have both shoulders and both hips")
        if cache is not None and not identity:
            raise InputError("a feature cache needs the network's identity, such as the SHA-256 of its weights")
        self.extractor, self.generator, self.poses = extractor, generator, poses
        self.weight, self.batch_size = weight, batch_size
        self.calibration: Calibration | None = None
        self._cache, self._precision = cache, precision
        self._targets = torch.from_numpy(poses_at(poses, generator.size)).to(generator.device)
        self._setting = (
            json.dumps([identity, generator.describe(), precision, list(poses.names)], sort_keys=True).encode()
            + self._targets.cpu().numpy().tobytes()
        )

    def __call__(self, images: Sequence[NDArray[np.uint8]] | Tensor, joints: Floats) -> Floats:
        """Features to search with: float32 `[N, D]`, of length 1.

        Args:
            images: uint8 RGB, `[H, W, 3]` each, of any sizes; or one tensor `[N, 3, H, W]`.
            joints: float `[N, 18, 2]`, (x, y) pixels of each photo, NaN missing. A photo that lacks a shoulder or a hip
                keeps its own feature.
        """
        return fuse(self.parts(images, joints), self.weight, self.calibration)

    def calibrate(self, images: Sequence[NDArray[np.uint8]] | Tensor, joints: Floats) -> Calibration:
        """Measure, and use from now on, what all people's features have in common: on people who are not searched for.

        Needed where some photos have joints and others have none, and good for a point or two elsewhere.
        """
        self.calibration = calibrate(self.parts(images, joints))
        return self.calibration

    def parts(
        self, images: Sequence[NDArray[np.uint8]] | Tensor, joints: Floats, bar: ProgressBar | None = None
    ) -> Parts:
        """Features of photos and views apart, for whoever wants to fuse them in another way.

        Args:
            images, joints: as for calling.
            bar: counts the photos, where they are some of more; None: one of its own.
        """
        if bar is None:
            with progress("Extracting features", len(images)) as own:
                return self._parts(images, joints, own)
        return self._parts(images, joints, bar)

    def _parts(self, images: Sequence[NDArray[np.uint8]] | Tensor, joints: Floats, bar: ProgressBar) -> Parts:
        photos = as_tensors(images)
        joints = np.asarray(joints, np.float32)
        if joints.shape != (len(photos), 18, 2):
            raise InputError(f"joints must be [{len(photos)}, 18, 2], one set an image, got {list(joints.shape)}")
        known = usable(joints) & (len(self._targets) > 0)
        if not len(photos):
            raise InputError("there is no image to make features of")
        rows = _Rows(len(photos))
        keys = [self._key(photo, xy) for photo, xy in zip(photos, joints, strict=True)] if self._cache else []
        if self._cache:
            rows.put(range(len(photos)), self._cache.read(keys, 1 + len(self._targets)))
        bar.skip(len(photos) - len(rows.missing))
        for batch in same_shape(photos, rows.missing, self.batch_size):
            found = self._compute(torch.stack([photos[i] for i in batch]), joints[batch], known[batch])
            rows.put(batch, list(found))
            if self._cache:
                self._cache.write([keys[i] for i in batch], found)
            bar.advance(len(batch))
        table = unit(rows.table())
        return Parts(table[:, 0], table[:, 1:] * known[:, None, None], known)

    def views(self, image: Tensor, joints: Floats) -> Tensor:
        """The generated views of photos: uint8 `[B, V, 3, H, W]` at the generator's size.

        Args:
            image: uint8 `[B, 3, h, w]`.
            joints: float32 `[B, 18, 2]` in its pixels; all usable.
        """
        targets = self._targets.expand(len(image), *self._targets.shape)
        return generate_views(self.generator, image, joints, targets, self._precision)

    def _compute(self, photos: Tensor, joints: Floats, known: NDArray[np.bool_]) -> NDArray[np.float16]:
        """Features of one batch: `[B, 1 + V, D]`, in the precision that a cache keeps, whether there is one or not."""
        stacks = [self.extractor(photos)]
        if known.any() and len(self._targets):
            made = self.views(photos[torch.from_numpy(known)], joints[known])
            stacks.append(self.extractor(made.flatten(0, 1)))
        photo, *views = (_checked(stack) for stack in stacks)
        table = np.zeros((len(photos), 1 + len(self._targets), photo.shape[1]), np.float32)
        table[:, 0] = photo
        if views:
            table[known, 1:] = views[0].reshape(int(known.sum()), len(self._targets), -1)
        return unit(table).astype(np.float16)

    def _key(self, photo: Tensor, joints: Floats) -> bytes:
        shape = np.array(photo.shape, np.int64).tobytes()
        return row_key(self._setting, shape, photo.cpu().numpy().tobytes(), joints.tobytes())


class _Rows:
    """Rows that come in any order, from a cache or computed."""

    def __init__(self, count: int) -> None:
        self._rows: list[NDArray[np.float16] | None] = [None] * count

    def put(self, places: Sequence[int], rows: Sequence[NDArray[np.float16] | None]) -> None:
        for place, row in zip(places, rows, strict=True):
            self._rows[place] = row

    @property
    def missing(self) -> list[int]:
        return [place for place, row in enumerate(self._rows) if row is None]

    def table(self) -> Floats:
        """All rows: float32 `[N, parts, D]`.

        Raises:
            InputError: rows of different widths, so some are not this network's.
        """
        rows = [row for row in self._rows if row is not None]
        if len({row.shape for row in rows}) > 1:
            raise InputError("the feature cache holds features of another width: delete it, or name another", "cache")
        return np.stack(rows).astype(np.float32)


def _checked(features: Tensor) -> Floats:
    """Features on the host.

    Raises:
        InputError: not one finite row an image.
    """
    if features.ndim != 2 or not bool(features.isfinite().all()):
        raise InputError(f"the network's features must be finite numbers [B, D], got {list(features.shape)}")
    return features.float().cpu().numpy()
