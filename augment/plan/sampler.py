"""The sampler: which images of each identity go, which come, and from which photo in which pose. Tables in, table out.

A plan has a row an image, with the columns of `COLUMNS`:
    keep: `image` stays and is written to `output`.
    drop: `image` goes; nothing of it is used.
    generate: `output` is made from the photo `condition` in the pose of `pose`, an image or `library:NAME`.
Paths are POSIX; `image`, `condition` and `pose` are relative to the data set, `output` to the augmented folder. What
does not apply is empty. Everything is drawn by hashing the seed with identity and path (see `augment.plan.donors`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.plan.donors import POSE_SOURCES, PosePool, draw_poses, library_pool, stable_hash
from augment.plan.file import COLUMNS, TRAIN, check_plan, read_plan, write_plan
from augment.pose.keypoints import Keypoints
from augment.pose.skeleton import usable
from reid_eval.datasets import ReidData
from reid_eval.datasets.as_market import renamed_output
from reid_eval.datasets.names import base_name, image_stem
from reid_eval.runtime import InputError, first_five

__all__ = [
    "COLUMNS",
    "MODES",
    "POSE_SOURCES",
    "PlanSummary",
    "check_plan",
    "make_plan",
    "output_path",
    "read_plan",
    "replaced_count",
    "summarise",
    "write_plan",
]

MODES = ("replace", "add")


def make_plan(
    train: pd.DataFrame,
    keypoints: Keypoints,
    *,
    ratio: float,
    mode: str = "replace",
    pose_source: str = "dataset",
    library: Keypoints | None = None,
    exclude_same_image: bool = False,
    seed: int = 0,
    layout: str = "market1501",
    suffix: str = ".jpg",
) -> pd.DataFrame:
    """Draw a plan.

    Of an identity's n images `replaced_count(n, ratio)` are replaced (`replace`: totals stay) or added (`add`). Images
    without usable keypoints are never dropped, and one with usable keypoints always stays, so an identity with few of
    them may get fewer than asked; without any it is left as it is (`summarise` lists both). Identities 0 and below
    (distractors, junk) are left alone. For one seed, what a smaller ratio drops a larger one drops too.

    Args:
        train: table with `path, pid, camid, source`, as `read_dataset` gives it.
        keypoints: of those images, under their paths or file names; (x, y) pixels.
        ratio: share of an identity's images, 0 to 1, or any number from 0 up with `add`.
        mode: `replace` or `add`.
        pose_source: `dataset` (any kept image), `identity`, `camera` (same camid as the condition), `diverse`
            (farthest-point sampling in normalised pose space), `library` (rows of `library`).
        library: poses for `pose_source="library"`, in pixels of this data set's images.
        exclude_same_image: never take the pose of the condition image itself.
        seed: of every draw.
        layout: of the data set; `folders` keeps its one folder an identity.
        suffix: of generated files.

    Returns:
        A table with `COLUMNS`, ordered by pid, then kept and dropped images by path, then generated ones by number.

    Raises:
        InputError: an argument out of its range, a library without a usable pose, or images that are generated already.
    """
    _check_arguments(ratio, mode, pose_source, library, train)
    rows = keypoints.rows(train["path"].tolist())
    good = (rows >= 0) & np.append(keypoints.usable, False)[rows]
    pids, paths = train["pid"].to_numpy(np.int64), train["path"].tolist()
    people = {pid: own for pid, own in _by_value(pids).items() if pid > 0}
    wanted = {pid: _count(good[own], ratio, mode) for pid, own in people.items()}
    drop = np.zeros(len(train), dtype=bool)
    for pid, count in wanted.items() if mode == "replace" else ():
        usable = people[pid][good[people[pid]]].tolist()
        drop[sorted(usable, key=lambda row, of=pid: stable_hash(seed, "drop", of, paths[row]))[:count]] = True  # type: ignore[misc]
    kept = np.flatnonzero(good & ~drop & (pids > 0))
    camids = train["camid"].to_numpy(np.int64)
    pool = PosePool([paths[row] for row in kept.tolist()], pids[kept], camids[kept], keypoints.xy[rows[kept]], seed)
    lender = library_pool(library, seed) if pose_source == "library" and library is not None else None
    columns = _images(paths, pids, camids, drop, layout)
    how = (pose_source, exclude_same_image, layout, suffix)
    _add_generated(columns, pool, lender, {pid: count for pid, count in sorted(wanted.items()) if count}, how)
    order = np.argsort(np.array(columns[1], np.int64), kind="stable")  # images first, by path; then by number
    return pd.DataFrame({name: _in_order(columns, place, order) for place, name in enumerate(COLUMNS)})


def _add_generated(
    columns: list[list[Any]],
    pool: PosePool,
    lender: PosePool | None,
    wanted: dict[int, int],
    how: tuple[str, bool, str, str],
) -> None:
    """Append the rows of so many generated images of each identity: its kept photos take turns as condition."""
    source, exclude, layout, suffix = how
    lent = pool if lender is None else lender
    own_rows = _by_value(pool.pids)
    for pid, count in wanted.items():
        own = _turns(pool, pid, own_rows[pid])
        pairs = draw_poses(lent, pid, own, count, source, exclude, lender is not None)
        for number, (turn, row) in enumerate(pairs):
            name, camid = pool.names[own[turn]], int(pool.camids[own[turn]])
            output = output_path(name, layout, number, suffix)
            for column, value in zip(columns, ("generate", pid, camid, "", name, lent.names[row], output), strict=True):
                column.append(value)


def _turns(pool: PosePool, pid: int, own: NDArray[np.int64]) -> NDArray[np.int64]:
    """An identity's photos in the order in which they take their turns."""
    ordered = sorted(own.tolist(), key=lambda row: stable_hash(pool.seed, "turn", pid, pool.names[row]))
    return np.array(ordered, np.int64)


def _by_value(values: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Rows of each value, ascending."""
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True)) if len(values) else {}


def _images(
    paths: list[str], pids: NDArray[np.int64], camids: NDArray[np.int64], drop: NDArray[np.bool_], layout: str
) -> list[list[Any]]:
    """The columns of a plan's rows of images that are there, by path."""
    order = sorted(range(len(paths)), key=paths.__getitem__)
    names = [paths[row] for row in order]
    gone = drop[order].tolist()
    nothing = [""] * len(order)
    return [
        ["drop" if one else "keep" for one in gone],
        pids[order].tolist(),
        camids[order].tolist(),
        names,
        nothing,
        list(nothing),
        ["" if one else output_path(name, layout) for name, one in zip(names, gone, strict=True)],
    ]


def _in_order(columns: list[list[Any]], place: int, order: NDArray[np.int64]) -> pd.Series:
    """One column, which is given up here: all of them, twice, would take more than the plan."""
    values, columns[place] = columns[place], []
    return pd.Series([values[row] for row in order.tolist()])


def replaced_count(n: int, ratio: float, mode: str = "replace") -> int:
    """How many of n images a ratio means: `ratio * n` rounded, halves up; in `replace` at most n - 1.

    The product is taken in decimals, of the ratio as it is written: 0.29 of 50 is 14.5, hence 15, where binary
    floating point gives 14.499999 and 14.
    """
    count = _rounded(n, ratio)
    return min(count, n - 1) if mode == "replace" else count


@lru_cache(maxsize=4096)
def _rounded(n: int, ratio: float) -> int:
    return int((Decimal(str(ratio)) * n).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def output_path(image: str, layout: str, generated: int | None = None, suffix: str = ".jpg") -> str:
    """Where an image goes in the augmented folder: its name, with `_genNNNN` if it is the NNNN-th generated one.

    Names stay what they are in every layout; in `folders` so does the identity's folder.
    """
    name = base_name(image) if generated is None else f"{image_stem(image)}_gen{generated:04d}{suffix}"
    return f"{TRAIN}/{PurePosixPath(image).parent.name}/{name}" if layout == "folders" else f"{TRAIN}/{name}"


@dataclass(frozen=True)
class PlanSummary:
    """What a plan does; `identities_...` and `unusable_images` are what the user should be told."""

    identities: int
    kept: int
    dropped: int
    generated: int
    unusable_images: tuple[str, ...]
    """Images without usable keypoints: kept as they are."""
    identities_without_usable: tuple[int, ...]
    """No image has usable keypoints: nothing was dropped or generated."""
    identities_short: tuple[int, ...]
    """Fewer images were replaced than the ratio asks, since too few have usable keypoints."""
    implausible_images: tuple[str, ...]
    """Of those, the ones that have both shoulders and both hips, in a pose that no pedestrian has."""
    donors: int
    """Different images or library rows that lend a pose."""
    donor_uses_max: int
    same_image: int
    """Generated images whose pose is that of their own condition image."""
    fallbacks: int
    """Poses from elsewhere in the data set, where `identity` or `camera` found nobody."""
    repeats: int = 0
    """Generated images that have photo and pose in common with another: more are asked for than there are pairs."""

    def as_dict(self) -> dict[str, Any]:
        """The fields, lists as lists: for a manifest."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @property
    def message(self) -> str:
        """A few lines for the user: counts first, then whatever is out of the ordinary."""
        uses = f"{self.donors} donors (none used more than {self.donor_uses_max} times)"
        made = f"{self.generated} to generate in poses of {uses}"
        if not self.generated:
            made = "nothing to generate, so that what is written is a copy of the data set"
        lines = [f"{self.identities} identities: {self.kept} images kept, {self.dropped} dropped, {made}"]
        implausible = set(self.implausible_images)
        lacking = tuple(path for path in self.unusable_images if path not in implausible)
        for items, what in (
            (lacking, "images have no usable keypoints (both shoulders and both hips) and are kept"),
            (
                self.implausible_images,
                "images have implausible poses (too small in the image, not upright, or limbs too long; see "
                "docs/poses.md): they are kept, and lend none",
            ),
            (self.identities_without_usable, "identities have no image with usable keypoints and stay as they are"),
            (self.identities_short, "identities have too few usable images for the ratio and keep more"),
        ):
            if items:
                lines.append(f"{len(items)} {what}: {first_five(items)}")
        if self.fallbacks:
            lines.append(f"{self.fallbacks} poses come from the whole data set: the chosen pose source had none")
        if self.repeats:
            lines.append(
                f"{self.repeats} generated images repeat another one, photo and pose: there are no more different ones"
            )
        return "\n".join(lines)


def summarise(
    plan: pd.DataFrame,
    train: pd.DataFrame,
    keypoints: Keypoints,
    *,
    ratio: float,
    mode: str = "replace",
    pose_source: str = "dataset",
) -> PlanSummary:
    """Count what a plan does; the arguments are those of `make_plan`."""
    rows = keypoints.rows(train["path"].tolist())
    good = (rows >= 0) & np.append(keypoints.usable, False)[rows]
    whole = (rows >= 0) & np.append(usable(keypoints.xy), False)[rows]
    people = train.assign(good=good, whole=whole)[train["pid"] > 0]
    made = plan[plan["action"] == "generate"]
    made_of = made["pid"].value_counts().to_dict()
    counts = people.groupby("pid")["good"].agg(["sum", "size"])
    sizes = list(zip(counts.index.tolist(), counts["sum"].tolist(), counts["size"].tolist(), strict=True))
    none = [pid for pid, enough, _ in sizes if not enough]
    short = [pid for pid, enough, n in sizes if enough and made_of.get(pid, 0) < replaced_count(n, ratio, mode)]
    uses = Counter(made["pose"])
    home = {"identity": "pid", "camera": "camid"}.get(pose_source)
    strangers = int((made["pose"].map(train.set_index("path")[home]).to_numpy() != made[home]).sum()) if home else 0
    return PlanSummary(
        identities=people["pid"].nunique(),
        kept=int((plan["action"] == "keep").sum()),
        dropped=int((plan["action"] == "drop").sum()),
        generated=len(made),
        unusable_images=tuple(people.loc[~people["good"], "path"]),
        implausible_images=tuple(people.loc[people["whole"] & ~people["good"], "path"]),
        identities_without_usable=tuple(none),
        identities_short=tuple(short),
        donors=len(uses),
        donor_uses_max=max(uses.values(), default=0),
        same_image=int((made["pose"] == made["condition"]).sum()),
        fallbacks=strangers,
        repeats=int(made.duplicated(["condition", "pose"]).sum()),
    )


def plan_dataset(data: ReidData, keypoints: Keypoints, **arguments: Any) -> tuple[pd.DataFrame, PlanSummary]:
    """`make_plan` of a data set's training split in its layout, and its summary; arguments as there."""
    plan = make_plan(data.train, keypoints, layout=data.layout, **arguments)
    if data.renamed:
        plan["output"] = renamed_outputs(plan, data.renamed)
    told = {name: arguments[name] for name in ("ratio", "mode", "pose_source") if name in arguments}
    return plan, summarise(plan, data.train, keypoints, **told)


def renamed_outputs(plan: pd.DataFrame, renamed: Mapping[str, str]) -> list[str]:
    """The outputs of a plan under the new names of their photos; empty where a row writes nothing."""
    photos = plan["condition"].where(plan["action"] == "generate", plan["image"])
    return [
        renamed_output(output, renamed[photo]) if output else ""
        for output, photo in zip(plan["output"], photos, strict=True)
    ]


def _check_arguments(ratio: float, mode: str, pose_source: str, library: Keypoints | None, train: pd.DataFrame) -> None:
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: choose from {', '.join(MODES)}")
    if pose_source not in POSE_SOURCES:
        raise InputError(f"pose source {pose_source!r}: choose from {', '.join(POSE_SOURCES)}")
    if not math.isfinite(ratio) or ratio < 0 or (mode == "replace" and ratio > 1):
        raise InputError(f"ratio {ratio}: expected {'0 to 1' if mode == 'replace' else '0 or more'} in mode {mode}")
    if pose_source == "library" and (library is None or not library.usable.any()):
        raise InputError("the pose source library needs a keypoints file with poses that have both shoulders and hips")
    generated = train.loc[train["source"] == "generated", "path"].tolist() if "source" in train else []
    if generated:
        raise InputError(
            f"{len(generated)} training images are generated already ({generated[0]}, ...): "
            "augment the original data set, not an augmented folder"
        )


def _count(good: NDArray[np.bool_], ratio: float, mode: str) -> int:
    enough = int(good.sum())
    if not enough:
        return 0
    count = replaced_count(len(good), ratio, mode)
    return min(count, enough - 1) if mode == "replace" else count
