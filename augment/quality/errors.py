"""How good a generator is on pairs it has never seen: L1 to the target inside the person, against copying the photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.generators.base import PoseGenerator, run_generator
from augment.generators.patn.batch import PairBatch
from augment.pairs.tensors import TensorPairs
from augment.quality.known import UNSEEN, drawn_pairs, known_pairs
from augment.runs import Say
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.runtime import progress
from reid_eval.transforms import to_pictures

_BATCH = 8  # the same rounding everywhere, see `augment.folder.render`


@dataclass(frozen=True)
class Measured:
    """Mean absolute errors in grey levels (0..255); `share` is l1_mask / copy_l1_mask, lower is better.

    The `_mask` figures count pixels of the target's person only; NaN where the data has no masks.
    """

    pairs: int
    l1: float
    l1_mask: float
    copy_l1: float
    copy_l1_mask: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps; what is not known is None."""
        return {key: None if value != value else value for key, value in asdict(self).items()}

    @property
    def message(self) -> str:
        """One line for people."""
        text = f"{self.pairs} pairs: L1 {self.l1:.1f} grey levels (copying the photo: {self.copy_l1:.1f})"
        if np.isnan(self.share):
            return text
        return (
            f"{text}; inside the person {self.l1_mask:.1f} (copying: {self.copy_l1_mask:.1f}), "
            f"{100 * self.share:.1f}% of copying's"
        )


def unseen_pairs(
    identities: int = 128,
    images_per_id: int = 4,
    seed: int = UNSEEN_WORLD,
    size: tuple[int, int] = (128, 64),
    device: torch.device | str = "cpu",
) -> TensorPairs:
    """Pairs of synthetic people of another world than any shipped weights were trained in: other people, cameras,
    places."""
    settings = replace(UNSEEN, seed=seed, identities=identities, images_per_id=images_per_id, size=size)
    return drawn_pairs(settings, device).pairs


def measured_pairs(generator: PoseGenerator, data: Path | None, device: torch.device, say: Say) -> TensorPairs:
    """The pairs that a generator is measured on, at its size.

    Args:
        generator: says the size.
        data: pairs of its test split; None is synthetic people in a world that no shipped weights were trained in.
        device: where they go.
        say: told where they come from, if nobody named that.
    """
    return known_pairs(generator.size, data, device, say).pairs


@torch.no_grad()
def transfer(generator: PoseGenerator, batch: PairBatch, first: int = 0) -> Tensor:
    """Generate the targets of a batch: float `[B, 3, H, W]` in [-1, 1]; `first` numbers its pairs, for their seeds."""
    seeds = range(first, first + len(batch.image))
    return run_generator(generator, batch.image, batch.condition_keypoints, batch.target_keypoints, seeds)


def measure(generator: PoseGenerator, pairs: TensorPairs, count: int = 512) -> Measured:
    """Average over `count` pairs of the generator's size, on its device."""
    totals = torch.zeros(4, dtype=torch.float64)
    inside = 0.0
    with progress("Measuring", count, "pairs") as bar:
        for step in range(-(-count // _BATCH)):
            batch = pairs.sample(step, min(_BATCH, count - step * _BATCH))
            mask = batch.target_mask
            weight = torch.full_like(batch.image[:, :1], torch.nan) if mask is None else mask.to(batch.image)
            made = transfer(generator, batch, step * _BATCH)
            errors = [(image - batch.target_image).abs() * 127.5 for image in (made, batch.image)]
            whole = [error.mean((1, 2, 3)).sum() for error in errors]
            person = [(error * weight).sum() / 3 for error in errors]
            totals += torch.stack([*whole, *person]).double().cpu()
            inside += float(weight.sum())
            bar.advance(len(made))
    l1, copy = (totals[:2] / count).tolist()
    l1_mask, copy_mask = (totals[2:] / inside).tolist()
    return Measured(count, l1, l1_mask, copy, copy_mask, l1_mask / copy_mask)


def pairs_sheet(
    generator: PoseGenerator, pairs: TensorPairs, path: Path | str, count: int = 32, groups: int = 4
) -> None:
    """PNG of `count` pairs: condition, target pose, generated, target."""
    batches = [pairs.sample(10_000 + step, _BATCH) for step in range(-(-count // _BATCH))]
    rows = [(batch, transfer(generator, batch, n * _BATCH)) for n, batch in enumerate(batches)]
    _sheet(rows, path, count, groups)


def batch_sheet(generator: PoseGenerator, batch: PairBatch, path: Path | str, groups: int = 4) -> None:
    """PNG of one batch: condition, target pose, generated, target."""
    _sheet([(batch, transfer(generator, batch))], path, len(batch.image), groups)


def _sheet(rows: list[tuple[PairBatch, Tensor]], path: Path | str, count: int, groups: int) -> None:
    from augment.pictures import save_sheet
    from augment.quality.sheet import generation_sheet

    def pictures(tensors: list[Tensor]) -> list[np.ndarray]:
        return list(to_pictures(torch.cat(tensors)[:count]))

    batches = [batch for batch, _ in rows]
    sheet = generation_sheet(
        pictures([batch.image for batch in batches]),
        list(torch.cat([batch.target_keypoints for batch in batches])[:count].cpu().numpy()),
        pictures([made for _, made in rows]),
        pictures([batch.target_image for batch in batches]),
        captions=("photo", "pose", "generated", "real"),
        groups=groups,
        scale=1,
    )
    save_sheet(sheet, path)
