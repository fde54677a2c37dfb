"""The two networks, ready to use."""

from __future__ import annotations

from pathlib import Path

from augment.imagenet.lite0 import Lite0
from augment.imagenet.mobilenet import MobileNetV2
from augment.imagenet.wheels import LITE0, MOBILENET_V2


def load_lite0(file: Path | None = None) -> Lite0:
    """EfficientNet-Lite0, which trains generators.

    Args:
        file: a copy of the package's file, for machines where the package is not; None looks for the package.

    Raises:
        InputError: the extra `imagenet` is not installed, or the file is another.
    """
    return Lite0(LITE0.read(file))


def load_mobilenet() -> MobileNetV2:
    """MobileNetV2, which judges and never trains.

    Raises:
        InputError: the extra `imagenet` is not installed, or the file is another.
    """
    return MobileNetV2(MOBILENET_V2.read())
