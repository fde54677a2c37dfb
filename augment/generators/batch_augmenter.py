"""Generated images in the middle of a training loop: some of a batch's people are redrawn on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from augment.generators.base import PoseGenerator, check_generator
from augment.generators.transfer import (
    as_joints,
    check_precision,
    check_range,
    image_seed,
    transfer_batch,
)
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of
from augment.pose.skeleton import usable
from augment.synth.draws import hashed_uniforms
from reid_eval.runtime import InputError


class BatchAugmenter:
    """Redraws images of a batch in poses of a pool, after collation, where the generator is.

    Which images, and in which poses, is a pure function of (seed, step, place in the batch): the same in every
    process and on every device. `step` counts the calls; set it when a training resumes.

    Example:
        >>> augmenter = BatchAugmenter(generator, keypoints, rate=0.5)
        >>> images, joints = torch.zeros(8, 3, 128, 64), torch.from_numpy(keypoints.xy[:8])
        >>> mixed, generated = augmenter(images, joints)
        >>> mixed.shape, generated.dtype, augmenter.step
        (torch.Size([8, 3, 128, 64]), torch.bool, 1)
        >>> bool((mixed[~generated] == images[~generated]).all())
        True
    """

    def __init__(
        self,
        generator: PoseGenerator,
        keypoints: Keypoints,
        *,
        rate: float,
        seed: int = 0,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        pose_size: tuple[int, int] | None = None,
        precision: str = "float32",
    ) -> None:
        """Get ready.

        Args:
            generator: in evaluation mode.
            keypoints: the pool of poses to take, of any images; those without both shoulders and hips are left out.
            rate: share of the images to redraw, 0 to 1; those whose own joints will not do stay as they are.
            seed: of all draws.
            mean: of the images' normalisation, (value in 0..1 - mean) / std, one number or one a channel. The
                default stands for images in [-1, 1].
            std: likewise.
            pose_size: (H, W) of the images that the pool is measured in, if not the batch's. A pose of a library
                whose name tells its frame (`NAME@128x64`) is measured in that.
            precision: `float32` or `bf16`, of the generator.

        Raises:
            InputError: no generator, no usable pose, a rate outside 0..1, a std that is not positive.
        """
        self.generator = check_generator(generator, type(generator).__name__)
        if not 0 <= rate <= 1:
            raise InputError(f"rate {rate}: expected 0 to 1")
        if not keypoints.usable.any():
            raise InputError(f"none of the {len(keypoints)} poses to take has both shoulders and both hips")
        rows = np.flatnonzero(keypoints.usable)
        self._poses = keypoints.xy[rows]
        self._frames = [frame_of(keypoints.names[row]) or pose_size for row in rows.tolist()]
        # images * scale + shift is in [-1, 1]
        self._scale, self._shift = 2 * _per_channel(std, "std"), 2 * _per_channel(mean, "mean") - 1
        if not bool((self._scale > 0).all()):
            raise InputError(f"std {std}: expected positive numbers")
        self.rate, self.seed, self.step = float(rate), seed, 0
        self.precision = check_precision(precision)

    def __call__(self, images: Tensor, joints: ArrayLike | Tensor, step: int | None = None) -> tuple[Tensor, Tensor]:
        """Redraw some images of a batch.

        Args:
            images: float `[B, 3, H, W]`, normalised by mean and std, on any device. Flips and crops must have moved
                the joints, too; erasing comes after.
            joints: of these images, `[B, 18, 2]`, (x, y) in their pixels, NaN missing. Best left on the CPU.
            step: draw for this step, instead of counting.

        Returns:
            The batch (a copy where something changed), same dtype and device, and bool `[B]` there: is it generated?

        Raises:
            InputError: another shape; images that are not in the range that mean and std tell.
        """
        step = self._count() if step is None else step
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(f"images {images.dtype} {tuple(images.shape)}: expected float [B, 3, H, W]")
        source = as_joints(joints, "joints of the batch")
        if source.shape[0] != len(images) or source.ndim != 3:
            raise InputError(f"joints of the batch: shape {list(source.shape)} for {len(images)} images")
        number = torch.arange(len(images))
        draws = hashed_uniforms(self.seed, "batch", (torch.full_like(number, step), number), 2)
        chosen = (draws[:, 0] < self.rate) & torch.from_numpy(usable(source))
        index = chosen.nonzero()[:, 0]
        if not len(index):
            return images, chosen.to(images.device)
        target = self._targets((draws[index, 1] * len(self._poses)).long().tolist(), images.shape[-2:])
        scale, shift = self._scale.to(images.device), self._shift.to(images.device)
        where = index.to(images.device)
        signed = images.detach()[where].float() * scale + shift
        check_range(signed, -1, 1, "give the mean and std that the images were normalised with, and erase afterwards")
        seeds = [image_seed(self.seed, step, place) for place in index.tolist()]
        made = transfer_batch(self.generator, signed, source[index.numpy()], target, seeds, self.precision)
        mixed = images.clone()
        mixed[where] = ((made - shift) / scale).to(images.dtype)
        return mixed, chosen.to(images.device)

    def _count(self) -> int:
        self.step += 1
        return self.step - 1

    def _targets(self, rows: Sequence[int], size: Sequence[int]) -> NDArray[np.float32]:
        own = (int(size[0]), int(size[1]))
        return np.stack([scale_joints(self._poses[row], self._frames[row] or own, own) for row in rows])


def _per_channel(value: float | Sequence[float], what: str) -> Tensor:
    """float32 `[1, 1, 1]` or `[3, 1, 1]`."""
    tensor = torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
    if tensor.numel() not in (1, 3) or not bool(tensor.isfinite().all()):
        raise InputError(f"{what} {value}: expected one finite number, or one a channel")
    return tensor
