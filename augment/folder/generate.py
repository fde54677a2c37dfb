"""Carries out a plan: writes the augmented folder, its keypoints, plan and manifest.

    OUT/bounding_box_train              kept and generated images
    OUT/query, OUT/bounding_box_test    as they were
    OUT/market-annotation-train.csv     joints of all training images; a generated one has its target pose
    OUT/market-annotation-test.csv
    OUT/augmentation/plan.csv, manifest.json

Every file appears whole or not at all, and the manifest comes last. A killed run goes on with `resume`; several
processes may share the work as shards. Nobody waits and nothing is locked: a shard's work is what it leaves in the
folder, and each that has done its part looks whether all parts are there, and then writes the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from augment.folder.layout import (
    ANNOTATIONS,
    LINKS,
    PLAN,
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
    PART,
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
from augment.plan.file import LIBRARY, check_plan, plan_text
from augment.pose.keypoints import Keypoints, write_keypoints
from augment.pose.library import frame_of
from augment.runs import package_versions
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError, progress, resolve_device, sha256_bytes, write_text

if TYPE_CHECKING:
    import torch

    from augment.folder.render import Generator, Task
    from augment.gate.redraw import GateRun
    from augment.gate.strategy import Gated

__all__ = ["VerifyReport", "generate", "verify"]

PRECISIONS = ("float32", "bf16")


def generate(
    data: ReidData,
    keypoints: Keypoints,
    plan: pd.DataFrame,
    generator: Generator,
    *,
    out: Path | str,
    device: str | torch.device = "auto",
    batch_size: int = 64,
    link: str = "copy",
    resume: bool = False,
    jpeg_quality: int = 95,
    precision: str = "float32",
    library: Keypoints | None = None,
    arguments: Mapping[str, Any] | None = None,
    shard: tuple[int, int] = (0, 1),
    gate: GateRun | None = None,
) -> Manifest | None:
    """Write the augmented folder of a plan.

    The same data, plan, weights and arguments give the same bytes of every file on one kind of machine, whatever the
    batch size, the number of shards or the interruptions.

    Args:
        data: the data set.
        keypoints: of its images; (x, y) pixels of each image.
        plan: from `make_plan` or `read_plan`, for this data set.
        generator: on `device`; see `augment.generators.open`. Photos of another size than its are resized to it, joints
            with them, and the result takes the photo's size again.
        out: folder to write; absent or empty, or begun by the same job and `resume`.
        device: where the generator is.
        batch_size: images read and written in one step; the network sees `CHUNK` of `augment.folder.render` at a time.
        link: how images get here that are not generated: `copy`, `hard` or `symlink` (relative).
        resume: go on with an unfinished folder; a finished one is left as it is.
        jpeg_quality: 1 to 100.
        precision: `float32`, or `bf16`: three to five times faster on CPUs with AMX, but less exact.
        library: keypoints of the plan's `library:NAME` poses, in pixels of this data set's images.
        arguments: what the plan was made with, for the manifest: no paths of this machine, no times.
        shard: (index, count): do only the index-th of count equal parts.
        gate: rejects bad images; a rejected one is made again in other poses, then given up, and a real image that the
            plan drops is kept in its place. The folder's plan is the one that was carried out in the end.

    Returns:
        The manifest, or None if other shards are still at work.

    Raises:
        InputError: the plan does not fit the data; `out` has files of something else, or of a job that differs (the
            message says in what); an image cannot be read; a link cannot be made.
    """
    from augment.folder.render import Settings, chunks_of, render
    from augment.generators.open import facts_of, generator_sha256

    _check_options(batch_size, link, jpeg_quality, precision, shard)
    check_plan(plan, data.train, keypoints, library)
    _check_layout(plan, data.layout)
    where = resolve_device(str(device))
    job = Job(
        plan_sha256=sha256_bytes(plan_text(plan).encode()),
        keypoints_sha256=_keypoints_sha(keypoints, library),
        weights=generator.name,
        weights_sha256=generator_sha256(generator),
        layout=data.layout,
        generator_size=generator.size,
        sigma=generator.sigma,
        precision=precision,  # type: ignore[arg-type]  # checked above
        device=where.type,
        jpeg_quality=jpeg_quality,
        link=link,  # type: ignore[arg-type]
        arguments={**(arguments or {}), **facts_of(generator), **({"gate": gate.described()} if gate else {})},
    )
    out = Path(out)
    copies = list_copies(data, plan)
    if _open_folder(out, job, resume or shard[1] > 1):
        return _finished_by_another(out)
    tasks = _tasks(data, keypoints, library, plan, out)
    settings = Settings(job.generator_size, where, precision, jpeg_quality, batch_size)
    try:
        if gate is not None:
            from augment.gate.strategy import render_plan

            render_plan(gate, data, keypoints, library, plan, out, tasks, generator, settings, shard)
        else:
            chunks = chunks_of(tasks, shard)
            with progress("Generating", sum(map(len, chunks))) as bar:
                render(chunks, generator, settings, bar)
        place(data.root, out, copies[shard[0] :: shard[1]], link)
        return _conclude(data, keypoints, library, plan, job, out, tasks, gate)
    except FileNotFoundError:
        if (manifest := _finished_by_another(out)) is None:
            raise
        return manifest  # which swept away what this one was writing


def _check_options(batch_size: int, link: str, quality: int, precision: str, shard: tuple[int, int]) -> None:
    if batch_size < 1:
        raise InputError(f"--batch-size {batch_size}: expected 1 or more")
    if link not in LINKS:
        raise InputError(f"--link {link!r}: choose from {', '.join(LINKS)}")
    if not 1 <= quality <= 100:
        raise InputError(f"--quality {quality}: expected 1 to 100")
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]} of {shard[1]}: expected 0 <= index < count")


def _keypoints_sha(keypoints: Keypoints, library: Keypoints | None) -> str:
    parts = [part for table in (keypoints, library) if table for part in ("\n".join(table.names), table.xy.tobytes())]
    return sha256_bytes(b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts))


def _open_folder(out: Path, job: Job, resume: bool) -> bool:
    """Get the folder ready for `job`; True if it is finished already. Several processes may do so at once."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    old = read_job(out) if out.is_dir() else None
    if old is None:
        foreign = next((name for name in folder_files(out) if PART not in name), None) if out.is_dir() else None
        old = read_job(out) if foreign else None  # what is there may be a shard's that began while this one looked
        if foreign and old is None:
            raise InputError(f"--out {out} is not empty and no augmented folder ({foreign}): give another folder")
        out.mkdir(parents=True, exist_ok=True)
        if old is None and begin_job(out, job):
            return False
    old = old or read_job(out)
    if old is None:
        raise InputError(f"--out {out}: somebody removes files there: give another folder")
    if changed := differences(old, job):
        raise InputError(f"--out {out} was made with other settings ({changed}): give another folder")
    finished = (out / MANIFEST).is_file()
    if not resume:
        state = "finished" if finished else "unfinished"
        raise InputError(f"--out {out} holds this job already, {state}: add --resume, or give another folder")
    return finished


def _finished_by_another(out: Path) -> Manifest | None:
    """The manifest, if there is one; what a killed or a slower process left beside it goes."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    sweep(out)
    return manifest


def _check_layout(plan: pd.DataFrame, layout: str) -> None:
    depth = 3 if layout == "folders" else 2
    wrong = next((path for path in plan["output"] if path and path.count("/") + 1 != depth), None)
    if wrong:
        raise InputError(f"plan output {wrong} does not fit the layout {layout}: make the plan with that layout")


def _tasks(
    data: ReidData, keypoints: Keypoints, library: Keypoints | None, plan: pd.DataFrame, out: Path
) -> list[Task]:
    from augment.folder.render import Task

    paths = data.train["path"].tolist()
    pose = dict(zip(paths, keypoints.xy[keypoints.rows(paths)], strict=True)) if len(keypoints) else {}
    if library is not None:
        pose.update({LIBRARY + name: xy for name, xy in zip(library.names, library.xy, strict=True)})
    made = plan[plan["action"] == "generate"]
    return [
        Task(
            data.root / condition,
            pose[condition],
            None if donor.startswith(LIBRARY) else data.root / donor,
            pose[donor],
            out / output,
            frame_of(donor) if donor.startswith(LIBRARY) else None,
        )
        for condition, donor, output in zip(made["condition"], made["pose"], made["output"], strict=True)
    ]


def _conclude(
    data: ReidData,
    keypoints: Keypoints,
    library: Keypoints | None,
    plan: pd.DataFrame,
    job: Job,
    out: Path,
    tasks: Sequence[Task],
    gate: GateRun | None,
) -> Manifest | None:
    """Finish the folder if all of it is there, whoever made it; None while others are at work.

    Every shard comes here after all of its own work, so the last one finds all there. Two that come at the same
    instant may both finish: they write the same bytes, and each keeps still if the other removes what it needs.
    """
    from augment.folder.render import is_complete

    passed: Gated | None = None
    copies = list_copies(data, plan)
    if gate is not None:
        from augment.gate.strategy import gather

        passed = gather(plan, out, data.layout)
        if passed is None:
            return _finished_by_another(out)
        plan, before = passed.outcome.plan, set(copies)
        copies = list_copies(data, plan)
        place(data.root, out, [pair for pair in copies if pair not in before], job.link)
        tasks = _tasks(data, keypoints, library, plan, out)
    there = all(is_there(data.root / source, out / target) for source, target in copies)
    if not there or not all(is_complete(task.output) for task in tasks):
        return _finished_by_another(out)
    outputs = [*plan.loc[plan["action"] == "generate", "output"], *(target for _, target in copies)]
    return _finish(data, keypoints, plan, job, out, tasks, outputs, passed)


def _finish(
    data: ReidData,
    keypoints: Keypoints,
    plan: pd.DataFrame,
    job: Job,
    out: Path,
    tasks: Sequence[Task],
    outputs: Sequence[str],
    passed: Gated | None = None,
) -> Manifest:
    """Write what is known only of the whole: plan, keypoints, manifest."""
    from augment.folder.render import target_joints

    write_text(out / PLAN, plan_text(plan))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(target_joints, tasks))
    test = test_annotations(keypoints, data)
    train = told_apart(train_annotations(keypoints, plan, made, data.layout), test)
    for name, table in zip(ANNOTATIONS, (train, test), strict=True):
        write_keypoints(out / name, table)
    logs = [] if passed is None else passed.write_log(out)
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
            "train_without_usable_keypoints": _without(keypoints, data.train, usable_only=True),
            "test_without_keypoints": [
                path for table in (data.query, data.gallery) for path in _without(keypoints, table)
            ],
            **({} if passed is None else passed.reports()),
        },
        files=file_entries(out, sorted([*outputs, PLAN, *ANNOTATIONS, *logs])),
        gate=None if passed is None else passed.outcome.facts,
    )
    write_manifest(out, manifest)
    sweep(out)
    return manifest


def _without(keypoints: Keypoints, table: pd.DataFrame, usable_only: bool = False) -> list[str]:
    paths = table["path"].tolist()
    rows = keypoints.rows(paths).tolist()
    return [p for p, row in zip(paths, rows, strict=True) if row < 0 or (usable_only and not keypoints.usable[row])]
