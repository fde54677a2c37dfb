"""People of a data set held out of a fine-tuning, the pairs of the others, and figures of the ones held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from augment.generators.base import PoseGenerator
from augment.pairs.lists import all_pairs, write_pairs
from augment.pairs.photos import PosedImages, posed_images
from augment.pairs.tensors import TensorPairs
from augment.pictures import Picture, grid
from augment.plan.donors import stable_hash
from augment.pose.draw import skeleton_image
from augment.pose.skeleton import usable
from augment.quality.extras import Unavailable
from augment.quality.known import KnownPairs
from augment.quality.material import pairs_material
from augment.quality.metrics import Material, Tools, measure_quality
from augment.quality.retrieval import Photos
from reid_eval.datasets import load_images
from reid_eval.datasets.names import distinct_names
from reid_eval.runtime import InputError

SHARE, MOST_PEOPLE, MOST_PAIRS = 0.2, 50, 100_000
METRICS = ("l1", "ssim", "sharpness")
GREY = 127.5
"""Grey levels of 1 in images of [-1, 1]."""
_ROWS = 8
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Split:
    """Training images with joints, cut by people.

    Attributes:
        images: all of them.
        held: rows of those whose person is held out.
        learnt: rows of the others.
    """

    images: PosedImages
    held: NDArray[np.int64]
    learnt: NDArray[np.int64]

    def people(self, rows: NDArray[np.int64]) -> int:
        """How many the rows are of."""
        return int(self.images.table["pid"].iloc[rows].nunique())


def hold_out(
    root: Path, size: tuple[int, int], *, layout: str = "auto", keypoints: Path | None = None, seed: int = 0
) -> Split:
    """Cut the training people in two: a fifth is held out, `MOST_PEOPLE` at most, one at least.

    Only people with two usable images count; which are held out is a matter of seed and number alone.

    Args:
        root, layout, keypoints: as for `posed_images`.
        size: (H, W) of the generator.
        seed: of the cut.

    Raises:
        InputError: no data set, no joints, or fewer than two people with two usable images each.
    """
    found = posed_images(root, split="train", size=size, keypoints=keypoints, layout=layout)
    pids = found.table["pid"].to_numpy(np.int64)
    real = (found.table["source"] != "generated").to_numpy()
    good = usable(found.joints) & (pids > 0) & real
    numbers, counts = np.unique(pids[good], return_counts=True)
    people = sorted(numbers[counts > 1].tolist(), key=lambda pid: stable_hash(seed, "hold out", pid))
    if len(people) < 2:
        raise InputError(
            f"{root}: {len(people)} training people have two images with usable joints; it takes two such people, one "
            "to learn from and one to measure on"
        )
    out = people[: max(1, min(MOST_PEOPLE, round(SHARE * len(people))))]
    rows = np.flatnonzero(good & np.isin(pids, people))
    held = np.isin(pids[rows], out)
    return Split(found, rows[held], rows[~held])


def write_learnt_pairs(split: Split, target: Path, seed: int = 0) -> int:
    """The list of pairs that a training draws from: none of a person held out. Returns how many."""
    pids = split.images.table["pid"].to_numpy(np.int64)
    pairs = split.learnt[all_pairs(split.images.joints[split.learnt], pids[split.learnt])]
    if len(pairs) > MOST_PAIRS:
        pairs = pairs[np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False)]
    table = np.asarray(distinct_names(split.images.paths), dtype=object)
    write_pairs(target, pd.DataFrame({"from": table[pairs[:, 0]], "to": table[pairs[:, 1]]}))
    return len(pairs)


def held_pairs(split: Split, size: tuple[int, int], device: torch.device, seed: int = 0) -> KnownPairs:
    """Pairs of the people held out, to measure on."""
    table = split.images.table.iloc[split.held]
    images = load_images(split.images.root, table["path"].tolist(), size)
    pids, camids = (table[key].to_numpy(np.int64) for key in ("pid", "camid"))

    def training() -> Photos:
        raise Unavailable("people are too few to rank")

    pairs = TensorPairs(images, split.images.joints[split.held], pids.copy(), seed, device)
    return KnownPairs(pairs, images, pids, camids, training)


@dataclass(frozen=True, eq=False)
class Figures:
    """How well a generator draws people held out.

    Attributes:
        pairs: measured on.
        values: to each of `METRICS` that could be had its value; L1 in grey levels.
        left_out: why the others could not.
        material: the images.
    """

    pairs: int
    values: dict[str, float]
    left_out: dict[str, str]
    material: Material

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"pairs": self.pairs, **{name: round(value, 4) for name, value in self.values.items()}}


def figures_of(generator: PoseGenerator, known: KnownPairs, count: int) -> Figures:
    """Measure a generator on `count` pairs."""
    return measured(pairs_material(generator, known, count))


def copying(material: Material) -> Figures:
    """What it would give to hand back the photo as it is."""
    return measured(replace(material, generated=material.conditions))


def measured(material: Material) -> Figures:
    """The figures of images."""
    values, left_out = {}, {}
    for name in METRICS:
        try:
            value = measure_quality(material, Tools(), [name]).value(name)
        except Unavailable as error:
            left_out[name] = str(error)
            continue
        values[name] = value * GREY if name == "l1" else value
    return Figures(len(material.generated), values, left_out, material)


def figures_lines(before: Figures, after: Figures, copied: Figures) -> list[str]:
    """Before and after, for the terminal."""
    names = {"l1": ("L1, grey levels (lower)", "{:.1f}"), "ssim": ("SSIM (higher)", "{:.3f}"),
             "sharpness": ("sharpness of the person (1 is right)", "{:.2f}")}  # fmt: skip
    lines = []
    for name, (title, form) in names.items():
        if name in before.values and name in after.values:
            told = [form.format(one.values[name]) for one in (before, after) if name in one.values]
            photo = form.format(copied.values[name]) if name in copied.values else "unknown"
            lines.append(f"  {title}: {told[0]} before, {told[1]} after; copying the photo {photo}")
        else:
            lines.append(f"  {title}: not measured, {before.left_out.get(name) or after.left_out.get(name)}")
    return lines


def verdict(before: Figures, after: Figures) -> str:
    """One line: which figures got better, which worse."""
    towards = {"l1": lambda value: value, "ssim": lambda value: -value, "sharpness": lambda value: abs(value - 1)}
    titles = {"l1": "L1", "ssim": "SSIM", "sharpness": "sharpness"}
    both = [name for name in METRICS if name in before.values and name in after.values]
    gains = {name: towards[name](before.values[name]) - towards[name](after.values[name]) for name in both}
    better, worse = ([titles[name] for name in both if sign * gains[name] > _SAME] for sign in (1, -1))
    told = [f"{word} in {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    return f"On people that it has not seen: {'; '.join(told) or 'no change'}. Look at the sheet before you use it."


def before_after_sheet(before: Material, after: Material, rows: int = _ROWS) -> Image.Image:
    """Some pairs, spread over the people: photo, pose, before, after, real."""
    assert before.gallery is not None
    assert before.real is not None
    pids = before.gallery.pids[before.gallery.conditions]
    turn = np.zeros(len(pids), np.int64)
    for pid in np.unique(pids):
        turn[pids == pid] = np.arange((pids == pid).sum())
    chosen = np.lexsort((pids, turn))[:rows].tolist()
    cells: list[Sequence[Picture | None]] = []
    for row in sorted(chosen, key=lambda row: (pids[row], row)):
        size = (before.generated.shape[1], before.generated.shape[2])
        pose = skeleton_image(before.poses[row], size)
        cells.append([before.conditions[row], pose, before.generated[row], after.generated[row], before.real[row]])
    return grid(cells, column_captions=["photo", "pose", "before", "after", "real"], scale=2)
