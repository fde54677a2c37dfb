"""Changes of images, for a whole batch at once on its device: resizing, and those of the training.

Images are uint8 [B, 3, H, W], RGB. All random numbers come from one CPU generator, so a seed gives the same batches on
every device.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ERASE_AREA = (0.02, 0.4)
ERASE_ASPECT = (0.3, 1 / 0.3)
ERASE_COLOUR = (124, 116, 104)  # ImageNet's mean: 0 after normalisation


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images `[B, 3, H, W]` as float in 0..255 at `size` (H, W): bicubic, anti-aliased, as Pillow resizes."""
    floats = images.float()
    if tuple(images.shape[2:]) == tuple(size):
        return floats
    return torch.nn.functional.interpolate(floats, size, mode="bicubic", antialias=True).round().clamp(0, 255)


def draw_shifts(count: int, pad: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For `count` images: int64 [count, 2] (down, right) in -pad..pad, and bool [count], whether to mirror."""
    shift = torch.randint(-pad, pad + 1, (count, 2), generator=generator)
    return shift, torch.randint(0, 2, (count,), generator=generator).bool()


def move(images: Tensor, index: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Images `index` of a stack, mirrored and shifted, black where they left. All tensors on one device, no sync.

    Args:
        images: uint8 [N, 3, H, W].
        index: int64 [B].
        shift, mirror: from `draw_shifts`.

    Returns:
        uint8 [B, 3, H, W] in channels-last memory.
    """
    device, (height, width) = images.device, images.shape[2:]
    rows = torch.arange(height, device=device) + shift[:, :1]
    cols = torch.arange(width, device=device) + shift[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((cols >= 0) & (cols < width))[:, None, :]
    cols = torch.where(mirror[:, None], width - 1 - cols, cols).clamp(0, width - 1)
    rows = rows.clamp(0, height - 1)
    picked = images[index[:, None, None], :, rows[:, :, None], cols[:, None, :]]
    return (picked * inside[..., None]).permute(0, 3, 1, 2)


def draw_boxes(count: int, size: tuple[int, int], probability: float, generator: torch.Generator) -> Tensor:
    """Rectangles of random erasing for `count` images of `size` (H, W): float32 [count, 4], empty where none is due.

    The columns are top, left, bottom, right in pixels, ends excluded. The area is 2% to 40% of the image, the aspect
    0.3 to 3.3; sides are cut to the image instead of drawn again.
    """
    height, width = size
    draw = torch.rand(count, 5, generator=generator)
    area = height * width * (ERASE_AREA[0] + (ERASE_AREA[1] - ERASE_AREA[0]) * draw[:, 0])
    aspect = ERASE_ASPECT[0] + (ERASE_ASPECT[1] - ERASE_ASPECT[0]) * draw[:, 1]
    tall = (area * aspect).sqrt().clamp(max=height).round()
    wide = (area / aspect).sqrt().clamp(max=width).round()
    top = (draw[:, 2] * (height - tall + 1)).floor()
    left = (draw[:, 3] * (width - wide + 1)).floor()
    boxes = torch.stack([top, left, top + tall, left + wide], 1)
    return torch.where((draw[:, 4] < probability)[:, None], boxes, 0.0)


def paint(images: Tensor, boxes: Tensor) -> Tensor:
    """Paint each image's rectangle (see `draw_boxes`; same device) in ImageNet's mean colour; uint8 [B, 3, H, W]."""
    device, (height, width) = images.device, images.shape[2:]
    top, left, bottom, right = boxes[:, :, None].unbind(1)
    rows, cols = torch.arange(height, device=device), torch.arange(width, device=device)
    mask = ((rows >= top) & (rows < bottom))[:, :, None] & ((cols >= left) & (cols < right))[:, None, :]
    for channel, value in enumerate(ERASE_COLOUR):
        images[:, channel].masked_fill_(mask, value)
    return images


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020) of uint8 [B, 3, H, W] with `probability`; see `draw_boxes`."""
    size = (images.shape[2], images.shape[3])
    return paint(images.clone(), draw_boxes(len(images), size, probability, generator).to(images.device))


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1], the memory format kept."""
    return images.float() / 127.5 - 1


def to_pictures(images: Tensor) -> NDArray[np.uint8]:
    """The way back: float [B, 3, H, W] in [-1, 1] to uint8 [B, H, W, 3] on the host, rounded, clamped."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    pictures: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return pictures
