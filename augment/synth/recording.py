"""From what a lens sees to what a re-ID data set holds: tone, resolution, colour, sharpening, compression."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.synth.cameras import blur
from augment.synth.draws import Draws
from augment.synth.jpeg import from_planes, quantise, to_planes
from augment.synth.world import Recording

_STEPS = 16  # cut-outs have sides of whole sixteenths of the image's, so that images of one size go together
_LEAST = 4


class Recorded(NamedTuple):
    """What is done to each image of a batch, `[B]` each; see `augment.synth.world.Recording`."""

    black: Tensor
    white: Tensor
    colour: Tensor
    steps: Tensor  # int64, side of the cut-out in sixteenths
    chroma_blur: Tensor
    sharpen: Tensor
    quality: Tensor


def draw_recorded(recording: Recording, seed: int, camera: Tensor, rows: tuple[Tensor, ...]) -> Recorded:
    """Most belongs to the camera, so that one of its images tells how the next will look; `rows` number an image."""
    fixed, moment = Draws(seed, "recording", camera, count=8), Draws(seed, "recorded", *rows, count=2)
    scale = fixed.between(*recording.scale) * moment.between(*recording.distance)
    return Recorded(
        black=fixed.between(*recording.black),
        white=fixed.between(*recording.white),
        colour=fixed.between(*recording.colour),
        steps=(scale * _STEPS).round().to(torch.int64).clamp(_LEAST, _STEPS),
        chroma_blur=fixed.between(*recording.chroma_blur),
        sharpen=fixed.between(*recording.sharpen),
        quality=fixed.between(*recording.quality).round(),
    )


def record(picture: Tensor, how: Recorded, noise: Tensor) -> Tensor:
    """Record pictures `[B, 3, H, W]` in [0, 1]; uint8, the same shape.

    Args:
        picture: RGB as display values.
        how: what is done to each.
        noise: of the sensor, `[B, H, W]`; a smaller cut-out has its first rows and columns.
    """
    size = (picture.shape[2], picture.shape[3])
    picture = _resampled(_toned(picture, how), how.steps, noise)
    luma, colour = to_planes(picture.clamp(0, 1) * 255.0)
    scale = size[1] / 64.0
    # The planes of colour are half as large; so is the sigma there.
    colour = blur(colour, how.chroma_blur * (0.5 * scale))
    soft = blur(luma, torch.full_like(how.sharpen, scale))
    luma = (luma + how.sharpen[:, None, None, None] * (luma - soft)).clamp(-128.0, 127.0)
    return from_planes(*quantise(luma, colour, how.quality), size)


def _toned(picture: Tensor, how: Recorded) -> Tensor:
    """Stretch the luma between black and white; hues stay, saturation is the camera's."""
    black, white, colour = (value[:, None, None, None] for value in (how.black, how.white, how.colour))
    red, green, blue = picture.unbind(1)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    level = ((luma - black) / (white - black)).clamp(0, 1)
    return level + (picture - luma) * (colour * level / luma.clamp_min(0.02))


def _resampled(picture: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
    """Bring each picture down to its cut-out's size, add the sensor's noise, and bring it back up."""
    size = (picture.shape[2], picture.shape[3])
    out = torch.empty_like(picture)
    for step in range(_LEAST, _STEPS + 1):
        rows = torch.nonzero(steps == step).flatten()
        if not len(rows):
            continue
        small = [max(1, side * step // _STEPS) for side in size]
        grain = noise[rows, None, : small[0], : small[1]]
        if step == _STEPS:
            out[rows] = picture[rows] + grain
            continue
        down = F.interpolate(picture[rows], small, mode="bicubic", antialias=True) + grain
        out[rows] = F.interpolate(down, size, mode="bicubic", align_corners=False)
    return out
