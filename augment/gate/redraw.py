"""What the gate means for a plan: other poses to try, and the plan as it was carried out. Writes and reads its log."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.folder.carry import Source
from augment.folder.render import Task
from augment.gate.attempts import Asked
from augment.gate.judge import MARGIN, NUMBERS, REASONS, Gate, Verdict, tests_made
from augment.plan.donors import PosePool, kept_pool, library_pool, redraw_pose
from augment.plan.file import LIBRARY
from augment.pose.library import frame_of
from reid_eval.foreign import reason_of
from reid_eval.foreign_csv import read_csv
from reid_eval.runtime import InputError

RETRIES = 2
DRAWS = 3
"""Raise it when other images begin to be rejected, or to be tried in other poses: what was made before is another
result."""
_NUMBER = re.compile(r"(-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?)?")
_REASON = "|".join(REASONS)
_PLAIN = {
    "index": re.compile(r"[0-9]{1,18}"),
    "attempt": re.compile(r"[0-9]{1,18}"),
    "accepted": re.compile(r"[01]"),
    "reasons": re.compile(rf"(({_REASON})(\+({_REASON}))*)?"),
    **dict.fromkeys(NUMBERS, _NUMBER),
}
"""What stands in the log's columns, but for names."""
_LOG_COLUMNS = ("index", "output", "attempt", "pose", "accepted", "reasons", *NUMBERS)


@dataclass(frozen=True)
class GateRun:
    """A gate and how it is used.

    Attributes:
        gate: judges.
        retries: how often a rejected image is made again in another pose.
        source: where poses come from, one of `augment.plan.donors.POSE_SOURCES`.
        exclude: never take the pose of the condition image itself.
        seed: of the draws.
    """

    gate: Gate
    retries: int = RETRIES
    source: str = "dataset"
    exclude: bool = False
    seed: int = 0

    def described(self) -> dict[str, Any]:
        """For the job: all of it that bears on the bytes, and no path of this machine."""
        limits, person = self.gate.thresholds.to_dict(), self.gate.person
        told = {"thresholds": {**limits, "estimator": limits["estimator"].partition(":")[0]}, "retries": self.retries}
        return told if person is None else {**told, "person": person.described()}


class Redrawing:
    """Finds other poses for images of a plan, from the plan's own candidates: kept images, or the library.

    Which poses an image may be tried in is settled for the whole plan beforehand, image by image in its order, so that
    no photo is made in one pose twice, and so that it matters to no shard what another rejects.

    Args:
        run: says where from.
        source: data set, joints, and the pose library where the plan uses one.
        plan: the plan.
    """

    def __init__(self, run: GateRun, source: Source, plan: pd.DataFrame) -> None:
        self.run, self.source, self.library = run, source, source.library
        made = plan[plan["action"] == "generate"]
        names = ("pid", "condition", "pose", "output")
        self.pids, self.conditions, self.poses, self.outputs = (made[name].tolist() for name in names)
        self.siblings: dict[str, list[int]] = {}
        for index, photo in enumerate(self.conditions):
            self.siblings.setdefault(photo, []).append(index)
        self.kept = kept_pool(plan, source.keypoints, run.seed)
        self._settled: dict[str, dict[tuple[int, int], int]] = {}

    @cached_property
    def lender(self) -> PosePool:
        """The library's usable poses."""
        assert self.library is not None
        return library_pool(self.library, self.run.seed)

    def __call__(self, asked: Asked, used: Sequence[str]) -> Asked | None:
        """The same image in a pose that no image of the same photo has or gets; None if there is no other.

        Args:
            asked: the image, in the pose that was rejected.
            used: the poses that it was tried in.
        """
        photo = self.conditions[asked.index]
        if photo not in self._settled:
            self._settled[photo] = self._settle(photo)
        row = self._settled[photo].get((asked.index, len(used)))
        if row is None:
            return None
        pool, old = self._pool(asked.index), asked.task
        name = pool.names[row]
        donor, frame = (self.source.file(name), None) if pool is self.kept else (None, frame_of(name))
        return Asked(
            asked.index,
            Task(old.photo, old.source, donor, pool.xy[row], old.output, frame),
            name,
            asked.output,
            asked.pid,
        )

    def _pool(self, index: int) -> PosePool:
        return self.lender if self.poses[index].startswith(LIBRARY) else self.kept

    def _settle(self, photo: str) -> dict[tuple[int, int], int]:
        """The rows that lend poses to the images of one photo, by image and number of tries before."""
        taken = {self.poses[index] for index in self.siblings[photo]}
        settled = {}
        for tries in range(1, self.run.retries + 1):
            for index in self.siblings[photo]:
                pool = self._pool(index)
                condition, source = (pool.places[photo], self.run.source) if pool is self.kept else (-1, "dataset")
                free = np.ones(len(pool), dtype=bool)
                free[[pool.places[name] for name in taken if name in pool.places]] = False
                draw = ("gate", self.outputs[index], tries)
                row = redraw_pose(pool, self.pids[index], condition, free, source, self.run.exclude, *draw)
                if row is not None:
                    settled[index, tries] = row
                    taken.add(pool.names[row])
        return settled


@dataclass(frozen=True)
class Outcome:
    """A plan after the gate.

    Attributes:
        plan: as it was carried out: poses that were accepted, images given up left out, real ones kept instead.
        given_up: outputs of the plan that were not made.
        kept_instead: real images that the plan would have dropped.
        facts: counts, reasons and rates, for the manifest.
    """

    plan: pd.DataFrame
    given_up: tuple[str, ...]
    kept_instead: tuple[str, ...]
    facts: dict[str, Any]


def outcome(
    plan: pd.DataFrame,
    attempts: Sequence[Mapping[str, Any]],
    layout: str,
    renamed: Mapping[str, str] | None = None,
) -> Outcome:
    """The plan as it was carried out.

    An image that was given up is left out. If its identity has dropped images (`replace`), the first of them by path
    that is not back yet is kept after all, so that the identity keeps its number of images.

    Args:
        plan: as it was asked.
        attempts: from `augment.gate.attempts.read_records`.
        layout: of the data set.
        renamed: as `ReidData.renamed`.
    """
    from augment.plan.sampler import output_path

    names = renamed or {}

    accepted = {one["output"]: one["pose"] for one in attempts if one["accepted"]}
    table = plan.astype({"action": object, "pose": object, "output": object})  # pandas' str takes no empty lists
    made = table["action"] == "generate"
    table.loc[made, "pose"] = [accepted.get(output, "") for output in table.loc[made, "output"]]
    lost = made & (table["pose"] == "")
    restored = []
    for pid, count in table.loc[lost, "pid"].value_counts().sort_index().items():
        dropped = table[(table["action"] == "drop") & (table["pid"] == pid)].sort_values("image").index[:count]
        table.loc[dropped, "action"] = "keep"
        table.loc[dropped, "output"] = [
            output_path(names.get(image, image), layout) for image in table.loc[dropped, "image"]
        ]
        restored += table.loc[dropped, "image"].tolist()
    given_up = tuple(sorted(table.loc[lost, "output"]))
    return Outcome(
        table[~lost].reset_index(drop=True), given_up, tuple(sorted(restored)), attempt_facts(attempts, int(made.sum()))
    )


def attempt_facts(attempts: Sequence[Mapping[str, Any]], asked: int) -> dict[str, Any]:
    """Counts, reasons and rates of the attempts at so many images, for a manifest."""
    rejected = [one for one in attempts if not one["accepted"]]
    accepted = len(attempts) - len(rejected)
    first = sum(one["accepted"] and one["attempt"] == 0 for one in attempts)
    tests = tests_made(_of_person(attempts))
    return {
        "asked": asked,
        "accepted_at_once": first,
        "accepted_after_retry": accepted - first,
        "given_up": asked - accepted,
        "attempts": len(attempts),
        "rejections": len(rejected),
        "rejection_rate": round(len(rejected) / max(1, len(attempts)), 4),
        "reasons": {reason: sum(reason in one["reasons"] for one in rejected) for reason in tests},
    }


def _of_person(attempts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a gate that made these attempts tested the person."""
    return any(MARGIN in one for one in attempts)


def log_text(attempts: Sequence[Mapping[str, Any]]) -> str:
    """The text of `augmentation/gate.csv`: a line an attempt, with its numbers and why it was rejected.

    The last column, `margin`, is there only where a gate tested the person.
    """
    buffer = io.StringIO()
    columns = (*_LOG_COLUMNS, MARGIN) if _of_person(attempts) else _LOG_COLUMNS
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for one in attempts:
        writer.writerow({**one, "reasons": "+".join(one["reasons"]), "accepted": int(one["accepted"])})
    return buffer.getvalue()


def read_log(path: Path) -> dict[str, Verdict]:
    """The verdict on every image that was accepted, by output, from `augmentation/gate.csv`.

    Raises:
        InputError: it cannot be read, or is no such log.
    """
    try:
        table = read_csv(path)
        if tuple(table.columns) not in (_LOG_COLUMNS, (*_LOG_COLUMNS, MARGIN)):
            raise ValueError(f"its columns are not {','.join(_LOG_COLUMNS)}, nor these and {MARGIN}")
        plain = {**_PLAIN, MARGIN: _NUMBER} if MARGIN in table else _PLAIN
        for row, words in enumerate(table[list(plain)].itertuples(index=False, name=None), 2):
            if not all(form.fullmatch(word) for form, word in zip(plain.values(), words, strict=True)):
                raise ValueError(f"row {row} is none that the gate writes")
        accepted = table[table["accepted"] == "1"]
        if accepted["output"].duplicated().any():
            raise ValueError("an image was accepted twice")
        columns = [[_number(text) for text in accepted[name]] for name in NUMBERS]
        margins = [_number(text) for text in accepted[MARGIN]] if MARGIN in table else [None] * len(accepted)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the gate's log {path}: {reason_of(error)}") from None
    errors, drifts, contrasts, saturated, noises = columns
    each = zip(accepted["output"].tolist(), errors, drifts, contrasts, saturated, noises, margins, strict=True)
    return {output: Verdict(a, b, c, d, e, (), margin) for output, a, b, c, d, e, margin in each}


def _number(text: str) -> float:
    value = float(text) if text else math.nan
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value
