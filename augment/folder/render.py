"""Runs a generator over a plan's rows and writes the images: decode, compute and encode side by side.

On a CPU the network always sees `CHUNK` images at once, the same ones whatever the batch size, the shard or the state
of a resumed run: float sums may round differently for another number of images (oneDNN's do, by 4e-9), and that is
enough to change a byte of a JPEG. On other devices, where eight images are too few to keep it busy, it sees a batch.
The last chunk is filled up with copies of its last image.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from augment.generators.base import PoseGenerator, output_seed, run_generator
from augment.pose.geometry import scale_joints
from reid_eval.datasets.images import image_size, read_image
from reid_eval.helping import helping_threads
from reid_eval.runtime import ProgressBar, atomic_path
from reid_eval.transforms import to_float, to_pictures

CHUNK = 8
AHEAD = 2
"""Chunks that are read and written beside the one that is computed, at least."""
Generator = PoseGenerator
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Task:
    """One image to generate.

    Attributes:
        photo: the condition image.
        source: joints in it, `[18, 2]`, (x, y) in its pixels, NaN missing.
        donor: the image that lends its pose, None if the pose is measured in pixels of the photo (a library's).
        target: the pose to take, `[18, 2]` in the donor's pixels.
        output: file to write.
        frame: without a donor, the (H, W) in which `target` is measured; None is the photo's own.
    """

    photo: Path
    source: NDArray[np.float32]
    donor: Path | None
    target: NDArray[np.float32]
    output: Path
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class Settings:
    """How to render: (H, W) of the generator, device, precision (`float32` or `bf16`), JPEG quality, images a step."""

    size: tuple[int, int]
    device: torch.device
    precision: str
    jpeg_quality: int
    batch_size: int

    @property
    def chunk(self) -> int:
        """Images that the generator sees at once."""
        return CHUNK if self.device.type == "cpu" else self.batch_size


@dataclass(frozen=True, eq=False)
class Loaded:
    """A task's photo and joints, as the network takes them."""

    image: NDArray[np.uint8]
    """`[H, W, 3]` at the network's size."""
    joints: NDArray[np.float32]
    """`[2, 18, 2]`: source and target, at the network's size."""
    size: tuple[int, int]
    """(H, W) of the photo, and of the output."""
    seed: int = 0
    """Of what a generator draws for it: of the output's name in its folder alone."""


def target_joints(task: Task) -> NDArray[np.float32]:
    """The pose of a task's generated image, `[18, 2]` in its pixels: the donor's pose, brought to the photo's size."""
    if task.donor is None and task.frame is None:
        return task.target
    new = image_size(task.photo)
    old = image_size(task.donor) if task.donor else task.frame or new
    joints = scale_joints(task.target, old, new)
    return joints if old == new else np.clip(joints, 0, np.array([new[1] - 1, new[0] - 1], dtype=np.float32))


def is_complete(path: Path) -> bool:
    """Whether an output is there, with its end: files are renamed into place, but a machine may have lost power."""
    try:
        with open(path, "rb") as file:
            head = file.read(2)
            file.seek(-2, os.SEEK_END)
            tail = file.read(2)
    except OSError:
        return False
    return (head, tail) == (b"\xff\xd8", b"\xff\xd9") or (path.suffix.lower() not in (".jpg", ".jpeg") and tail != b"")


class Chunks(Sequence[Sequence[Task]]):
    """A plan's tasks cut into chunks, of which a shard has every so many; see `chunks_of`."""

    def __init__(self, tasks: Sequence[Task], size: int, starts: range) -> None:
        self.tasks, self.size, self.starts = tasks, size, starts

    @property
    def images(self) -> int:
        """How many tasks all of them have."""
        short = bool(self.starts) and self.starts[-1] + self.size - len(self.tasks)
        return len(self.starts) * self.size - max(0, short)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, place: int) -> Sequence[Task]: ...
    @overload
    def __getitem__(self, place: slice) -> Chunks: ...
    def __getitem__(self, place: int | slice) -> Sequence[Task] | Chunks:
        if isinstance(place, slice):
            return Chunks(self.tasks, self.size, self.starts[place])
        start = self.starts[place]
        return self.tasks[start : start + self.size]


def chunks_of(tasks: Sequence[Task], size: int = CHUNK, shard: tuple[int, int] = (0, 1)) -> Chunks:
    """Cut all tasks of a plan into chunks of `size`, and keep those of shard `index, count`."""
    return Chunks(tasks, size, range(0, len(tasks), size)[shard[0] :: shard[1]])


def render(chunks: Iterable[Sequence[Task]], generator: Generator, settings: Settings, bar: ProgressBar) -> None:
    """Make the images of chunks whose outputs are not all there yet.

    Args:
        chunks: from `chunks_of`.
        generator: of images of the size in `settings`, on its device.
        settings: see there.
        bar: counts images; those that are there already are skipped.

    Raises:
        InputError: an image cannot be read, or the generator gave what is no image.
    """

    def save(pixels: NDArray[np.uint8], task: Task, size: tuple[int, int]) -> None:
        save_image(pixels, task.output, size, settings.jpeg_quality)

    for chunk, _ in pipe(_missing(chunks, bar), generator, settings, save):
        bar.advance(len(chunk))


def pipe(
    chunks: Iterable[Sequence[Task]],
    generator: Generator,
    settings: Settings,
    finish: Callable[[NDArray[np.uint8], Task, tuple[int, int]], T],
) -> Iterator[tuple[Sequence[Task], list[T]]]:
    """Generate chunks, in their order, each with what became of its images.

    While the generator works on one chunk, the following ones are read and those before it are finished, in threads; a
    few of each are held, however many there are.

    Args:
        chunks: from `chunks_of`.
        generator: of images of the size in `settings`, on its device.
        settings: see there.
        finish: takes an image, uint8 RGB `[H, W, 3]` at the network's size, its task, and (H, W) of its photo.

    Raises:
        InputError: an image cannot be read, or the generator gave what is no image.
    """
    ahead = max(AHEAD, settings.batch_size // settings.chunk)
    ending: deque[tuple[Sequence[Task], list[Future[T]]]] = deque()
    with helping_threads(settings.device) as pool, repeatable():
        for chunk, loaded in _prefetch(chunks, settings.size, pool, ahead):
            images = compute(generator, loaded, settings)  # maybe more than were asked for: the last one filled up
            ends = zip(images, chunk, loaded, strict=False)
            ending.append((chunk, [pool.submit(finish, image, task, one.size) for image, task, one in ends]))
            while len(ending) > ahead:
                done, futures = ending.popleft()
                yield done, [future.result() for future in futures]
        for done, futures in ending:
            yield done, [future.result() for future in futures]


def _missing(chunks: Iterable[Sequence[Task]], bar: ProgressBar) -> Iterator[Sequence[Task]]:
    for chunk in chunks:
        if all(is_complete(task.output) for task in chunk):
            bar.skip(len(chunk))
        else:
            yield chunk


def _prefetch(
    chunks: Iterable[Sequence[Task]], size: tuple[int, int], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Sequence[Task], list[Loaded]]]:
    """Each chunk with its images; so many more are read while the caller works on it."""
    reading: deque[tuple[Sequence[Task], list[Future[Loaded]]]] = deque()
    for chunk in chunks:
        reading.append((chunk, [pool.submit(load_task, task, size) for task in chunk]))
        if len(reading) > ahead:
            now, futures = reading.popleft()
            yield now, [future.result() for future in futures]
    for now, futures in reading:
        yield now, [future.result() for future in futures]


def load_task(task: Task, size: tuple[int, int]) -> Loaded:
    """Read a task's photo and bring it and its joints to (H, W).

    Raises:
        InputError: an image cannot be read.
    """
    pixels = read_image(task.photo)
    own = (pixels.shape[0], pixels.shape[1])
    lent = image_size(task.donor) if task.donor else task.frame or own
    joints = np.stack([scale_joints(task.source, own, size), scale_joints(task.target, lent, size)])
    if own != size:
        pixels = np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))
    # The last two names tell a folder's images apart in every layout, and no path of this machine is in them
    return Loaded(pixels, joints, own, output_seed("/".join(task.output.parts[-2:])))


def compute(generator: Generator, chunk: Sequence[Loaded], settings: Settings) -> NDArray[np.uint8]:
    """Generate one chunk: uint8 `[settings.chunk, H, W, 3]`; what is beyond its length only fills up."""
    full = [*chunk, *[chunk[-1]] * (settings.chunk - len(chunk))]
    images = torch.from_numpy(np.stack([one.image for one in full])).to(settings.device)
    joints = torch.from_numpy(np.stack([one.joints for one in full])).to(settings.device)
    # [N, H, W, 3] memory seen as [N, 3, H, W] is channels-last, which is half as fast again on CPUs
    image = to_float(images.permute(0, 3, 1, 2))
    bf16 = settings.precision == "bf16"
    with torch.inference_mode(), torch.autocast(settings.device.type, torch.bfloat16, enabled=bf16):
        made = run_generator(generator, image, joints[:, 0], joints[:, 1], [one.seed for one in full])
    return to_pictures(made)


def save_image(pixels: NDArray[np.uint8], output: Path, size: tuple[int, int], quality: int) -> None:
    """Write uint8 RGB `[H, W, 3]`, resized to `size` (H, W), atomically.

    If another shard finished the folder meanwhile, it swept away what this one was writing; the image is there then.
    """
    try:
        with atomic_path(output, durable=False) as temporary:
            temporary.write_bytes(encode_image(pixels, output.suffix, size, quality))
    except FileNotFoundError:
        if not is_complete(output):
            raise


def encode_image(pixels: NDArray[np.uint8], suffix: str, size: tuple[int, int], quality: int) -> bytes:
    """A file's bytes of uint8 RGB `[H, W, 3]`, resized to `size` (H, W); `quality` is JPEG's."""
    jpeg = suffix.lower() in (".jpg", ".jpeg")
    kind = "JPEG" if jpeg else Image.registered_extensions()[suffix.lower()]
    buffer = io.BytesIO()
    _resized(Image.fromarray(pixels), size).save(buffer, kind, **({"quality": quality} if jpeg else {}))
    return buffer.getvalue()


def as_stored(pixels: NDArray[np.uint8], output: Path, size: tuple[int, int], quality: int) -> NDArray[np.uint8]:
    """What `save_image` leaves of an image for those who read it at its own size again: uint8 RGB `[H, W, 3]`."""
    with Image.open(io.BytesIO(encode_image(pixels, output.suffix, size, quality))) as stored:
        return np.array(_resized(stored.convert("RGB"), pixels.shape[:2]))


def _resized(image: Image.Image, size: tuple[int, ...]) -> Image.Image:
    if (image.height, image.width) == tuple(size):
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


@contextmanager
def repeatable() -> Iterator[None]:
    """No choice of algorithm by stop-watch, and full float32 where it was asked for."""
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32
