"""MediaPipe Pose (Bazarevsky et al., BlazePose, 2020) in this environment; its wheel carries the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image, missing_extra
from augment.estimators.conversions import best_person, enlarge, keep_credible, shrink, stacked, to_openpose
from augment.estimators.mediapipe_program import joints_of, open_model

_THRESHOLD = 0.5


class MediaPipe:
    """MediaPipe Pose. Where its numpy pin does not fit, run `mediapipe_program.py` through `command:` instead.

    Args:
        threshold: the lowest visibility of a joint.
        height: small images are enlarged to this height.
        model: instead of MediaPipe's, anything with its `process`.

    Raises:
        InputError: mediapipe is not installed.
    """

    name = "mediapipe"

    def __init__(self, threshold: float = _THRESHOLD, height: int = ENLARGED_HEIGHT, model: Any = None) -> None:
        self.threshold, self.height = threshold, height
        try:
            self.model = model if model is not None else open_model()
        except ImportError as error:
            raise missing_extra("mediapipe", "mediapipe", error) from None

    def __call__(self, images: Sequence[Image]) -> Found:
        """See `Estimator`."""
        people = []
        for image in images:
            large = enlarge(image, self.height)
            joints = np.array(joints_of(self.model, large.image), dtype=np.float32)
            found = [(*to_openpose(joints[:, :2], joints[:, 2]), 1.0)] if len(joints) else []
            xy, scores = best_person(found)
            people.append((shrink(xy, large), scores))
        return keep_credible(*stacked(people), self.threshold, [image.shape for image in images])
