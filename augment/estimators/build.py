"""Names to estimators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from augment.estimators.base import ENLARGED_HEIGHT, Estimator
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import torch

COMMAND = "command:"


class _Asked(NamedTuple):
    """The arguments of `build_estimator`."""

    weights: Path | None
    prototxt: Path | None
    threshold: float | None
    height: int
    device: torch.device | str

    @property
    def shared(self) -> dict[str, Any]:
        """What most take; without a threshold each has its own default."""
        threshold = {} if self.threshold is None else {"threshold": self.threshold}
        return {**threshold, "height": self.height}


def _synth(asked: _Asked) -> Estimator:
    from augment.estimators.posenet.estimator import SynthEstimator

    if asked.threshold is not None:
        raise InputError("threshold: synth has one of its own for each joint, which cannot be changed", "threshold")
    return SynthEstimator(asked.weights, asked.device)


def _keypointrcnn(asked: _Asked) -> Estimator:
    from augment.estimators.keypointrcnn import KeypointRCNN

    return KeypointRCNN(asked.weights, asked.device, **asked.shared)


def _rtmpose(asked: _Asked) -> Estimator:
    from augment.estimators.rtmpose import RTMPose

    return RTMPose(asked.weights, asked.device, **asked.shared)


def _mediapipe(asked: _Asked) -> Estimator:
    from augment.estimators.mediapipe_pose import MediaPipe

    return MediaPipe(**asked.shared)


def _openpose(asked: _Asked) -> Estimator:
    from augment.estimators.openpose import OpenPose

    return OpenPose(asked.weights, asked.prototxt, **asked.shared)


ESTIMATORS: dict[str, Callable[[_Asked], Estimator]] = {
    "synth": _synth,
    "keypointrcnn": _keypointrcnn,
    "rtmpose": _rtmpose,
    "mediapipe": _mediapipe,
    "openpose": _openpose,
}


def build_estimator(
    name: str,
    *,
    weights: Path | None = None,
    prototxt: Path | None = None,
    threshold: float | None = None,
    height: int = ENLARGED_HEIGHT,
    device: torch.device | str = "cpu",
) -> Estimator:
    """Build an estimator by its name in `ESTIMATORS`, or `command:PROGRAM ARGUMENTS`.

    Args:
        name: of the estimator.
        weights: file of its weights; None is its own default.
        prototxt: of `openpose`.
        threshold: the lowest score of a joint; None is the estimator's own. `synth` has one a joint and takes no other.
        height: small images are enlarged to this height (not for `synth`, which works at 128x64).
        device: where to run, for those that run in torch or ONNX Runtime.

    Raises:
        InputError: unknown name, an extra that is not installed, weights that cannot be had.
    """
    asked = _Asked(weights, prototxt, threshold, height, device)
    if name.startswith(COMMAND):
        from augment.estimators.command import Command

        return Command(name.removeprefix(COMMAND), **asked.shared)
    if name not in ESTIMATORS:
        raise InputError(
            f"estimator {name!r}: choose from {', '.join(ESTIMATORS)}, or {COMMAND}PROGRAM ARGUMENTS", "estimator"
        )
    return ESTIMATORS[name](asked)


def estimator_kind(name: str) -> str:
    """An estimator's name without a program's arguments: as files are named after it."""
    return COMMAND.rstrip(":") if name.startswith(COMMAND) else name
