"""What a camera does to a picture: place, elevation, colour cast, exposure, blur, noise, and how boxes are cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.synth.draws import Draws
from augment.synth.scenes import paint_scene
from augment.synth.workers import workers
from augment.synth.world import World


@dataclass(frozen=True)
class Cameras:
    """A bank of C cameras with their scenes. `scenes` `[C, 3, H, W]`; the rest `[C]` or `[C, 3]`."""

    scenes: Tensor
    horizon: Tensor
    pitch: Tensor
    gain: Tensor
    gamma: Tensor
    blur: Tensor
    noise: Tensor
    distance: Tensor
    sun_azimuth: Tensor
    sun_strength: Tensor
    quality: Tensor


def make_cameras(seed: int, count: int, device: torch.device | str, world: World) -> Cameras:
    """Cameras 1 ... count of the world `seed`: a camera is the same whatever the count. Not for a worker thread."""
    numbers = torch.arange(1, count + 1, dtype=torch.int64)
    painted = list(workers().map(lambda number: paint_scene(seed, number, world), numbers.tolist()))
    draws = Draws(seed, "camera", numbers)
    horizon = torch.tensor([row for _, row in painted])
    # A camera that looks steeply down sees no horizon: tie the elevation to where the scene's horizon lies.
    pitch = torch.where(horizon < 10, draws.between(0.30, 0.55), draws.between(0.04, 0.24))
    warm = draws.bell(0.0, 0.045)
    gain = torch.stack([1 + warm, 1 + draws.bell(0.0, 0.015), 1 - warm], dim=1) * draws.bell(1.0, 0.09)[:, None]
    bank = Cameras(
        scenes=torch.stack([scene for scene, _ in painted]),
        horizon=horizon,
        pitch=pitch,
        gain=gain,
        gamma=draws.bell(1.0, 0.08),
        blur=draws.between(0.25, 0.75),
        noise=draws.between(0.003, 0.018),
        distance=draws.between(5.0, 14.0),
        sun_azimuth=draws.between(0.0, 2 * torch.pi),
        sun_strength=torch.where(draws.chance(0.5), draws.between(0.0, 0.25), draws.between(0.4, 0.9)),
        quality=draws.between(82, 95).round(),
    )
    return Cameras(**{name: value.to(device) for name, value in vars(bank).items()})


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of `[B, C, H, W]` with one sigma `[B]` (pixels, below 1.5) an image.

    Five shifted sums rather than a convolution: the result of an image must not depend on its batch.
    """
    offsets = torch.arange(-2, 3, device=image.device)
    weight = torch.exp(-0.5 * (offsets[None] / sigma.clamp_min(0.05)[:, None]) ** 2)
    weight = (weight / weight.sum(1, keepdim=True))[:, :, None, None, None]
    for axis in (2, 3):
        length = image.shape[axis]
        padded = torch.cat([image.narrow(axis, 0, 1)] * 2 + [image] + [image.narrow(axis, length - 1, 1)] * 2, dim=axis)
        total = padded.narrow(axis, 0, length) * weight[:, 0]
        for tap in range(1, 5):
            total = torch.addcmul(total, padded.narrow(axis, tap, length), weight[:, tap])
        image = total
    return image


def crop_scenes(scenes: Tensor, camera: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear, mirrored at the borders: `[B, 3, H, W]` from scenes `[C, 3, Hs, Ws]` at columns u `[B, 1, W]`, rows v.

    A gather from the bank; `grid_sample` would first copy a whole scene for every image.
    """
    height, width = scenes.shape[2:]

    def taps(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        low = torch.floor(position - 0.5)
        first, second = ((size - 0.5 - (torch.remainder(low + k + 0.5, 2 * size) - size).abs()) for k in (0, 1))
        return first.to(torch.int64), second.to(torch.int64), position - 0.5 - low

    left, right, across = taps(u, width)
    above, below, down = taps(v, height)
    plane = scenes.permute(0, 2, 3, 1)
    which = camera[:, None, None]

    def mixed(row: Tensor) -> Tensor:
        start = plane[which, row, left]
        return start + (plane[which, row, right] - start) * across[..., None]

    upper = mixed(above)
    return (upper + (mixed(below) - upper) * down[..., None]).permute(0, 3, 1, 2)
