"""`plan_folder` and `augment_folder`: what `patn-augment plan` and `patn-augment generate` do, for Python.

Example:
    >>> planned = plan_folder(data, ratio=0.5, seed=3)  # nothing is written
    >>> planned.summary.generated
    9
    >>> made = augment_folder(planned, out, weights=generator)
    >>> made.manifest.counts["train_generated"]
    9
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from augment.folder.generate import PLAIN, SETTINGS, generate
from augment.folder.layout import run_file
from augment.folder.manifest import Manifest
from augment.folder.settings import RenderSettings
from augment.folder.source import Source
from augment.folder.strategy import RenderStrategy
from augment.generators.base import PoseGenerator
from augment.generators.open import open_generator, pick_weights
from augment.plan.file import LIBRARY, check_plan, read_plan
from augment.plan.infer import infer_pose_source
from augment.plan.sampler import PlanSummary, count_repeats, plan_dataset
from augment.pose.check import check_keypoints
from augment.pose.keypoints import Keypoints, load_annotations, read_keypoints
from augment.pose.library import shipped_library
from augment.runs import Say, describe_run, new_run_dir
from augment.synth.dataset import source_data
from reid_eval.datasets import ReidData, check_images, read_dataset
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from typing_extensions import TypedDict, Unpack

    class Planning(TypedDict, total=False):
        """The keywords of `plan_folder`."""

        ratio: float | None
        plan: Path | str | None
        mode: str | None
        pose_source: str | None
        library: Path | str | None
        exclude_same_image: bool
        seed: int
        layout: str
        keypoints: Path | str | None


@dataclass(frozen=True, eq=False)
class FolderPlan:
    """A plan, and what it is about; `augment_folder` carries it out.

    Attributes:
        plan: a row an image, see `augment.plan.sampler`. `dataclasses.replace` puts an edited one in its place.
        source: data set, joints and pose library.
        summary: what the plan does; None for one that was read from a file.
        pose_source, exclude_same_image, seed: how it was drawn, and how a gate draws more poses.
        facts: what the plan was made with, for the manifest.
    """

    plan: pd.DataFrame
    source: Source
    summary: PlanSummary | None
    pose_source: str
    exclude_same_image: bool
    seed: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class GateSettings:
    """How bad images are rejected.

    Attributes:
        thresholds: a file of `patn-augment calibrate-gate`; None sets them on the data set.
        weights: of the estimator that they were set with; None for those that ship.
        retries: other poses to try before an image is given up.
    """

    thresholds: Path | None = None
    weights: Path | None = None
    retries: int = 2


@dataclass(frozen=True)
class AugmentedFolder:
    """A folder that was written, or this shard's part of it.

    Attributes:
        path: the folder.
        manifest: None while other shards are at work.
        data: the data set that it was made of.
    """

    path: Path
    manifest: Manifest | None
    data: Path


def _quiet(_: str) -> None:
    """Tell nobody."""


def plan_folder(
    data: Path | str | None = None,
    *,
    ratio: float | None = None,
    plan: Path | str | None = None,
    mode: str | None = None,
    pose_source: str | None = None,
    library: Path | str | None = None,
    exclude_same_image: bool = False,
    seed: int = 0,
    layout: str = "auto",
    keypoints: Path | str | None = None,
    say: Say = _quiet,
) -> FolderPlan:
    """Read a data set and its joints, and draw a plan, or read one; nothing is written.

    A keyword a choice, as on the command line, hence so many and so long.

    Args:
        data: the data set's folder; None is the embedded synthetic one.
        ratio: share of each identity's training images that is replaced (0 to 1) or added (from 0 up).
        plan: a file of `patn-augment plan`, instead of `ratio` and `mode`, which it settles.
        mode: `replace` (default) or `add`.
        pose_source: where new poses come from, see `make_plan`; default: `dataset`. For a plan that is read it is
            found out (`augment.plan.infer`), and matters to the gate alone.
        library: annotation file of poses, for `pose_source="library"` or a plan with such poses; default: the one that
            ships.
        exclude_same_image: never take a pose from the photo itself.
        seed: of all draws.
        layout: of the data set, see `read_dataset`.
        keypoints: annotation file; default: the data set's own.
        say: told, a line at a time, what a user should know.

    Raises:
        InputError: neither `ratio` nor `plan`; what does not fit together or is out of its range; a data set,
            annotation file or plan that cannot be read.
    """
    if ratio is None and plan is None:
        raise InputError("give a ratio, such as 0.5, or a plan", "ratio")
    if plan is not None:
        for name, value in (("ratio", ratio), ("mode", mode)):
            if value is not None:
                raise InputError(f"{name} {value} beside a plan, which settles it: leave one out", name)
    elif library is not None and pose_source != "library":
        raise InputError("library: its poses are for the pose source `library`: give that, too", "pose_source")
    table, joints = _read(data, layout, keypoints, say)
    lent = read_keypoints(library) if library is not None else None
    if plan is not None:
        planned = _read_plan(Source(table, joints, lent), Path(plan), pose_source, exclude_same_image, seed, say)
        return replace(planned, facts={**planned.facts, "library": Path(library).name}) if library else planned
    drawing = {
        "ratio": ratio,
        "mode": mode or "replace",
        "pose_source": pose_source or "dataset",
        "exclude_same_image": exclude_same_image,
        "seed": seed,
    }
    if lent is None and pose_source == "library":
        lent = shipped_library()
    drawn, summary = plan_dataset(table, joints, library=lent, **drawing)
    say(summary.message)
    facts = {"plan": None, **drawing, "library": Path(library).name if library else None}
    source = Source(table, joints, lent)
    return FolderPlan(drawn, source, summary, pose_source or "dataset", exclude_same_image, seed, facts)


def _read(data: Path | str | None, layout: str, keypoints: Path | str | None, say: Say) -> tuple[ReidData, Keypoints]:
    """The data set, every image looked at, and its joints, which must fit."""
    root = source_data(None if data is None else Path(data), say)
    table = read_dataset(root, layout)
    check_images(table)
    joints = load_annotations(root, keypoints)
    if message := check_keypoints(table, joints).message:
        say(f"Note: {message}")
    return table, joints


def _read_plan(source: Source, file: Path, pose_source: str | None, exclude: bool, seed: int, say: Say) -> FolderPlan:
    """A plan from a file: only what it does not settle is taken from elsewhere."""
    plan = read_plan(file)
    foreign = bool(plan["pose"].str.startswith(LIBRARY).any())
    if source.library is not None and not foreign:
        raise InputError(f"library: no pose of {file} is from one: leave it out", "library")
    if foreign and source.library is None:
        source = replace(source, library=shipped_library())
    check_plan(plan, source.data.train, source.keypoints, source.library)
    pose_source, exclude = infer_pose_source(plan, source.keypoints, pose_source, exclude)
    say(f"Plan: {file}, {int((plan['action'] == 'generate').sum())} images to generate")
    if repeats := count_repeats(plan):
        say(f"{repeats} of them repeat another one, the same photo in the same pose")
    return FolderPlan(plan, source, None, pose_source, exclude, seed, {"plan": file.name})


def augment_folder(
    data: FolderPlan | Path | str | None = None,
    out: Path | str | None = None,
    *,
    weights: PoseGenerator | Path | str | None = None,
    device: str = "auto",
    blocks: int | None = None,
    settings: RenderSettings = SETTINGS,
    gate: GateSettings | None = None,
    link: str = "copy",
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    say: Say = _quiet,
    **planning: Unpack[Planning],
) -> AugmentedFolder:
    """Carry out a plan: write an augmented folder in Market-1501's layout, with plan and manifest.

    A keyword a choice, as on the command line, hence so many and so long.

    Args:
        data: a plan of `plan_folder`; or, with `planning`, the data set's folder (None is the embedded synthetic one).
        out: folder to write; default: a new one under `./runs`.
        weights: a generator, or what `augment.load_generator` takes; default: the best that ships for the device.
        device: where to open it.
        blocks: leave after so many blocks: faster (any-depth weights).
        settings: precision, JPEG quality, batch size.
        gate: rejects images in a wrong pose, of another person or broken, and tries other poses, else keeps the real
            image; None takes all.
        link: how real images get there: `copy`, `hard` or `symlink`.
        resume: go on with an unfinished `out`.
        shard: (index, count): do the index-th of count parts.
        say: told, a line at a time, what a user should know.
        planning: the keywords of `plan_folder`.

    Raises:
        InputError: as `plan_folder`, `augment.generators.open.open_generator` and `augment.folder.generate.generate`;
            `resume` or a shard without `out`; `planning` beside a plan.
    """
    if out is None and (resume or shard[1] > 1):
        raise InputError("to resume, and for shards, name the folder that is being made", "out")
    if isinstance(weights, PoseGenerator):
        generator, name = weights, weights.name
    else:
        name = str(weights or pick_weights(None, device))
        generator = open_generator(name, device, blocks)
    if not isinstance(data, FolderPlan):
        planned = plan_folder(data, say=say, **planning)
    elif planning:
        raise InputError(f"{next(iter(planning))} beside a plan, which settles it: leave one out", next(iter(planning)))
    else:
        planned = data
    say(f"Weights: {name}{_about(generator)}; device: {generator.device}; precision: {settings.precision}")
    strategy, facts = _strategy(planned, gate, generator, say)
    path = Path(out or new_run_dir("augmented")).absolute()
    manifest = generate(
        planned.source,
        planned.plan,
        generator,
        out=path,
        settings=settings,
        strategy=strategy,
        arguments=facts,
        link=link,
        resume=resume,
        shard=shard,
    )
    root = planned.source.data.root
    if manifest is not None:
        describe_run(run_file(path), {"data": str(root.resolve()), "weights": name, "augmented": str(path)})
    return AugmentedFolder(path, manifest, root)


def _about(generator: PoseGenerator) -> str:
    data = getattr(generator, "info", {}).get("data")
    return f" (trained on {data})" if data else ""


def _strategy(
    planned: FolderPlan, gate: GateSettings | None, generator: PoseGenerator, say: Say
) -> tuple[RenderStrategy, dict[str, Any]]:
    """How the images come about, and what the manifest says that the plan was made with."""
    if gate is None:
        return PLAIN, planned.facts
    from augment.gate.redraw import GateRun
    from augment.gate.strategy import Gated
    from augment.gate.thresholds import open_gate

    source, device = planned.source, str(generator.device)
    opened = open_gate(
        source.data, source.keypoints, gate.thresholds, generator.size, device, say, weights=gate.weights
    )
    drawn = {
        "pose_source": planned.pose_source,
        "exclude_same_image": planned.exclude_same_image,
        "seed": planned.seed,
    }
    run = GateRun(opened, gate.retries, planned.pose_source, planned.exclude_same_image, planned.seed)
    return Gated(run), {**planned.facts, **drawn}
