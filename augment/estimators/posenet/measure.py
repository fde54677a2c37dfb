"""Measures an estimator of PoseNet: on a data set with annotations, or on synthetic people it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.estimators.accuracy import Annotated, joint_accuracy, summary, synthetic_people
from augment.estimators.posenet.estimator import locate_all
from augment.estimators.posenet.weights_file import load_weights
from augment.pose.keypoints import load_annotations
from augment.pose.sheets import comparison_sheet
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.datasets import read_dataset
from reid_eval.datasets.images import image_size, read_image
from reid_eval.runtime import InputError, resolve_device

Say = Callable[[str], None]


def annotated_folder(root: Path, size: tuple[int, int], keypoints: Path | None = None) -> Annotated:
    """All images of a data set that have a row in its annotation files and the size (H, W).

    Raises:
        InputError: no annotations, or no image that fits.
    """
    data, table = read_dataset(root), load_annotations(root, keypoints)
    paths = [path for split in ("train", "query", "gallery") for path in data.split(split)["path"]]
    known = [(path, row) for path, row in zip(paths, table.rows(paths).tolist(), strict=True) if row >= 0]
    fitting = [(path, row) for path, row in known if image_size(data.root / path) == size]
    if not fitting:
        raise InputError(f"{root} has no annotated image of {size[0]}x{size[1]} pixels")
    images = np.stack([read_image(data.root / path) for path, _ in fitting])
    return Annotated(torch.from_numpy(images).permute(0, 3, 1, 2), table.xy[[row for _, row in fitting]])


def measure_estimator(
    weights: Path | None = None,
    data: Path | None = None,
    *,
    identities: int = 512,
    device: str = "auto",
    sheet: Path | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Figures of an estimator, see `augment.estimators.accuracy.joint_accuracy`.

    Args:
        weights: a file of `make_estimator`; None is the one that ships.
        data: a data set with annotations; None: synthetic people of the unseen world.
        identities: of those, 4 images each.
        device: where to.
        sheet: also write a picture: annotation above, found below.
        say: where figures are told.
    """
    where = resolve_device(device)
    loaded = load_weights(weights, where)
    if data is None:
        people = synthetic_people(UNSEEN_WORLD, identities, size=loaded.size, device=where)
        say(f"{len(people.images)} synthetic people of a world that no shipped weights were trained in.")
    else:
        people = annotated_folder(data, loaded.size)
        say(f"{len(people.images)} annotated images of {data.name}.")
    xy, score = locate_all(loaded.network, people.images.to(where))
    reported = score >= np.asarray(loaded.thresholds)
    measured = joint_accuracy(xy, reported, people.xy, loaded.size[0])
    say(summary(measured))
    if sheet:
        images = list(people.images.permute(0, 2, 3, 1).cpu().numpy())
        comparison_sheet(images, people.xy, np.where(reported[..., None], xy, np.nan), sheet)
        say(f"Wrote {sheet}: annotated above, found below")
    return {**measured, "weights_sha256": loaded.sha256}
