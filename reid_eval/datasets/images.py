"""Reading pictures: a full check of a data set, and a stack of uint8 images."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from reid_eval.datasets.tables import SPLITS, ReidData
from reid_eval.foreign import open_regular, reason_of
from reid_eval.limits import MOST_HELD_PIXELS, MOST_PICTURE_BYTES, MOST_PIXELS, MOST_STRETCHED
from reid_eval.runtime import InputError, first_five, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
T = TypeVar("T")
_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")


def check_images(data: ReidData, splits: Sequence[str] = SPLITS, *, workers: int | None = None) -> int:
    """Decode every image of `splits` in full; return how many were read.

    Raises:
        InputError: files are missing, empty or corrupt; it names the first five and says what to do.
    """
    paths = [path for split in splits for path in data.split(split)["path"]]
    faults = _each("Checking images", paths, lambda path: _fault(data.root / path), workers)
    bad = [f"{path} ({fault})" for path, fault in zip(paths, faults, strict=True) if fault]
    if bad:
        raise InputError(
            f"{data.root}: {len(bad)} of {len(paths)} images cannot be read: {first_five(bad)}; "
            "restore them from the data set's archive, or delete them"
        )
    return len(paths)


def load_images(
    root: Path | str,
    paths: Iterable[str],
    size: tuple[int, int],
    *,
    resample: str = "bicubic",
    workers: int | None = None,
) -> NDArray[np.uint8]:
    """Read images into one array: uint8 [N, 3, H, W], RGB, resized to `size` = (H, W) where they differ.

    Args:
        root: the folder that `paths` are relative to.
        paths: as in the column `path` of a table.
        size: height and width in pixels.
        resample: `bicubic` or `bilinear`; Pillow's filters, which anti-alias.
        workers: threads; by default one a core, at most 8.

    Raises:
        InputError: a file cannot be read; the message names it.
    """
    if resample not in RESAMPLING:
        raise InputError(f"resample {resample!r}: choose from {', '.join(RESAMPLING)}")
    root, names = Path(root), list(paths)
    height, width = size
    stack = np.empty((len(names), 3, height, width), np.uint8)

    def read(index: int) -> None:
        stack[index] = _read(root / names[index], (width, height), RESAMPLING[resample])

    _each("Reading images", range(len(names)), read, workers)
    return stack


def images_ahead(
    root: Path, paths: Sequence[str], size: tuple[int, int], count: int, pool: ThreadPoolExecutor
) -> Iterator[NDArray[np.uint8]]:
    """As `load_images`, `count` images at a time; the two following batches are read in `pool` meanwhile.

    Raises:
        InputError: a file cannot be read; the message names it.
    """
    height, width = size
    reading: deque[list[Future[NDArray[np.uint8]]]] = deque()
    for start in range(0, len(paths), count):
        batch = paths[start : start + count]
        reading.append([pool.submit(_read, root / path, (width, height), RESAMPLING["bicubic"]) for path in batch])
        if len(reading) > 2:
            yield np.stack([one.result() for one in reading.popleft()])
    for batch_read in reading:
        yield np.stack([one.result() for one in batch_read])


def _read(path: Path, size: tuple[int, int], resample: Image.Resampling) -> NDArray[np.uint8]:
    image = _open(path)
    if image.size != size:
        image = image.resize(size, resample)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def read_image(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] of an image file; InputError if it cannot be read."""
    return np.array(_open(path), np.uint8)


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] of an image file's bytes; InputError if they are none, with `name`."""
    fault = None
    try:
        with _within_limits(io.BytesIO(data)) as file:
            image = file.convert("RGB")
    except Exception as error:  # as in `_open`
        fault = reason_of(error)
    if fault:
        raise InputError(f"{name}: cannot read this image ({fault})")
    return np.array(image, np.uint8)


def held_at_once(paths: Sequence[Path], count: int, height: int = 0) -> Iterator[slice]:
    """Batches of at most `count` images and `MOST_HELD_PIXELS` pixels, but at least one image, in their order.

    Only the headers of the next batch are read. An image without a good one counts for nothing: reading it will tell.

    Args:
        paths: of the images.
        count: images of a batch at most.
        height: whoever takes them enlarges them to this height: pixels count as they are then.
    """
    start = 0
    while start < len(paths):
        held = stop = 0
        for stop, path in enumerate(paths[start : start + count], start):
            held += _pixels(path, height)
            if held > MOST_HELD_PIXELS and stop > start:
                break
        else:
            stop += 1
        yield slice(start, stop)
        start = stop


def _pixels(path: Path, height: int) -> int:
    try:
        rows, columns = image_size(path)
    except InputError:
        return 0
    return round(rows * columns * max(1.0, height / max(1, rows)) ** 2)


@contextmanager
def open_image(path: Path | str) -> Iterator[Image.Image]:
    """An image file, its header read and its size within the limits; whoever asks for pixels decodes them.

    The only place that opens pictures of strangers. It tries the formats of `IMAGE_SUFFIXES` alone: Pillow would start
    Ghostscript for others.

    Raises:
        OSError: missing, no regular file, larger than `MOST_PICTURE_BYTES`.
        ValueError: more than `MOST_PIXELS`, or `MOST_STRETCHED` times as long as wide (or as wide as long).
        Exception: whatever Pillow raises on bytes that are no image, also when pixels are asked for.
    """
    with open_regular(path, MOST_PICTURE_BYTES) as file, _within_limits(file) as image:
        yield image


@contextmanager
def _within_limits(file: IO[bytes]) -> Iterator[Image.Image]:
    with Image.open(file, formats=_FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"{width}x{height} pixels, at most {MOST_PIXELS} are read: make it smaller")
        if max(width, height) > MOST_STRETCHED * min(width, height):
            raise ValueError(f"{width} pixels wide and {height} high is no picture of a person")
        yield image


def _open(path: Path) -> Image.Image:
    """An image file in full, as RGB."""
    fault = None
    try:
        with open_image(path) as file:
            image = file.convert("RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ... on bad bytes
        fault = _explain(path, error)
    if fault:
        raise InputError(
            f"{path}: cannot read this image ({fault}); restore it from the data set's archive, or delete it"
        )
    return image


def _fault(path: Path) -> str | None:
    """None for an image that decodes in full, otherwise what is wrong with it."""
    try:
        with open_image(path) as image:
            image.load()
    except Exception as error:
        return _explain(path, error)
    return None


def _explain(path: Path, error: Exception) -> str:
    if not path.exists():
        return "a broken link" if path.is_symlink() else "missing"
    if path.stat().st_size == 0 and path.is_file():
        return "0 bytes"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return reason_of(error)


def _each(what: str, items: Sequence[object], work: Callable[..., T], workers: int | None) -> list[T]:
    """`work` of each item, in threads (Pillow decodes without the GIL), in order, with a progress bar."""
    results: list[T] = []
    with progress(what, len(items)) as bar, ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        answers = pool.map(work, items)
        while block := list(islice(answers, 64)):
            results += block
            bar.advance(len(block))
    return results


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header.

    Raises:
        InputError: it is no image.
    """
    try:
        with open_image(path) as image:
            return image.height, image.width
    except Exception as error:
        raise InputError(f"cannot read image {path}: {_explain(path, error)}; remove or replace it") from None
