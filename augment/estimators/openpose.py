"""OpenPose's COCO network (Cao et al., CVPR 2017), the detector of the PATN paper, through OpenCV's own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image
from augment.estimators.conversions import enlarge, keep_credible, shrink, stacked
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError

_THRESHOLD = 0.1  # the authors' th1
_BOX = 368  # the height that OpenPose works at


class OpenPose:
    """The user's `pose_deploy_linevec.prototxt` and `pose_iter_440000.caffemodel`, run by `cv2.dnn`.

    The authors join peaks of several people by part affinities; a crop shows one, so the highest peak of each map is
    taken. The maps come in the order of the annotation files.

    Args:
        weights: the caffemodel.
        prototxt: its description; default: the only one that lies beside the caffemodel.
        threshold: the lowest value of a peak.
        height: small images are enlarged to this height.
        net: instead of all that, a network with `setInput` and `forward`.

    Raises:
        InputError: no weights were named, they cannot be read, or this OpenCV reads no Caffe files any more.
    """

    name = "openpose"

    def __init__(
        self,
        weights: Path | None = None,
        prototxt: Path | None = None,
        threshold: float = _THRESHOLD,
        height: int = ENLARGED_HEIGHT,
        net: Any = None,
    ) -> None:
        self.threshold, self.height = threshold, height
        self.net = net if net is not None else _build(weights, prototxt)

    def __call__(self, images: Sequence[Image]) -> Found:
        """See `Estimator`."""
        people = []
        for image in images:
            large = enlarge(image, self.height)
            rows, columns = large.image.shape[:2]
            wide = -(-round(_BOX * columns / rows) // 8) * 8
            blob = cv2.dnn.blobFromImage(large.image, 1 / 255, (wide, _BOX), (127.5, 127.5, 127.5), swapRB=True)
            self.net.setInput(blob)
            xy, scores = peaks(np.asarray(self.net.forward())[0], (rows, columns))
            people.append((shrink(xy, large), scores))
        return keep_credible(*stacked(people), self.threshold, [image.shape for image in images])


def peaks(maps: np.ndarray, size: tuple[int, int]) -> Found:
    """The highest point of each joint's map.

    Args:
        maps: float `[at least 18, rows, columns]`, the joints' maps first.
        size: (H, W) of the image they cover.

    Returns:
        float32 `[18, 2]` (x, y) pixels of that image, and `[18]` the maps' values there.
    """
    if maps.ndim != 3 or len(maps) < JOINT_COUNT:
        raise InputError(f"the network gives {maps.shape} maps, not OpenPose's (at least 18): is it the COCO model?")
    rows, columns = maps.shape[1:]
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 1.0) for one in maps[:JOINT_COUNT].astype(np.float32)])
    best = smooth.reshape(JOINT_COUNT, -1).argmax(1)
    cells = np.stack([best % columns, best // columns], -1).astype(np.float32)
    factor = np.array([size[1] / columns, size[0] / rows], np.float32)
    return (cells + 0.5) * factor - 0.5, smooth.reshape(JOINT_COUNT, -1)[np.arange(JOINT_COUNT), best]


def _build(weights: Path | None, prototxt: Path | None) -> Any:
    if weights is None:
        raise InputError("estimator openpose needs weights, pose_iter_440000.caffemodel, and its prototxt", "weights")
    beside = sorted(Path(weights).parent.glob("*.prototxt"))
    if prototxt is None and len(beside) != 1:
        raise InputError(f"prototxt is needed: {len(beside)} .prototxt files lie beside {weights}", "prototxt")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise InputError(
            f"OpenCV {cv2.__version__} reads no Caffe files any more: pip install 'opencv-python<5' for this estimator"
        )
    try:
        return cv2.dnn.readNetFromCaffe(str(prototxt or beside[0]), str(weights))
    except cv2.error as error:
        raise InputError(f"{weights}: OpenCV cannot read it ({str(error).strip().splitlines()[0]})") from None
