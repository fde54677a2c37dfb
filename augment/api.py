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
from reid_eval.foreign import read_json
from reid_eval.runtime import InputError, first_five

if TYPE_CHECKING:
    import pandas as pd

    from augment.folder.carry import PlainRendering, Source
    from augment.folder.generate import RenderSettings
    from augment.folder.manifest import Manifest
    from augment.folder.secret_key import SecretKey
    from augment.gate.redraw import GateRun
    from augment.generators.base import PoseGenerator
    from augment.plan.sampler import PlanSummary
    from augment.pose.keypoints import Keypoints
    from reid_eval.datasets import ReidData


def _silent(_: str) -> None:
    """What notes go to where nobody asked for them."""


@dataclass(frozen=True)
class Market:
    """That a folder is to have Market-1501's layout.

    Attributes:
        camera_regex: finds cameras in names that tell none, see `reid_eval.datasets.as_market`.
    """

    camera_regex: str | None = None


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan with all that it is carried out on.

    Attributes:
        source: data set, joints, pose library; under new names if it was made anonymous.
        table: the plan, one row an image; see `augment.plan.sampler`.
        arguments: what it was made with, for manifests.
        pose_source, exclude_same_image, seed: how other poses are to be found for images that a gate rejects.
        summary: counts; None for a plan from a file.
        read: what was read, under the names it has; None: `source`.
    """

    source: Source
    table: pd.DataFrame
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pose_source: str = "dataset"
    exclude_same_image: bool = False
    seed: int = 0
    summary: PlanSummary | None = None
    read: Source | None = None

    def __repr__(self) -> str:
        """A line: what is planned, not the tables."""
        counts = ", ".join(f"{count} {action}" for action, count in self.table["action"].value_counts().items())
        return f"Planned({self.source.data.root}: {counts}; seed {self.seed})"


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
    market: Market | None = None,
    anonymous: SecretKey | None = None,
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
        market: write Market-1501's layout, whatever the data set has; None: that of the data set.
        anonymous: a key, with which all names that appear are hashed; see `augment.folder.anonymous`.
        say: told what a user should know.

    Raises:
        InputError: no such data set or file, unreadable images, joints that do not fit them, an argument out of range.
    """
    from augment.plan.sampler import plan_dataset

    if library is not None and pose_source != "library":
        raise InputError("the library's poses are for the pose source `library`: give that, too", "pose_source")
    read = _open_source(data, keypoints, layout, market, _library(library, pose_source == "library"), say)
    source = _hidden(read, anonymous)
    style = {"mode": mode, "pose_source": pose_source, "exclude_same_image": exclude_same_image, "seed": seed}
    table, summary = plan_dataset(source.data, source.keypoints, ratio=ratio, library=source.library, **style)
    say(summary.message)
    arguments = {"plan": None, "ratio": ratio, **style, "library": _name(library, anonymous)}
    arguments |= _market_facts(market)
    return Planned(source, table, arguments, pose_source, exclude_same_image, seed, summary, read)


def _hidden(source: Source, key: SecretKey | None) -> Source:
    """A source under new names, where there is a key for them."""
    from augment.folder.anonymous import anonymous_source

    return source if key is None else anonymous_source(source, key)


def _name(file: Path | str | None, key: SecretKey | None) -> str | None:
    """The name of a file of the user's for the manifest: no anonymous one tells it."""
    return None if file is None or key is not None else Path(file).name


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
    market: Market | None = None,
    anonymous: SecretKey | None = None,
    say: Say = _silent,
) -> Planned:
    """Read a plan of a data set.

    Many arguments because each says where a file is, or is one of `augment.plan.sampler.make_plan`'s.

    Args:
        plan: the file.
        data, library, keypoints, layout, market, anonymous, say: see `plan_folder`. With a key the plan may be one of
            the data set's names, or an anonymous one that was made with the same key.
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
    read = _open_source(data, keypoints, layout, market, _library(library, lends), say)
    source = _hidden(read, anonymous)
    if anonymous is not None and set(table["image"]) & set(read.data.train["path"]):
        table = _hidden_plan(table, read, source)
    check_plan(table, source.data.train, source.keypoints, source.library, source.data.layout)
    pose_source, exclude = infer_pose_source(table, source.keypoints, pose_source, exclude_same_image)
    say(f"Plan: {plan}, {int((table['action'] == 'generate').sum())} images to generate")
    if repeats := int(table[table["action"] == "generate"].duplicated(["condition", "pose"]).sum()):
        say(f"{repeats} of them repeat another one, photo and pose")
    arguments = {"plan": _name(plan, anonymous), "library": _name(library, anonymous)}
    arguments |= _market_facts(market)
    return Planned(source, table, arguments, pose_source, exclude, seed, read=read)


def _hidden_plan(table: pd.DataFrame, read: Source, source: Source) -> pd.DataFrame:
    """A plan of a data set's names under the new ones."""
    from augment.folder.anonymous import anonymous_plan
    from augment.plan.file import check_plan

    check_plan(table, read.data.train, read.keypoints, read.library, read.data.layout)
    return anonymous_plan(table, source)


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
    terms: str | None = None,
) -> Manifest | None:
    """Carry out a plan: write the augmented folder, and beside it `OUT.run.json` with what made it.

    Many arguments because each says one thing of a job. Long because most of it says what they are.

    Args:
        planned: from `plan_folder` or `read_planned`.
        out: folder to write.
        generator: a generator, or what `augment.generators.open.open_generator` takes; None: the best that ships.
        settings: how images are made and written.
        gate: rejects bad images; see `augment.gate.redraw.GateRun`.
        rendering: what makes the images where there is no gate, such as
            `augment.cluster.ray_rendering.RayRendering`; default: this process.
        tars: write WebDataset tars of so many images, see `augment.folder.tar_folder`; None: a file an image.
        link, resume, shard, terms: see `augment.folder.generate.generate`.

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
    how["terms"] = terms
    if tars is None:
        how |= {"rendering": GatedRendering(gate) if gate else rendering, "link": link}
        found = generate(planned.source, planned.table, generator, out, **how)
    elif gate is not None or link != "copy":
        raise InputError("tars hold copies of images, and none that a gate has judged: leave gate and link out")
    else:
        how |= {"rendering": rendering, "images_per_shard": tars}
        found = generate_tars(planned.source, planned.table, generator, out, **how)
    if found is not None and not there:  # a finished folder keeps the record of the run that made it
        facts: dict[str, Any] = {
            "data": str(planned.source.data.root.resolve()),
            "weights": generator.name,
            "augmented": str(out),
        }
        if planned.source.key is not None:  # this file travels with the folder
            facts = {"anonymous": True, "weights": generator.name}
        describe_run(run_file(out), facts, with_command=planned.source.key is None)
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


def origin(augmented: Path) -> Path | None:
    """The data set that an augmented folder was made of, as its run file says."""
    try:
        return Path(read_json(run_file(augmented))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_source(root: Path | str, layout: str = "auto", market: Market | None = None) -> ReidData:
    """A data set, with Market-1501's names if it is to be written with those.

    Raises:
        InputError: as `reid_eval.read_dataset` and `reid_eval.datasets.as_market`.
    """
    from reid_eval.datasets import read_dataset
    from reid_eval.datasets.as_market import as_market

    data = read_dataset(root, layout)
    return data if market is None else as_market(data, market.camera_regex)


def market_message(data: ReidData, market: Market) -> str:
    """A line about the names that a folder gets."""
    import pandas as pd

    cameras = pd.concat([data.train["camid"], data.query["camid"], data.gallery["camid"]]).nunique()
    if data.identities and market.camera_regex is None:
        known = "no cameras are known, so training and query count as camera 1, the gallery as camera 2"
    else:
        known = f"{cameras} cameras"
    first = data.train["path"].iloc[0]
    odd = sum(not name.endswith(".jpg") for name in data.renamed.values())
    note = f"; {odd} images are no .jpg, which other readers of this layout may pass over" if odd else ""
    return f"Market-1501's names: {first} is {data.renamed[first]}, and so on; {known}{note}"


def made_market(arguments: Mapping[str, Any]) -> Market | None:
    """Whether a folder was written with Market-1501's names, from the arguments in its manifest."""
    if arguments.get("as_market") is not True:
        return None
    pattern = arguments.get("camera_regex")
    return Market(pattern if isinstance(pattern, str) else None)


def _market_facts(market: Market | None) -> dict[str, Any]:
    return {} if market is None else {"as_market": True, "camera_regex": market.camera_regex}


def _open_source(
    data: Path | str | None,
    keypoints: Path | str | None,
    layout: str,
    market: Market | None,
    library: Keypoints | None,
    say: Say,
) -> Source:
    """The data set with its joints, checked against each other."""
    from augment.folder.carry import Source
    from augment.pose.check import check_keypoints
    from augment.pose.keypoints import load_annotations
    from augment.synth.dataset import source_data
    from reid_eval.datasets import check_images

    root = source_data(Path(data) if data is not None else None, say)
    found: ReidData = read_source(root, layout, market)
    if market is not None:
        say(market_message(found, market))
    check_images(found)
    joints = load_annotations(root, keypoints)
    match = check_keypoints(found, joints)
    if match.message:
        say(f"Note: {match.message}")
    assert match.judged is not None
    if library is not None and (odd := library.implausible):
        say(
            f"{len(odd)} of {len(library)} poses of the library are implausible (too small in their frame, not upright,"
            f" or limbs too long) and are left out: {first_five(odd)}"
        )
    return Source(found, match.judged, library)


def _library(library: Path | str | None, wanted: bool) -> Keypoints | None:
    """The user's pose library, or the one that ships if poses are to come from a library."""
    from augment.pose.keypoints import read_keypoints
    from augment.pose.library import judged_library, shipped_library

    if library is not None:
        return judged_library(read_keypoints(library))
    return shipped_library() if wanted else None
