"""Names to estimators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.estimators.base import ENLARGED_HEIGHT, Estimator
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import torch

COMMAND = "command:"


@dataclass(frozen=True)
class EstimatorOptions:
    """What the user may say about an estimator; None is its own default.

    Attributes:
        weights: file of its weights.
        prototxt: of `openpose`.
        threshold: the lowest score of a joint; `synth` has one a joint of its own.
        height: small images are enlarged to this height (not for `synth`, which works at 128x64).
        device: where to run, for those that run in torch or ONNX Runtime.
    """

    weights: Path | None = None
    prototxt: Path | None = None
    threshold: float | None = None
    height: int = ENLARGED_HEIGHT
    device: torch.device | str = "cpu"


def _shared(options: EstimatorOptions) -> dict[str, Any]:
    threshold = {} if options.threshold is None else {"threshold": options.threshold}
    return {**threshold, "height": options.height}


def _synth(options: EstimatorOptions) -> Estimator:
    from augment.estimators.synth import SynthEstimator

    if options.threshold is not None:
        raise InputError("--threshold: synth has a threshold of its own for each joint")
    return SynthEstimator(options.weights, options.device)


def _keypointrcnn(options: EstimatorOptions) -> Estimator:
    from augment.estimators.keypointrcnn import KeypointRCNN

    return KeypointRCNN(options.weights, options.device, **_shared(options))


def _rtmpose(options: EstimatorOptions) -> Estimator:
    from augment.estimators.rtmpose import RTMPose

    return RTMPose(options.weights, options.device, **_shared(options))


def _mediapipe(options: EstimatorOptions) -> Estimator:
    from augment.estimators.mediapipe_pose import MediaPipe

    return MediaPipe(**_shared(options))


def _openpose(options: EstimatorOptions) -> Estimator:
    from augment.estimators.openpose import OpenPose

    return OpenPose(options.weights, options.prototxt, **_shared(options))


ESTIMATORS: dict[str, Callable[[EstimatorOptions], Estimator]] = {
    "synth": _synth,
    "keypointrcnn": _keypointrcnn,
    "rtmpose": _rtmpose,
    "mediapipe": _mediapipe,
    "openpose": _openpose,
}


def build_estimator(name: str, options: EstimatorOptions | None = None) -> Estimator:
    """Build an estimator by its name in `ESTIMATORS`, or `command:PROGRAM ARGUMENTS`.

    Raises:
        InputError: unknown name, an extra that is not installed, weights that cannot be had.
    """
    options = options or EstimatorOptions()
    if name.startswith(COMMAND):
        from augment.estimators.command import Command

        return Command(name.removeprefix(COMMAND), **_shared(options))
    if name not in ESTIMATORS:
        raise InputError(f"--estimator {name!r}: choose from {', '.join(ESTIMATORS)}, or {COMMAND}PROGRAM ARGUMENTS")
    return ESTIMATORS[name](options)
