"""The generated images of an augmented folder, each with all that a page shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.folder.layout import GATE_LOG, folder_plan, train_keypoints
from augment.folder.manifest import Manifest
from augment.gate.judge import Gate, Verdict
from augment.gate.redraw import read_log
from augment.plan.donors import stable_hash
from augment.plan.file import LIBRARY
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints
from augment.quality.edited import kept_outputs, own_rows
from augment.report.thumbnails import Thumbnails
from reid_eval.datasets import load_images
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError, progress

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Chosen:
    """The generated images that a page shows.

    Attributes:
        out: the folder.
        plan: all of it.
        made: of its generated rows those that are shown, in the plan's order.
        total: how many there are.
        keypoints: of the training images.
        size: (H, W) at which the generator works.
    """

    out: Path
    plan: pd.DataFrame
    made: pd.DataFrame
    total: int
    keypoints: Keypoints
    size: tuple[int, int]

    @property
    def outputs(self) -> list[str]:
        """Their paths."""
        return [str(path) for path in self.made["output"]]

    def poses(self) -> NDArray[np.float32]:
        """The poses asked for, `[N, 18, 2]`, in pixels of `size`, and with `photos` those of the photos."""
        return self._scaled(self.outputs)

    def photos(self) -> list[str]:
        """Paths of the photos that they were made from."""
        return kept_outputs(self.plan, self.made["condition"].tolist(), self.out)

    def _scaled(self, paths: list[str]) -> NDArray[np.float32]:
        rows = own_rows(self.keypoints, paths, self.out)
        known = zip(paths, rows.tolist(), strict=True)
        scaled = [scale_joints(self.keypoints.xy[row], image_size(self.out / path), self.size) for path, row in known]
        return np.stack(scaled) if scaled else np.empty((0, 18, 2), np.float32)


def choose(out: Path, manifest: Manifest, most: int, seed: int) -> Chosen:
    """The images to show: all, or `most` of them drawn by hash, identity by identity in turn.

    Raises:
        InputError: a plan or keypoints that cannot be read.
    """
    plan = folder_plan(out)
    made = plan[plan["action"] == "generate"]
    total = len(made)
    if total > most:
        keys = [stable_hash(seed, "report", name) for name in made["output"]]
        drawn = made.assign(key=keys).sort_values("key")
        drawn = drawn.assign(turn=drawn.groupby("pid").cumcount()).sort_values(["turn", "key"]).head(most)
        made = made.loc[drawn.index.sort_values()]
    return Chosen(out, plan, made, total, train_keypoints(out), manifest.job.generator_size)


def logged_verdicts(out: Path) -> dict[str, Verdict] | None:
    """What the gate said when the folder was made, by output; None where it was made without one."""
    path = out / GATE_LOG
    return read_log(path) if path.is_file() else None


def judge_chosen(chosen: Chosen, gate: Gate) -> dict[str, Verdict]:
    """The gate's verdict on each image that is shown, by its path."""
    found: dict[str, Verdict] = {}
    photos, outputs, pids = chosen.photos(), chosen.outputs, chosen.made["pid"].to_numpy(np.int64)
    with progress("Judging", len(outputs)) as bar:
        for start in range(0, len(outputs), _BATCH):
            names, before = outputs[start : start + _BATCH], photos[start : start + _BATCH]
            images, conditions = (
                np.ascontiguousarray(load_images(chosen.out, paths, chosen.size).transpose(0, 2, 3, 1))
                for paths in (names, before)
            )
            people = pids[start : start + _BATCH]
            verdicts = gate.judge(images, chosen._scaled(names), conditions, chosen._scaled(before), people)
            found.update(zip(names, verdicts, strict=True))
            bar.advance(len(names))
    return found


def gallery_items(
    chosen: Chosen, verdicts: Mapping[str, Verdict], thumbs: Thumbnails, identities: Mapping[int, str]
) -> list[dict[str, Any]]:
    """What the page's script knows of each image that is shown; letters keep a hundred thousand of them small.

    Args:
        chosen: the images.
        verdicts: by path; may lack some.
        thumbs: of the page.
        identities: names of people, where they have any.

    Returns:
        `o` output, `p` person, `c` camera, `f` photo, `d` pose, `n` numbers of the pictures (photo, result, donor), `x`
        frame (H, W) of the joints, `j` joints in tenths of a pixel (null: missing), `e` pose error, `k` colour drift,
        `v` reasons for rejection (null: not judged).
    """
    photos, outputs, lenders = chosen.photos(), chosen.outputs, [str(pose) for pose in chosen.made["pose"]]
    place = dict(zip(chosen.plan["image"], chosen.plan["output"], strict=True))
    donors = [None if pose.startswith(LIBRARY) else place.get(pose) for pose in lenders]
    shown = [photo for row in zip(photos, outputs, donors, strict=True) for photo in row]
    paths = [chosen.out / path for path in shown if path]
    numbers = dict(zip([path for path in shown if path], thumbs.add(paths), strict=True))
    xy = chosen.poses()
    items = []
    columns = [chosen.made[name].tolist() for name in ("pid", "camid", "condition")]
    for at, (pid, camid, photo) in enumerate(zip(*columns, strict=True)):
        verdict = verdicts.get(outputs[at])
        error, drift = (None, None) if verdict is None else (verdict.pose_error, verdict.colour_drift)
        items.append(
            {
                "o": outputs[at],
                "p": identities.get(pid, pid),
                "c": camid,
                "f": photo,
                "d": lenders[at],
                "n": [numbers.get(path) if path else None for path in (photos[at], outputs[at], donors[at])],
                "x": list(chosen.size),
                "j": _joints(xy[at]),
                "e": _rounded(error),
                "k": _rounded(drift),
                "v": None if verdict is None else list(verdict.reasons),
            }
        )
    return items


def _joints(xy: NDArray[np.float32]) -> list[list[int] | None]:
    return [None if np.isnan(point).any() else [round(float(v) * 10) for v in point] for point in xy]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 3)


def plan_rows(plan: pd.DataFrame, layout: str) -> dict[str, Any]:
    """The plan as the page's script edits it: columns, rows as text, and where each dropped image would go if kept."""
    from augment.plan.file import COLUMNS
    from augment.plan.sampler import output_path

    rows = [[str(value) for value in row] for row in plan[list(COLUMNS)].itertuples(index=False)]
    back = {row[3]: output_path(row[3], layout) for row in rows if row[0] == "drop"}
    return {"columns": list(COLUMNS), "rows": rows, "back": back}


def refuse_none(chosen: Chosen) -> None:
    """Refuse a folder without generated images.

    Raises:
        InputError: it has none.
    """
    if chosen.total == 0:
        raise InputError(f"{chosen.out} has no generated image to show")


def sample(paths: Sequence[str], count: int, seed: int, what: str) -> list[str]:
    """So many of the paths at most, drawn by hash, sorted."""
    return sorted(sorted(paths, key=lambda path: stable_hash(seed, what, path))[:count])
