"""From the features of a photo and of its generated views to one feature a person is searched by.

`f = p + weight * mean(v)`, where p is the photo's feature and v are those of its views, each of length 1 and without
what all people have in common (`Calibration`); f then gets length 1, so that cosine and Euclidean distance rank alike.
A photo without usable joints keeps p. Views of different people are more alike than their photos, since pose, light and
ground are the same; without the calibration every image with views would therefore lie nearer to every other one with
views than to one without, and a gallery that mixes both would be sorted by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_eval.runtime import InputError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parts:
    """Features of photos and of their views, before they are fused.

    Attributes:
        photos: float32 `[N, D]`, of length 1.
        views: float32 `[N, V, D]`, of length 1; zeros where `known` is False.
        known: bool `[N]`: the photo's joints could be used, so its views are there.
    """

    photos: Floats
    views: Floats
    known: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count, width = self.photos.shape
        if self.views.ndim != 3 or (self.views.shape[0], self.views.shape[2]) != (count, width):
            raise InputError(f"views must be [{count}, V, {width}], got {list(self.views.shape)}")
        if self.known.shape != (count,):
            raise InputError(f"known must be [{count}], got {list(self.known.shape)}")

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Parts:
        """The parts of some of the photos."""
        return Parts(self.photos[rows], self.views[rows], self.known[rows])

    def choose(self, views: list[int]) -> Parts:
        """The same photos with some of the views."""
        return Parts(self.photos, self.views[:, views], self.known)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What all people's features have in common: the mean of photos `[D]` and of views `[V, D]`.

    Measured on people who are not searched for, such as those that the network was trained on.
    """

    photo: Floats
    views: Floats


def calibrate(parts: Parts) -> Calibration:
    """The means of a set of people.

    Raises:
        InputError: fewer than two photos, or none with usable joints.
    """
    if len(parts.photos) < 2 or (parts.views.shape[1] and not parts.known.any()):
        raise InputError("a calibration needs at least two photos, and at least one with usable joints")
    views = parts.views[parts.known].mean(0) if parts.views.shape[1] else parts.views[0]
    return Calibration(parts.photos.mean(0), views)


def fuse(
    parts: Parts,
    weight: float = 1.0,
    calibration: Calibration | None = None,
    trust: Floats | None = None,
) -> Floats:
    """One feature a photo: float32 `[N, D]`, of length 1.

    Args:
        parts: of the photos.
        weight: of the views' mean against the photo; 0 leaves the photo alone.
        calibration: of other people; None: nothing is taken away.
        trust: float `[N, V]` in 0..1, how far each view counts; None: all of them fully.

    Raises:
        InputError: a negative or infinite weight, or a calibration of other views.
    """
    if not (np.isfinite(weight) and weight >= 0):
        raise InputError(f"weight of the views is {weight}: expected a finite number from 0 up")
    photos, views = parts.photos, parts.views
    if calibration is not None:
        if calibration.views.shape != views.shape[1:]:
            raise InputError("the calibration was measured with other views or another network")
        photos, views = photos - calibration.photo, unit(views - calibration.views)
    share = np.broadcast_to(parts.known[:, None], views.shape[:2]).astype(np.float32)
    if trust is not None:
        share = share * trust
    total = np.maximum(share.sum(1, keepdims=True), 1e-12)
    seen = np.einsum("nv,nvd->nd", share / total, views) if views.shape[1] else np.zeros_like(photos)
    # A view that is not trusted at all must not count as fully as one that is.
    strength = share.max(1, initial=0.0)[:, None]
    return unit(unit(photos) + weight * strength * seen)


def unit(features: Floats) -> Floats:
    """Features at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)
