"""Runs a generator over a plan's rows and writes the images: decode, compute and encode side by side.

On a CPU the network always sees `CHUNK` images at once, the same ones whatever the batch size, the shard or the state
of a resumed run: float sums may round differently for another number of images (oneDNN's do, by 4e-9), and that is
enough to change a byte of a JPEG. On other devices, where eight images are too few to keep it busy, it sees a batch.
The last chunk is filled up with copies of its last image.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from augment.generators.base import PoseGenerator, output_seed, run_generator
from augment.pose.geometry import scale_joints
from reid_eval.datasets.images import image_size, read_image
from reid_eval.runtime import ProgressBar, atomic_path
from reid_eval.transforms import to_float, to_pictures

CHUNK = 8
WORKERS = min(8, os.cpu_count() or 1)
Generator = PoseGenerator


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


def chunks_of(tasks: Sequence[Task], size: int = CHUNK, shard: tuple[int, int] = (0, 1)) -> list[Sequence[Task]]:
    """Cut all tasks of a plan into chunks of `size`, and keep those of shard `index, count`."""
    chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    return chunks[shard[0] :: shard[1]]


def render(chunks: Sequence[Sequence[Task]], generator: Generator, settings: Settings, bar: ProgressBar) -> None:
    """Make the images of chunks whose outputs are not all there yet.

    Args:
        chunks: from `chunks_of`.
        generator: of images of the size in `settings`, on its device.
        settings: see there.
        bar: counts images; those that are there already are skipped.

    Raises:
        InputError: an image cannot be read, or the generator gave what is no image.
    """
    todo = [chunk for chunk in chunks if not all(is_complete(task.output) for task in chunk)]
    bar.skip(sum(map(len, chunks)) - sum(map(len, todo)))
    per_step = max(1, settings.batch_size // settings.chunk)
    steps = [todo[start : start + per_step] for start in range(0, len(todo), per_step)]
    with ThreadPoolExecutor(WORKERS) as pool, repeatable():
        saving: list[Future[None]] = []
        for step, loaded in _prefetch(steps, settings.size, pool):
            images = [compute(generator, part, settings) for part in loaded]
            for future in saving:
                future.result()
            saving = [
                pool.submit(save_image, image, task.output, one.size, settings.jpeg_quality)
                for chunk, part, batch in zip(step, loaded, images, strict=True)
                for task, one, image in zip(chunk, part, batch, strict=False)  # the batch may have been filled up
            ]
            bar.advance(sum(map(len, step)))
        for future in saving:
            future.result()


def _prefetch(
    steps: Sequence[Sequence[Sequence[Task]]], size: tuple[int, int], pool: ThreadPoolExecutor
) -> Iterator[tuple[Sequence[Sequence[Task]], list[list[Loaded]]]]:
    """Each step with its images; the next step is read while the caller computes this one."""

    def begin(step: Sequence[Sequence[Task]]) -> list[list[Future[Loaded]]]:
        return [[pool.submit(load_task, task, size) for task in chunk] for chunk in step]

    ahead = begin(steps[0]) if steps else []
    for number, step in enumerate(steps):
        now, ahead = ahead, begin(steps[number + 1]) if number + 1 < len(steps) else []
        yield step, [[future.result() for future in chunk] for chunk in now]


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
            _resized(Image.fromarray(pixels), size).save(temporary, **_options(output, quality))
    except FileNotFoundError:
        if not is_complete(output):
            raise


def as_stored(pixels: NDArray[np.uint8], output: Path, size: tuple[int, int], quality: int) -> NDArray[np.uint8]:
    """What `save_image` leaves of an image for those who read it at its own size again: uint8 RGB `[H, W, 3]`."""
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[output.suffix.lower()]
    _resized(Image.fromarray(pixels), size).save(buffer, format=kind, **_options(output, quality))
    with Image.open(buffer) as stored:
        return np.array(_resized(stored.convert("RGB"), pixels.shape[:2]))


def _resized(image: Image.Image, size: tuple[int, ...]) -> Image.Image:
    if (image.height, image.width) == tuple(size):
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def _options(output: Path, quality: int) -> dict[str, Any]:
    return {"quality": quality} if output.suffix.lower() in (".jpg", ".jpeg") else {}


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
