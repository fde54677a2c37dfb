"""Random ordered pairs within an identity, from images held in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from augment.generators.patn.batch import PairBatch, step_generator
from augment.pose.skeleton import usable
from reid_eval.runtime import InputError
from reid_eval.transforms import to_float


class TensorPairs:
    """Random ordered pairs within an identity, from images held in memory (section 4 and the authors' pair list).

    As the authors do: every ordered pair of two different images of one identity is equally likely; images that lack
    a shoulder or a hip are left out, as are junk (pid -1) and distractors (pid 0).

    Args:
        images: uint8 `[N, 3, H, W]`, RGB.
        keypoints: float `[N, 18, 2]`, (x, y) pixels, NaN missing.
        pids: int `[N]`.
        seed: of the pairs.
        device: where images are held and batches made.
        masks: uint8 or bool `[N, H, W]`, non-zero on the person, or None.
        keep_distractors: use pid 0 as any other identity (synthetic streams number from 0).
        listed: int64 `[P, 2]`, rows (condition, target): draw from these pairs, whatever the rules say.

    Raises:
        InputError: shapes or types that do not fit, or no identity with two usable images.
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        keypoints: Tensor | np.ndarray,
        pids: Tensor | np.ndarray,
        seed: int = 0,
        device: torch.device | str = "cpu",
        masks: Tensor | np.ndarray | None = None,
        keep_distractors: bool = False,
        listed: Tensor | np.ndarray | None = None,
    ) -> None:
        images, keypoints = torch.as_tensor(images), torch.as_tensor(keypoints)
        identity = torch.as_tensor(pids).cpu()  # rows are drawn on the CPU, wherever the images are
        _check(images, keypoints, identity)
        self._masks = None if masks is None else torch.as_tensor(masks)
        if self._masks is not None and self._masks.shape != images[:, 0].shape:
            raise InputError(f"masks must be {tuple(images[:, 0].shape)}, got {tuple(self._masks.shape)}")
        usable = usable_rows(keypoints.cpu(), identity, keep_distractors)
        order = usable[torch.argsort(identity[usable], stable=True)]
        _, counts = torch.unique_consecutive(identity[order], return_counts=True)
        several = torch.repeat_interleave(counts > 1, counts)
        self._rows, counts = order[several], counts[counts > 1]
        if len(counts) == 0:
            raise InputError(
                f"no identity has two usable images among {len(images)}: "
                "training pairs need both shoulders and both hips seen, and a pid above 0"
            )
        self._counts, self._starts = counts, torch.cumsum(counts, 0) - counts
        self._pairs_until = torch.cumsum(counts * (counts - 1), 0)
        self.n_identities, self.n_images = len(counts), len(self._rows)
        self.n_pairs = int(self._pairs_until[-1])
        self._listed = None if listed is None else torch.as_tensor(listed)
        if self._listed is not None:
            self.n_pairs = len(self._listed)
        self.size = (int(images.shape[2]), int(images.shape[3]))
        self.used_rows: Tensor = self._rows if self._listed is None else self._listed.flatten().unique()
        """Rows that pairs are made of, int64, ascending within an identity."""
        self._seed, self._device = seed, torch.device(device)
        self._images = images.to(self._device)
        self._keypoints = keypoints.to(self._device, torch.float32)
        self._masks = None if self._masks is None else self._masks.to(self._device)

    def rows(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """The rows of a step's condition and target images, int64 `[batch_size]` each, drawn with replacement."""
        generator = step_generator(self._seed, step)
        pair = torch.randint(self.n_pairs, (batch_size,), generator=generator)
        if self._listed is not None:
            return self._listed[pair, 0], self._listed[pair, 1]
        group = torch.searchsorted(self._pairs_until, pair, right=True)
        count = self._counts[group]
        within = pair - (self._pairs_until[group] - count * (count - 1))
        condition = within // (count - 1)
        target = within % (count - 1)
        target = target + (target >= condition).long()  # skip the condition itself
        start = self._starts[group]
        return self._rows[start + condition], self._rows[start + target]

    def sample(self, step: int, batch_size: int) -> PairBatch:
        """The batch of this step; `fed` holds the rows of its conditions and targets."""
        rows = self.rows(step, batch_size)
        condition, target = (r.to(self._device) for r in rows)
        return PairBatch(
            image=to_float(self._images[condition]),
            condition_keypoints=self._keypoints[condition],
            target_keypoints=self._keypoints[target],
            target_image=to_float(self._images[target]),
            target_mask=None if self._masks is None else (self._masks[target] != 0).unsqueeze(1),
            fed={"condition_rows": rows[0].tolist(), "target_rows": rows[1].tolist()},
        )

    def preview(self, count: int) -> PairBatch:
        """Always the same pairs, for sample sheets."""
        return self.sample(-1, count)


def usable_rows(keypoints: Tensor, pids: Tensor, keep_distractors: bool = False) -> Tensor:
    """Rows the authors train on, int64 `[n]`, ascending: both shoulders and hips seen, neither junk nor distractor."""
    seen = torch.from_numpy(usable(keypoints.numpy()))
    return torch.nonzero(seen & (pids >= (0 if keep_distractors else 1))).flatten()


def _check(images: Tensor, keypoints: Tensor, pids: Tensor) -> None:
    rows = len(images)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise InputError(f"images must be uint8 [N, 3, H, W], got {images.dtype} {tuple(images.shape)}")
    if tuple(keypoints.shape) != (rows, 18, 2) or not keypoints.is_floating_point():
        raise InputError(f"keypoints must be float [{rows}, 18, 2], got {keypoints.dtype} {tuple(keypoints.shape)}")
    if tuple(pids.shape) != (rows,) or pids.is_floating_point():
        raise InputError(f"pids must be int [{rows}], got {pids.dtype} {tuple(pids.shape)}")
