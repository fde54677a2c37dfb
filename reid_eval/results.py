"""What a run gave, and what a comparison did. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_eval.settings import TrainSettings

if TYPE_CHECKING:
    from reid_eval.ranking import Part

METRICS = {"rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "mAP": "mAP", "mINP": "mINP"}
"""Field of `RunResult` to its name in print."""


@dataclass(frozen=True)
class Searched:
    """Scores of the same network when it is searched with in another way than by the photo's own feature."""

    name: str
    """In print, such as `4 views`."""
    rank1: float
    rank5: float
    rank10: float
    mAP: float
    mINP: float
    facts: dict[str, Any]
    """What made the features and what that cost; JSON-able."""


@dataclass(frozen=True)
class RunResult:
    """What one training and evaluation gave. Scores are 0..1."""

    name: str
    backbone: str
    init: str
    preset: str
    seed: int
    rank1: float
    rank5: float
    rank10: float
    mAP: float
    mINP: float
    n_train: int
    n_generated: int
    """Generated images among the `n_train`."""
    n_query: int
    n_gallery: int
    n_skipped: int
    """Queries without a correct image in the gallery, which count for nothing."""
    steps: int
    train_accuracy: float
    """Accuracy on the last tenth of the training images seen."""
    seconds: float
    amp: str
    """`bf16` or `off`."""
    device: str
    settings: TrainSettings
    breakdown: dict[str, dict[str, Part]] = field(default_factory=dict)
    """Kind of group (`camera`, and what the caller gave, such as `pose`) to group to scores of its queries."""
    searched: Searched | None = None
    """Where something else than the photo's own feature was searched with, too."""
    saved: dict[str, str] | None = None
    """`file` (its name) and `sha256` of the trained network, where it was kept."""
    skipped: tuple[str, ...] = ()
    """Paths of the `n_skipped` queries."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps; NaN, of a group in which no query counts, is None."""
        parts = {
            kind: {group: {key: None if value != value else value for key, value in asdict(part).items()}
                   for group, part in groups.items()}
            for kind, groups in self.breakdown.items()
        }  # fmt: skip
        return {**asdict(self), "settings": self.settings.to_dict(), "breakdown": parts}


@dataclass(frozen=True)
class Comparison:
    """Runs on the original and on the augmented training images, one of each for every seed, in the same order."""

    original: list[RunResult]
    augmented: list[RunResult]

    @property
    def gains(self) -> dict[str, tuple[float, float | None]]:
        """Metric to the mean gain (augmented - original, seed by seed) and its sample deviation, None for one seed."""
        return {metric: mean_sd(self.gain(metric)) for metric in METRICS}

    def gain(self, metric: str) -> list[float]:
        """Gain in `metric` for every seed."""
        pairs = zip(self.original, self.augmented, strict=True)
        return [getattr(augmented, metric) - getattr(original, metric) for original, augmented in pairs]

    @property
    def searched(self) -> Comparison | None:
        """The same runs with the scores of the other search in place of their own; None where there is none."""
        if any(result.searched is None for result in self.original + self.augmented):
            return None
        return Comparison([_as_searched(r) for r in self.original], [_as_searched(r) for r in self.augmented])

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps."""
        return {
            "original": [result.to_dict() for result in self.original],
            "augmented": [result.to_dict() for result in self.augmented],
            "gains": _gains(self),
            **({"gains_searched": _gains(self.searched)} if self.searched else {}),
        }


def _gains(comparison: Comparison) -> dict[str, dict[str, float | None]]:
    return {metric: {"mean": mean, "sd": sd} for metric, (mean, sd) in comparison.gains.items()}


def _as_searched(result: RunResult) -> RunResult:
    assert result.searched is not None
    return replace(result, **{metric: getattr(result.searched, metric) for metric in METRICS})


def mean_sd(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample deviation, None for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
