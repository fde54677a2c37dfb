"""How long the missing cells of a table should take: from the records there are, or from a few steps."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import numpy as np

from augment.table.study import Cell, Study
from reid_eval.limits import MOST_TRIAL_PIXELS
from reid_eval.runtime import resolve_device
from reid_eval.settings import TrainSettings
from reid_eval.training import train_on

SLOW = 10.0
"""Seconds of the first steps from which on those are enough: a GPU's first steps are slow, but never so slow."""
_STEPS = {"cpu": (1, 4)}
"""Of two trials, whose difference counts; a processor's steps are long, and all the same."""


def forecast(study: Study, cells: list[Cell]) -> tuple[float, str]:
    """Seconds that cells should take on one worker, and what that rests on: records of this device, or a trial."""
    records = study.records.found([cell.key for cell in study.cells])
    kind = resolve_device(study.device).type
    known: dict[str, float] = {}
    for backbone in study.recipe.backbones:
        times = [
            float(record.made["seconds"]) / (1 + record.facts["settings"].get("views", 0))
            for record in records.values()
            if record.facts["settings"]["backbone"] == backbone and record.made["device"] == kind
        ]
        if times:
            known[backbone] = statistics.median(times)
    tried = [name for name in study.recipe.backbones if name not in known]
    known.update({name: _trial(study, name) for name in tried})
    basis = f"measured on a few steps of {', '.join(tried)}" if tried else "the median of the records there are"
    return sum(known[cell.place.backbone] * (1 + cell.settings.views) for cell in cells), basis  # a view is an image


def _trial(study: Study, backbone: str) -> float:
    """Seconds of a cell, from a few steps on noise; the evaluation counts as half the steps it would fill."""
    settings = study.recipe.settings(backbone, 0)
    settings = replace(settings, device=study.device, bn_batches=0, init="scratch")
    whole, settings = settings.batch_size, small_enough(settings)
    # Two identities for the loss, and for `pk` as many as a batch takes
    count = max(settings.batch_size, 2 * settings.images_per_id)
    noise = np.random.default_rng(0).integers(0, 256, (count, 3, *settings.size), np.uint8)
    labels = np.arange(count, dtype=np.int64) // settings.images_per_id

    def clock(steps: int) -> float:
        start = time.perf_counter()
        train_on(noise, labels, settings, steps)
        return time.perf_counter() - start

    kind = resolve_device(study.device).type
    first, last = _STEPS.get(kind, (2, 8))
    few = clock(first)
    if few > SLOW:
        step = few / first
    else:
        if kind != "cpu":  # the first steps also chose algorithms
            few = clock(first)
        step = max(clock(last) - few, 1e-6) / (last - first)
    step *= whole / settings.batch_size
    passes = (len(study.reid.query) + len(study.reid.gallery)) * (1 + settings.eval_flip) / whole / 3
    return few + step * (study.steps(backbone) + passes)


def small_enough(settings: TrainSettings) -> TrainSettings:
    """With a batch of at most `MOST_TRIAL_PIXELS`, but of two groups of a person's images at least: a recipe may ask
    for batches of which a processor does one in ten minutes."""
    group = settings.images_per_id
    most = max(MOST_TRIAL_PIXELS // (settings.size[0] * settings.size[1]) // group, 2) * group
    return replace(settings, batch_size=min(settings.batch_size, most))


def duration(seconds: float) -> str:
    """In print: `90 s`, `12.0 min`, `3.5 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
