"""Carries out a plan: writes the augmented folder (`augment.folder.layout`), its keypoints, plan and manifest.

Every file appears whole or not at all, and the manifest comes last. A killed run goes on with `resume`; several
processes may share the work as shards. Nobody waits and nothing is locked: a shard's work is what it leaves in the
folder, and each that has done its part looks whether all parts are there, and then writes the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from augment.folder.copies import LINKS, is_there, list_copies, place, sweep
from augment.folder.joints import test_annotations, told_apart, train_annotations
from augment.folder.layout import ANNOTATIONS, MANIFEST, PART, PLAN
from augment.folder.manifest import (
    Job,
    Manifest,
    VerifyReport,
    begin_job,
    differences,
    file_entries,
    folder_files,
    read_job,
    read_manifest,
    verify,
    write_manifest,
)
from augment.folder.render import Task, is_complete, target_joints
from augment.folder.settings import RenderSettings
from augment.folder.source import Source
from augment.folder.strategy import CarriedOut, Plain, RenderStrategy, Work
from augment.generators.base import PoseGenerator
from augment.generators.open import facts_of, generator_sha256
from augment.plan.file import check_plan, plan_text
from augment.pose.keypoints import Keypoints, write_keypoints
from augment.runs import package_versions
from reid_eval.runtime import InputError, sha256_bytes, write_text

__all__ = ["VerifyReport", "generate", "verify"]

PLAIN = Plain()
SETTINGS = RenderSettings()


def generate(
    source: Source,
    plan: pd.DataFrame,
    generator: PoseGenerator,
    *,
    out: Path | str,
    settings: RenderSettings = SETTINGS,
    strategy: RenderStrategy = PLAIN,
    arguments: Mapping[str, Any] | None = None,
    link: str = "copy",
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
) -> Manifest | None:
    """Write the augmented folder of a plan.

    The same data, plan, weights and arguments give the same bytes of every file on one kind of machine, whatever the
    number of shards or the interruptions, and on a CPU whatever the batch size.

    Args:
        source: what the plan is about.
        plan: from `make_plan` or `read_plan`, for this data set.
        generator: see `augment.generators.open`. Photos of another size than its are resized to it, joints with them,
            and the result takes the photo's size again.
        out: folder to write; absent or empty, or begun by the same job and `resume`.
        settings: how to render.
        strategy: how the images come about; a gate (`augment.gate.strategy`) may change the plan on the way.
        arguments: what the plan was made with, for the manifest: no paths of this machine, no times.
        link: how images get here that are not generated: `copy`, `hard` or `symlink` (relative).
        resume: go on with an unfinished folder; a finished one is left as it is.
        shard: (index, count): do only the index-th of count equal parts.

    Returns:
        The manifest, or None if other shards are still at work.

    Raises:
        InputError: the plan does not fit the data; `out` has files of something else, or of a job that differs (the
            message says in what); an image cannot be read; a link cannot be made.
    """
    if link not in LINKS:
        raise InputError(f"link {link!r}: choose from {', '.join(LINKS)}", "link")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]} of {shard[1]}: expected 0 <= index < count", "shard")
    check_plan(plan, source.data.train, source.keypoints, source.library)
    _check_layout(plan, source.data.layout)
    work = Work(source, plan, Path(out), generator, settings, shard)
    facts = {**(arguments or {}), **facts_of(generator), **strategy.described()}
    job = _job(work, link, facts)
    copies = list_copies(source.data, plan)
    if _open_folder(work.out, job, resume or shard[1] > 1):
        return _finished_by_another(work.out)
    try:
        strategy.render(work)
        place(source.data.root, work.out, copies[shard[0] :: shard[1]], link)
        return _conclude(work, strategy, job)
    except FileNotFoundError:
        if (manifest := _finished_by_another(work.out)) is None:
            raise
        return manifest  # it swept away what this one was writing


def _job(work: Work, link: str, arguments: dict[str, Any]) -> Job:
    generator, settings, device = work.generator, work.settings, work.generator.device.type
    return Job(
        plan_sha256=sha256_bytes(plan_text(work.plan).encode()),
        keypoints_sha256=work.source.sha256(),
        weights=generator.name,
        weights_sha256=generator_sha256(generator),
        layout=work.source.data.layout,
        generator_size=generator.size,
        sigma=generator.sigma,
        precision=settings.precision,  # type: ignore[arg-type]  # pydantic checks it
        device=device,
        jpeg_quality=settings.jpeg_quality,
        link=link,  # type: ignore[arg-type]
        arguments=arguments,
        batch_size=None if device == "cpu" else work.chunk,
    )


def _check_layout(plan: pd.DataFrame, layout: str) -> None:
    depth = 3 if layout == "folders" else 2
    wrong = next((path for path in plan["output"] if path and path.count("/") + 1 != depth), None)
    if wrong:
        raise InputError(f"plan output {wrong} does not fit the layout {layout}: make the plan with that layout")


def _open_folder(out: Path, job: Job, resume: bool) -> bool:
    """Get the folder ready for `job`; True if it is finished already. Several processes may do so at once."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder", "out")
    old = read_job(out) if out.is_dir() else None
    if old is None:
        foreign = next((name for name in folder_files(out) if PART not in name), None) if out.is_dir() else None
        old = read_job(out) if foreign else None  # what is there may be a shard's that began while this one looked
        if foreign and old is None:
            raise InputError(f"{out} is not empty and no augmented folder ({foreign}): give another folder", "out")
        out.mkdir(parents=True, exist_ok=True)
        if old is None and begin_job(out, job):
            return False
    old = old or read_job(out)
    if old is None:
        raise InputError(f"{out}: another process removes files there: give another folder", "out")
    if changed := differences(old, job):
        raise InputError(f"{out} was made with other settings ({changed}): give another folder", "out")
    finished = (out / MANIFEST).is_file()
    if not resume:
        state = "finished" if finished else "unfinished"
        raise InputError(f"{out} holds this job already, {state}: give another folder, or resume", "resume")
    return finished


def _finished_by_another(out: Path) -> Manifest | None:
    """The manifest, if there is one; what a killed or a slower process left beside it goes."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    sweep(out)
    return manifest


def _conclude(work: Work, strategy: RenderStrategy, job: Job) -> Manifest | None:
    """Finish the folder if all of it is there, whoever made it; None while others are at work.

    Every shard comes here after all of its own work, so the last one finds all there. Two that come at the same
    instant may both finish: they write the same bytes, and one that loses a file to the other's sweeping is done.
    """
    source, out = work.source, work.out
    done = strategy.gather(work)
    if done is None:
        return _finished_by_another(out)
    copies = list_copies(source.data, done.plan)
    if done.plan is not work.plan:  # real images that are kept after all
        asked = set(list_copies(source.data, work.plan))
        place(source.data.root, out, [pair for pair in copies if pair not in asked], job.link)
    tasks = source.tasks(done.plan, out)
    there = all(is_there(source.data.root / image, out / target) for image, target in copies)
    if not there or not all(is_complete(task.output) for task in tasks):
        return _finished_by_another(out)
    return _finish(work, done, job, tasks, [target for _, target in copies])


def _finish(work: Work, done: CarriedOut, job: Job, tasks: Sequence[Task], copies: Sequence[str]) -> Manifest:
    """Write what is known only of the whole: plan, keypoints, manifest."""
    source, plan, out, data = work.source, done.plan, work.out, work.source.data
    texts = {PLAN: plan_text(plan), **done.logs}
    for name, text in texts.items():
        write_text(out / name, text)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(target_joints, tasks))
    test = test_annotations(source.keypoints, data)
    train = told_apart(train_annotations(source.keypoints, plan, made, data.layout), test)
    for name, table in zip(ANNOTATIONS, (train, test), strict=True):
        write_keypoints(out / name, table)
    names = [*plan.loc[plan["action"] == "generate", "output"], *copies, *texts, *ANNOTATIONS]
    manifest = Manifest(
        job=job,
        versions=package_versions(),
        counts={
            "identities": int(data.train["pid"].nunique()),
            "train": int((plan["action"] != "drop").sum()),
            "train_generated": len(tasks),
            "train_dropped": int((plan["action"] == "drop").sum()),
            "query": len(data.query),
            "gallery": len(data.gallery),
        },
        reports={
            "train_without_usable_keypoints": _without(source.keypoints, data.train, usable_only=True),
            "test_without_keypoints": [
                path for table in (data.query, data.gallery) for path in _without(source.keypoints, table)
            ],
            **done.reports,
        },
        files=file_entries(out, sorted(names)),
        gate=done.gate,
    )
    write_manifest(out, manifest)
    sweep(out)
    return manifest


def _without(keypoints: Keypoints, table: pd.DataFrame, usable_only: bool = False) -> list[str]:
    paths = table["path"].tolist()
    rows = keypoints.rows(paths).tolist()
    return [p for p, row in zip(paths, rows, strict=True) if row < 0 or (usable_only and not keypoints.usable[row])]
