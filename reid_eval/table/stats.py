"""Records to figures: mean and deviation over seeds, and the paired difference against the baseline row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_eval.table.cells import Record
from reid_eval.table.grid import Grid

METRICS = {"mAP": "mAP", "rank1": "rank-1"}
"""Field of `Scores` to its name in print."""
RESAMPLES = 2000
LEVEL = 0.95
POWER = 0.8
"""Chance of finding a difference, of which `detectable` speaks."""


@dataclass(frozen=True)
class Difference:
    """Of a row against the baseline, seed by seed and query by query; shares, -1..1."""

    mean: float
    low: float
    high: float
    """Ends of the 95% bootstrap interval of the mean."""
    gaps: tuple[float, ...]
    """Differences of the seeds that both have."""

    @property
    def pairs(self) -> int:
        """Seeds that both have."""
        return len(self.gaps)


@dataclass(frozen=True)
class Entry:
    """One printed cell."""

    backbone: str
    row: str
    column: str
    metric: str
    expected: int
    """Seeds asked for; 0 where the row has no such column."""
    values: tuple[float, ...]
    """One a finished seed, 0..1."""
    difference: Difference | None

    @property
    def mean(self) -> float:
        """Of the finished seeds, NaN without any."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def sd(self) -> float | None:
        """Sample deviation over seeds; None for fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


def summarise(grid: Grid, records: Mapping[str, Record]) -> list[Entry]:
    """Every metric of every cell of the grid, in its order; `records` by key, missing ones allowed."""
    return [
        _entry(grid, records, backbone, row, column, metric)
        for backbone in grid.backbones
        for row in grid.rows
        for column in grid.columns
        for metric in METRICS
    ]


def _entry(grid: Grid, records: Mapping[str, Record], backbone: str, row: str, column: str, metric: str) -> Entry:
    keys = [key for seed in grid.seeds if (key := grid.key(backbone, row, column, seed))]
    values = tuple(float(getattr(records[key].scores, metric)) for key in keys if key in records)
    difference = None
    if (baseline := grid.baseline_of(row)) is not None:
        both = [
            (grid.key(backbone, row, column, seed) or "", grid.key(backbone, baseline, column, seed) or "")
            for seed in grid.seeds
        ]
        pairs = [(records[a], records[b]) for a, b in both if a != b and a in records and b in records]
        difference = paired_difference(pairs, metric) if pairs else None
    return Entry(backbone, row, column, metric, len(keys), values, difference)


def paired_difference(pairs: list[tuple[Record, Record]], metric: str, resamples: int = RESAMPLES) -> Difference:
    """Mean of ours - theirs with its bootstrap interval.

    Test identities are drawn with replacement, each with all its queries (they are not independent), and so are the
    seeds where there are several. The interval thus speaks of other test people and, as far as so few seeds can, of
    other trainings. The same records give the same interval.

    Args:
        pairs: records of one seed each, on the same queries.
        metric: `mAP` or `rank1`.
        resamples: bootstrap draws.
    """
    gains = np.stack([query_scores(ours, metric) - query_scores(theirs, metric) for ours, theirs in pairs])
    pids = np.unique(pairs[0][0].queries.pids, return_inverse=True)[1].reshape(-1)
    counted = ~np.isnan(gains[0])
    people = int(pids.max()) + 1
    sizes = np.bincount(pids[counted], minlength=people).astype(float)
    sums = np.stack([np.bincount(pids[counted], row[counted], minlength=people) for row in gains])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(people, np.full(people, 1 / people), size=resamples)
    seeds = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=resamples) / len(pairs)
    means = ((drawn @ sums.T) * seeds).sum(1) / np.maximum(drawn @ sizes, 1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    each = sums.sum(1) / sizes.sum()
    return Difference(float(sums.sum() / sizes.sum() / len(pairs)), float(low), float(high), tuple(each.tolist()))


def query_scores(record: Record, metric: str) -> NDArray[np.float64]:
    """[Q]: the metric of every query, NaN where it has no correct image."""
    if metric == "mAP":
        return np.array([np.nan if value is None else value for value in record.queries.precisions])
    first = np.array(record.queries.first_ranks)
    return np.where(first == 0, np.nan, (first == 1).astype(float))


def share_of(
    gain: Difference | None, most: Difference, resamples: int = RESAMPLES
) -> tuple[float, float, float] | None:
    """Which share of another gain a gain is, of the seeds that both have, in order, and its 95% bootstrap interval.

    Seeds alone are drawn, both gains of a seed together; draws in which the other gain is not above 0 count as the
    widest. None where the two are not of the same seeds.

    Args:
        gain: over the baseline.
        most: over the same baseline; its mean is above 0.
        resamples: bootstrap draws.
    """
    if gain is None or gain.pairs != most.pairs:
        return None
    both = np.array([gain.gaps, most.gaps])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(most.pairs, np.full(most.pairs, 1 / most.pairs), size=resamples) @ both.T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(drawn[:, 1] > 0, drawn[:, 0] / drawn[:, 1], np.copysign(np.inf, drawn[:, 0]))
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(both[0].sum() / both[1].sum()), float(low), float(high)


def seeds_interval(gaps: Sequence[float]) -> tuple[float, float] | None:
    """Ends of the 95% interval of a mean over seeds, by Student's t; None for fewer than two seeds."""
    from scipy.special import stdtrit

    if len(gaps) < 2:
        return None
    half = float(stdtrit(len(gaps) - 1, (1 + LEVEL) / 2)) * float(np.std(gaps, ddof=1)) / len(gaps) ** 0.5
    mean = float(np.mean(gaps))
    return mean - half, mean + half


def detectable(sd: float, seeds: int, power: float = POWER) -> float:
    """The true mean difference that a paired two-sided t-test at 5% would find with probability `power`.

    Args:
        sd: sample deviation of the differences between seeds, in any unit.
        seeds: pairs, at least 2.
        power: 0.5 ... 1, exclusive.

    Returns:
        In the unit of `sd`. From the noncentral t distribution, the deviation taken as known to be `sd`.

    Raises:
        ValueError: fewer than two seeds.
    """
    from scipy.special import nctdtr, stdtrit

    if seeds < 2:
        raise ValueError(f"{seeds} seeds have no spread: at least 2")
    freedom = seeds - 1
    limit = float(stdtrit(freedom, (1 + LEVEL) / 2))
    low, high = 0.0, 4 * limit + 10
    for _ in range(60):  # power rises with the shift: halve until float64 cannot
        shift = (low + high) / 2
        found = 1 - float(nctdtr(freedom, shift, limit)) + float(nctdtr(freedom, shift, -limit))
        low, high = (shift, high) if found < power else (low, shift)
    return high * sd / seeds**0.5


def paired_p(gaps: Sequence[float]) -> float:
    """Probability of a mean so far from 0 over seeds where there is no difference: paired two-sided t-test, 0..1.

    1 where all are 0, and for fewer than two seeds.
    """
    from scipy.special import stdtr

    if len(gaps) < 2 or not any(gaps):
        return 1.0
    error = float(np.std(gaps, ddof=1)) / len(gaps) ** 0.5
    return float(2 * stdtr(len(gaps) - 1, -abs(float(np.mean(gaps))) / error)) if error else 0.0


def surviving(probabilities: Sequence[float]) -> int:
    """How many of several tests hold at 5% together, by Holm's procedure (Scandinavian Journal of Statistics, 1979)."""
    ordered = sorted(probabilities)
    for done, probability in enumerate(ordered):
        if probability > (1 - LEVEL) / (len(ordered) - done):
            return done
    return len(ordered)
