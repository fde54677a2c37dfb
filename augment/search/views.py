"""Generated views of photos, in poses that are the same for all or each photo's own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.folder.render import CHUNK
from augment.generators.base import PoseGenerator, run_generator
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of, shipped_library
from reid_eval.runtime import InputError
from reid_eval.transforms import resized, to_float

_BATCH = 32  # images that the generator sees at once, not on a CPU
VIEWS = (
    "stand/view150@128x64",
    "gait/view330/phase0@128x64",
    "stand/view180@128x64",
    "stand/view060@128x64",
    "gait/view300/phase0@128x64",
    "gait/view150/phase0@128x64",
    "stand/view030@128x64",
    "stand/view240@128x64",
    "gait/view180/phase0@128x64",
    "gait/view210/phase0@128x64",
    "stand/view330@128x64",
    "stand/view000@128x64",
)
"""Poses of the library that ships, the most useful first: chosen greedily, by the mAP they add to those before, among
24 (twelve sides, standing and in one moment of the gait) on 20 drawn training people who were held out of the training
of four networks (ResNet-50 and Inception-v2, two seeds), with `patn-synth`. Beyond four nothing was gained there."""
WEIGHT = 3.0
"""Of the views against the photo, by a network that was trained from scratch: the best of 0.5, 1, 2, 3, 4, 6 for one to
three views in the same choice."""
PRETRAINED_WEIGHT = 1.0
"""By a network that began with ImageNet's weights or others: the best of 0.5, 1, 1.5, 2, 3 for four views, on 80 drawn
people (seed 5) that no result is of, by three EfficientNet-Lite0 (docs/results/table_search_imagenet)."""


def default_weight(init: str) -> float:
    """Of the views against the photo where nobody chose it.

    Args:
        init: what the re-ID network's training began with, as in `reid_eval.settings.TrainSettings`.
    """
    return WEIGHT if init == "scratch" else PRETRAINED_WEIGHT


def shipped_views(count: int) -> Keypoints:
    """The first `count` poses of `VIEWS`.

    Raises:
        InputError: fewer than one, or more than there are.
    """
    if not 1 <= count <= len(VIEWS):
        raise InputError(f"{count} poses to search in: expected 1 to {len(VIEWS)}, or a file of poses", "poses")
    library = shipped_library()
    return library.take([library.index[name] for name in VIEWS[:count]])


def poses_at(poses: Keypoints, size: tuple[int, int]) -> NDArray[np.float32]:
    """Poses as joints `[V, 18, 2]` in pixels of a frame of `size` (H, W), from the frames that their names tell."""
    scaled = [scale_joints(xy, frame_of(name) or size, size) for name, xy in zip(poses.names, poses.xy, strict=True)]
    return np.array(scaled, np.float32).reshape(-1, 18, 2)


def generate_views(
    generator: PoseGenerator,
    image: Tensor,
    joints: NDArray[np.float32],
    targets: Tensor,
    precision: str = "float32",
) -> Tensor:
    """People in other poses: uint8 `[B, V, 3, H, W]` at the generator's size.

    On a CPU the generator always sees `augment.folder.render.CHUNK` images at once, for the reasons that are told
    there, and because an engine may be compiled for a number of images.

    Args:
        generator: see `PoseGenerator`.
        image: uint8 `[B, 3, h, w]`.
        joints: float32 `[B, 18, 2]`, (x, y) pixels of it; all usable.
        targets: float32 `[B, V, 18, 2]`, (x, y) pixels at the generator's size, on its device.
        precision: `float32` or `bf16`; an engine (`augment.generators.open.use_engine`) has its own.
    """
    size, device = generator.size, generator.device
    count, poses = targets.shape[:2]
    own = (int(image.shape[2]), int(image.shape[3]))
    photo = to_float(resized(image.to(device), size)).contiguous(memory_format=torch.channels_last)
    source = torch.from_numpy(scale_joints(joints, own, size)).to(device)
    row = torch.arange(count, device=device).repeat_interleave(poses)
    target = targets.flatten(0, 1)
    every = torch.arange(len(row), device=device)
    if device.type == "cpu":
        every = torch.cat([every, every[-1:].expand(-len(row) % CHUNK)])
    made = []
    for part in every.split(CHUNK if device.type == "cpu" else _BATCH):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            out = run_generator(generator, photo[row[part]], source[row[part]], target[part])
        made.append(out.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))
    pixels = torch.cat(made)[: len(row)]
    return pixels.view(count, poses, *pixels.shape[1:])
