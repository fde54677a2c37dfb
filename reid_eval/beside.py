"""Photos with views beside them: other images of the same person, fused with the photo before the loss is taken.

A view is whatever a search also looks at, such as the person generated in a pose that is the same for all. `fused` is
what `augment.search.fusion.fuse` gives without a calibration, with a gradient: a network that is trained on it is
trained for what it is searched by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reid_eval.backbones import ReidNet
from reid_eval.runtime import InputError
from reid_eval.transforms import move, to_float

if TYPE_CHECKING:
    from reid_eval.settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Beside:
    """Views of N training images.

    Attributes:
        images: uint8 `[N, V, 3, H, W]`, RGB, of the training images' size.
        known: bool `[N]`, which images have views; what stands for the others is not looked at.
    """

    images: NDArray[np.uint8]
    known: NDArray[np.bool_]


class ViewStack:
    """The views of a training, on its device.

    Args:
        beside: the views; the first `settings.views` of them are used.
        count: N, training images.
        settings: of the training.
        size: (H, W) of the training images.
        device: where they go.

    Raises:
        InputError: none are given, too few of them, or of other images.
    """

    def __init__(
        self, beside: Beside | None, count: int, settings: TrainSettings, size: tuple[int, int], device: torch.device
    ) -> None:
        wanted = settings.views
        if beside is None:
            raise InputError(
                f"views: {wanted} views of each training image are asked for, none are given: take 0 of them", "views"
            )
        images, known = beside.images, beside.known
        if images.dtype != np.uint8 or images.ndim != 5 or (len(images), *images.shape[2:]) != (count, 3, *size):
            raise InputError(
                f"views must be uint8 [{count}, V, 3, {size[0]}, {size[1]}], got {images.dtype} {list(images.shape)}",
                "views",
            )
        if known.shape != (count,) or known.dtype != np.bool_:
            raise InputError(f"known must be bool [{count}], got {known.dtype} {list(known.shape)}", "views")
        if images.shape[1] < wanted:
            raise InputError(f"views: {wanted} of each image are asked for, {images.shape[1]} are given", "views")
        self.count = wanted
        self._known = torch.from_numpy(known).to(device)
        self._images = torch.from_numpy(np.ascontiguousarray(images[:, :wanted])).flatten(0, 1).to(device)

    def batch(self, index: Tensor, shift: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
        """Views of one batch, shifted and mirrored as its photos are: float32 `[B * V, 3, H, W]` in [-1, 1], photo
        after photo, and which photos have some, bool `[B]`.

        Args:
            index: int64 `[B]`, training images.
            shift, mirror: as in `reid_eval.transforms.move`.
        """
        rows = index[:, None] * self.count + torch.arange(self.count, device=index.device)
        moved = shift.repeat_interleave(self.count, 0), mirror.repeat_interleave(self.count)
        return to_float(move(self._images, rows.flatten(), *moved)), self._known[index]


def fused(photos: Tensor, views: Tensor, known: Tensor, weight: float) -> Tensor:
    """One feature a photo, of length 1: `p + weight * mean(v)`, p and each v of length 1; p where no view is known.

    Args:
        photos: float `[B, D]`.
        views: float `[B, V, D]`.
        known: bool `[B]`.
        weight: of the views' mean against the photo.
    """
    own, seen = functional.normalize(photos), functional.normalize(views, dim=2).mean(1)
    return functional.normalize(own + weight * known[:, None] * seen)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of a batch in one way of looking at it.

    Attributes:
        features: float `[B, D]`, before the neck.
        logits: float `[B, C]`.
    """

    features: Tensor
    logits: Tensor


def side_by_side(images: Tensor, views: Tensor, known: Tensor) -> Tensor:
    """All that a network looks at for a batch: float32 `[B + B * V, 3, H, W]`, photos first, in channels-last memory.

    What stands in for views that there are none of must not bear on batch normalisation: it is the photo itself.

    Args:
        images: float32 `[B, 3, H, W]`.
        views, known: from `ViewStack.batch`.
    """
    each = len(views) // len(images)
    there = known.repeat_interleave(each)[:, None, None, None]
    shown = torch.where(there, views, images.repeat_interleave(each, 0))
    return torch.cat([images, shown]).contiguous(memory_format=torch.channels_last)


def look(model: ReidNet, images: Tensor, views: Tensor, known: Tensor, weight: float) -> tuple[Seen, Seen]:
    """A batch by its photos alone, and by photos and views fused.

    Fused features have the length of the photo's own, so that one classifier serves both, and where no view is known
    both are the same. All images go through the network at once: batch normalisation sees photos and views.

    Args:
        model: in training mode.
        images: float32 `[B, 3, H, W]` in [-1, 1].
        views, known: from `ViewStack.batch`.
        weight: as in `fused`.
    """
    count = len(images)
    each = len(views) // count
    before = model.pool(side_by_side(images, views, known))
    after = model.neck(before)

    def together(features: Tensor) -> Tensor:
        photo, beside = features[:count].float(), features[count:].float().unflatten(0, (count, each))
        return photo.norm(dim=1, keepdim=True) * fused(photo, beside, known, weight)

    return (
        Seen(before[:count], model.classifier(after[:count])),
        Seen(together(before), model.classifier(together(after))),
    )
