"""The one reader and writer of `augmentation/manifest.json`, and the check of a folder against it.

A folder under construction has `augmentation/unfinished.json` instead: the `Job` it belongs to. The manifest is written
last, so that a folder with a manifest is complete. Nothing in it tells of time, host or place: the same job gives the
same bytes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from augment.folder.layout import MANIFEST, PLAN, REPAIR, SCRATCH, TAR_PLAN, UNFINISHED
from augment.plan.file import TRAIN, read_plan, wrong_outputs
from augment.runs import RUNS
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import LONGEST_IMAGE_NAME, MOST_SIDE, MOST_TABLE_BYTES
from reid_eval.numbers_in_files import Count
from reid_eval.runtime import InputError, first_five, progress, sha256_file, write_json
from reid_eval.shown import is_harmless, one_line
from reid_eval.writing import PART


def _inside(name: str) -> str:
    """A path within the folder, that can be printed."""
    parts = name.split("/")
    if not is_harmless(name) or len(name) > LONGEST_IMAGE_NAME or {"", ".", ".."} & set(parts):
        raise ValueError(f"{one_line(name, 80)} is no path in the folder")
    return name


MOST_TERMS = 1000
"""Characters of the terms of the photographs."""
_COUNTS = ("identities", "train", "train_generated", "train_dropped", "query", "gallery")
_OF_GATE = ("asked", "accepted_at_once", "accepted_after_retry", "given_up", "rejections")


def _all_counts(counts: dict[str, int]) -> dict[str, int]:
    if missing := [name for name in _COUNTS if name not in counts]:
        raise ValueError(f"{', '.join(missing)} is missing")
    return counts


def _gate_facts(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    """What messages tell of a gate."""
    if facts is not None:
        reasons = facts.get("reasons")
        counts = [*(facts.get(name) for name in _OF_GATE), *(reasons.values() if isinstance(reasons, dict) else [None])]
        if not all(type(count) is int for count in counts):
            raise ValueError(f"{', '.join(_OF_GATE)} and reasons should be counts")
    return facts


def _plain_terms(terms: str | None) -> str | None:
    """Words that can be printed in a line."""
    if terms is not None and (not terms.strip() or len(terms) > MOST_TERMS or not is_harmless(terms)):
        raise ValueError(f"terms are one line of at most {MOST_TERMS} characters")
    return terms


Name = Annotated[str, AfterValidator(_inside)]
_Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]


class Job(BaseModel):
    """All that determines the bytes of an augmented folder, beside the images of the data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    plan_sha256: str
    keypoints_sha256: str
    """Of the joints of all images and, if there is one, of the library."""
    weights: str
    weights_sha256: str
    layout: str
    generator_size: Annotated[tuple[_Side, _Side], Field(strict=False)]  # a list in JSON
    """(H, W) at which the network works, in pixels."""
    sigma: float | None = 6.0
    """Of the pose maps, in pixels; None for a generator that takes joints."""
    precision: Literal["float32", "bf16", "int8"]
    backend: Literal["torch", "openvino"] = "torch"
    """What carried the network out."""
    device: str
    """Kind of device, such as `cpu` or `cuda`: the last bits of a number depend on it."""
    jpeg_quality: int
    link: Literal["copy", "hard", "symlink"]
    arguments: dict[str, Any] = {}
    """What the plan was made with: ratio, mode, seed and so on. No paths of this machine."""
    terms: Annotated[str | None, AfterValidator(_plain_terms)] = None
    """Terms of the photographs in the folder, in the user's words: licence, attribution, limits of use."""


class FileEntry(BaseModel):
    """One file of the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: str
    size: Count
    """In bytes."""


class Manifest(BaseModel):
    """What `manifest.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    job: Job
    versions: dict[str, str]
    """Of Python and the packages that bear on the bytes."""
    counts: Annotated[dict[str, Count], AfterValidator(_all_counts)]
    reports: dict[str, list[str]]
    """Images that need a word, such as those without usable keypoints."""
    files: dict[Name, FileEntry]
    """Every file of the folder but the manifest itself, by POSIX path."""
    gate: Annotated[dict[str, Any] | None, AfterValidator(_gate_facts)] = None
    """How many images the gate rejected, and why; None (and not written) without one."""
    repairs: list[Annotated[dict[str, Any], AfterValidator(_gate_facts)]] = []
    """The same of each repair, see `augment.gate.repair`; not written without one."""

    @property
    def terms(self) -> str | None:
        """Terms of the photographs in the folder, in the user's words; None: nobody said. They stand in `job`."""
        return self.job.terms


def write_manifest(out: Path | str, manifest: Manifest) -> None:
    """Write the manifest of a complete folder, atomically, and remove the mark of the unfinished one."""
    exclude = {name for name, absent in (("gate", manifest.gate is None), ("repairs", not manifest.repairs)) if absent}
    values = manifest.model_dump(mode="json", exclude=exclude)
    write_json(Path(out) / MANIFEST, {**values, "job": _job_values(manifest.job)})
    (Path(out) / UNFINISHED).unlink(missing_ok=True)


def _job_values(job: Job) -> dict[str, Any]:
    """As it is written: without terms where there are none."""
    return job.model_dump(mode="json", exclude={"terms"} if job.terms is None else None)


def check_terms(terms: str | None) -> None:
    """Refuse terms that a manifest does not hold.

    Raises:
        InputError: empty, too long, or with control characters.
    """
    try:
        _plain_terms(terms)
    except ValueError as error:
        raise InputError(str(error), "terms") from None


def read_manifest(out: Path | str) -> Manifest:
    """Read a folder's manifest.

    Raises:
        InputError: no such folder, no manifest (unfinished, or not an augmented folder), or one that cannot be read.
    """
    out = Path(out)
    path = out / MANIFEST
    if not path.is_file():
        if not out.is_dir():
            raise InputError(f"{out}: no such folder")
        if (out / UNFINISHED).is_file():
            raise InputError(f"{out} is unfinished: run the same generation once more, and have it resume")
        raise InputError(f"{out} has no {MANIFEST}: it is not an augmented folder")
    manifest: Manifest = _load(Manifest, path)
    return manifest


def begin_job(out: Path, job: Job) -> bool:
    """Mark a folder as under construction for `job`; False if another process has begun or finished one there."""
    target = out / UNFINISHED
    own = target.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        write_json(own, _job_values(job))
        try:
            os.link(own, target)  # unlike a rename it fails where the file is there already
        except (FileExistsError, FileNotFoundError):  # the latter: another has begun, and swept this one's mark away
            return False
        except OSError:  # a file system without hard links: two that begin at one instant may then both believe it
            own.replace(target)
    finally:
        own.unlink(missing_ok=True)
    if (out / MANIFEST).is_file():
        target.unlink(missing_ok=True)
        return False
    return True


def read_job(out: Path | str) -> Job | None:
    """The job that a folder was made or begun for; None if it is neither.

    Raises:
        InputError: the file that says so cannot be read.
    """
    try:  # looked for first: another shard removes it only when the manifest is there
        job: Job = _load(Job, Path(out) / UNFINISHED)
        return job
    except FileNotFoundError:
        pass
    return read_manifest(out).job if (Path(out) / MANIFEST).is_file() else None


def differences(old: Job, new: Job, but: Sequence[str] = ()) -> str:
    """What differs between two jobs, `ratio: 0.5, now 0.7; ...`, but for some fields; empty if nothing does."""
    a, b = ({**(d := job.model_dump(mode="json")), **d.pop("arguments")} for job in (old, new))
    keys = [key for key in dict.fromkeys([*a, *b]) if key not in ("arguments", *but) and a.get(key) != b.get(key)]
    return "; ".join(f"{key}: {_short(a.get(key))}, now {_short(b.get(key))}" for key in keys)


def folder_files(out: Path) -> Iterator[str]:
    """POSIX paths of all files of a folder but its manifest, sorted; links count as files. Another process may be
    writing and removing files meanwhile."""
    found = []
    for folder, folders, files in os.walk(out):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += [Path(folder, name).relative_to(out).as_posix() for name in [*files, *links]]
    return iter(sorted(name for name in found if name != MANIFEST))


def file_entries(out: Path, names: list[str]) -> dict[str, FileEntry]:
    """Size and hash of files that exist; many at a time, with progress."""

    def entry(name: str) -> FileEntry:
        return FileEntry(sha256=sha256_file(out / name), size=(out / name).stat().st_size)

    entries = {}
    with ThreadPoolExecutor(4) as pool, progress("Hashing", len(names), "files") as bar:
        for name, found in zip(names, pool.map(entry, names), strict=True):
            entries[name] = found
            bar.advance()
    return entries


@dataclass(frozen=True)
class VerifyReport:
    """What differs between a folder and its manifest; POSIX paths, sorted."""

    checked: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    extra: tuple[str, ...]
    mislabelled: tuple[str, ...] = ()
    """Outputs of the plan that are read back as something else than its rows say, and why."""

    @property
    def ok(self) -> bool:
        """Whether the folder is as the manifest says, file for file, and its images as the plan says."""
        return not (self.missing or self.changed or self.extra or self.mislabelled)

    @property
    def message(self) -> str:
        """One line: all well, or count and first five of each kind."""
        if self.ok:
            return f"{self.checked} files, all as the manifest says"
        kinds = ("missing", "changed", "extra", "mislabelled")
        found = [(kind, getattr(self, kind)) for kind in kinds]
        return "; ".join(f"{len(names)} {kind}: {first_five(names)}" for kind, names in found if names) + self._advice

    @property
    def _advice(self) -> str:
        left = [name for name in self.extra if name.startswith((UNFINISHED, SCRATCH)) or PART in name]
        told = f" ({len(left)} left by a process that was killed: resume it, and they go)" if left else ""
        repair = any(name.startswith(f"{REPAIR}/") for name in self.extra)
        return told + (" (a repair was killed: give it again, and it goes on)" if repair else "")


def verify(out: Path | str) -> VerifyReport:
    """Check every byte of an augmented folder against its manifest.

    Raises:
        InputError: no such folder, no manifest, unfinished, or a manifest that cannot be read.
    """
    out = Path(out)
    manifest = read_manifest(out)
    there = set(folder_files(out))
    missing = sorted(name for name in manifest.files if name not in there or not (out / name).is_file())
    present = [name for name in sorted(manifest.files) if name in there and (out / name).is_file()]
    found = file_entries(out, present)
    changed = [name for name in present if found[name] != manifest.files[name]]
    extra = sorted(there - set(manifest.files))
    plan = PLAN if PLAN in manifest.files else TAR_PLAN
    wrong = [] if plan in (*missing, *changed) else _mislabelled(out, manifest)
    return VerifyReport(len(manifest.files), tuple(missing), tuple(changed), tuple(extra), tuple(wrong))


def _mislabelled(out: Path, manifest: Manifest) -> list[str]:
    """What a reader of the training images would take for something else than the plan says."""
    try:
        if PLAN not in manifest.files:
            return _misplaced(out, manifest)
        plan = read_plan(out / PLAN)
    except InputError as error:
        return [str(error)]
    wrong = [f"row {row} of {PLAN}: {error}" for row, error in wrong_outputs(plan, manifest.job.layout)]
    planned, there = set(plan["output"]) - {""}, {name for name in manifest.files if name.startswith(f"{TRAIN}/")}
    return wrong + [f"{name} is in the manifest or the plan alone" for name in sorted(planned ^ there)]


def _misplaced(out: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the plan of a folder of tars, and with where it says that its images are."""
    from augment.folder.plan_parquet import read_tar_plan
    from augment.folder.tar_shards import is_tar_name

    plan = read_tar_plan(out / TAR_PLAN)
    wrong = [f"row {row} of {TAR_PLAN}: {error}" for row, error in wrong_outputs(plan, manifest.job.layout)]
    named = set(plan.loc[plan["action"] != "drop", "shard"].unique().tolist())
    tars = {name for name in manifest.files if is_tar_name(name) and name.startswith("train-")}
    wrong += [f"{name} is in the manifest or the plan alone" for name in sorted(named ^ tars)]
    ends = plan[plan["action"] != "drop"].assign(end=plan["offset"] + plan["size"]).groupby("shard")["end"].max()
    beyond = [name for name, end in ends.items() if name in tars and end > manifest.files[str(name)].size]
    return wrong + [f"{name} ends before its last image" for name in beyond]


def _load(model: type[Any], path: Path) -> Any:
    try:
        return model.model_validate(read_json(path, MOST_TABLE_BYTES))
    except FileNotFoundError:
        raise
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg'][:300]} (made by another version, or edited)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] + "..." if len(text) == 64 else text


def newest_augmented(runs_root: Path | str = RUNS) -> Path | None:
    """The run whose augmented folder was finished last, or None; unfinished folders have no manifest."""
    finished = [(path.stat().st_mtime_ns, path.parent.parent) for path in Path(runs_root).glob(f"*/{MANIFEST}")]
    return max(finished)[1] if finished else None
