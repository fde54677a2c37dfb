"""Training-time changes of images, for a whole batch at once on its device.

Images are uint8 [B, 3, H, W], RGB. All random numbers come from one CPU generator, so a seed gives the same batches on
every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

ERASE_AREA = (0.02, 0.4)
ERASE_ASPECT = (0.3, 1 / 0.3)
ERASE_COLOUR = (124, 116, 104)  # ImageNet's mean: 0 after normalisation


def shift_and_flip(images: Tensor, index: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Images `index` of a stack, each mirrored by chance and shifted by up to `pad` pixels, black where it left.

    Shifting is what padding by `pad` and cropping at random does.

    Args:
        images: uint8 [N, 3, H, W].
        index: int64 [B] on any device.
        pad: pixels; 0 for none.
        flip: mirror with probability 1/2.
        generator: on the CPU.

    Returns:
        uint8 [B, 3, H, W] in channels-last memory.
    """
    device, (height, width), count = images.device, images.shape[2:], len(index)
    shift = torch.randint(-pad, pad + 1, (count, 2, 1), generator=generator).to(device)
    mirror = torch.randint(0, 2, (count, 1), generator=generator).to(device).bool() & flip
    rows = torch.arange(height, device=device) + shift[:, 0]
    cols = torch.arange(width, device=device) + shift[:, 1]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((cols >= 0) & (cols < width))[:, None, :]
    cols = torch.where(mirror, width - 1 - cols, cols).clamp(0, width - 1)
    rows = rows.clamp(0, height - 1)
    picked = images[index.to(device)[:, None, None], :, rows[:, :, None], cols[:, None, :]]
    return (picked * inside[..., None]).permute(0, 3, 1, 2)


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): paint a rectangle over each image with `probability`.

    Its area is 2% to 40% of the image, its aspect 0.3 to 3.3; sides are cut to the image instead of drawn again.
    uint8 [B, 3, H, W] to the same.
    """
    device, (height, width), count = images.device, images.shape[2:], len(images)
    draw = torch.rand(count, 5, generator=generator)
    area = height * width * (ERASE_AREA[0] + (ERASE_AREA[1] - ERASE_AREA[0]) * draw[:, 0])
    aspect = ERASE_ASPECT[0] + (ERASE_ASPECT[1] - ERASE_ASPECT[0]) * draw[:, 1]
    tall = (area * aspect).sqrt().clamp(max=height).round()
    wide = (area / aspect).sqrt().clamp(max=width).round()
    top = (draw[:, 2] * (height - tall + 1)).floor()
    left = (draw[:, 3] * (width - wide + 1)).floor()
    chosen = draw[:, 4] < probability
    rows, cols = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    in_cols = (cols >= left[:, None]) & (cols < (left + wide)[:, None])
    mask = (chosen[:, None, None] & in_rows[:, :, None] & in_cols[:, None, :]).to(device)
    colour = torch.tensor(ERASE_COLOUR, dtype=images.dtype, device=device).view(1, 3, 1, 1)
    return torch.where(mask[:, None], colour, images)


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1], the memory format kept."""
    return images.float() / 127.5 - 1
