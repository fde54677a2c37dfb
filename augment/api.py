"""From a data set to an augmented folder in two calls: what `patn-augment plan` and `generate` do.

`plan_folder` (or `read_planned`) reads and checks the data set and draws the plan; `augment_folder` carries it out.

    >>> planned = plan_folder(root, ratio=0.5, seed=3)
    >>> planned.table["action"].value_counts().to_dict()
    {'keep': 10, 'drop': 9, 'generate': 9}
    >>> manifest = augment_folder(planned, out, generator)
    >>> manifest.counts["train_generated"]
    9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.runs import Say, describe_run
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import pandas as pd

    from augment.folder.carry import PlainRendering, Source
    from augment.folder.generate import RenderSettings
    from augment.folder.manifest import Manifest
    from augment.gate.redraw import GateRun
    from augment.generators.base import PoseGenerator
    from augment.plan.sampler import PlanSummary
    from augment.pose.keypoints import Keypoints
    from reid_eval.datasets import ReidData


def _silent(_: str) -> None:
    """What notes go to where nobody asked for them."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan with all that it is carried out on.

    Attributes:
        source: data set, joints, pose library.
        table: the plan, one row an image; see `augment.plan.sampler`.
        arguments: what it was made with, for manifests.
        pose_source, exclude_same_image, seed: how other poses are to be found for images that a gate rejects.
        summary: counts; None for a plan from a file.
    """

    source: Source
    table: pd.DataFrame
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pose_source: str = "dataset"
    exclude_same_image: bool = False
    seed: int = 0
    summary: PlanSummary | None = None


def plan_folder(
    data: Path | str | None = None,
    *,
    ratio: float,
    mode: str = "replace",
    pose_source: str = "dataset",
    library: Path | str | None = None,
    exclude_same_image: bool = False,
    seed: int = 0,
    keypoints: Path | str | None = None,
    layout: str = "auto",
    say: Say = _silent,
) -> Planned:
    """Draw the plan of a data set; nothing is written.

    Many arguments because each is one of `augment.plan.sampler.make_plan`'s or says where a file is.

    Args:
        data: folder of the data set; None: the embedded one of drawn pedestrians.
        ratio, mode, pose_source, exclude_same_image, seed: see `augment.plan.sampler.make_plan`.
        library: keypoints file of poses for `pose_source="library"`; None: the gait cycle that ships.
        keypoints: annotation file; None: the data set's own.
        layout: as for `reid_eval.read_dataset`.
        say: told what a user should know.

    Raises:
        InputError: no such data set or file, unreadable images, joints that do not fit them, an argument out of range.
    """
    from augment.plan.sampler import plan_dataset

    if library is not None and pose_source != "library":
        raise InputError("the library's poses are for the pose source `library`: give that, too", "pose_source")
    source = _open_source(data, keypoints, layout, _library(library, pose_source == "library"), say)
    style = {"mode": mode, "pose_source": pose_source, "exclude_same_image": exclude_same_image, "seed": seed}
    table, summary = plan_dataset(source.data, source.keypoints, ratio=ratio, library=source.library, **style)
    say(summary.message)
    arguments = {"plan": None, "ratio": ratio, **style, "library": Path(library).name if library else None}
    return Planned(source, table, arguments, pose_source, exclude_same_image, seed, summary)


def read_planned(
    plan: Path | str,
    data: Path | str | None = None,
    *,
    pose_source: str | None = None,
    exclude_same_image: bool | None = None,
    seed: int = 0,
    library: Path | str | None = None,
    keypoints: Path | str | None = None,
    layout: str = "auto",
    say: Say = _silent,
) -> Planned:
    """Read a plan of a data set.

    Args:
        plan: the file.
        data, library, keypoints, layout, say: see `plan_folder`.
        pose_source, exclude_same_image, seed: how other poses are found for images that a gate rejects; None: as the
            plan looks to have been made, see `augment.plan.infer`.

    Raises:
        InputError: as `plan_folder`, or a plan that cannot be read, or that does not fit the data set or
            the pose source.
    """
    from augment.plan.file import LIBRARY, check_plan, read_plan
    from augment.plan.infer import infer_pose_source

    table = read_plan(plan)
    lends = bool(table["pose"].str.startswith(LIBRARY).any())
    if library is not None and not lends:
        raise InputError(f"no pose of {plan} is from a library: leave the library out", "library")
    source = _open_source(data, keypoints, layout, _library(library, lends), say)
    check_plan(table, source.data.train, source.keypoints, source.library, source.data.layout)
    pose_source, exclude = infer_pose_source(table, source.keypoints, pose_source, exclude_same_image)
    say(f"Plan: {plan}, {int((table['action'] == 'generate').sum())} images to generate")
    if repeats := int(table[table["action"] == "generate"].duplicated(["condition", "pose"]).sum()):
        say(f"{repeats} of them repeat another one, photo and pose")
    arguments = {"plan": Path(plan).name, "library": Path(library).name if library else None}
    return Planned(source, table, arguments, pose_source, exclude, seed)


def augment_folder(
    planned: Planned,
    out: Path | str,
    generator: PoseGenerator | Path | str | None = None,
    *,
    settings: RenderSettings | None = None,
    gate: GateRun | None = None,
    rendering: PlainRendering | None = None,
    tars: int | None = None,
    link: str = "copy",
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
) -> Manifest | None:
    """Carry out a plan: write the augmented folder, and beside it `OUT.run.json` with what made it.

    Args:
        planned: from `plan_folder` or `read_planned`.
        out: folder to write.
        generator: a generator, or what `augment.generators.open.open_generator` takes; None: the best that ships.
        settings: how images are made and written.
        gate: rejects bad images; see `augment.gate.redraw.GateRun`.
        rendering: what makes the images where there is no gate, such as
            `augment.cluster.ray_rendering.RayRendering`; default: this process.
        tars: write WebDataset tars of so many images, see `augment.folder.tar_folder`; None: a file an image.
        link, resume, shard: see `augment.folder.generate.generate`.

    Returns:
        The manifest, or None if other shards are still at work.

    Raises:
        InputError: see `augment.folder.generate.generate`.
    """
    from augment.folder.generate import generate
    from augment.folder.manifest import MANIFEST
    from augment.folder.tar_folder import generate_tars
    from augment.gate.strategy import GatedRendering
    from augment.generators.open import open_generator, pick_weights

    if generator is None or isinstance(generator, Path | str):
        generator = open_generator(pick_weights(None if generator is None else str(generator), "auto"))
    out = Path(out).absolute()
    there = (out / MANIFEST).is_file() and run_file(out).is_file()
    arguments = {**planned.arguments, **_redraws(gate)}
    how: dict[str, Any] = {"settings": settings, "resume": resume, "shard": shard, "arguments": arguments}
    if tars is None:
        how |= {"rendering": GatedRendering(gate) if gate else rendering, "link": link}
        found = generate(planned.source, planned.table, generator, out, **how)
    elif gate is not None or link != "copy":
        raise InputError("tars hold copies of images, and none that a gate has judged: leave gate and link out")
    else:
        how |= {"rendering": rendering, "images_per_shard": tars}
        found = generate_tars(planned.source, planned.table, generator, out, **how)
    if found is not None and not there:  # a finished folder keeps the record of the run that made it
        root = planned.source.data.root.resolve()
        describe_run(run_file(out), {"data": str(root), "weights": generator.name, "augmented": str(out)})
    return found


def _redraws(gate: GateRun | None) -> dict[str, Any]:
    """How a gate finds other poses: bytes depend on it, and a plan from a file does not tell."""
    if gate is None:
        return {}
    return {"pose_source": gate.source, "exclude_same_image": gate.exclude, "seed": gate.seed}


def run_file(out: Path) -> Path:
    """The description of the run that made `out`, beside the folder and not in it: the folder's bytes must not
    depend on where or when it was made."""
    out = out.absolute()
    return out.parent / f"{out.name}.run.json"


def _open_source(
    data: Path | str | None, keypoints: Path | str | None, layout: str, library: Keypoints | None, say: Say
) -> Source:
    """The data set with its joints, checked against each other."""
    from augment.folder.carry import Source
    from augment.pose.check import check_keypoints
    from augment.pose.keypoints import load_annotations
    from augment.synth.dataset import source_data
    from reid_eval.datasets import check_images, read_dataset

    root = source_data(Path(data) if data is not None else None, say)
    found: ReidData = read_dataset(root, layout)
    check_images(found)
    joints = load_annotations(root, keypoints)
    if message := check_keypoints(found, joints).message:
        say(f"Note: {message}")
    return Source(found, joints, library)


def _library(library: Path | str | None, wanted: bool) -> Keypoints | None:
    """The user's pose library, or the one that ships if poses are to come from a library."""
    from augment.pose.keypoints import read_keypoints
    from augment.pose.library import shipped_library

    if library is not None:
        return read_keypoints(library)
    return shipped_library() if wanted else None
