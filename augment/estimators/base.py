"""What every estimator is, and what is said where one cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reid_eval.runtime import InputError

Image = NDArray[np.uint8]
Found = tuple[NDArray[np.float32], NDArray[np.float32]]

ENLARGED_HEIGHT = 512


class Estimator(Protocol):
    """Finds the 18 joints of OpenPose in images of one person each."""

    name: str

    def __call__(self, images: Sequence[Image]) -> Found:
        """Find the joints.

        Args:
            images: uint8 RGB `[H, W, 3]` each, of any sizes, one person filling most of it.

        Returns:
            float32 `[N, 18, 2]`, (x, y) pixels of each image, NaN where missing; float32 `[N, 18]` scores in [0, 1].
        """
        ...


def missing_extra(extra: str, what: str, error: ImportError) -> InputError:
    """The one-line error for a library that is not installed."""
    return InputError(f"{what} is not installed ({error.name or error}): pip install 'patn-augment[{extra}]'")


def no_weights(what: str, error: Exception) -> InputError:
    """The one-line error for weights that could not be downloaded."""
    reason = str(error).split("\n")[0] or type(error).__name__
    return InputError(
        f"the weights of {what} cannot be downloaded ({reason}): give a file of weights, or use the estimator synth",
        "weights",
    )
