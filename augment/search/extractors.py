"""Any network as what `PoseNormalized` calls: uint8 RGB images `[B, 3, H, W]` in, features `[B, D]` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reid_eval.backbones.net import IMAGENET_MEAN, IMAGENET_STD
from reid_eval.transforms import resized

if TYPE_CHECKING:
    from reid_eval.backbones import ReidNet

Extractor = Callable[[Tensor], Tensor]


def torch_extractor(
    model: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    *,
    device: torch.device | str = "cpu",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    scale: float = 1 / 255,
) -> Extractor:
    """A torch module or function, such as a model of torchreid or fast-reid, as an extractor.

    Args:
        model: float `[B, 3, H, W]` in, features `[B, D]` out; in evaluation mode, on `device`.
        size: (H, W) it takes; images are resized to it.
        device: where it is.
        mean, std: of its normalisation, RGB, after scaling.
        scale: what pixels in 0..255 are multiplied by first. fast-reid's models normalise 0..255 themselves: scale 1,
            mean 0, std 1.
    """
    shape = (1, 3, 1, 1)
    middle, spread = (torch.tensor(tuple(v), dtype=torch.float32, device=device).view(shape) for v in (mean, std))

    @torch.inference_mode()
    def extract(images: Tensor) -> Tensor:
        pixels = resized(images.to(device), size) * scale
        return model((pixels - middle) / spread).float()

    return extract


def onnx_extractor(
    session: Any,
    size: tuple[int, int],
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    scale: float = 1 / 255,
) -> Extractor:
    """An `onnxruntime.InferenceSession`: one image input, features its first output; see `torch_extractor`."""
    name = session.get_inputs()[0].name

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: batch.cpu().numpy()})[0])

    return torch_extractor(run, size, mean=mean, std=std, scale=scale)


def reid_extractor(model: ReidNet, *, amp: str = "off", flip: bool | None = None) -> Extractor:
    """A network of `reid_eval`, as its own evaluation calls it: at its size, of length 1.

    Args:
        model: as `load_model` or `train` give it.
        amp: `bf16`, `off` or `auto`.
        flip: average with the mirrored image's features; None: as the network was trained to be evaluated.
    """
    from reid_eval.features import extract_features

    return lambda images: torch.from_numpy(extract_features(model, images, amp=amp, flip=flip))
