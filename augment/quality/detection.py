"""Detection score: how sure a person detector is that a generated image shows a person.

DS of Siarohin et al. (CVPR 2018) and PATN is the highest score for "person" of an SSD300 trained on VOC; here it is
torchvision's SSD300 trained on COCO, so numbers compare among themselves, not with the papers'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augment.quality.extras import not_downloaded, read_state
from reid_eval.alike import did_you_mean
from reid_eval.runtime import InputError, progress

DETECTORS = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large", "fasterrcnn_resnet50_fpn")
_PERSON = 1  # COCO's label in torchvision
_BATCH = 16


class Detector:
    """A torchvision detector.

    Args:
        weights: a file of torchvision's weights of it; None downloads them with torchvision's own code.
        device: where to run.
        name: one of `DETECTORS`.
        model: instead of all that, a network with torchvision's interface.

    Raises:
        Unavailable: the weights cannot be downloaded.
        InputError: unknown name, or the file does not fit.
    """

    def __init__(
        self,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        name: str = DETECTORS[0],
        model: Any = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = (model if model is not None else _build(name, weights)).to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The highest score of a person in each of uint8 RGB `[N, H, W, 3]`, 0 where there is none: `[N]` in [0, 1]."""
        scores: list[float] = []
        with progress("Detecting", len(images)) as bar:
            for start in range(0, len(images), _BATCH):
                part = np.ascontiguousarray(images[start : start + _BATCH])
                batch = torch.from_numpy(part).permute(0, 3, 1, 2).float().div(255).to(self.device)
                for found in self.network(list(batch)):
                    people = found["scores"][found["labels"] == _PERSON]
                    scores.append(float(people.max()) if len(people) else 0.0)
                bar.advance(len(part))
        return np.array(scores, dtype=np.float64)


def _build(name: str, weights: Path | None) -> Any:
    from torchvision.models import detection, get_model_weights

    if name not in DETECTORS:
        raise InputError(f"detector {name!r}: {did_you_mean(name, DETECTORS)}choose from {', '.join(DETECTORS)}")
    make = getattr(detection, name)
    if weights is None:
        try:  # the file first: building the network takes seconds
            get_model_weights(name).DEFAULT.get_state_dict(check_hash=True)
            return make(weights="DEFAULT")
        except Exception as error:  # no network, proxy errors, wrong hash
            raise not_downloaded(name, "detector", error) from error
    model = make(weights=None, weights_backbone=None)
    try:
        model.load_state_dict(read_state(weights))
    except RuntimeError as error:
        raise InputError(f"{weights} does not fit {name}: {str(error).splitlines()[0]}") from None
    return model
