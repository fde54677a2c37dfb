"""Inputs of a generator to measure it on: drawn people of one camera in each other's poses, always the same ones."""

from __future__ import annotations

import torch

from augment.generators.patn.slim import Inputs
from augment.pose.heatmaps import pose_maps
from augment.pose.skeleton import usable
from augment.synth.stream import PedestrianStream, StreamSettings
from reid_eval.runtime import InputError
from reid_eval.transforms import to_float

WORLD = 4001
"""No training and no figure is of this world."""
_EACH = 8


def drawn_inputs(size: tuple[int, int], sigma: float | None, count: int = 24, first: int = 0) -> Inputs:
    """Photos with maps of their poses and of the next usable photo of the person by the same camera.

    Args:
        size: (H, W) in pixels.
        sigma: of the maps, in pixels.
        count: images.
        first: people before; others give other inputs.

    Raises:
        InputError: a generator that takes joints instead of maps.
    """
    if sigma is None:
        raise InputError("the generator takes joints, not maps: it is not PATN")
    settings = StreamSettings(WORLD, -(-count // 2), _EACH, 12, size, walk_images=1, pairing="camera")
    drawn = PedestrianStream(settings).generation(first, quiet=True)
    good = torch.from_numpy(usable(drawn.keypoints.numpy()))
    who = torch.stack([drawn.pids, drawn.camids], dim=1)
    pairs = [
        (row, other)
        for row in range(len(who))
        for other in range(row + 1, min(row + _EACH, len(who)))
        if good[row] and good[other] and (who[row] == who[other]).all()
    ]
    step = max(1, len(pairs) // count)  # spread over the people
    rows = torch.tensor(pairs[::step][:count])
    image = to_float(drawn.image[rows[:, 0]])
    condition, target = (pose_maps(drawn.keypoints[rows[:, side]], size, sigma) for side in (0, 1))
    last = torch.channels_last
    return (
        image.contiguous(memory_format=last),
        condition.contiguous(memory_format=last),
        target.contiguous(memory_format=last),
    )
