"""LPIPS (Zhang et al., CVPR 2018) with AlexNet: torchmetrics' network and heads, torchvision's AlexNet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    metric = need("torchmetrics.image.lpip", "quality").LearnedPerceptualImagePatchSimilarity
    if weights is None:
        try:
            return metric(net_type="alex").net
        except Exception as error:  # no network, proxy errors, wrong hash
            raise not_downloaded("LPIPS' AlexNet", "lpips", error) from error
    with _as_if_downloaded(read_state(weights)):
        try:
            return metric(net_type="alex").net
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{weights} is not torchvision's AlexNet: {first}") from None


@contextmanager
def _as_if_downloaded(state: dict[str, torch.Tensor]) -> Iterator[None]:
    """torchvision finds `state` where it would have put the weights of AlexNet that it downloads.

    torchmetrics takes no file and no network, only what torchvision loads.
    """
    from torchvision.models import AlexNet_Weights

    usual = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        torch.save(state, Path(folder) / "checkpoints" / Path(AlexNet_Weights.DEFAULT.url).name)
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(usual)
