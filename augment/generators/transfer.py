"""One call to redraw a person in another pose, for photos as other people's code holds them.

Between the caller and a `PoseGenerator` stand only sizes, value ranges and kinds: a photo is brought to the size that
the generator works at, its joints with it, and the result back to the photo's size and kind. Nothing here seeds or
draws from a global generator, and no global flag is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from augment.generators.base import PoseGenerator, check_generator, output_seed, run_generator
from augment.pose.geometry import scale_joints
from augment.pose.skeleton import HIPS, JOINT_COUNT, JOINTS, SHOULDERS, seen, usable
from reid_eval.runtime import InputError
from reid_eval.transforms import to_float, to_pictures

Photo = TypeVar("Photo", Image.Image, NDArray[np.uint8], Tensor)
Joints = NDArray[np.float32]
Size = tuple[int, int]

PRECISIONS = ("float32", "bf16")
_SLACK = 0.025
"""How far, in parts of a range, values may lie outside it: resizing overshoots a little, a wrong range a lot."""


class PoseTransfer:
    """Redraws people in other poses: photo, its joints and the joints to take in, the same kind of photo out.

    Example:
        >>> transfer = PoseTransfer(generator)
        >>> moved = transfer(photo, joints, target)
        >>> photo.size, moved.size, moved.mode
        ((64, 128), (64, 128), 'RGB')
        >>> batch = torch.rand(2, 3, 256, 128)  # in 0..1; joints are in pixels of the 256x128 images
        >>> transfer(batch, np.stack([2 * joints] * 2), np.stack([2 * target] * 2)).shape
        torch.Size([2, 3, 256, 128])
        >>> transfer(photo, np.full((18, 2), np.nan), target)
        Traceback (most recent call last):
        ...
        reid_eval.runtime.InputError: joints of the photo lack Rsho, Lsho, Rhip, Lhip: both shoulders and ...
    """

    def __init__(
        self,
        generator: PoseGenerator,
        *,
        value_range: tuple[float, float] = (0.0, 1.0),
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        """Wrap a generator.

        Args:
            generator: in evaluation mode, from `augment.load_generator` or anything that follows `PoseGenerator`.
            value_range: black and white of float tensors; torchvision's `ToTensor` gives 0 and 1.
            precision: `float32`, or `bf16` where the device is fast at it.
            seed: of generators that draw; see `__call__`.

        Raises:
            InputError: not a generator, an empty value range, an unknown precision.
        """
        self.generator = check_generator(generator, type(generator).__name__)
        low, high = value_range
        if not low < high:
            raise InputError(f"value_range {value_range}: expected black < white, such as (0, 1) or (-1, 1)")
        self.value_range = (float(low), float(high))
        self.precision = check_precision(precision)
        self.seed = seed

    def __call__(
        self,
        image: Photo,
        joints: ArrayLike | Tensor,
        target: ArrayLike | Tensor,
        *,
        target_size: Size | None = None,
        seed: int | None = None,
    ) -> Photo:
        """Redraw the person of a photo, or each person of a batch.

        Args:
            image: a PIL image (RGB or L), uint8 `[H, W, 3]`, or a uint8 or float tensor `[3, H, W]` or
                `[B, 3, H, W]` on any device. Pictures are resized as `patn-augment generate` does it, by Pillow;
                tensors on the generator's device, by the same filter without its rounding in between.
            joints: of the photo, `[18, 2]` or `[B, 18, 2]`, (x, y) in its pixels, a missing joint NaN.
            target: the pose to take, likewise.
            target_size: (H, W) of the image that `target` is measured in, if not the photo's own.
            seed: instead of the one given at the start. Image number i of a batch draws from (seed, i), whatever its
                neighbours; a generator that draws nothing, such as PATN, ignores it.

        Returns:
            What came in: the same kind, size, dtype and device.

        Raises:
            InputError: an image, joints or values of another form; joints without both shoulders and both hips; a
                generator whose images have another size or values outside [-1, 1].
        """
        seed = self.seed if seed is None else seed
        if isinstance(image, Tensor):
            return self._tensor(image, joints, target, target_size, seed)
        pixels = _pixels(image)
        own = (pixels.shape[0], pixels.shape[1])
        source = read_joints(joints, 1, "joints of the photo")
        goal = scale_joints(read_joints(target, 1, "target joints"), target_size or own, own)
        made = self._picture(pixels, source, goal, seed)
        if isinstance(image, Image.Image):
            return Image.fromarray(made).convert(image.mode)
        return made

    def _picture(self, pixels: NDArray[np.uint8], source: Joints, target: Joints, seed: int) -> NDArray[np.uint8]:
        """uint8 `[H, W, 3]` and joints `[1, 18, 2]` in its pixels, resized by Pillow there and back."""
        own, size = (pixels.shape[0], pixels.shape[1]), size_of(self.generator)
        batch = to_float(torch.from_numpy(_resize_pixels(pixels, size).copy())[None].permute(0, 3, 1, 2))
        made = transfer_batch(
            self.generator,
            batch,
            scale_joints(source, own, size),
            scale_joints(target, own, size),
            [image_seed(seed, 0)],
            self.precision,
        )
        return _resize_pixels(to_pictures(made)[0], own)

    def _tensor(
        self, image: Tensor, joints: ArrayLike | Tensor, target: ArrayLike | Tensor, target_size: Size | None, seed: int
    ) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] != 3:
            raise InputError(f"image tensor {tuple(image.shape)}: expected [3, H, W] or [B, 3, H, W], RGB")
        batch = image if image.ndim == 4 else image[None]
        count, own = len(batch), (int(batch.shape[-2]), int(batch.shape[-1]))
        source = read_joints(joints, count, "joints of the photo")
        goal = scale_joints(read_joints(target, count, "target joints"), target_size or own, own)
        if not count:
            return image.clone()
        signed = self._to_signed(batch)
        seeds = [image_seed(seed, number) for number in range(count)]
        made = self._from_signed(transfer_batch(self.generator, signed, source, goal, seeds, self.precision), image)
        return made if image.ndim == 4 else made[0]

    def _to_signed(self, batch: Tensor) -> Tensor:
        """To float32 in [-1, 1]."""
        if batch.dtype == torch.uint8:
            return to_float(batch)
        if not batch.is_floating_point():
            raise InputError(f"image tensor of {batch.dtype}: expected uint8 in 0..255 or floating point")
        low, high = self.value_range
        batch = batch.float()
        check_range(batch, low, high, "give the value_range that your tensors have")
        return (batch - low) * (2 / (high - low)) - 1

    def _from_signed(self, made: Tensor, like: Tensor) -> Tensor:
        if like.dtype == torch.uint8:
            return made.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        low, high = self.value_range
        return ((made + 1) * ((high - low) / 2) + low).to(like.dtype)


def transfer_batch(
    generator: PoseGenerator,
    images: Tensor,
    joints: Joints,
    target: Joints,
    seeds: Sequence[int],
    precision: str = "float32",
) -> Tensor:
    """Run a generator on images of any one size.

    Args:
        generator: what draws.
        images: float32 `[B, 3, H, W]` in [-1, 1], B at least 1, on any device.
        joints: `[B, 18, 2]`, (x, y) pixels of the images, NaN missing.
        target: the poses to take, likewise.
        seeds: one an image.
        precision: `float32` or `bf16`; an autocast around the call has no say.

    Returns:
        float32 `[B, 3, H, W]` in [-1, 1] on the images' device, without a graph, but fit to be trained on.

    Raises:
        InputError: as `run_generator`.
    """
    own, size = (int(images.shape[-2]), int(images.shape[-1])), size_of(generator)
    source, goal = (torch.from_numpy(scale_joints(xy, own, size)).to(generator.device) for xy in (joints, target))
    # not inference_mode: its tensors could not be trained on
    with torch.no_grad():
        small = _resize(images.to(generator.device), size).contiguous(memory_format=torch.channels_last)
        with torch.autocast(generator.device.type, torch.bfloat16, enabled=precision == "bf16"):
            made = run_generator(generator, small, source, goal, seeds)
        return _resize(made, own).clamp(-1, 1).to(images.device)


def read_joints(joints: ArrayLike | Tensor, count: int, what: str) -> Joints:
    """Joints of a batch as float32 `[count, 18, 2]`, each with both shoulders and both hips.

    Args:
        joints: `[18, 2]` if `count` is 1, or `[count, 18, 2]`; (x, y) pixels, a missing joint NaN.
        count: images in the batch.
        what: for messages.

    Raises:
        InputError: another shape, infinite numbers, -1 for missing joints, or a shoulder or hip missing.
    """
    xy = as_joints(joints, what)
    xy = xy[None] if xy.ndim == 2 else xy
    if xy.shape[0] != count:
        raise InputError(f"{what}: {xy.shape[0]} poses for {count} images")
    for number in np.flatnonzero(~usable(xy))[:1].tolist():
        lacking = [JOINTS[j] for j in SHOULDERS + HIPS if not seen(xy[number])[j]]
        where = f" (image {number} of {count})" if count > 1 else ""
        raise InputError(
            f"{what}{where} lack {', '.join(lacking)}: both shoulders and both hips are needed; leave such images out"
        )
    return xy


def as_joints(joints: ArrayLike | Tensor, what: str) -> Joints:
    """Joints of any number of images as float32 `[..., 18, 2]`, with NaN in both coordinates of a missing joint.

    Raises:
        InputError: another shape, infinite numbers, or -1 for missing joints.
    """
    xy = np.array(joints.detach().cpu().numpy() if isinstance(joints, Tensor) else joints, dtype=np.float32)
    if xy.ndim not in (2, 3) or xy.shape[-2:] != (JOINT_COUNT, 2):
        raise InputError(f"{what}: shape {list(xy.shape)}, expected [18, 2] or [B, 18, 2], (x, y) pixels, NaN missing")
    if np.isinf(xy).any():
        raise InputError(f"{what}: infinite coordinates; a missing joint is NaN")
    if (xy == -1).all(axis=-1).any():
        raise InputError(f"{what}: a joint at (-1, -1); a missing joint is NaN here (read_keypoints takes care of it)")
    xy[~seen(xy)] = np.nan
    return xy


def size_of(generator: PoseGenerator) -> Size:
    """(H, W) that a generator works at, as a tuple even where it keeps a list."""
    height, width = generator.size
    return int(height), int(width)


def check_precision(precision: str) -> str:
    """Return the precision.

    Raises:
        InputError: it is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    return precision


def check_range(images: Tensor, low: float, high: float, hint: str) -> None:
    """Check that values lie between black and white, up to what resizing overshoots.

    Raises:
        InputError: they do not; the message ends in `hint`.
    """
    least, most = (float(value) for value in images.aminmax())
    slack = _SLACK * (high - low)
    if not (least >= low - slack and most <= high + slack):  # NaN fails, too
        raise InputError(f"images reach from {least:.2f} to {most:.2f}, expected {low:g} to {high:g}: {hint}")


def image_seed(*parts: int) -> int:
    """The seed of one image of a batch, from numbers such as the call's seed and its place."""
    return output_seed("/".join(map(str, parts)))


def _pixels(image: object) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "L"):
            raise InputError(f"image of mode {image.mode}: give image.convert('RGB')")
        return np.asarray(image.convert("RGB"), np.uint8)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(f"image is {found}: expected a PIL image, uint8 [H, W, 3], or a tensor [3, H, W] or [B, 3, H, W]")


def _resize_pixels(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC), np.uint8)


def _resize(images: Tensor, size: Size) -> Tensor:
    """float `[B, 3, H, W]` by Pillow's bicubic filter (anti-aliased), clamped to [-1, 1]."""
    if tuple(images.shape[-2:]) == size:
        return images
    return interpolate(images, size, mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)
