"""What `patn-augment train-poses` and `measure-poses` do: train, set thresholds, measure, write, show."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from augment.estimators.score import (
    Annotated,
    calibrate,
    figures,
    predict,
    summary,
    synthetic_people,
)
from augment.estimators.settings import CALIBRATION_WORLD, PoseTrainSettings
from augment.estimators.training import train_poses
from augment.estimators.weights import PoseWeights, load_weights, save_weights
from augment.pose.draw import draw_skeleton
from augment.pose.keypoints import load_annotations
from augment.pose.skeleton import seen
from augment.runs import package_versions
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError, atomic_path, resolve_device, write_json

WEIGHTS, FIGURES = "weights.safetensors", "figures.json"
Say = Callable[[str], None]


def pose_settings(items: tuple[str, ...], **given: Any) -> PoseTrainSettings:
    """Settings from `KEY=VALUE` texts and from options that are not None.

    Raises:
        InputError: an unknown key or a value of the wrong type.
    """
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or key not in PoseTrainSettings.__dataclass_fields__:
            known = ", ".join(PoseTrainSettings.__dataclass_fields__)
            raise InputError(f"--set {item}: write KEY=VALUE with a key of {known}")
        values[key] = _value(item, PoseTrainSettings.__dataclass_fields__[key].default, text)
    return PoseTrainSettings(**values)


def _value(item: str, default: Any, text: str) -> Any:
    """A setting's text as what its default is."""
    try:
        if isinstance(default, tuple):
            height, width = map(int, text.split("x"))
            return height, width
        return text if isinstance(default, str) else int(text) if isinstance(default, int) else float(text)
    except ValueError:
        kind = "HxW, such as 128x64" if isinstance(default, tuple) else "a number"
        raise InputError(f"--set {item}: write {'a whole number' if isinstance(default, int) else kind}") from None


def make_estimator(
    settings: PoseTrainSettings, out: Path, device: str, resume: bool, test_identities: int, command: str, say: Say
) -> None:
    """Train, calibrate on one unseen world, measure on another, write `weights.safetensors`."""
    where = resolve_device(device)
    result = train_poses(settings, out, where, resume)
    start = time.monotonic()
    held_out = synthetic_people(CALIBRATION_WORLD, test_identities, size=settings.size, device=where)
    _, score = predict(result.network, held_out.images)
    thresholds = calibrate(score, seen(held_out.xy)).round(4)
    test = synthetic_people(UNSEEN_WORLD, test_identities, size=settings.size, device=where)
    measured = _compare(result.network, thresholds, test)
    facts = {
        **result.facts,
        "data": f"synthetic pedestrians, augment.synth, world {settings.world} (endless stream)",
        "thresholds": f"highest F1 on synthetic world {CALIBRATION_WORLD}",
        "figures": {**measured, "data": f"synthetic world {UNSEEN_WORLD}"},
        "command": command,
        "licence": "MIT",
        "versions": package_versions(),
        "measuring_seconds": round(time.monotonic() - start, 1),
    }
    sha = save_weights(out / WEIGHTS, result.network, settings.size, thresholds.tolist(), facts)
    write_json(out / FIGURES, {**facts, "sha256": sha})
    say(summary(measured))
    say(f"{result.facts['steps']} steps, {result.facts['images_seen']} images: {out / WEIGHTS}")


def _compare(network: torch.nn.Module, thresholds: np.ndarray, data: Annotated) -> dict[str, Any]:
    xy, score = predict(network, data.images)  # type: ignore[arg-type]
    return figures(xy, score >= thresholds, data.xy, data.images.shape[2])


def annotated_folder(root: Path, size: tuple[int, int], keypoints: Path | None = None) -> tuple[Annotated, list[str]]:
    """All images of a data set that have a row in its annotation files and the size (H, W), and their paths.

    Raises:
        InputError: no annotations, or no image that fits.
    """
    data, table = read_dataset(root), load_annotations(root, keypoints)
    paths = [path for split in ("train", "query", "gallery") for path in data.split(split)["path"]]
    images, rows, kept = [], [], []
    for path, row in zip(paths, table.rows(paths), strict=True):
        if row < 0:
            continue
        with Image.open(data.root / path) as opened:
            if (opened.height, opened.width) == size:
                images.append(np.asarray(opened.convert("RGB")))
                rows.append(row)
                kept.append(path)
    if not images:
        raise InputError(f"{root} has no annotated image of {size[0]}x{size[1]} pixels")
    return Annotated(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), table.xy[rows]), kept


def measure_estimator(
    weights: Path | None,
    data: Path | None,
    identities: int,
    device: str,
    target: Path | None,
    png: Path | None,
    say: Say,
) -> None:
    """Figures of an estimator on a folder with annotations, or on the unseen synthetic world."""
    where = resolve_device(device)
    loaded: PoseWeights = load_weights(weights, where)
    if data is None:
        people = synthetic_people(UNSEEN_WORLD, identities, size=loaded.size, device=where)
        say(f"{len(people.images)} synthetic people of a world that no shipped weights were trained in.")
    else:
        people, paths = annotated_folder(data, loaded.size)
        people = Annotated(people.images.to(where), people.xy)
        say(f"{len(paths)} annotated images of {data.name}.")
    xy, score = predict(loaded.network, people.images)
    reported = score >= np.asarray(loaded.thresholds)
    measured = figures(xy, reported, people.xy, loaded.size[0])
    say(summary(measured))
    if target:
        write_json(target, {**measured, "weights_sha256": loaded.sha256})
    if png:
        with atomic_path(png) as temporary:
            Image.fromarray(_sheet(people, np.where(reported[..., None], xy, np.nan))).save(temporary, format="PNG")
        say(f"Wrote {png}: annotated above, found below")


def _sheet(people: Annotated, found: np.ndarray, columns: int = 16, rows: int = 3) -> np.ndarray:
    """Images spread over the set: annotation above, what was found below."""
    which = np.linspace(0, len(found) - 1, min(columns * rows, len(found))).round().astype(int)
    bands = []
    for start in range(0, len(which) - len(which) % columns or len(which), columns):
        part = which[start : start + columns]
        pictures = [np.ascontiguousarray(people.images[int(i)].permute(1, 2, 0).cpu().numpy()) for i in part]
        for joints in (people.xy, found):
            bands.append(np.hstack([draw_skeleton(p, joints[i], scale=2) for p, i in zip(pictures, part, strict=True)]))
    return np.vstack(bands)
