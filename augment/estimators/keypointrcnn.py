"""Keypoint R-CNN of torchvision (He et al., Mask R-CNN, ICCV 2017), trained on COCO; weights by download or file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image, no_weights
from augment.estimators.conversions import best_person, enlarge, keep_credible, shrink, stacked, to_openpose
from reid_eval.foreign import reason_of
from reid_eval.runtime import InputError
from reid_eval.torch_file import read_torch

_PERSON = 0.5  # the lowest score of a detected person
_THRESHOLD = 0.88  # sigmoid(2): torchvision's key-point scores are logits of the peak of the map


class KeypointRCNN:
    """`torchvision.models.detection.keypointrcnn_resnet50_fpn`.

    Args:
        weights: a file of torchvision's weights (read with `weights_only`); None downloads them with torchvision's
            own code.
        device: where to run.
        threshold: the lowest score in [0, 1] of a joint.
        height: small images are enlarged to this height.
        model: instead of all that, a network with torchvision's interface.

    Raises:
        InputError: the weights cannot be downloaded, read or fitted.
    """

    name = "keypointrcnn"

    def __init__(
        self,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        threshold: float = _THRESHOLD,
        height: int = ENLARGED_HEIGHT,
        model: Any = None,
    ) -> None:
        self.device, self.threshold, self.height = torch.device(device), threshold, height
        self.model = (model if model is not None else _build(weights)).to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> Found:
        """See `Estimator`."""
        large = [enlarge(image, self.height) for image in images]
        tensors = [torch.from_numpy(one.image).permute(2, 0, 1).float().div(255).to(self.device) for one in large]
        people = []
        for result, one in zip(self.model(tensors) if tensors else [], large, strict=True):
            result = {key: value.cpu().numpy() for key, value in result.items()}
            candidates = [
                (*to_openpose(joints[:, :2], 1 / (1 + np.exp(-logits))), float(score))
                for joints, logits, score in zip(
                    result["keypoints"], result["keypoints_scores"], result["scores"], strict=True
                )
                if score >= _PERSON
            ]
            xy, scores = best_person(candidates)
            people.append((shrink(xy, one), scores))
        return keep_credible(*stacked(people), self.threshold, [image.shape for image in images])


def _build(weights: Path | None) -> Any:
    from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn

    if weights is None:
        try:
            return keypointrcnn_resnet50_fpn(weights=KeypointRCNN_ResNet50_FPN_Weights.DEFAULT)
        except Exception as error:  # no network, proxy errors, wrong hash
            raise no_weights("keypointrcnn", error) from error
    state = read_torch(weights)
    model = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    try:
        model.load_state_dict(state)
    except Exception as error:  # torch raises a dozen kinds on what does not fit
        raise InputError(f"{weights}: no weights of torchvision's Keypoint R-CNN ({reason_of(error)[:120]})") from error
    return model
