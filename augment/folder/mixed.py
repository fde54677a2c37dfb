"""Anybody's training set with generated images among its own: `AugmentedDataset`.

Items may be tuples `(image, pid, camid, ...)` or dicts. Which items are swapped, and for what, is a pure function of
(seed, epoch, index): no global generator is drawn from, and workers of a `DataLoader` need no care.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from augment.folder.image_sources import ImageSource, MadeOnTheFly, open_images
from augment.generators.transfer import PoseTransfer
from augment.plan.donors import stable_hash
from augment.pose.keypoints import Keypoints
from reid_eval.runtime import InputError, first_five


class Keys(NamedTuple):
    """Where an item has its image, pid, camid and path; None where it has none."""

    image: Any
    pid: Any
    camid: Any = None
    path: Any = None


TUPLE_KEYS = Keys(0, 1, 2)
DICT_KEYS = Keys("img", "pid", "camid", "impath")
"""torchreid's; fast-reid's are `("images", "targets", "camids", "img_paths")`."""


class AugmentedDataset(Dataset[Any]):
    """A training set that swaps in, at a rate, generated images of the same people.

    Every item gains a flag that tells a generated image from a real one: tuples a last field, dicts the key
    `generated`. Items of people who have no generated image stay real. Attributes that this class lacks are the
    wrapped set's.

    Example:
        >>> mixed = AugmentedDataset(photos, folder, rate=0.5, transform=to_tensor)
        >>> len(mixed) == len(photos)
        True
        >>> image, pid, camid, generated = mixed[0]
        >>> image.shape, pid, camid, generated
        (torch.Size([3, 128, 64]), 2, 2, True)
        >>> mixed.set_epoch(1)  # before each pass: another draw
        >>> mixed[0][3]
        False
    """

    def __init__(
        self,
        dataset: Any,
        source: Path | str | ImageSource,
        *,
        rate: float,
        seed: int = 0,
        transform: Callable[[Image.Image], Any] | None = None,
        label: Callable[[int], Any] | None = None,
        camera: Callable[[int], Any] | None = None,
        keys: Sequence[Any] | None = None,
    ) -> None:
        """Wrap a data set.

        Args:
            dataset: anything with a length whose items are `(image, pid, ...)`, `(image, pid, camid, ...)` or dicts.
                It transforms its own images.
            source: a folder that `patn-augment generate` wrote, plain or of tars, of which only the generated images
                are used; or
                another `ImageSource`. For images made on the fly see `AugmentedDataset.on_the_fly`.
            rate: share of items to swap, 0 to 1.
            seed: of all draws.
            transform: of generated images, from PIL; the one that the wrapped set uses, as a rule.
            label: from a pid in the folder's file names to the label in the wrapped set, if that relabels.
            camera: from a camid in the folder's file names (1-based) to the wrapped set's.
            keys: of image, pid, camid and path in an item; default: places 0, 1 and 2 of a tuple, `img`, `pid`,
                `camid` and `impath` of a dict.

        Raises:
            InputError: a rate outside 0..1, a folder that cannot be read or holds no generated image, or keys that
                are not two to four.
        """
        if not 0 <= rate <= 1:
            raise InputError(f"rate {rate}: expected 0 to 1")
        if keys is not None and not 2 <= len(keys) <= 4:
            raise InputError(f"keys {keys!r}: expected those of image, pid, camid and path")
        self.dataset = dataset
        self.source = open_images(source, label, camera) if isinstance(source, (str, Path)) else source
        self.rate, self.seed = float(rate), seed
        self.transform = transform
        self.keys = None if keys is None else Keys(*keys)
        # in shared memory: workers that outlive an epoch see what set_epoch wrote
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @classmethod
    def on_the_fly(
        cls,
        dataset: Any,
        transfer: PoseTransfer,
        keypoints: Keypoints,
        photos: Sequence[Path | str],
        *,
        rate: float,
        poses: Keypoints | None = None,
        pose_size: tuple[int, int] | None = None,
        seed: int = 0,
        transform: Callable[[Image.Image], Any] | None = None,
        keys: Sequence[Any] | None = None,
    ) -> AugmentedDataset:
        """Wrap a data set and redraw its own photos in other poses as they are asked for.

        A generator on a GPU cannot be called in the worker processes of a `DataLoader`: use no workers, or
        `BatchAugmenter` after collation.

        Args:
            dataset: as for the class.
            transfer: what redraws.
            keypoints: joints of the photos, under their paths or file names.
            photos: the photo of each item, in the data set's order: the joints fit the photo, not the wrapped set's
                transformed image. Items whose photo has no usable joints stay real.
            rate: share of items to swap, 0 to 1.
            poses: the pool of poses to take; default: `keypoints`.
            pose_size: (H, W) of the images that the pool is measured in, if not the photo's own.
            seed: of all draws.
            transform: of generated images, from PIL.
            keys: as for the class.

        Raises:
            InputError: not one photo an item, no photo or no pose that is usable.
        """
        made = MadeOnTheFly(transfer, keypoints, photos, poses, pose_size)
        if len(photos) != len(dataset):
            raise InputError(f"{len(photos)} photos for a data set of {len(dataset)} items")
        return cls(dataset, made, rate=rate, seed=seed, transform=transform, keys=keys)

    @property
    def epoch(self) -> int:
        """The epoch that items are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw anew: call it before each pass, in the main process; workers follow."""
        self._epoch.fill_(epoch)

    def is_due(self, index: int) -> bool:
        """Whether an item is to be swapped in this epoch, if there is a generated image of its person."""
        return self._number("due", index) < self.rate * 2.0**64

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        index = range(len(self))[index]
        item = self.dataset[index]
        keys = self._keys_of(item, index)
        if not self.is_due(index):
            return _flagged(item, {}, False)
        pid, camid = item[keys.pid], None if keys.camid is None else item[keys.camid]
        drawn = self.source.draw(index, _plain(pid), _plain(camid), self._number("which", index))
        if drawn is None:
            return _flagged(item, {}, False)
        if self.transform is None and not isinstance(item[keys.image], Image.Image):
            raise InputError("generated images are PIL images, the data set's are not: give the transform it uses")
        fields = {keys.image: drawn.image if self.transform is None else self.transform(drawn.image)}
        for key, value in ((keys.camid, drawn.camid), (keys.path, drawn.path)):
            if key is not None and value is not None:
                fields[key] = value
        return _flagged(item, fields, True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "dataset" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.dataset, name)

    def _number(self, what: str, index: int) -> int:
        return stable_hash(self.seed, "mixed", what, self.epoch, index)

    def _keys_of(self, item: Any, index: int) -> Keys:
        if isinstance(item, Mapping):
            keys = self.keys or DICT_KEYS
            if lacking := [key for key in keys[:2] if key not in item]:
                raise InputError(f"item {index} has no {lacking[0]!r}, only {first_five(list(item))}: give keys")
            return keys._replace(
                camid=keys.camid if keys.camid in item else None, path=keys.path if keys.path in item else None
            )
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise InputError(f"item {index} is {type(item).__name__}: expected (image, pid, ...) or a dict")
        keys = self.keys or TUPLE_KEYS
        return keys if self.keys or len(item) > 2 else keys._replace(camid=None)


def _flagged(item: Any, fields: Mapping[Any, Any], generated: bool) -> Any:
    """The item with some fields replaced, and the flag."""
    if isinstance(item, Mapping):
        return {**item, **fields, "generated": generated}
    return (*(fields.get(place, value) for place, value in enumerate(item)), generated)


def _plain(value: Any) -> Any:
    """A number out of a tensor or a numpy scalar; everything else as it is."""
    return value.item() if isinstance(value, (torch.Tensor, np.generic)) else value
