"""How long the missing cells of a table should take: from the records there are, or from a few steps."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import numpy as np

from augment.table.study import Cell, Study
from reid_eval.runtime import resolve_device
from reid_eval.training import train_on

SLOW = 10.0
"""Seconds of the first two steps from which on those are enough: a GPU's first steps are slow, but never so slow."""


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
    # Two identities for the loss, and for `pk` as many as a batch takes
    count = max(settings.batch_size, 2 * settings.images_per_id)
    noise = np.random.default_rng(0).integers(0, 256, (count, 3, *settings.size), np.uint8)
    labels = np.arange(count, dtype=np.int64) // settings.images_per_id

    def clock(steps: int) -> float:
        start = time.perf_counter()
        train_on(noise, labels, settings, steps)
        return time.perf_counter() - start

    few = clock(2)  # the first steps also choose algorithms
    if few > SLOW:
        step = few / 2
    else:
        few, many = clock(2), clock(8)
        step = max(many - few, 1e-6) / 6
    passes = (len(study.reid.query) + len(study.reid.gallery)) * (1 + settings.eval_flip) / settings.batch_size / 3
    return few + step * (study.steps(backbone) + passes)


def duration(seconds: float) -> str:
    """In print: `90 s`, `12.0 min`, `3.5 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
