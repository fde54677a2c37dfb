"""RTMPose (Jiang et al., 2023) through rtmlib and ONNX Runtime; its models are downloads, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image, missing_extra, no_weights
from augment.estimators.conversions import enlarge, keep_credible, shrink, stacked

_THRESHOLD = 0.43  # what rtmlib itself draws OpenPose skeletons with
_MODE = "balanced"  # RTMPose-m at 256x192


class RTMPose:
    """RTMPose on the whole image: it holds one person, so no detector is needed. rtmlib gives OpenPose's order.

    Args:
        weights: an ONNX file of RTMPose at 256x192; None downloads RTMPose-m with rtmlib's own code.
        device: `cpu` or `cuda`.
        threshold: the lowest score of a joint.
        height: small images are enlarged to this height.
        model: instead of all that, anything called as rtmlib's RTMPose is.

    Raises:
        InputError: rtmlib is not installed, or its model cannot be had.
    """

    name = "rtmpose"

    def __init__(
        self,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        threshold: float = _THRESHOLD,
        height: int = ENLARGED_HEIGHT,
        model: Any = None,
    ) -> None:
        self.threshold, self.height = threshold, height
        self.device = torch.device(str(device).partition(":")[0])
        self.model = model if model is not None else _build(weights, self.device.type)

    def __call__(self, images: Sequence[Image]) -> Found:
        """See `Estimator`."""
        people = []
        for image in images:
            large = enlarge(image, self.height)
            bottom, right = large.image.shape[:2]
            edge = large.border * large.scale
            box = [edge, edge, right - edge, bottom - edge]
            xy, scores = self.model(large.image[..., ::-1], bboxes=[box])  # it takes BGR
            people.append((shrink(xy[0], large), scores[0]))
        return keep_credible(*stacked(people), self.threshold, [image.shape for image in images])


def _build(weights: Path | None, device: str) -> Any:
    try:
        import rtmlib
    except ImportError as error:
        raise missing_extra("rtmpose", "rtmlib", error) from None
    preset = rtmlib.Body.MODE[_MODE]
    file = preset["pose"] if weights is None else str(weights)
    try:
        return rtmlib.RTMPose(file, preset["pose_input_size"], to_openpose=True, backend="onnxruntime", device=device)
    except Exception as error:  # no network, not an ONNX file, no ONNX Runtime for this device
        raise no_weights("rtmpose", error) from error
