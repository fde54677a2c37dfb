"""Names to estimators."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from augment.estimators.base import ENLARGED_HEIGHT, Estimator
from reid_eval.alike import did_you_mean
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
            f"estimator {name!r}: {did_you_mean(name, ESTIMATORS)}choose from {', '.join(ESTIMATORS)}, or "
            f"{COMMAND}PROGRAM ARGUMENTS",
            "estimator",
        )
    return ESTIMATORS[name](asked)


def best_installed() -> tuple[str, str]:
    """The best estimator that works here as it is, without a download, and why it is that one, in words.

    The order is that of their scores on COCO (RTMPose-m 75.8 AP, Keypoint R-CNN 65.5), then MediaPipe, which is not
    measured there; `synth`, which ships, has learnt from drawn people alone and comes last.
    """
    missing = []
    for name, lack in (
        ("rtmpose", _rtmpose_lacks),
        ("keypointrcnn", _keypointrcnn_lacks),
        ("mediapipe", _mediapipe_lacks),
    ):
        if (reason := lack()) is None:
            return name, "the best that is here"
        missing.append(f"{name}: {reason}")
    return (
        "synth",
        f"which ships and has learnt from drawn people; better on photographs, but not here: {'; '.join(missing)}",
    )


def _rtmpose_lacks() -> str | None:
    if find_spec("rtmlib") is None or find_spec("onnxruntime") is None:
        return "needs the extra rtmpose"
    cache = Path(
        os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "rtmlib")
    ).expanduser()
    here = any(cache.glob("hub/checkpoints/rtmpose-m*.onnx"))
    return None if here else "its model is a download"


def _keypointrcnn_lacks() -> str | None:
    from torch.hub import get_dir

    here = any(Path(get_dir()).glob("checkpoints/keypointrcnn_resnet50_fpn_coco-*.pth"))
    return None if here else "its weights are a download"


def _mediapipe_lacks() -> str | None:
    return None if find_spec("mediapipe") is not None else "needs the extra mediapipe"


def estimator_kind(name: str) -> str:
    """An estimator's name without a program's arguments: as files are named after it."""
    return COMMAND.rstrip(":") if name.startswith(COMMAND) else name
