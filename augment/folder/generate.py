"""Carries out a plan: writes the augmented folder (`augment.folder.layout`), its keypoints, plan and manifest.

Every file appears whole or not at all, and the manifest comes last. A killed run goes on with `resume`; several
processes may share the work as shards, and the last to finish writes the manifest. Of two processes for one part, the
second waits for the first (`augment.folder.part_lock`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from augment.folder.carry import Carried, PlainRendering, Rendering, Source, Work, generated_names, tasks_of
from augment.folder.layout import (
    ANNOTATIONS,
    LINKS,
    PLAN,
    UNFINISHED,
    is_there,
    list_copies,
    place,
    sweep,
    test_annotations,
    told_apart,
    train_annotations,
)
from augment.folder.manifest import (
    MANIFEST,
    Job,
    Manifest,
    VerifyReport,
    begin_job,
    check_terms,
    differences,
    file_entries,
    folder_files,
    read_job,
    read_manifest,
    verify,
    write_manifest,
)
from augment.folder.part_lock import part_lock, remove_locks
from augment.folder.place import refuse_inside
from augment.folder.secret_key import SecretKey, keep_key, throw_away
from augment.plan.file import check_plan, plan_text
from augment.pose.keypoints import Keypoints, write_keypoints
from augment.runs import package_versions
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError, RunError, first_five, sha256_bytes, sweep_parts, write_text
from reid_eval.writing import PART

if TYPE_CHECKING:
    from augment.folder.render import Settings
    from augment.generators.base import PoseGenerator

__all__ = ["RenderSettings", "VerifyReport", "finished", "generate", "verify"]

PRECISIONS = ("float32", "bf16", "int8")
_OF_KEY = ("anonymous", "plan_sha256", "keypoints_sha256")
"""Of a job: what a key determines."""


@dataclass(frozen=True)
class RenderSettings:
    """How images are made and written.

    Attributes:
        precision: `float32`, or `bf16`: faster where the processor computes it, but less exact. A generator with an
            engine (`augment.generators.open.use_engine`) has its own, which has to be this one; `int8` needs one.
        jpeg_quality: 1 to 100.
        batch_size: images read and written in one step; on a GPU also what the network sees at once, while on a CPU
            that is always `CHUNK` of `augment.folder.render`, so that it never changes a byte.
        device: kind of device that makes them, where that is not the generator's own: on other machines.
    """

    precision: str = "float32"
    jpeg_quality: int = 95
    batch_size: int = 64
    device: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"precision {self.precision!r}: choose from {', '.join(PRECISIONS)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"JPEG quality {self.jpeg_quality}: expected 1 to 100")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: expected 1 or more")

    def on(self, generator: PoseGenerator) -> Settings:
        """With what the generator adds."""
        import torch

        from augment.folder.render import Settings
        from augment.generators.open import check_engine

        check_engine(generator, self.precision)
        device = generator.device if self.device is None else torch.device(self.device)
        return Settings(generator.size, device, self.precision, self.jpeg_quality, self.batch_size)


def generate(
    source: Source,
    plan: pd.DataFrame,
    generator: PoseGenerator,
    out: Path | str,
    *,
    settings: RenderSettings | None = None,
    rendering: Rendering | None = None,
    link: str = "copy",
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    arguments: Mapping[str, Any] | None = None,
    terms: str | None = None,
) -> Manifest | None:
    """Write the augmented folder of a plan.

    Many arguments because each says one thing of a job.

    The same source, plan, generator and arguments give the same bytes of every file on one kind of machine, whatever
    the number of shards or the interruptions; on a CPU also whatever the batch size.

    Args:
        source: data set, joints, pose library.
        plan: from `make_plan` or `read_plan`, for this data set.
        generator: see `augment.generators.open`. Photos of another size than its are resized to it, joints with them,
            and the result takes the photo's size again.
        out: folder to write; absent or empty, or begun by the same job and `resume`.
        settings: how images are made and written.
        rendering: what makes them; default: `PlainRendering`. Where it changes the plan, the folder's plan is the one
            that was carried out in the end.
        link: how images get here that are not generated: `copy`, `hard` or `symlink` (relative); an anonymous source's
            are copied.
        resume: go on with an unfinished folder; a finished one is left as it is.
        shard: (index, count): do only the index-th of count equal parts.
        arguments: what the plan was made with, for the manifest: no paths of this machine, no times.
        terms: of the photographs, for the manifest: licence, attribution, limits of use; one line.

    Returns:
        The manifest, or None if other shards are still at work: the last of them to get here writes it.

    Raises:
        InputError: the plan does not fit the data; `out` lies in the data set, has files of something else, or of
            a job that differs (the message says in what); an image cannot be read; a link cannot be made.
        RunError: files vanished that were written already, or the disk is full, read-only or gone.
    """
    if link not in LINKS:
        raise InputError(f"link {link!r}: choose from {', '.join(LINKS)}")
    if source.key is not None and link != "copy":
        raise InputError(f"link {link!r} leads back to the data set: an anonymous folder holds copies", "link")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]} of {shard[1]}: expected 0 <= index < count")
    check_terms(terms)
    refuse_inside(Path(out), source.data.root)
    check_plan(plan, source.data.train, source.keypoints, source.library, source.data.layout)
    rendering, out = rendering or PlainRendering(), Path(out)
    work = Work(source, plan, generator, out, (settings or RenderSettings()).on(generator), shard)
    hidden = {} if source.key is None else {"anonymous": f"key {source.key.mark}"}
    job = job_of(work, link, {**(arguments or {}), **rendering.facts(), **hidden}, terms)
    copies, was_there = _copies(source, plan), out.is_dir()
    if begin_folder(out, job, resume or shard[1] > 1, source.key):
        return finished(out)
    with part_lock(out, shard):
        return _make_alone(work, rendering, job, copies, was_there)


def _make_alone(
    work: Work, rendering: Rendering, job: Job, copies: Sequence[tuple[str, str]], was_there: bool
) -> Manifest | None:
    """Make this part, whose lock is held; a failure before anything was made leaves nothing."""
    out = work.out
    if (manifest := finished(out)) is not None:  # by whoever held the lock
        return manifest
    if not (out / UNFINISHED).is_file():  # whoever held it failed, and left nothing
        begin_folder(out, job, True, work.source.key)
    sweep_parts(out, deep=True)
    try:
        return _make(work, rendering, job, copies)
    except BaseException:
        if work.shard[1] == 1:  # of several parts another may be at work
            _leave_nothing(out, was_there)
        raise


def _leave_nothing(out: Path, was_there: bool) -> None:
    """Remove the mark of a folder in which nothing was made, and what is empty; itself, too, if it was not there."""
    if set(folder_files(out)) - {UNFINISHED}:
        return
    sweep_folder(out)
    for folder, *_ in os.walk(out, topdown=False):
        if was_there and Path(folder) == out:
            return
        with suppress(OSError):  # somebody has just put something there
            Path(folder).rmdir()


def _copies(source: Source, plan: pd.DataFrame) -> list[tuple[str, str]]:
    """As `list_copies`, with the names that the files have in the data set."""
    return [(source.original(path), target) for path, target in list_copies(source.data, plan)]


def _make(work: Work, rendering: Rendering, job: Job, copies: Sequence[tuple[str, str]]) -> Manifest | None:
    """Make this part, and finish the folder if it is the last one."""
    out, mine = work.out, copies[work.shard[0] :: work.shard[1]]
    try:
        rendering.render(work)
        place(work.source.data.root, out, mine, job.link)
        carried = rendering.carried(work)
        lacking = _lacking(work, carried, job, copies) if carried else None
        if carried and not lacking:
            return _finish(work, carried, job)
        gone = lacking or rendering.lacking(work)
        if work.shard[1] > 1:  # what is missing may be the others', but not of what this one has just made
            gone = [*rendering.lacking(work), *_not_there(work.source.data.root, out, mine)]
    except FileNotFoundError as error:
        gone = [error.filename or "a file that was being written"]
    if (manifest := finished(out)) is not None:  # of another process, which swept away what this one was writing
        return manifest
    if gone:
        begin_job(out, job)  # where the mark is gone, too, nobody could resume
        raise RunError(
            f"{len(gone)} files of {out} vanished while it was being made: {first_five(gone)}; did something remove "
            "them, or their originals? Resume it to make them again"
        )
    return None


def _lacking(work: Work, carried: Carried, job: Job, copies: Sequence[tuple[str, str]]) -> list[str]:
    """Files that the folder lacks, whoever was to make them.

    Every process comes here after all of its own work, so the last one finds everything. Two that come at the same
    instant may both finish the folder: they write the same bytes.
    """
    from augment.folder.render import is_complete

    root, wanted = work.source.data.root, _copies(work.source, carried.plan)
    place(root, work.out, sorted(set(wanted) - set(copies)), job.link)
    return [
        *(name for name in generated_names(carried.plan) if not is_complete(work.out / name)),
        *_not_there(root, work.out, wanted),
    ]


def _not_there(root: Path, out: Path, pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [target for source, target in pairs if not is_there(root / source, out / target)]


def finished(out: Path) -> Manifest | None:
    """The manifest, if there is one; what a killed or a slower process left beside it goes."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    sweep_folder(out)
    return manifest


def sweep_folder(out: Path) -> None:
    """Remove what a finished folder needs no more, locks among it."""
    sweep(out)
    remove_locks(out)
    throw_away(out)


def job_of(work: Work, link: str, arguments: Mapping[str, Any], terms: str | None = None) -> Job:
    """What the folder is made from, as its manifest tells it."""
    from augment.generators.open import backend_of, facts_of, generator_sha256

    source, generator, settings = work.source, work.generator, work.settings
    batch = {} if settings.device.type == "cpu" else {"batch_size": settings.chunk}
    return Job(
        plan_sha256=sha256_bytes(plan_text(work.plan).encode()),
        keypoints_sha256=keypoints_sha(source.keypoints, source.library),
        weights=generator.name,
        weights_sha256=generator_sha256(generator),
        layout=source.data.layout,
        generator_size=generator.size,
        sigma=generator.sigma,
        precision=settings.precision,  # type: ignore[arg-type]  # checked when they were made
        backend=backend_of(generator),  # type: ignore[arg-type]
        device=settings.device.type,
        jpeg_quality=settings.jpeg_quality,
        link=link,  # type: ignore[arg-type]
        arguments={**arguments, **facts_of(generator), **batch},
        terms=terms,
    )


def keypoints_sha(keypoints: Keypoints, library: Keypoints | None) -> str:
    """What tells the joints that a folder is made with from others."""
    parts = [part for table in (keypoints, library) if table for part in ("\n".join(table.names), table.xy.tobytes())]
    return sha256_bytes(b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts))


def begin_folder(out: Path, job: Job, resume: bool, key: SecretKey | None = None) -> bool:
    """Get the folder ready for `job`; True if it is finished already. Several processes may begin at one instant.

    Args:
        out, job: the folder, and what it is to become.
        resume: what is there may be gone on with.
        key: of an anonymous folder.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder to write")
    old = read_job(out) if out.is_dir() else None
    if old is None:
        foreign = next((name for name in folder_files(out) if PART not in name), None) if out.is_dir() else None
        out.mkdir(parents=True, exist_ok=True)
        if foreign and read_job(out) is None:  # else what was seen is another process's, which has just begun
            raise InputError(f"{out} is not empty and no augmented folder ({foreign}): name another folder")
        if key is not None:
            keep_key(out, key)
        if begin_job(out, job):
            return False
        old = read_job(out)
    finished = (out / MANIFEST).is_file()
    # The key that a finished folder was made with may be gone, and what was hashed with it cannot be compared
    unknown = _OF_KEY if finished and key is not None and key.drawn else ()
    if old is not None and (changed := differences(old, job, unknown)):
        raise InputError(f"{out} was made with other settings ({changed}): name another folder")
    if not resume:
        state = "finished" if finished else "unfinished"
        raise InputError(f"{out} holds this job already, {state}: resume it, or name another folder", "resume")
    return finished


def _finish(work: Work, carried: Carried, job: Job) -> Manifest:
    """Write what is known only of the whole: plan, keypoints, manifest. Two processes may do so at once."""
    out, source, plan = work.out, work.source, carried.plan
    outputs = [*generated_names(plan), *(target for _, target in list_copies(source.data, plan))]
    logs = {PLAN: plan_text(plan), **carried.logs}
    for name, text in logs.items():
        write_text(out / name, text)
    for name, table in zip(ANNOTATIONS, written_annotations(source, plan, out), strict=True):
        write_keypoints(out / name, table)
    manifest = Manifest(
        job=job,
        versions=package_versions(),
        counts=count_images(source.data, plan),
        reports={**reports_of(source), **{name: list(found) for name, found in carried.reports.items()}},
        files=file_entries(out, sorted([*outputs, *ANNOTATIONS, *logs])),
        gate=carried.gate,
    )
    write_manifest(out, manifest)
    sweep_folder(out)  # only now: a run that is killed before the manifest is there needs what lies in the way
    return manifest


def written_annotations(source: Source, plan: pd.DataFrame, out: Path) -> tuple[Keypoints, Keypoints]:
    """Joints of a plan's training images in its folder, and of the test images."""
    from augment.folder.render import target_joints

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(target_joints, tasks_of(source, plan, out)))
    test = test_annotations(source.keypoints, source.data)
    return told_apart(train_annotations(source.keypoints, plan, made, source.data.layout), test), test


def count_images(data: ReidData, plan: pd.DataFrame) -> dict[str, int]:
    """How many images of each kind a plan comes to, for the manifest."""
    actions = plan["action"].value_counts().to_dict()
    return {
        "identities": int(data.train["pid"].nunique()),
        "train": int(len(plan) - actions.get("drop", 0)),
        "train_generated": int(actions.get("generate", 0)),
        "train_dropped": int(actions.get("drop", 0)),
        "query": len(data.query),
        "gallery": len(data.gallery),
    }


def reports_of(source: Source) -> dict[str, list[str]]:
    """Images that need a word, for the manifest."""
    data, keypoints = source.data, source.keypoints
    return {
        "train_without_usable_keypoints": _without(keypoints, data.train, usable_only=True),
        "test_without_keypoints": [path for table in (data.query, data.gallery) for path in _without(keypoints, table)],
    }


def _without(keypoints: Keypoints, table: pd.DataFrame, usable_only: bool = False) -> list[str]:
    paths = table["path"].tolist()
    rows = keypoints.rows(paths).tolist()
    return [p for p, row in zip(paths, rows, strict=True) if row < 0 or (usable_only and not keypoints.usable[row])]
