"""Generated views of photos, in poses that are the same for all or each photo's own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.generators.base import PoseGenerator, run_generator
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of
from augment.search.extractors import resized
from reid_eval.transforms import to_float

_CHUNK = 32  # images that the generator sees at once


def poses_at(poses: Keypoints, size: tuple[int, int]) -> NDArray[np.float32]:
    """Poses as joints `[V, 18, 2]` in pixels of a frame of `size` (H, W), from the frames that their names tell."""
    scaled = [scale_joints(xy, frame_of(name) or size, size) for name, xy in zip(poses.names, poses.xy, strict=True)]
    return np.stack(scaled).astype(np.float32)


def generate_views(
    generator: PoseGenerator,
    image: Tensor,
    joints: NDArray[np.float32],
    targets: Tensor,
    precision: str = "float32",
) -> Tensor:
    """People in other poses: uint8 `[B, V, 3, H, W]` at the generator's size.

    Args:
        generator: see `PoseGenerator`.
        image: uint8 `[B, 3, h, w]`.
        joints: float32 `[B, 18, 2]`, (x, y) pixels of it; all usable.
        targets: float32 `[B, V, 18, 2]`, (x, y) pixels at the generator's size, on its device.
        precision: `float32` or `bf16`.
    """
    size, device = generator.size, generator.device
    count, poses = targets.shape[:2]
    own = (int(image.shape[2]), int(image.shape[3]))
    photo = to_float(resized(image.to(device), size)).contiguous(memory_format=torch.channels_last)
    source = torch.from_numpy(scale_joints(joints, own, size)).to(device)
    row = torch.arange(count, device=device).repeat_interleave(poses)
    target = targets.flatten(0, 1)
    made = []
    for at in range(0, len(row), _CHUNK):
        part = row[at : at + _CHUNK]
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            out = run_generator(generator, photo[part], source[part], target[at : at + _CHUNK])
        made.append(out.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))
    pixels = torch.cat(made)
    return pixels.view(count, poses, *pixels.shape[1:])
