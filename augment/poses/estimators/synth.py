"""The estimator that ships: `PoseNet`, trained on synthetic pedestrians, so that poses need no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from augment.poses.estimators.heads import decode, flip_back
from augment.poses.estimators.network import PoseNet
from augment.poses.estimators.weights import PoseWeights, load_weights
from augment.poses.skeleton import JOINT_COUNT
from reid_eval.transforms import to_float


@torch.no_grad()
def locate(network: PoseNet, images: Tensor, flip: bool = True) -> tuple[Tensor, Tensor]:
    """Find joints in images of the network's size.

    Args:
        network: in evaluation mode.
        images: uint8 `[B, 3, H, W]`, RGB, on the network's device.
        flip: also look at the mirrored images and take the mean: twice the work, fewer errors.

    Returns:
        `[B, 18, 2]` (x, y) pixels of every joint, seen or not; `[B, 18]` scores in [0, 1], the probability of being
        seen times that of lying where we say.
    """
    inputs = to_float(images)
    maps, seen = network(inputs)
    if flip:
        other = flip_back(*network(inputs.flip(3)))
        maps, seen = (maps + other[0]) / 2, (seen + other[1]) / 2
    xy, mass = decode(maps)
    return xy, seen.sigmoid() * mass


def letterbox(image: Tensor, size: tuple[int, int]) -> tuple[Tensor, float, tuple[int, int]]:
    """Bring an image to another size without changing its proportions, its borders repeated where it is too narrow.

    Args:
        image: uint8 `[3, H, W]`.
        size: (rows, columns).

    Returns:
        uint8 `[3, *size]`; the scale and the padding (left, top; before scaling) with which `unletterbox` goes back.
    """
    height, width = image.shape[1:]
    wide = max(width, round(height * size[1] / size[0]))
    tall = max(height, round(width * size[0] / size[1]))
    left, top = (wide - width) // 2, (tall - height) // 2
    padded = F.pad(image[None].float(), (left, wide - width - left, top, tall - height - top), mode="replicate")
    if (tall, wide) != size:
        padded = F.interpolate(padded, size=size, mode="bilinear", align_corners=False, antialias=True)
    return padded[0].round().clamp(0, 255).to(torch.uint8), tall / size[0], (left, top)


def unletterbox(xy: Tensor, scale: float, padding: tuple[int, int]) -> Tensor:
    """Pixels of a letterboxed image as pixels of the image it came from (pixel centres at integers)."""
    return (xy + 0.5) * scale - 0.5 - torch.tensor(padding, device=xy.device)


class SynthEstimator:
    """The shipped estimator: OpenPose-18 joints of images of one person each.

    Args:
        weights: a file of `train-poses`; None is the one that ships.
        device: where to run.
        flip: look at mirrored images too.
        batch_size: never changes more than rounding.
    """

    name = "synth"

    def __init__(
        self,
        weights: Path | str | PoseWeights | None = None,
        device: torch.device | str = "cpu",
        flip: bool = True,
        batch_size: int = 64,
    ) -> None:
        self.weights = weights if isinstance(weights, PoseWeights) else load_weights(weights, device)
        self.device, self.flip, self.batch_size = torch.device(device), flip, batch_size
        self._thresholds = torch.tensor(self.weights.thresholds, device=self.device)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find the joints of images of any sizes.

        Args:
            images: uint8 RGB `[H, W, 3]` each, one person filling most of it.

        Returns:
            float32 `[N, 18, 2]`, (x, y) pixels of each image, NaN where missing; float32 `[N, 18]` scores in [0, 1].
        """
        found, scores = [], []
        for start in range(0, len(images), self.batch_size):
            boxed = [
                letterbox(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), self.weights.size)
                for image in images[start : start + self.batch_size]
            ]
            xy, score = self.locate(torch.stack([box[0] for box in boxed]))
            for item, (image, (_, scale, padding)) in enumerate(
                zip(images[start : start + self.batch_size], boxed, strict=True)
            ):
                found.append(_kept(unletterbox(xy[item], scale, padding), image.shape[:2]))
            scores.append(score)
        if not found:
            return np.empty((0, JOINT_COUNT, 2), np.float32), np.empty((0, JOINT_COUNT), np.float32)
        score = torch.cat(scores)
        missing = score < self._thresholds.cpu()
        return torch.stack(found).masked_fill(missing[..., None], torch.nan).numpy(), score.numpy()

    def locate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`locate` for uint8 `[B, 3, H, W]` of the network's size from any device; results on the CPU."""
        xy, score = locate(self.weights.network, images.to(self.device), self.flip)
        return xy.cpu(), score.cpu()


def _kept(xy: Tensor, size: tuple[int, ...]) -> Tensor:
    """Positions a little outside are brought to the border: annotation files hold none outside."""
    height, width = size
    return torch.stack([xy[:, 0].clamp(0, width - 1), xy[:, 1].clamp(0, height - 1)], -1)
