"""LPIPS (Zhang et al., CVPR 2018) with AlexNet: torchmetrics' network and heads, torchvision's AlexNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augment.quality.extras import need, not_downloaded, read_state
from reid_eval.runtime import InputError

_BATCH = 64


class Lpips:
    """Perceptual distance of two images.

    The heads come with torchmetrics. AlexNet's weights are torchvision's `alexnet-owt-7be5be79.pth`, by download or
    file.

    Args:
        weights: that file; None downloads it with torchvision's own code.
        device: where to run.

    Raises:
        Unavailable: torchmetrics is not installed, or the weights cannot be downloaded.
        InputError: the file does not fit.
    """

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network: Any = _build(weights).to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, generated: NDArray[np.uint8], real: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Distances `[N]` of uint8 RGB `[N, H, W, 3]`, at least 32 pixels a side; 0 is the same image, lower better."""
        values = []
        for start in range(0, len(generated), _BATCH):
            a, b = (self._tensor(images[start : start + _BATCH]) for images in (generated, real))
            values.append(self.network(a, b).flatten().double().cpu())
        return torch.cat(values).numpy() if values else np.empty(0)

    def _tensor(self, images: NDArray[np.uint8]) -> torch.Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device)
        return batch.float() / 127.5 - 1


def _build(weights: Path | None) -> Any:
    module = need("torchmetrics.functional.image.lpips", "quality")
    if weights is None:
        try:
            return module._NoTrainLpips(net="alex")
        except Exception as error:  # no network, proxy errors, wrong hash
            raise not_downloaded("LPIPS' AlexNet", "--lpips", error) from error
    network = module._LPIPS(net="alex", pnet_rand=True)
    state = read_state(weights)
    # torchmetrics cuts torchvision's `features` into slices, whose parts keep their numbers.
    own = network.net.state_dict()
    wanted = {key: "features." + key.partition(".")[2] for key in own}
    missing = [name for key, name in wanted.items() if name not in state or state[name].shape != own[key].shape]
    if missing:
        raise InputError(f"{weights} is not torchvision's AlexNet: {missing[0]} is missing or of another shape")
    network.net.load_state_dict({key: state[name] for key, name in wanted.items()})
    return network
