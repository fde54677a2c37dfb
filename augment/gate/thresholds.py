"""Where a gate's thresholds come from: a file (this module alone reads and writes it), or the data set at hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from augment.estimators.base import Estimator
from augment.estimators.build import build_estimator
from augment.gate.calibrate import COUNT, FALSE_ALARMS, VERSION, calibrate
from augment.gate.judge import Gate, GateThresholds
from augment.pose.keypoints import Keypoints, load_annotations
from augment.runs import Say
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError, resolve_device, sha256_file, write_json


def write_thresholds(path: Path, thresholds: GateThresholds) -> None:
    """Write thresholds as JSON."""
    write_json(path, {"version": VERSION, **thresholds.to_dict()})


def read_thresholds(path: Path) -> GateThresholds:
    """Read a file of `calibrate-gate`.

    Raises:
        InputError: it cannot be read, is none, or is of another version.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        if value.pop("version", None) != VERSION:
            raise ValueError("set by another version of patn-augment: set it anew")
        height, width = (int(side) for side in value.pop("size", ()))
        limits = GateThresholds(**value, size=(height, width))
        if not all(math.isfinite(number) for number in limits.numbers()):
            raise ValueError("a threshold that is no number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds no thresholds of the gate ({error}): see patn-augment calibrate-gate") from None
    return limits


def describe(limits: GateThresholds) -> str:
    """A line for the user, with what thresholds set so do to real images of other people."""
    height, width = limits.size
    text = (
        f"Gate, set on {limits.images} real images with {limits.estimator} at {height}x{width}: pose error at most "
        f"{limits.pose:.2f}, colour drift at most {limits.colour:.1f}"
    )
    if limits.rates is None:
        return f"{text}; what it rejects is not known{f': {limits.note}' if limits.note else ''}"
    told = {name: "?%" if share is None else f"{100 * share:.0f}%" for name, share in limits.rates.items()}
    return (
        f"{text}; set on one half of these people, it rejects {told['pose_wrong']} of wrong poses and "
        f"{told['pose_right']} of right ones of the other half, {told['colour_other']} of other people and "
        f"{told['colour_same']} of the same"
    )


def open_estimator(name: str, weights: Path | None, device: str) -> tuple[Estimator, str | None]:
    """An estimator and the hash of its weights, where they are a file."""
    from augment.estimators.posenet.weights_file import shipped_weights

    file = weights or (shipped_weights() if name == "synth" else None)
    estimator = build_estimator(name, weights=weights, device=resolve_device(device))
    return estimator, sha256_file(file) if file else None


def open_gate(
    data: ReidData,
    keypoints: Keypoints,
    thresholds: Path | None,
    size: tuple[int, int],
    device: str,
    say: Say,
    weights: Path | None = None,
) -> Gate:
    """A gate with the thresholds of a file, or of this data set's real images by `synth`.

    Args:
        data: the data set.
        keypoints: of its images.
        thresholds: the file, or None.
        size: (H, W) of the images that are to be judged.
        device: of the estimator.
        say: told what was set.
        weights: of the estimator.

    Raises:
        InputError: thresholds of other weights of the estimator than are here, or of another image size.
    """
    if thresholds is not None:
        limits = read_thresholds(thresholds)
        if limits.size != size:
            own, asked = ("x".join(map(str, sides)) for sides in (limits.size, size))
            raise InputError(f"{thresholds} holds for images of {own}, these are {asked}: set it anew for that size")
        estimator, sha256 = open_estimator(limits.estimator, weights, device)
        if limits.estimator_sha256 not in (None, sha256):
            raise InputError(f"{thresholds} was set with other weights of {limits.estimator}: set it anew")
        return Gate(estimator, limits)
    estimator, sha256 = open_estimator("synth", weights, device)
    limits = calibrate(data, keypoints, estimator, size=size, sha256=sha256)
    say(describe(limits))
    return Gate(estimator, limits)


def set_thresholds(
    root: Path,
    keypoints: Path | None = None,
    estimator: str = "synth",
    weights: Path | None = None,
    *,
    size: tuple[int, int] = (128, 64),
    count: int = COUNT,
    false_alarms: float = FALSE_ALARMS,
    device: str = "auto",
) -> GateThresholds:
    """Thresholds for a data set's folder, with an estimator by name.

    Args:
        root: the data set.
        keypoints: its annotation file; default: its own.
        estimator: its name, see `augment.estimators.build`.
        weights: of the estimator.
        size: (H, W) of the generator's images.
        count: images to look at.
        false_alarms: see `augment.gate.calibrate.calibrate`.
        device: of the estimator.
    """
    data = read_dataset(root)
    opened, sha256 = open_estimator(estimator, weights, device)
    joints = load_annotations(root, keypoints)
    return calibrate(
        data, joints, opened, size=size, count=count, sha256=sha256, name=estimator, false_alarms=false_alarms
    )
