"""Mends a finished augmented folder: what the gate rejects is made again in another pose, or given up.

OUT/augmentation/repair/            while it is at work: new images, records of attempts, then what is to be moved
OUT/augmentation/repair-0001.csv    all attempts of the first repair, as `gate.csv` is of a generation

Until all new images are there nothing else in the folder changes, so that a killed repair goes on when it is asked for
again. Then a list of all moves is written, and they are made; a repair that is killed among them is finished by the
next. The manifest comes last and tells of the repair, and the folder is as it says.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from augment.folder.carry import Source, tasks_of
from augment.folder.generate import count_images, keypoints_sha, written_annotations
from augment.folder.layout import ANNOTATIONS, PLAN, REPAIR, folder_plan, list_copies, place
from augment.folder.manifest import FileEntry, Manifest, Name, file_entries, read_manifest, write_manifest
from augment.folder.part_lock import part_lock, remove_locks
from augment.folder.render import Settings
from augment.gate.attempts import Asked, Chunk, Judging, numbered, read_records, render_gated
from augment.gate.redraw import GateRun, Outcome, Redrawing, attempt_facts, log_text, outcome
from augment.generators.base import PoseGenerator
from augment.generators.open import generator_sha256
from augment.plan.file import plan_text
from augment.pose.keypoints import write_keypoints
from augment.runs import package_versions
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import InputError, progress, write_json, write_text

_ASKED, _MOVES = "asked.json", "moves.json"


class _Moves(BaseModel):
    """What is left to do when all images are there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    moves: list[Name]
    """Files of the repair's folder that go to the same place in the augmented one."""
    removes: list[Name]
    """Images that were given up."""
    restores: list[Annotated[tuple[Name, Name], Field(strict=False)]]  # lists in JSON
    """Real images that are kept after all: path in the data set, and in the folder."""
    manifest: Manifest

    @model_validator(mode="after")
    def _of_a_repair(self) -> _Moves:
        if not self.manifest.repairs:
            raise ValueError("the manifest tells of no repair")
        return self


@dataclass(frozen=True)
class Repaired:
    """What became of a repair."""

    asked: int
    mended: int
    given_up: int
    kept_instead: int

    @property
    def message(self) -> str:
        """One line."""
        if not self.asked:
            return "Nothing to repair."
        instead = f" ({self.kept_instead} real images are kept in their place)" if self.kept_instead else ""
        return f"Repaired: {self.mended} of {self.asked} made again and accepted, {self.given_up} given up{instead}."


def unfinished_repair(out: Path) -> bool:
    """Whether a repair was killed while it moved files: the folder is not as its manifest says until it is finished."""
    return (out / REPAIR / _MOVES).is_file()


def finish_repair(out: Path, source: Source) -> Repaired:
    """Make the moves that a killed repair left.

    Raises:
        InputError: the list of moves cannot be read, or a real image is gone.
    """
    try:
        left = _Moves.model_validate(read_json(out / REPAIR / _MOVES, MOST_TABLE_BYTES))
    except (OSError, ValueError) as error:
        reason = f"{error.error_count()} fields are wrong" if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"cannot read {out / REPAIR / _MOVES} ({reason}): generate the folder anew") from None
    _check_places(out, [*left.moves, *left.removes, *(name for _, name in left.restores)])
    for name in left.moves:
        if (new := out / REPAIR / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            new.replace(out / name)
    for name in left.removes:
        (out / name).unlink(missing_ok=True)
    place(source.data.root, out, left.restores, left.manifest.job.link)
    write_manifest(out, left.manifest)
    shutil.rmtree(out / REPAIR)
    facts = left.manifest.repairs[-1]
    return Repaired(facts["asked"], facts["asked"] - facts["given_up"], facts["given_up"], len(left.restores))


def _check_places(out: Path, names: Sequence[str]) -> None:
    """Refuse moves of what is no file of the folder: a link in it may lead to other files of the user."""
    root = out.resolve()
    for name in names:
        if not (out / name).parent.resolve().is_relative_to(root) or (out / name).is_dir():
            raise InputError(f"{out / REPAIR / _MOVES}: {name[:80]} is no file in the folder: generate the folder anew")


def repair(out: Path, source: Source, rejected: Sequence[str], generator: PoseGenerator, run: GateRun) -> Repaired:
    """Make rejected images of a finished folder again, as `generate --gate` would have.

    Each is tried in its own pose first, in case the file was spoilt and not the image, then in others. What fails
    `run.retries` times is left out, and a real image that the plan dropped is kept in its place, if one was.

    Args:
        out: the folder.
        source: data set, joints and library that it was made of.
        rejected: its generated images that are to go, by their path there.
        generator: that made it.
        run: the gate, and how other poses are found.

    Raises:
        InputError: data set, joints or generator are not those that the folder was made with.
    """
    manifest = read_manifest(out)
    _check_same(out, manifest, source, generator)
    with part_lock(out, (0, 1)):
        if not rejected:
            return Repaired(0, 0, 0, 0)
        plan, scratch = folder_plan(out), out / REPAIR
        settings = _settings(manifest, generator)
        asked = _asked(source, plan, scratch, rejected)
        _begin(scratch, {"rejected": list(rejected), "how": _told(run, generator)})
        attempts = _attempts(
            scratch, asked, settings, generator, Judging(run.gate, Redrawing(run, source, plan), run.retries)
        )
        found = _outcome(plan, attempts, set(rejected), source)
        _write_moves(out, source, manifest, found, attempts, run, generator)
        done = finish_repair(out, source)
    remove_locks(out)
    return done


def _check_same(out: Path, manifest: Manifest, source: Source, generator: PoseGenerator) -> None:
    job = manifest.job
    if job.keypoints_sha256 != keypoints_sha(source.keypoints, source.library):
        raise InputError(
            f"{out} was made with other keypoints, or another pose library, than these: name those", "keypoints"
        )
    if job.weights_sha256 != generator_sha256(generator):
        raise InputError(f"{out} was made by {job.weights}, which is not {generator.name}: name that one", "generator")


def _settings(manifest: Manifest, generator: PoseGenerator) -> Settings:
    job = manifest.job
    batch = int(job.arguments.get("batch_size", 64))
    return Settings(generator.size, generator.device, job.precision, job.jpeg_quality, batch)


def _asked(source: Source, plan: pd.DataFrame, scratch: Path, rejected: Sequence[str]) -> list[Asked]:
    """The rejected images, with their numbers in the plan."""
    made = plan[plan["action"] == "generate"]
    named = zip(tasks_of(source, plan, scratch), made["pose"], made["output"], made["pid"], strict=True)
    wanted, every = set(rejected), (Asked(index, *each) for index, each in enumerate(named))
    return [asked for asked in every if asked.output in wanted]


def _begin(scratch: Path, asked: Mapping[str, Any]) -> None:
    """Go on with what a killed repair left, if it was asked for the same; else begin anew."""
    try:
        same = read_json(scratch / _ASKED, MOST_TABLE_BYTES) == dict(asked)
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(scratch, ignore_errors=True)
        write_json(scratch / _ASKED, dict(asked))


def _attempts(
    scratch: Path, asked: Sequence[Asked], settings: Settings, generator: PoseGenerator, judging: Judging
) -> list[dict[str, Any]]:
    chunks: list[tuple[int, Chunk]] = list(numbered(asked, settings.chunk))
    with progress("Repairing", len(asked)) as bar:
        render_gated(chunks, generator, settings, judging, scratch, bar)
    attempts = read_records(scratch, chunks, judging.redraw)
    if attempts is None:
        raise InputError(f"{scratch} lost files while it was written: give the same command again")
    return attempts


def _outcome(plan: pd.DataFrame, attempts: Sequence[Mapping[str, Any]], rejected: set[str], source: Source) -> Outcome:
    """The plan as it is after the repair; images that nobody rejected stay."""
    made = plan[plan["action"] == "generate"]
    stay: list[Mapping[str, Any]] = [
        {"output": output, "pose": pose, "accepted": True, "attempt": 0, "reasons": []}
        for output, pose in zip(made["output"], made["pose"], strict=True)
        if output not in rejected
    ]
    found = outcome(plan, [*stay, *attempts], source.data.layout, source.data.renamed)
    return replace(found, facts=attempt_facts(attempts, len(rejected)))


def _told(run: GateRun, generator: PoseGenerator) -> dict[str, Any]:
    """What of a repair bears on the bytes."""
    how = {
        "pose_source": run.source,
        "exclude_same_image": run.exclude,
        "seed": run.seed,
        "device": generator.device.type,
    }
    return {**run.described(), **how}


def _write_moves(
    out: Path,
    source: Source,
    manifest: Manifest,
    found: Outcome,
    attempts: Sequence[Mapping[str, Any]],
    run: GateRun,
    generator: PoseGenerator,
) -> None:
    """Write all new files of the folder into the repair's, and the list of what goes where."""
    scratch, number = out / REPAIR, len(manifest.repairs) + 1
    log = f"augmentation/repair-{number:04d}.csv"
    mended = sorted(one["output"] for one in attempts if one["accepted"])
    there = set(manifest.files)
    restores = [pair for pair in list_copies(source.data, found.plan) if pair[1] not in there]
    write_text(scratch / PLAN, plan_text(found.plan))
    write_text(scratch / log, log_text(attempts))
    for name, table in zip(ANNOTATIONS, written_annotations(source, found.plan, out), strict=True):
        write_keypoints(scratch / name, table)
    moves = [*mended, PLAN, log, *ANNOTATIONS]
    new = {**file_entries(scratch, moves), **_entries_of(source, restores)}
    gone = set(found.given_up)
    files = {name: entry for name, entry in manifest.files.items() if name not in gone} | new
    job = manifest.job
    told = [*job.arguments.get("repairs", []), _told(run, generator)]
    after = manifest.model_copy(
        update={
            "job": job.model_copy(update={"arguments": {**job.arguments, "repairs": told}}),
            "versions": package_versions(),
            "counts": count_images(source.data, found.plan),
            "reports": _reports(manifest, found),
            "files": dict(sorted(files.items())),
            "repairs": [*manifest.repairs, found.facts],
        }
    )
    left = _Moves(moves=moves, removes=list(found.given_up), restores=restores, manifest=after)
    write_json(scratch / _MOVES, left.model_dump(mode="json"))


def _entries_of(source: Source, restores: Sequence[tuple[str, str]]) -> dict[str, FileEntry]:
    found = file_entries(source.data.root, [image for image, _ in restores])
    return {target: found[image] for image, target in restores}


def _reports(manifest: Manifest, found: Outcome) -> dict[str, list[str]]:
    new = {"gate_given_up": found.given_up, "gate_kept_instead": found.kept_instead}
    return {
        **manifest.reports,
        **{name: sorted({*manifest.reports.get(name, []), *names}) for name, names in new.items()},
    }


def how_to_redraw(manifest: Manifest, plan_source: tuple[str, bool]) -> dict[str, Any]:
    """Pose source, whether the photo's own pose is excluded, and seed: as the folder was made, as far as it says so.

    Args:
        manifest: of the folder.
        plan_source: what its plan looks to have been made with, see `augment.plan.infer`.
    """
    told = manifest.job.arguments
    source, exclude, seed = told.get("pose_source"), told.get("exclude_same_image"), told.get("seed")
    library = plan_source[0] == "library"  # poses of a library are replaced by such
    return {
        "source": source if isinstance(source, str) and not library else plan_source[0],
        "exclude": exclude if isinstance(exclude, bool) else plan_source[1],
        "seed": seed if isinstance(seed, int) else 0,
    }


__all__ = ["Repaired", "finish_repair", "how_to_redraw", "repair", "unfinished_repair"]
