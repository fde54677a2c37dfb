"""How fast weights are on this machine, now: a few images each, within a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from augment.generators.base import PoseGenerator, run_generator
from augment.generators.open import backend_of, open_generator, use_engine
from augment.generators.patn.engines import FASTEST
from augment.pose.geometry import scale_joints
from augment.pose.library import frame_of, shipped_library
from reid_eval.runtime import InputError

_LEAST_SECONDS = 0.4
_WORTH_MEASURING = 500
"""Images of a job from which on a few seconds of measuring are little beside it."""
_MOST_BATCH = 8  # what a CPU's network sees at once, see `augment.folder.render`


@dataclass(frozen=True)
class Speed:
    """A rate.

    Attributes:
        weights: their name.
        engine: backend, form and precision that `generate` takes for them here; empty where they cannot be opened.
        images_per_second: of the network alone; None: not measured.
        why: it was not measured.
    """

    weights: str
    engine: str
    images_per_second: float | None = None
    why: str = ""

    def seconds(self, images: int) -> float | None:
        """What so many images take."""
        return None if self.images_per_second is None else images / self.images_per_second

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rate = self.images_per_second
        return {**asdict(self), "images_per_second": None if rate is None else round(rate, 3)}


def measured_speeds(names: Sequence[str], device: torch.device, seconds: float) -> list[Speed]:
    """Rates of weights as `generate` carries them out where nothing is asked for, in the order of the names.

    Args:
        names: as for `open_generator`.
        device: where.
        seconds: to measure in, about, opening them not counted; late by more than a share, what is left is not
            measured.
    """
    found, left = [], seconds
    for number, name in enumerate(names):
        share = left / (len(names) - number)
        if share <= -seconds / len(names):  # one call of each is worth some lateness
            found.append(Speed(name, "", None, "no time left"))
            continue
        try:
            generator = open_generator(name, device)
            how = use_engine(generator, FASTEST)
            with torch.no_grad():
                _one(generator, 1, how.precision)  # an engine is compiled at its first call
        except InputError as error:
            found.append(Speed(name, "", None, str(error)))
            continue
        began = time.monotonic()
        found.append(Speed(name, str(how), speed_of(generator, share, how.precision)))
        left -= time.monotonic() - began
    return found


@torch.no_grad()
def speed_of(generator: PoseGenerator, seconds: float, precision: str = "float32") -> float:
    """Images a second of a generator, on noise; from its second call alone if there is no time for others: the first
    prepares, too."""
    end, batch = time.monotonic() + seconds, 1
    took = min(_one(generator, 1, precision) for _ in range(2))
    while batch < _MOST_BATCH and 2 * took * batch < _LEAST_SECONDS:
        batch *= 2
    if batch > 1 and backend_of(generator) == "openvino":
        _one(generator, batch, precision)  # it compiles for so many
    images, spent, each = 0, 0.0, took
    while (not images or spent < _LEAST_SECONDS) and time.monotonic() + each * batch < end:
        spent += _one(generator, batch, precision)
        images += batch
        each = spent / images
    return 1 / each


def _one(generator: PoseGenerator, count: int, precision: str) -> float:
    """Seconds of one call."""
    device, size = generator.device, (int(generator.size[0]), int(generator.size[1]))
    library = shipped_library()
    pose = scale_joints(library.xy[:1], frame_of(library.names[0]) or (128, 64), size)
    joints = torch.from_numpy(pose.repeat(count, 0)).to(device)
    photos = torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(0)).mul(2).sub(1).to(device)
    photos = photos.contiguous(memory_format=torch.channels_last)
    _wait(device)
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        run_generator(generator, photos, joints, joints, range(count))
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternatives(count: int, used: str, device: torch.device, shipped: Sequence[str], seconds: float = 4.0) -> str:
    """One line for whoever named no weights: what others there are, and of a long job its time with them, here.

    Args:
        count: images of the job.
        used: the weights that were taken.
        device: where.
        shipped: all weights that ship.
        seconds: that the measurement may take.

    Returns:
        The line, empty where nothing else ships.
    """
    others = [name for name in shipped if name != used]
    if not others or not count:
        return ""
    taken: dict[str, float | None] = {}
    if count >= _WORTH_MEASURING:
        taken = {one.weights: one.seconds(count) for one in measured_speeds(others, device, seconds)}
    times = [(name, taken.get(name)) for name in others]
    told = [f"--weights {name}" + ("" if time is None else f", {duration(time)}") for name, time in times]
    what = f"Other weights, for these {count} images, measured now" if taken else "Other weights"
    return f"{what}: {'; '.join(told)}. Photographs want weights of their own: patn-augment finetune."


def duration(seconds: float) -> str:
    """`4 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
