"""Renders a plan through the gate: an image that fails is made again in another pose, a few times, then given up.

Each chunk leaves a record of all its attempts in the folder's scratch; a chunk with a record is done. What an attempt
gives depends on the chunk alone, so that shards and interruptions change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from augment.folder.layout import SCRATCH
from augment.folder.render import (
    Generator,
    Loaded,
    Settings,
    Task,
    as_stored,
    compute,
    is_complete,
    load_task,
    repeatable,
    save_image,
)
from augment.gate.judge import REASONS, Gate, Verdict
from reid_eval.foreign import read_json
from reid_eval.helping import helping_threads
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import ProgressBar, write_json

RECORDS = f"{SCRATCH}/gate"
Chunk = Sequence["Asked"]


@dataclass(frozen=True, eq=False)
class Asked:
    """An image of the plan: its number there, what to render, names of the pose and of the file in the folder, whom it
    shows."""

    index: int
    task: Task
    pose: str
    output: str
    pid: int


Redraw = Callable[[Asked, Sequence[str]], Asked | None]
"""Another pose for an image, none of the names given; None if there is no other."""


@dataclass(frozen=True, eq=False)
class Judging:
    """A gate, where other poses come from, and how often they are tried."""

    gate: Gate
    redraw: Redraw
    retries: int


class _Attempt(BaseModel):
    """A row of a record; see `_row`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    index: int
    output: str
    attempt: int
    pose: str
    accepted: bool
    reasons: list[str]
    pose_error: float | None
    colour_drift: float | None
    contrast: float | None
    saturated: float | None
    noise: float | None
    margin: float | None = None
    """There only if a gate tested the person."""


_RECORD = TypeAdapter(list[_Attempt])


def record_path(out: Path, number: int) -> Path:
    """Where the record of a chunk lies."""
    return out / RECORDS / f"{number:06d}.json"


def render_gated(
    chunks: Sequence[tuple[int, Chunk]],
    generator: Generator,
    settings: Settings,
    judging: Judging,
    out: Path,
    bar: ProgressBar,
) -> None:
    """Make the images of numbered chunks that have no record yet; arguments as in `augment.folder.render.render`."""
    todo = [(number, chunk) for number, chunk in chunks if not is_done(out, number, chunk, judging.redraw)]
    bar.skip(sum(len(chunk) for _, chunk in chunks) - sum(len(chunk) for _, chunk in todo))
    with helping_threads(settings.device) as pool, repeatable():
        ahead = _begin(pool, todo[0][1], settings) if todo else []
        for place, (number, chunk) in enumerate(todo):
            loaded = [future.result() for future in ahead]
            ahead = _begin(pool, todo[place + 1][1], settings) if place + 1 < len(todo) else []
            record = _render_chunk(chunk, loaded, generator, settings, judging, pool)
            write_json(record_path(out, number), record)
            bar.advance(len(chunk))


def read_records(out: Path, chunks: Sequence[tuple[int, Chunk]], redraw: Redraw) -> list[dict[str, Any]] | None:
    """All attempts in the order of the plan, None while a chunk's record is missing."""
    records = [_read(out, number, chunk, redraw) for number, chunk in chunks]
    if any(record is None for record in records):
        return None
    return [attempt for record in records if record is not None for attempt in record]


def is_done(out: Path, number: int, chunk: Chunk, redraw: Redraw) -> bool:
    """Whether a chunk has its record, and what was accepted is there."""
    record = _read(out, number, chunk, redraw)
    return record is not None and all(is_complete(out / one["output"]) for one in record if one["accepted"])


def _read(out: Path, number: int, chunk: Chunk, redraw: Redraw) -> list[dict[str, Any]] | None:
    """A chunk's record; None if there is none, or one that the chunk could not have left: then it is made again."""
    try:
        record = _RECORD.validate_python(read_json(record_path(out, number), MOST_TABLE_BYTES))
    except (OSError, ValueError):  # a ValidationError is a ValueError
        return None
    rows: dict[int, list[_Attempt]] = {asked.index: [] for asked in chunk}
    for one in record:
        rows.setdefault(one.index, []).append(one)
    if len(rows) > len(chunk) or not all(_is_of(asked, rows[asked.index], redraw) for asked in chunk):
        return None
    return [one.model_dump(exclude_unset=True) for one in record]


def _is_of(asked: Asked, rows: Sequence[_Attempt], redraw: Redraw) -> bool:
    """Whether these are attempts at an image: its output, in the poses that it is tried in, until one is accepted."""
    pose, used = asked.pose, list[str]()
    for number, row in enumerate(rows):
        last = number + 1 == len(rows)
        if (row.output, row.attempt, row.pose) != (asked.output, number, pose) or (row.accepted and not last):
            return False
        if not set(row.reasons) <= set(REASONS):
            return False
        used.append(pose)
        if not last:
            other = redraw(asked, used)
            if other is None:
                return False
            pose = other.pose
    return bool(rows)


def _begin(pool: ThreadPoolExecutor, chunk: Chunk, settings: Settings) -> list[Future[Loaded]]:
    return [pool.submit(load_task, one.task, settings.size) for one in chunk]


def _render_chunk(
    chunk: Chunk,
    loaded: Sequence[Loaded],
    generator: Generator,
    settings: Settings,
    judging: Judging,
    pool: ThreadPoolExecutor,
) -> list[dict[str, Any]]:
    """All attempts of one chunk, as its record; what is accepted is saved."""
    attempts: list[dict[str, Any]] = []
    saving: list[Future[None]] = []
    tried: dict[int, list[str]] = {one.index: [] for one in chunk}
    pending = list(zip(chunk, loaded, strict=True))
    for attempt in range(judging.retries + 1):
        images = compute(generator, [one for _, one in pending], settings)[: len(pending)]
        again: list[tuple[Asked, Loaded]] = []
        verdicts = _judge(judging.gate, pending, images, settings.jpeg_quality, pool)
        for (asked, one), image, verdict in zip(pending, images, verdicts, strict=True):
            attempts.append(_row(asked, attempt, verdict))
            tried[asked.index].append(asked.pose)
            if verdict.ok:
                output = asked.task.output
                saving.append(pool.submit(save_image, image, output, one.size, settings.jpeg_quality))
            elif attempt < judging.retries and (other := judging.redraw(asked, tried[asked.index])) is not None:
                again.append((other, one))
        pending = [(asked, load_task(asked.task, settings.size)) for asked, _ in again]
        if not pending:
            break
    for future in saving:
        future.result()
    return sorted(attempts, key=lambda row: (row["index"], row["attempt"]))


def _judge(
    gate: Gate, pending: Sequence[tuple[Asked, Loaded]], images: np.ndarray, quality: int, pool: ThreadPoolExecutor
) -> list[Verdict]:
    """Verdicts on the images as a reader of the folder will find them: JPEG moves some across a threshold."""
    stored = pool.map(
        lambda item: as_stored(item[1], item[0][0].task.output, item[0][1].size, quality),
        zip(pending, images, strict=True),
    )
    images = np.stack(list(stored))
    joints = np.stack([one.joints for _, one in pending])
    photos = np.stack([one.image for _, one in pending])
    pids = np.array([asked.pid for asked, _ in pending], np.int64)
    return gate.judge(images, joints[:, 1], photos, joints[:, 0], pids)


def _row(asked: Asked, attempt: int, verdict: Verdict) -> dict[str, Any]:
    return {
        "index": asked.index,
        "output": asked.output,
        "attempt": attempt,
        "pose": asked.pose,
        "accepted": verdict.ok,
        "reasons": list(verdict.reasons),
        **verdict.numbers(),
    }


def numbered(asked: Sequence[Asked], size: int) -> Iterator[tuple[int, Chunk]]:
    """Cut all images of a plan into numbered chunks."""
    for number, start in enumerate(range(0, len(asked), size)):
        yield number, asked[start : start + size]
