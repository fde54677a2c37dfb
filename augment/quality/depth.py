"""What each block buys: SSIM, L1 and images a second of an any-depth generator against the number of blocks.

Zhu et al., section 4.4 and table 3 of the supplement compare networks of 5, 9 and 13 blocks, trained one by one; here
one set of weights leaves after k of them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from augment.quality.errors import measure, transfer
from augment.quality.similarity import ssim
from reid_eval.transforms import to_pictures

if TYPE_CHECKING:
    from augment.generators.patn.patn_transfer import PATNTransfer
    from augment.pairs.tensors import TensorPairs

_BATCH = 8


@dataclass(frozen=True)
class Depth:
    """One point of the curve. L1 in grey levels (0..255), lower is better; SSIM up to 1, higher is better."""

    blocks: int
    ssim: float
    l1: float
    l1_mask: float
    images_per_second: float
    """On the device the curve was drawn on, batch of `speed_batch`, float32."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps."""
        return asdict(self)


def depth_curve(generator: PATNTransfer, pairs: TensorPairs, count: int = 256, speed_batch: int = 8) -> list[Depth]:
    """Measure every depth that the weights serve, on the same pairs.

    Args:
        generator: any-depth, on the pairs' device.
        pairs: not trained on.
        count: how many of them.
        speed_batch: images a batch when measuring speed.

    Raises:
        InputError: the generator serves one depth only, or scikit-image is not installed.
    """
    most = generator.network.architecture["n_blocks"]
    if generator.network.exits is None:
        generator.use_blocks(most - 1 or 2)  # raises, and says what is needed
    points = []
    for blocks in range(1, most + 1):
        generator.use_blocks(blocks)
        found = measure(generator, pairs, count)
        speed = _speed(generator, pairs, speed_batch)
        points.append(Depth(blocks, _ssim(generator, pairs, count), found.l1, found.l1_mask, speed))
    generator.use_blocks(most)
    return points


def _ssim(generator: PATNTransfer, pairs: TensorPairs, count: int) -> float:
    """Mean SSIM as the authors compute it; see `augment.quality.similarity`."""
    values = []
    for step in range(-(-count // _BATCH)):
        batch = pairs.sample(step, min(_BATCH, count - step * _BATCH))
        made, real = (to_pictures(image) for image in (transfer(generator, batch), batch.target_image))
        values.append(ssim(made, real))
    return float(np.concatenate(values).mean())


@torch.no_grad()
def _speed(generator: PATNTransfer, pairs: TensorPairs, count: int, least: float = 1.0) -> float:
    """Images a second, over at least `least` seconds after a call that does not count."""
    batch = pairs.sample(0, count)

    def work() -> None:
        transfer(generator, batch)
        if batch.image.is_cuda:
            torch.cuda.synchronize()

    for _ in range(2):
        work()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        work()
        calls += 1
    return calls * count / (time.perf_counter() - start)
