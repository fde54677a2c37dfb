"""What MobileNetV2 says, an ImageNet network that no training of ours uses: KID, and a distance of two images.

Networks that trained a generator praise it: it learnt to please them. So the one that judges is another than the one
that trains, see `augment.imagenet`. Figures are comparable among themselves, not with those of papers, whose networks
are Inception (KID) and AlexNet with learnt heads (LPIPS).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augment.quality.extras import Unavailable, need
from reid_eval.runtime import InputError, kept_generators, progress, seed_everything

if TYPE_CHECKING:
    from augment.imagenet.mobilenet import MobileNetV2

Images = NDArray[np.uint8]

SUBSETS = 50
LARGEST_SUBSET = 500
FEWEST = 8
"""Images for KID."""
_SEED = 0
_BATCH = 64


class Kid(NamedTuple):
    """Mean and standard deviation over subsets."""

    mean: float
    spread: float


class Judge:
    """MobileNetV2 with ImageNet weights from an installed package.

    Args:
        device: where to run.
        network: instead of it, a network with its `taps` and `pooled`.

    Raises:
        Unavailable: the package is not installed.
    """

    def __init__(self, device: torch.device | str = "cpu", network: Any = None) -> None:
        self.device = torch.device(device)
        self.network: Any = (judging_network() if network is None else network).to(self.device).eval()

    def features(self, images: Images) -> Tensor:
        """Pooled features, float32 `[N, D]` on the CPU, of uint8 RGB `[N, H, W, 3]`."""
        found = _by_batch(images, lambda part: self.network.pooled(self._tensor(part)).float().cpu())
        return torch.cat(found) if found else torch.empty(0, 1)

    def distance(self, generated: Images, real: Images) -> NDArray[np.float64]:
        """Distances `[N]` of uint8 RGB `[N, H, W, 3]`; 0 is the same image, lower is better.

        As LPIPS (Zhang et al., CVPR 2018) without its learnt heads: outputs at four depths, each pixel's channels of
        unit length, squared differences summed over channels, averaged over pixels, summed over depths. So up to 16,
        and not LPIPS proper.
        """
        rows = np.arange(len(generated))

        def one(part: NDArray[Any]) -> Tensor:
            a, b = (self.network.taps(self._tensor(images[part])) for images in (generated, real))
            pairs = zip(a, b, strict=True)
            return sum((_unit_difference(x.float(), y.float()) for x, y in pairs), torch.zeros(())).double().cpu()

        found = _by_batch(rows, one)
        return torch.cat(found).numpy() if found else np.empty(0)

    def _tensor(self, images: Images) -> Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device)
        return batch.float() / 127.5 - 1


def kid(generated: Tensor, real: Tensor) -> Kid:
    """Kernel distance (Bińkowski et al., ICLR 2018) of two sets of features, by torchmetrics: lower is better.

    Unbiased: the expectation does not depend on how many images there are, and may be below 0. The mean and the
    spread are over 50 subsets of half of the smaller set, at most 500, which a fixed seed draws; subsets overlap, so
    the spread tells how far two subsets differ, not how sure the mean is.

    Args:
        generated: `[N, D]`.
        real: `[M, D]`.

    Raises:
        Unavailable: torchmetrics is not installed, or there are fewer than `FEWEST` images of either kind.
    """
    metric = need("torchmetrics.image.kid", "quality").KernelInceptionDistance
    fewest = min(len(generated), len(real))
    if fewest < FEWEST:
        raise Unavailable(f"needs at least {FEWEST} images of either kind, there are {fewest}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        measured = metric(
            feature=nn.Identity(),  # features come in already
            subsets=SUBSETS,
            subset_size=min(LARGEST_SUBSET, fewest // 2),
        )
    measured.update(generated, real=False)
    measured.update(real, real=True)
    with kept_generators():  # torchmetrics draws the subsets from the global one
        seed_everything(_SEED)
        mean, spread = measured.compute()
    return Kid(float(mean), float(spread))


def _unit_difference(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of unit vectors over channels, averaged over pixels: `[B]` in 0..4."""
    return (nn.functional.normalize(a, dim=1) - nn.functional.normalize(b, dim=1)).square().sum(1).mean((1, 2))


def judging_network() -> MobileNetV2:
    """MobileNetV2 with ImageNet weights.

    Raises:
        Unavailable: its package is not installed, or holds another file.
    """
    from augment.imagenet.ready import load_mobilenet

    try:
        return load_mobilenet()
    except InputError as error:
        raise Unavailable(str(error)) from None


@torch.inference_mode()
def _by_batch(items: NDArray[Any], function: Callable[[NDArray[Any]], Tensor]) -> list[Tensor]:
    found = []
    with progress("Looking with MobileNetV2", len(items)) as bar:
        for start in range(0, len(items), _BATCH):
            found.append(function(items[start : start + _BATCH]))
            bar.advance(len(found[-1]))
    return found
