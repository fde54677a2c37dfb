"""Is it still the same person: colours of body parts, which need no weights, and features of a re-ID network.

Body parts are what limbs of the known pose cover. Their mean colours in CIE L*a*b* stand for the clothes, as in the
re-ID descriptors of before deep learning (Farenzena et al., SDALF, CVPR 2010).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from augment.pose.geometry import torso
from augment.pose.skeleton import seen

# Polygons and limbs of each part: trunk, upper arms, thighs, shins. Heads are too small to tell people apart.
_TRUNK = (2, 5, 11, 8)
_LIMBS = {1: ((2, 3), (5, 6)), 2: ((8, 9), (11, 12)), 3: ((9, 10), (12, 13))}
PARTS = ("trunk", "upper arms", "thighs", "shins")
_WEIGHTS = np.array([3.0, 1.0, 2.0, 1.0])
_LIGHTNESS = 0.5  # shadow and sun change lightness more than they change hue


def part_colours(image: NDArray[np.uint8], xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean colour of each part of a person.

    Args:
        image: uint8 RGB `[H, W, 3]`.
        xy: `[18, 2]`, (x, y) pixels, NaN missing.

    Returns:
        `[4, 3]` of `PARTS`: L* (halved), a*, b*; NaN for a part whose joints are missing or outside.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    colours = np.full((len(PARTS), 3), np.nan)
    for part, mask in enumerate(_masks(xy, image.shape[:2])):
        if mask.any():
            colours[part] = lab[mask].mean(0)
    return colours * [_LIGHTNESS, 1, 1]


def colour_drift(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weighted mean distance of part colours, the trunk counting most.

    Args:
        a, b: `[..., 4, 3]` from `part_colours`.

    Returns:
        `[...]` in units of CIE76 delta E (with L* halved); NaN where no part is known in both.
    """
    distance = np.linalg.norm(np.asarray(a) - b, axis=-1)
    known = ~np.isnan(distance)
    total = (known * _WEIGHTS).sum(-1)
    weighted = (np.nan_to_num(distance) * _WEIGHTS).sum(-1) / np.maximum(total, 1e-9)
    return np.asarray(np.where(total > 0, weighted, np.nan))


def _masks(xy: NDArray[np.floating], size: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    there, points = seen(xy), np.nan_to_num(xy)
    width = max(2, round(0.22 * float(torso(xy)))) if there[[2, 5, 8, 11]].all() else max(2, round(size[0] * 0.06))
    masks = []
    for part in range(len(PARTS)):
        mask = np.zeros(size, np.uint8)
        if part == 0 and there[list(_TRUNK)].all():
            # In profile the trunk's corners lie on a line; a line of a limb's width still samples it.
            corners = points[list(_TRUNK)].round().astype(np.int32)
            cv2.fillPoly(mask, [corners], 1)
            _line(mask, corners[:2].mean(0), corners[2:].mean(0), width)
        for a, b in _LIMBS.get(part, ()):
            if there[a] and there[b]:
                _line(mask, points[a], points[b], max(2, width // 2))
        masks.append(mask.astype(bool))
    return masks


def _line(mask: NDArray[np.uint8], a: NDArray[np.floating], b: NDArray[np.floating], width: int) -> None:
    start, end = ([round(float(v)) for v in p] for p in (a, b))
    cv2.line(mask, start, end, 1, width)


class ReidFeatures:
    """Features of a re-ID network, L2-normalised.

    Args:
        weights: its file: what `patn-augment reid-eval --save` wrote, or any that `--init FILE` reads.
        backbone: `resnet50`, `inception_v2`, `torchreid:NAME` or `timm:NAME`, for a file that does not say.
        device: where to run.

    Raises:
        InputError: the file does not fit the backbone.
    """

    def __init__(self, weights: Path, backbone: str = "resnet50", device: torch.device | str = "cpu") -> None:
        from reid_eval.backbones import build, load_model
        from reid_eval.model_file import is_model_file

        self.sized = is_model_file(weights)  # a trunk alone says nothing of the size of its images
        self.network = load_model(weights, device) if self.sized else build(backbone, 1, init=str(weights)).to(device)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`[N, D]` of uint8 RGB `[N, H, W, 3]`, resized where the file says for which size it was trained."""
        from reid_eval.features import extract_features

        if not self.sized:
            self.network.size = (images.shape[1], images.shape[2])
        return extract_features(self.network, np.ascontiguousarray(images.transpose(0, 3, 1, 2)), flip=True, amp="off")


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of each row of `[N, D]` with its like: `[N]` in [-1, 1]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(lengths, 1e-12))
