"""The gate: is a generated image worth keeping? Its pose against the one asked for, its clothes, its statistics.

Each test is one number an image and one threshold. Thresholds come from real images (`augment.gate.calibrate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.estimators.agreement import pose_errors, reference_poses
from augment.estimators.base import Estimator
from augment.quality.likeness import colour_drift, part_colours
from reid_eval.runtime import InputError

Images = NDArray[np.uint8]
REASONS = ("pose", "identity", "statistics")
_BLACK, _WHITE = 2, 253


@dataclass(frozen=True)
class GateThresholds:
    """What an image may have at most (contrast: at least).

    Attributes:
        pose: `augment.estimators.agreement.pose_errors`, -1 to 1.
        colour: `colour_drift` from the condition image, CIE76 delta E.
        contrast: standard deviation of grey levels.
        saturated: share of pixels that are black or white in all channels.
        noise: `noise_level`, grey levels.
        size: (H, W) of the images that all this holds for.
        estimator: whose joints `pose` is about.
        estimator_sha256: of its weights file, if it has one.
        images: real images they were set on.
        rates: for `pose` and `colour` the shares of right and of wrong real examples that thresholds reject which were
            set in this way on one half of the identities, among images of the other half. None where that could not be
            measured; a share of nothing is None.
        note: why there are no rates.
    """

    pose: float
    colour: float
    contrast: float
    saturated: float
    noise: float
    size: tuple[int, int] = (128, 64)
    estimator: str = "synth"
    estimator_sha256: str | None = None
    images: int = 0
    rates: dict[str, float | None] | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**asdict(self), "size": list(self.size)}

    def numbers(self) -> tuple[float, ...]:
        """The thresholds themselves."""
        return (self.pose, self.colour, self.contrast, self.saturated, self.noise)


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one image: its numbers, and the tests of `REASONS` that it failed (none: accepted)."""

    pose_error: float
    colour_drift: float
    contrast: float
    saturated: float
    noise: float
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the image is kept."""
        return not self.reasons

    def numbers(self) -> dict[str, float | None]:
        """The numbers, rounded to what a table needs; None where there is none."""
        values = {name: float(getattr(self, name)) for name in NUMBERS}
        return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


NUMBERS = ("pose_error", "colour_drift", "contrast", "saturated", "noise")


class Gate:
    """Judges generated images.

    Args:
        estimator: finds joints; the one that the thresholds were set with.
        thresholds: see there.
    """

    def __init__(self, estimator: Estimator, thresholds: GateThresholds) -> None:
        self.estimator, self.thresholds = estimator, thresholds

    def judge(
        self,
        images: Images,
        poses: NDArray[np.floating],
        photos: Images,
        photo_poses: NDArray[np.floating],
    ) -> list[Verdict]:
        """Judge N images of one size.

        Args:
            images: uint8 RGB `[N, H, W, 3]`.
            poses: `[N, 18, 2]` asked for, (x, y) pixels, NaN missing.
            photos: uint8 RGB `[N, H, W, 3]`, the condition images.
            photo_poses: `[N, 18, 2]` in them.

        Raises:
            InputError: the thresholds were set for images of another size.
        """
        if images.shape[1:3] != self.thresholds.size:
            own, given = ("x".join(map(str, size)) for size in (self.thresholds.size, images.shape[1:3]))
            raise InputError(f"the gate's thresholds hold for images of {own}, not of {given}: set them for that size")
        references = reference_poses(images.shape[1:3])
        errors = pose_errors(self.estimator, images, np.asarray(poses)[:, None], references)[:, 0]
        made = np.stack([part_colours(image, xy) for image, xy in zip(images, poses, strict=True)])
        true = np.stack([part_colours(image, xy) for image, xy in zip(photos, photo_poses, strict=True)])
        drift = colour_drift(made, true)
        return [
            self._verdict(image, float(error), float(moved))
            for image, error, moved in zip(images, errors, drift, strict=True)
        ]

    def _verdict(self, image: Images, error: float, drift: float) -> Verdict:
        limits = self.thresholds
        contrast, saturated, noise = statistics(image)
        broken = contrast < limits.contrast or saturated > limits.saturated or noise > limits.noise
        failed = (error > limits.pose, drift > limits.colour, broken)  # no colour to compare (NaN) is no failure
        reasons = tuple(reason for reason, bad in zip(REASONS, failed, strict=True) if bad)
        return Verdict(error, drift, contrast, saturated, noise, reasons)


def statistics(image: Images) -> tuple[float, float, float]:
    """Contrast (standard deviation of grey, in grey levels), share of saturated pixels, and `noise_level`."""
    grey = image.astype(np.float64).mean(-1)
    dark, bright = (image <= _BLACK).all(-1), (image >= _WHITE).all(-1)
    return float(grey.std()), float((dark | bright).mean()), noise_level(grey)


def noise_level(grey: NDArray[np.floating]) -> float:
    """Standard deviation of the noise in an image, in its units (Immerkær, CVIU 1996).

    The mean absolute answer to a mask that is blind to edges and ramps: the difference of two Laplacians.

    Args:
        grey: `[H, W]`, at least 3x3.
    """
    g = np.asarray(grey, np.float64)
    rows = g[:-2] - 2 * g[1:-1] + g[2:]
    answer = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.sqrt(np.pi / 2) * np.abs(answer).mean() / 6)


def reason_counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many images failed each test; one may fail several."""
    return {reason: sum(reason in verdict.reasons for verdict in verdicts) for reason in REASONS}
