"""The one writer of the tars of a large run, and the reader of a picture in them.

A tar holds WebDataset samples: `000000012.jpg`, the picture, and `000000012.json`, what is known of it. The number is
the row among the images of its split, so names of files, which may have dots, do not matter. Times, owners and modes
are always the same: the same job gives the same bytes. A tar appears whole, after a record of what is in it, so a tar
with its record is done, whoever made it.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.folder.layout import SCRATCH
from augment.folder.render import Generator, Settings, Task, encode_image, pipe, target_joints
from reid_eval.foreign import open_regular, read_foreign, read_json
from reid_eval.limits import LARGEST_INTEGER, MOST_PICTURE_BYTES, MOST_TABLE_BYTES
from reid_eval.runtime import InputError, atomic_path, sha256_file, write_json

RECORDS = f"{SCRATCH}/tars"


@dataclass(frozen=True, eq=False)
class Row:
    """An image of a tar.

    Attributes:
        facts: for its JSON; a generated one's joints are added.
        photo: the file to copy; None: it is generated.
        joints: `[18, 2]` of a photo, (x, y) pixels, None if nobody knows them.
    """

    facts: dict[str, Any]
    photo: Path | None = None
    joints: Any = None


@dataclass(frozen=True, eq=False)
class TarJob:
    """All that one tar takes; pickles, so that any process can make it.

    Attributes:
        out: the folder.
        name: of the tar in it.
        first: number of its first image in the split.
        rows: its images in their order.
        chunks: of the tasks that the generated ones need, as every run of the plan cuts them.
        skipped: generated images of the first chunk that are another tar's.
    """

    out: Path
    name: str
    first: int
    rows: Sequence[Row]
    chunks: Sequence[Sequence[Task]]
    skipped: int


class Sample(BaseModel):
    """Where an image is in its tar."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    offset: int = Field(ge=0, le=LARGEST_INTEGER)
    size: int = Field(ge=0, le=MOST_PICTURE_BYTES)


class TarRecord(BaseModel):
    """What is in a tar."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: str
    size: int = Field(ge=0, le=LARGEST_INTEGER)
    samples: list[Sample]


def is_tar_name(name: str) -> bool:
    """Whether a text is the name of a tar as they are written here."""
    return re.fullmatch(r"(train|query|gallery)-[0-9]{6,12}\.tar", name) is not None


def read_record(out: Path, name: str) -> TarRecord | None:
    """The record of a tar that is there, in full; None without one, or without the tar."""
    try:
        record = TarRecord.model_validate(read_json(out / RECORDS / f"{name}.json", MOST_TABLE_BYTES))
        there = (out / name).stat().st_size == record.size
    except (OSError, ValueError, ValidationError):
        return None
    return record if there else None


def write_tar(job: TarJob, generator: Generator, settings: Settings) -> TarRecord:
    """Make a tar, or see that it is there.

    Raises:
        InputError: as `augment.folder.render.render`.
        RunError: the disk is full, read-only or gone.
    """
    if (record := read_record(job.out, job.name)) is not None:
        return record
    target = job.out / job.name
    with atomic_path(target) as temporary:
        with open(temporary, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            samples = [
                _add(tar, job.first + place, *one) for place, one in enumerate(_images(job, generator, settings))
            ]
        record = TarRecord(sha256=sha256_file(temporary), size=temporary.stat().st_size, samples=samples)
        write_json(job.out / RECORDS / f"{job.name}.json", record.model_dump(mode="json"))
    return record


def _images(job: TarJob, generator: Generator, settings: Settings) -> Iterator[tuple[dict[str, Any], str, bytes]]:
    """Facts, suffix and bytes of the images of a tar, in their order."""

    def finish(pixels: Any, task: Task, size: tuple[int, int]) -> tuple[bytes, Any]:
        return encode_image(pixels, task.output.suffix, size, settings.jpeg_quality), target_joints(task)

    made = (one for _, ends in pipe(job.chunks, generator, settings, finish) for one in ends)
    for _ in range(job.skipped):
        next(made)
    for row in job.rows:
        suffix = Path(row.facts["name"]).suffix.lower()
        data, joints = (_read(row.photo), row.joints) if row.photo else next(made)
        yield {**row.facts, "joints": None if joints is None else _listed(joints)}, suffix, data


def _read(path: Path) -> bytes:
    try:
        return read_foreign(path, MOST_PICTURE_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read image {path}: {error}") from None


def _listed(joints: Any) -> list[list[float] | None]:
    """Joints as JSON has them: [x, y] in pixels, null where missing."""
    return [None if np.isnan(x) or np.isnan(y) else [float(x), float(y)] for x, y in joints.tolist()]


def _add(tar: tarfile.TarFile, number: int, facts: dict[str, Any], suffix: str, data: bytes) -> Sample:
    key = f"{number:09d}"
    tar.addfile(_info(key + suffix, len(data)), io.BytesIO(data))
    padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    offset = tar.offset - padded  # names are short: a header is one block, and its data follow
    text = json.dumps(facts, sort_keys=True).encode()
    tar.addfile(_info(f"{key}.json", len(text)), io.BytesIO(text))
    return Sample(name=facts["name"], offset=offset, size=len(data))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def read_picture(path: Path, offset: int, size: int) -> bytes:
    """The bytes of a picture in a tar.

    Raises:
        InputError: the tar is shorter, or not there.
    """
    try:
        with open_regular(path) as file:
            file.seek(offset)
            data = bytes(file.read(min(size, MOST_PICTURE_BYTES)))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(data) != size:
        raise InputError(f"{path} ends before the picture at {offset}: verify the folder")
    return data
