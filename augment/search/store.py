"""Images beside photos on disk, made once for all networks that look at them.

FOLDER/KEY/00000.npz ...    a block of photos each: `images` [n, V, 3, H, W], `known` [n], `seconds` that it took

KEY is the hash of all that the images depend on. Several processes may share a folder: each block is made once, and
they share the blocks out among them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from augment.search.extractors import Extractor
from augment.search.fusion import Floats, Parts, unit
from augment.search.makers import Made, ViewMaker
from augment.search.searched_photos import Photos
from reid_eval.foreign import reason_of
from reid_eval.foreign_arrays import ForeignArrays, open_arrays
from reid_eval.runtime import InputError, progress, write_bytes
from reid_eval.table import cell_key

T = TypeVar("T")
BLOCK = 64  # photos: what a killed process loses


class ViewStore:
    """A folder of made images.

    Args:
        folder: made if it is absent.
        identity: what the photos and joints are, such as the data set's hash: part of every key.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def ensure(self, maker: ViewMaker, photos: Photos) -> StoredViews:
        """Make what is not there yet.

        Raises:
            InputError: as `ViewMaker.make`.
        """
        key = cell_key({"photos": self.identity, "names": list(photos.names), "views": dict(maker.facts())})
        stored = StoredViews(self.folder / key[:20], photos)
        missing = [number for number in range(stored.blocks) if not stored.path(number).is_file()]
        if missing:
            self._make(maker, stored, missing)
        return stored

    def _make(self, maker: ViewMaker, stored: StoredViews, missing: list[int]) -> None:
        stored.folder.mkdir(parents=True, exist_ok=True)
        with progress("Making views", len(stored.photos)) as bar:
            bar.skip(len(stored.photos) - sum(len(stored.part(number)) for number in missing))
            for wait in (0, -1):  # first what nobody else is at, then wait for the others to end
                for number in [number for number in missing if not stored.path(number).is_file()]:
                    try:
                        with FileLock(stored.path(number).with_suffix(".lock"), timeout=wait):
                            if not stored.path(number).is_file():
                                _write(stored.path(number), maker, stored.part(number))
                    except Timeout:
                        continue
                    bar.advance(len(stored.part(number)))
        for lock in stored.folder.glob("*.lock"):  # also of runs that were killed; whoever still waits sees the block
            lock.unlink(missing_ok=True)


class StoredViews:
    """The images of one maker and one list of photos."""

    def __init__(self, folder: Path, photos: Photos) -> None:
        self.folder, self.photos = folder, photos
        self.blocks = -(-len(photos) // BLOCK)

    def path(self, number: int) -> Path:
        """The file of a block."""
        return self.folder / f"{number:05d}.npz"

    def part(self, number: int) -> Photos:
        """The photos of a block."""
        return self.photos.part(number * BLOCK, (number + 1) * BLOCK)

    def __iter__(self) -> Iterator[Made]:
        """Images and which photos have some, block by block.

        Raises:
            InputError: a block cannot be read.
        """
        for number in range(self.blocks):
            yield self._read(number, _images_of)

    def features(self, extract: Extractor, first: int | None = None) -> tuple[Floats, NDArray[np.bool_]]:
        """What a network makes of the images: `[N, V, D]`, zeros where there are none; and where there are some, `[N]`.

        Args:
            extract: see `augment.search.extractors`.
            first: look at so many images of each photo only; None: at all.
        """
        rows: list[Floats | None] = []
        known = []
        for stored, there in self:
            images = stored[:, :first]
            flat = torch.from_numpy(images[there].reshape(-1, *images.shape[2:]))
            found = extract(flat).float().cpu().numpy() if len(flat) else None
            rows.append(None if found is None else found.reshape(int(there.sum()), images.shape[1], -1))
            known.append(there)
        width = next((row.shape[2] for row in rows if row is not None), 0)
        out = np.zeros((len(self.photos), images.shape[1], width), np.float32)
        have = [row for row in rows if row is not None]
        if have:
            out[np.concatenate(known)] = np.concatenate(have)
        return unit(out), np.concatenate(known)

    def beside(self, photos: Floats, extract: Extractor, first: int | None = None) -> Parts:
        """The features of the images beside those of the photos, `[N, D]`, for `augment.search.fusion`."""
        views, known = self.features(extract, first)
        if not known.any():  # nothing has told how wide they would be
            views = np.zeros((*views.shape[:2], photos.shape[1]), np.float32)
        return Parts(photos, views, known)

    @property
    def seconds(self) -> float:
        """What making them took, all blocks together, as if one process had been at it."""
        return sum(self._read(number, lambda file, _: float(file["seconds"])) for number in range(self.blocks))

    def _read(self, number: int, take: Callable[[ForeignArrays, int], T]) -> T:
        """What `take` makes of a block's file and its number of photos; of what it does not ask for nothing is read."""
        path = self.path(number)
        try:
            with open_arrays(path) as file:
                return take(file, len(self.part(number)))
        except Exception as error:  # numpy and zipfile raise many kinds on damaged bytes
            told = f"cannot read views from {path} ({reason_of(error)}): delete it, and they are made again"
            raise InputError(told) from None


def _images_of(file: ForeignArrays, count: int) -> Made:
    images, known = file["images"], file["known"]
    if (
        images.ndim != 5
        or len(images) != count
        or known.dtype != np.bool_
        or known.shape != (count,)
        or images.dtype != np.uint8
    ):
        raise ValueError("of another shape")
    return images, known


def _write(path: Path, maker: ViewMaker, photos: Photos) -> None:
    start = time.perf_counter()
    images, known = maker.make(photos)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, known=known, seconds=np.float64(time.perf_counter() - start))
    write_bytes(path, buffer.getvalue(), durable=False)
