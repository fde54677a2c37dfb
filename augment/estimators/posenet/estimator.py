"""The estimator that ships: `PoseNet`, trained on synthetic pedestrians, so that poses need no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from augment.estimators.agreement import WIDTH, over_asked
from augment.estimators.posenet.maps import decode, flip_back, mass_near
from augment.estimators.posenet.network import PoseNet
from augment.estimators.posenet.weights_file import PoseWeights, load_weights
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import progress
from reid_eval.transforms import to_float

_BATCH = 256


@torch.no_grad()
def look(network: PoseNet, images: Tensor, flip: bool = True) -> tuple[Tensor, Tensor]:
    """Heat maps of images of the network's size.

    Args:
        network: in evaluation mode.
        images: uint8 `[B, 3, H, W]`, RGB, on the network's device.
        flip: also look at the mirrored images and take the mean: twice the work, fewer errors.

    Returns:
        Logits of where joints lie, `[B, 18, rows, columns]`, and of their being seen, `[B, 18]`.
    """
    inputs = to_float(images)
    maps, seen = network(inputs)
    if flip:
        other = flip_back(*network(inputs.flip(3)))
        maps, seen = (maps + other[0]) / 2, (seen + other[1]) / 2
    return maps, seen


def locate(network: PoseNet, images: Tensor, flip: bool = True) -> tuple[Tensor, Tensor]:
    """Find joints in images of the network's size; arguments as for `look`.

    Returns:
        `[B, 18, 2]` (x, y) pixels of every joint, seen or not; `[B, 18]` scores in [0, 1], the probability of being
        seen times that of lying where we say.
    """
    maps, seen = look(network, images, flip)
    xy, mass = decode(maps)
    return xy, seen.sigmoid() * mass


def locate_all(network: PoseNet, images: Tensor, flip: bool = True) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`locate` for any number of images, uint8 `[N, 3, H, W]` on the network's device: `[N, 18, 2]` and `[N, 18]`."""
    pieces = []
    with progress("Finding joints", len(images)) as bar:
        for batch in images.split(_BATCH):
            pieces.append(locate(network, batch, flip))
            bar.advance(len(batch))
    xy, score = (torch.cat(column).cpu().numpy() for column in zip(*pieces, strict=True))
    return xy, score


class Letterboxed(NamedTuple):
    """An image brought to the network's size, and the way between its pixels and the image's own."""

    image: Tensor
    """uint8 `[3, rows, columns]`."""
    scale: float
    padding: tuple[int, int]
    """(left, top), before scaling."""

    def to_image(self, xy: Tensor) -> Tensor:
        """Pixels of the letterboxed image as pixels of the image it came from (pixel centres at integers)."""
        return (xy + 0.5) * self.scale - 0.5 - torch.tensor(self.padding, device=xy.device)

    def from_image(self, xy: Tensor) -> Tensor:
        """The way back."""
        return (xy + torch.tensor(self.padding, device=xy.device) + 0.5) / self.scale - 0.5


def letterbox(image: Tensor, size: tuple[int, int]) -> Letterboxed:
    """Bring an image to another size without changing its proportions, its borders repeated where it is too narrow.

    Args:
        image: uint8 `[3, H, W]`.
        size: (rows, columns).
    """
    height, width = image.shape[1:]
    wide = max(width, round(height * size[1] / size[0]))
    tall = max(height, round(width * size[0] / size[1]))
    left, top = (wide - width) // 2, (tall - height) // 2
    padded = F.pad(image[None].float(), (left, wide - width - left, top, tall - height - top), mode="replicate")
    if (tall, wide) != size:
        padded = F.interpolate(padded, size=size, mode="bilinear", align_corners=False, antialias=True)
    return Letterboxed(padded[0].round().clamp(0, 255).to(torch.uint8), tall / size[0], (left, top))


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
            part = images[start : start + self.batch_size]
            boxed = self._boxed(part)
            xy, score = self.locate(torch.stack([box.image for box in boxed]))
            for joints, box, image in zip(xy, boxed, part, strict=True):
                found.append(_kept(box.to_image(joints), image.shape[:2]))
            scores.append(score)
        if not found:
            return np.empty((0, JOINT_COUNT, 2), np.float32), np.empty((0, JOINT_COUNT), np.float32)
        score = torch.cat(scores)
        missing = score < self._thresholds.cpu()
        return torch.stack(found).masked_fill(missing[..., None], torch.nan).numpy(), score.numpy()

    def _boxed(self, images: Sequence[NDArray[np.uint8]]) -> list[Letterboxed]:
        tensors = (torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in images)
        return [letterbox(image, self.weights.size) for image in tensors]

    def agreement(
        self, images: Sequence[NDArray[np.uint8]], poses: NDArray[np.floating], width: float = WIDTH
    ) -> NDArray[np.float64]:
        """How likely the joints of poses lie where they should, see `augment.estimators.agreement.agreement`.

        Args:
            images: N, as for a call.
            poses: `[N, P, 18, 2]`, (x, y) pixels of each image, NaN missing.
            width: of the kernel around a joint, share of the height.
        """
        scores = [np.empty((0, poses.shape[1]))]
        for start in range(0, len(images), self.batch_size):
            boxed = self._boxed(images[start : start + self.batch_size])
            asked = torch.from_numpy(np.array(poses[start : start + len(boxed)], np.float32))
            moved = torch.stack([box.from_image(xy) for box, xy in zip(boxed, asked, strict=True)])
            maps, _ = look(self.weights.network, torch.stack([b.image for b in boxed]).to(self.device), self.flip)
            # The kernel is a share of the image's height, which letterboxing makes smaller where borders are added.
            share = torch.tensor([box.scale for box in boxed], device=self.device)
            heights = torch.tensor([image.shape[0] for image in images[start : start + len(boxed)]], device=self.device)
            near = mass_near(maps, moved.to(self.device), width * heights / share)
            scores.append(over_asked(near.cpu().double().numpy(), asked.numpy()))
        return np.concatenate(scores)

    def locate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`locate` for uint8 `[B, 3, H, W]` of the network's size from any device; results on the CPU."""
        xy, score = locate(self.weights.network, images.to(self.device), self.flip)
        return xy.cpu(), score.cpu()


def _kept(xy: Tensor, size: tuple[int, ...]) -> Tensor:
    """Positions a little outside are brought to the border: annotation files hold none outside."""
    height, width = size
    return torch.stack([xy[:, 0].clamp(0, width - 1), xy[:, 1].clamp(0, height - 1)], -1)
