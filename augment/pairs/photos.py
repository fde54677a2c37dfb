"""Pairs from a data set on disk: the images and joints of one split, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augment.pairs.lists import pair_rows, read_pairs
from augment.pairs.tensors import TensorPairs
from augment.plan.file import read_plan
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import load_annotations
from reid_eval.datasets import load_images, read_dataset
from reid_eval.datasets.images import image_size
from reid_eval.datasets.names import distinct_names
from reid_eval.runtime import InputError


@dataclass(frozen=True)
class PosedImages:
    """The images of a split that have joints.

    `table` has the columns of `reid_eval.datasets`; `joints` float32 `[N, 18, 2]`, (x, y) pixels at the wanted size;
    `names` are file names, or paths in the data set where two of its images share a file name.
    """

    root: Path
    table: pd.DataFrame
    joints: NDArray[np.float32]
    names: list[str]

    @property
    def paths(self) -> list[str]:
        """Paths in the data set."""
        return list(self.table["path"])


def posed_images(
    root: Path | str,
    *,
    split: str = "train",
    size: tuple[int, int] = (128, 64),
    keypoints: Path | str | None = None,
    layout: str = "auto",
    plan: Path | str | None = None,
) -> PosedImages:
    """Read the table and joints of a split; images without joints are left out, and there must be some with.

    Args:
        root: the data set.
        split: `train`, `query` or `gallery`.
        size: (H, W) that joints are scaled to.
        keypoints: annotation file; default: the data set's own.
        layout: as for `read_dataset`.
        plan: keep only the images that this plan keeps (see `augment.plan.sampler`): what it drops is never seen.

    Raises:
        InputError: no such data set, keypoints or plan, or no image with joints is left.
    """
    data = read_dataset(root, layout)
    images = data.split(split)
    if plan is not None:
        rows = read_plan(plan)
        kept = set(rows.loc[rows["action"] == "keep", "image"])
        if absent := kept - set(images["path"]):
            raise InputError(f"{plan} keeps images that the {split} split of {root} lacks, such as {min(absent)}")
        images = images[images["path"].isin(kept)]
    joints = load_annotations(root, keypoints)
    rows_of = joints.rows(images["path"].tolist())
    table = images[rows_of >= 0]
    if table.empty:
        raise InputError(f"{root}: no image of the {split} split has a keypoints row: name a keypoints file")
    own = [image_size(data.root / path) for path in table["path"]]
    chosen = rows_of[rows_of >= 0]
    xy = np.stack([scale_joints(joints.xy[row], old, size) for row, old in zip(chosen, own, strict=True)])
    everything = [path for name in ("train", "query", "gallery") for path in data.split(name)["path"]]
    name_of = dict(zip(everything, distinct_names(everything), strict=True))
    return PosedImages(data.root, table.reset_index(drop=True), xy, [name_of[path] for path in table["path"]])


def folder_pairs(
    root: Path | str,
    *,
    split: str = "train",
    size: tuple[int, int] = (128, 64),
    keypoints: Path | str | None = None,
    layout: str = "auto",
    plan: Path | str | None = None,
    pairs: Path | str | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> FolderPairs:
    """Read one split and hold it in memory.

    Args:
        root, split, size, keypoints, layout, plan: as for `posed_images`; images are resized to `size`.
        pairs: a list of pairs to draw from (see `augment.pairs.lists`); default: every pair that the rules allow.
        seed: of the pairs.
        device: where images are held.

    Raises:
        InputError: as `posed_images`; a list that names other images; or no identity with two usable images.
    """
    found = posed_images(root, split=split, size=size, keypoints=keypoints, layout=layout, plan=plan)
    listed = None if pairs is None else pair_rows(read_pairs(pairs), found.paths, str(pairs))
    pids = found.table["pid"].to_numpy(copy=True)
    images = load_images(found.root, found.table["path"].tolist(), size)
    return FolderPairs(images, found.joints, pids, seed, device, listed=listed, names=found.names)


class FolderPairs(TensorPairs):
    """`TensorPairs` that knows the names of its images, so that weights can tell what they were trained on."""

    def __init__(self, *arguments: object, names: list[str], **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.training_images = sorted(names[row] for row in self.used_rows.tolist())
