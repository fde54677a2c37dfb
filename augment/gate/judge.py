"""The gate: is a generated image worth keeping? Its pose against the one asked for, its clothes, its statistics, and,
if asked for, whether a search finds its person.

Each test is one number an image and one threshold. Thresholds come from real images (`augment.gate.calibrate`), but for
that of the person (`augment.gate.finds_person`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.estimators.agreement import pose_errors, reference_poses
from augment.estimators.base import Estimator
from augment.quality.likeness import colour_drift, part_colours
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.gate.finds_person import PersonTest

Images = NDArray[np.uint8]
REASONS = ("pose", "identity", "statistics", "person")
"""Names of the tests. The last is carried out only by a gate that was given it."""
MARGIN = "margin"
"""The number of the last test; a verdict without that test has none."""
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
    """What the gate says of one image: its numbers, and the tests of `REASONS` that it failed (none: accepted).

    `margin` is None where the gate has no test of the person, and NaN where that person has no kept photo.
    """

    pose_error: float
    colour_drift: float
    contrast: float
    saturated: float
    noise: float
    reasons: tuple[str, ...]
    margin: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the image is kept."""
        return not self.reasons

    def numbers(self) -> dict[str, float | None]:
        """The numbers, rounded to what a table needs; None where there is none."""
        names = NUMBERS if self.margin is None else (*NUMBERS, MARGIN)
        values = {name: float(getattr(self, name)) for name in names}
        return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


NUMBERS = ("pose_error", "colour_drift", "contrast", "saturated", "noise")


class Gate:
    """Judges generated images.

    Args:
        estimator: finds joints; the one that the thresholds were set with.
        thresholds: see there.
        person: the test of the person, if it is to be made.
    """

    person: PersonTest | None = None
    """A gate that judges in its own way has none."""

    def __init__(self, estimator: Estimator, thresholds: GateThresholds, person: PersonTest | None = None) -> None:
        self.estimator, self.thresholds, self.person = estimator, thresholds, person

    def judge(
        self,
        images: Images,
        poses: NDArray[np.floating],
        photos: Images,
        photo_poses: NDArray[np.floating],
        pids: NDArray[np.int64] | None = None,
    ) -> list[Verdict]:
        """Judge N images of one size.

        Args:
            images: uint8 RGB `[N, H, W, 3]`.
            poses: `[N, 18, 2]` asked for, (x, y) pixels, NaN missing.
            photos: uint8 RGB `[N, H, W, 3]`, the condition images.
            photo_poses: `[N, 18, 2]` in them.
            pids: int64 `[N]`, whom they show; a test of the person needs them, nothing else.

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
        margins: list[float | None] = [None] * len(images)
        if self.person is not None:
            assert pids is not None, "a test of the person needs to know whom images show"
            margins = self.person.margins(images, pids).tolist()
        return [
            self._verdict(image, float(error), float(moved), margin)
            for image, error, moved, margin in zip(images, errors, drift, margins, strict=True)
        ]

    def _verdict(self, image: Images, error: float, drift: float, margin: float | None) -> Verdict:
        limits = self.thresholds
        contrast, saturated, noise = statistics(image)
        broken = contrast < limits.contrast or saturated > limits.saturated or noise > limits.noise
        lost = self.person is not None and margin is not None and margin <= self.person.least
        failed = (error > limits.pose, drift > limits.colour, broken, lost)  # nothing to compare (NaN) is no failure
        reasons = tuple(reason for reason, bad in zip(REASONS, failed, strict=True) if bad)
        return Verdict(error, drift, contrast, saturated, noise, reasons, margin)


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
    tests = tests_made(any(verdict.margin is not None for verdict in verdicts))
    return {reason: sum(reason in verdict.reasons for verdict in verdicts) for reason in tests}


def tests_made(of_person: bool) -> tuple[str, ...]:
    """Names of the tests of a gate with, or without, that of the person."""
    return REASONS if of_person else REASONS[:-1]
