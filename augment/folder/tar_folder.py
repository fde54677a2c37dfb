"""A plan as WebDataset tars, for runs too large for a file an image.

    OUT/train-000000.tar ...            kept and generated images, in the plan's order
    OUT/query-000000.tar, gallery-...   the test splits, as they were
    OUT/index.json                      the tars of each split: images, bytes, SHA-256
    OUT/augmentation/plan.parquet       the plan, and where each image is: tar, offset, size
    OUT/augmentation/manifest.json      there once all else is

The pictures are those of a plain folder, byte for byte. Every tar is made by itself: several processes share them as
shards, and a killed run goes on with the tars that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from augment.folder.carry import PlainRendering, Source, Tasks, Work
from augment.folder.generate import (
    RenderSettings,
    begin_folder,
    count_images,
    finished,
    job_of,
    reports_of,
    sweep_folder,
)
from augment.folder.manifest import FileEntry, Manifest, check_terms, write_manifest
from augment.folder.part_lock import part_lock
from augment.folder.place import refuse_inside
from augment.folder.plan_parquet import TAR_PLAN, check_arrow, write_tar_plan
from augment.folder.render import chunks_of
from augment.folder.tar_shards import Row, TarJob, TarRecord, read_record
from augment.generators.base import PoseGenerator
from augment.plan.file import check_plan
from augment.runs import package_versions
from reid_eval.limits import LARGEST_INTEGER
from reid_eval.runtime import InputError, progress, sha256_file, sweep_parts, write_json

INDEX = "index.json"
IMAGES_PER_SHARD = 10_000
SPLITS = ("train", "query", "gallery")


class TarEntry(BaseModel):
    """A tar in the index."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: str
    images: int = Field(ge=0, le=LARGEST_INTEGER)
    size: int = Field(ge=0, le=LARGEST_INTEGER)
    sha256: str


class Index(BaseModel):
    """What `index.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    format: Literal["webdataset"] = "webdataset"
    splits: dict[str, list[TarEntry]]


class TarJobs(Sequence[TarJob]):
    """The tars of a folder, each made up when it is asked for.

    Args:
        work: the whole of the work.
        per_tar: images of a tar.
    """

    def __init__(self, work: Work, per_tar: int) -> None:
        self.work, self.per_tar = work, per_tar
        plan, data = work.plan, work.source.data
        self.plan = plan[plan["action"] != "drop"].reset_index(drop=True)
        made = (self.plan["action"] == "generate").to_numpy()
        self._before = np.concatenate([[0], np.cumsum(made)])
        self.tasks = Tasks(work.source, plan, work.out)
        self.tables: dict[str, pd.DataFrame] = {"train": self.plan, "query": data.query, "gallery": data.gallery}
        self.places = [(split, start) for split in SPLITS for start in range(0, len(self.tables[split]), per_tar)]

    @property
    def images(self) -> int:
        """Of all tars."""
        return sum(map(len, self.tables.values()))

    def __len__(self) -> int:
        return len(self.places)

    def name(self, number: int) -> str:
        """Of a tar."""
        split, start = self.places[number]
        return f"{split}-{start // self.per_tar:06d}.tar"

    def __getitem__(self, number: Any) -> Any:
        split, start = self.places[number]
        part = self.tables[split].iloc[start : start + self.per_tar]
        if split != "train":
            return TarJob(self.work.out, self.name(number), start, self._photos(part), (), 0)
        first, last = int(self._before[start]), int(self._before[start + len(part)])
        size = self.work.settings.chunk
        chunks = chunks_of(self.tasks, size)[first // size : -(-last // size)] if last > first else ()
        return TarJob(
            self.work.out, self.name(number), start, self._rows(part), list(chunks), first % size if chunks else 0
        )

    def _rows(self, part: pd.DataFrame) -> list[Row]:
        records = part.to_dict("records")
        joints = self._joints([str(record["image"]) for record in records])
        return [
            Row(
                {"name": one["output"], "generated": not one["image"]}
                | {key: one[key] for key in ("pid", "camid", "condition", "pose")},
                self.work.source.data.root / one["image"] if one["image"] else None,
                known,
            )
            for one, known in zip(records, joints, strict=True)
        ]

    def _photos(self, part: pd.DataFrame) -> list[Row]:
        paths = part["path"].tolist()
        told = zip(paths, part["pid"].tolist(), part["camid"].tolist(), self._joints(paths), strict=True)
        root = self.work.source.data.root
        return [Row({"name": path, "pid": pid, "camid": camid}, root / path, known) for path, pid, camid, known in told]

    def _joints(self, paths: list[str]) -> list[Any]:
        keypoints = self.work.source.keypoints
        return [None if row < 0 else keypoints.xy[row] for row in keypoints.rows(paths).tolist()]


def generate_tars(
    source: Source,
    plan: pd.DataFrame,
    generator: PoseGenerator,
    out: Path | str,
    *,
    images_per_shard: int = IMAGES_PER_SHARD,
    settings: RenderSettings | None = None,
    rendering: PlainRendering | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    arguments: Mapping[str, Any] | None = None,
    terms: str | None = None,
) -> Manifest | None:
    """Write the tars of a plan; the same source, plan, generator and arguments give the same bytes.

    Many arguments because each says one thing of a job.

    Args:
        source, plan, generator, out, settings, resume, shard, arguments, terms: as for
            `augment.folder.generate.generate`; shards share tars.
        images_per_shard: images of a tar.
        rendering: what makes them; default: this process.

    Returns:
        The manifest, or None if other shards are still at work.

    Raises:
        InputError: as `augment.folder.generate.generate`, or `pyarrow` is not installed.
        RunError: the disk is full, read-only or gone.
    """
    if images_per_shard < 1:
        raise InputError(f"{images_per_shard} images a shard: expected 1 or more", "images_per_shard")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]} of {shard[1]}: expected 0 <= index < count")
    if source.key is not None:
        raise InputError("tars have no anonymous form: write a plain folder", "anonymous")
    check_arrow()
    check_terms(terms)
    refuse_inside(Path(out), source.data.root)
    check_plan(plan, source.data.train, source.keypoints, source.library, source.data.layout)
    out = Path(out)
    work = Work(source, plan, generator, out, (settings or RenderSettings()).on(generator), shard)
    how = {**(arguments or {}), "format": "tar", "images_per_shard": images_per_shard}
    job = job_of(work, "copy", how, terms)
    if begin_folder(out, job, resume or shard[1] > 1):
        return finished(out)
    with part_lock(out, shard):
        if (manifest := finished(out)) is not None:
            return manifest
        sweep_parts(out, deep=True)
        jobs = TarJobs(work, images_per_shard)
        mine = _Part(jobs, range(len(jobs))[shard[0] :: shard[1]])
        with progress("Generating", sum(map(mine.images, range(len(mine))))) as bar:
            for count in (rendering or PlainRendering()).make_tars(mine, work):
                bar.advance(count)
        return _finish(jobs, work, job) if all(read_record(out, jobs.name(n)) for n in range(len(jobs))) else None


class _Part(Sequence[TarJob]):
    """Some of the tars."""

    def __init__(self, jobs: TarJobs, numbers: range) -> None:
        self.jobs, self.numbers = jobs, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return self.jobs[self.numbers[place]]

    def images(self, place: int) -> int:
        split, start = self.jobs.places[self.numbers[place]]
        return min(self.jobs.per_tar, len(self.jobs.tables[split]) - start)


def _finish(jobs: TarJobs, work: Work, job: Any) -> Manifest:
    """Index, plan and manifest, from the records of all tars. Two processes may do so at once."""
    out = work.out
    splits: dict[str, list[TarEntry]] = {split: [] for split in SPLITS}

    def records() -> Iterator[tuple[str, TarRecord]]:
        for number, (split, _) in enumerate(jobs.places):
            record = read_record(out, jobs.name(number))
            assert record is not None
            entry = TarEntry(file=jobs.name(number), images=len(record.samples), size=record.size, sha256=record.sha256)
            splits[split].append(entry)
            if split == "train":
                yield entry.file, record

    write_tar_plan(out / TAR_PLAN, work.plan, records())
    write_json(out / INDEX, Index(splits=splits).model_dump(mode="json"))
    tars = {one.file: FileEntry(sha256=one.sha256, size=one.size) for part in splits.values() for one in part}
    others = {
        name: FileEntry(sha256=sha256_file(out / name), size=(out / name).stat().st_size) for name in (INDEX, TAR_PLAN)
    }
    manifest = Manifest(
        job=job,
        versions=package_versions(),
        counts=count_images(work.source.data, work.plan),
        reports=reports_of(work.source),
        files=dict(sorted({**tars, **others}.items())),
    )
    write_manifest(out, manifest)
    sweep_folder(out)
    return manifest
