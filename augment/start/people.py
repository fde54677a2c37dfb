"""Some people of a folder with their joints, found where nobody has found them yet, and the poses to show them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augment.estimators.folder_images import folder_images
from augment.plan.donors import stable_hash
from augment.pose.geometry import normalise, pose_distance, scale_joints, torso, upright
from augment.pose.keypoints import find_annotations, load_annotations
from augment.pose.skeleton import JOINT_COUNT, usable
from augment.runs import Say
from reid_eval.datasets import load_images, read_dataset
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError

SIZE = (128, 64)
_LOOKED_AT = 2  # images of a person, and three times as many people, where joints have to be found first
_MOST_SIZED, _MOST_PHOTOS = 600, 12
_UNUSUAL = 1.5
_REACH = 0.75


@dataclass(frozen=True, eq=False)
class Person:
    """A photo of somebody, and another one.

    Attributes:
        name: for captions: person and camera, or the file.
        path: of the photo, in the folder.
        xy: `[18, 2]`, (x, y) pixels at `SIZE`.
        other: path of another photo of the same person in another pose; None: there is none.
        other_xy: its joints.
    """

    name: str
    path: str
    xy: NDArray[np.float32]
    other: str | None = None
    other_xy: NDArray[np.float32] | None = None


def some_people(
    root: Path,
    count: int,
    *,
    layout: str = "auto",
    keypoints: Path | None = None,
    seed: int = 0,
    say: Say = lambda _: None,
) -> list[Person]:
    """People of the training images, each with a photo whose joints are good, and another where there is one.

    Args:
        root: a data set, or any folder of crops: then each image is a person.
        count: of people, at most.
        layout, keypoints: as for `read_dataset` and `load_annotations`.
        seed: of the choice.
        say: told if joints had to be found.

    Raises:
        InputError: no such folder, no images, or no joints that will do.
    """
    table = _table(root, layout)
    table = table.assign(key=[stable_hash(seed, "some people", path) for path in table["path"]]).sort_values("key")
    if keypoints is not None or find_annotations(root):
        found = load_annotations(root, keypoints)
        rows = found.rows(table["path"].tolist())
        table, xy = table[rows >= 0], found.xy[rows[rows >= 0]]
    else:
        table = _few(table, 3 * count)
        say(f"No keypoints: the shipped estimator looks at {len(table)} images; it was trained on drawn people.")
        xy = _estimated(root, table["path"].tolist())
    fine = usable(xy)
    fine[fine] = upright(xy[fine])
    people = _people(root, table[fine], xy[fine], count)
    if not people:
        raise InputError(
            f"{root}: none of the {len(table)} images looked at has joints that will do (both shoulders and hips, "
            "upright): give a file of keypoints of these images",
            "keypoints",
        )
    return people


def varied_poses(people: Sequence[Person], count: int) -> list[int]:
    """Numbers of people whose poses differ, none an outlier: the most usual one, then the farthest within reach."""
    shapes = normalise(np.stack([person.xy for person in people]))
    distance = pose_distance(shapes, shapes)
    usual = int(distance.mean(1).argmin())
    within = distance[usual] <= np.quantile(distance[usual], _REACH)
    chosen = [usual]
    while len(chosen) < min(count, len(people)):
        nearest = np.where(within, distance[:, chosen].min(1), -1.0)
        nearest[chosen] = -2
        chosen.append(int(nearest.argmax()))
    return chosen


def photos_of(root: Path, paths: Sequence[str]) -> NDArray[np.uint8]:
    """uint8 RGB `[N, H, W, 3]` at `SIZE`."""
    return load_images(root, paths, SIZE).transpose(0, 2, 3, 1)


def _table(root: Path, layout: str) -> pd.DataFrame:
    """Columns path, pid, name of the images that people may be taken from."""
    if layout == "auto":
        found = folder_images(root)
        if found.layout is None:
            return pd.DataFrame({"path": found.paths, "pid": range(1, len(found.paths) + 1),
                                 "name": [Path(path).stem[:14] for path in found.paths]})  # fmt: skip
    data = read_dataset(root, layout)
    table = data.train[(data.train["pid"] > 0) & (data.train["source"] != "generated")]
    cameras = [f" c{camid}" if data.has_cameras else "" for camid in table["camid"]]
    names = [f"{pid:04d}{camera}" for pid, camera in zip(table["pid"], cameras, strict=True)]
    return pd.DataFrame({"path": table["path"].tolist(), "pid": table["pid"].tolist(), "name": names})


def _few(table: pd.DataFrame, people: int) -> pd.DataFrame:
    """Some images each of some people; of one person alone as many images in all."""
    several = table[table["pid"].isin(table["pid"].unique()[:people])]
    each = max(_LOOKED_AT, -(-people // max(1, several["pid"].nunique())))
    return several[several.groupby("pid").cumcount() < each].head(_LOOKED_AT * people)


def _estimated(root: Path, paths: list[str]) -> NDArray[np.float32]:
    """Joints `[N, 18, 2]` in pixels of each image, by the estimator that ships."""
    from augment.estimators.posenet.estimator import SynthEstimator
    from augment.quality.metrics import in_batches

    photos = photos_of(root, paths)
    xy = in_batches(SynthEstimator(None, torch.device("cpu")), photos, 16) if len(photos) else np.empty(
        (0, JOINT_COUNT, 2), np.float32)  # fmt: skip
    return np.stack([scale_joints(one, SIZE, image_size(root / path)) for one, path in zip(xy, paths, strict=True)])


def _people(root: Path, table: pd.DataFrame, xy: NDArray[np.float32], count: int) -> list[Person]:
    """Photos of as many people as there are, then second ones; each with another of its person in another pose."""
    table, xy = table.head(_MOST_SIZED), xy[:_MOST_SIZED]
    if table.empty:
        return []
    sizes = [image_size(root / path) for path in table["path"]]
    scaled = np.stack([scale_joints(one, size, SIZE) for one, size in zip(xy, sizes, strict=True)])
    fair = _fair(scaled)
    table, scaled = table[fair].reset_index(drop=True), scaled[fair]
    shapes = normalise(scaled)
    groups = {pid: list(rows)[:_MOST_PHOTOS] for pid, rows in table.groupby("pid", sort=False).indices.items()}
    turns = [(turn, pid) for turn in range(_MOST_PHOTOS) for pid, rows in groups.items() if turn < len(rows)]
    found = []
    for turn, pid in turns[:count]:
        row = int(groups[pid][turn])
        others = [int(other) for other in groups[pid] if other != row]
        other = _other(shapes, row, others)
        path, name = table["path"][row], table["name"][row]
        if other is None:
            found.append(Person(name, path, scaled[row]))
        else:
            found.append(Person(name, path, scaled[row], table["path"][other], scaled[other]))
    return sorted(found, key=lambda person: (person.name, person.path))


def _fair(xy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Poses `[N, 18, 2]` whose trunk is about as long as most: others are a detector's mistake, or a cut-off person."""
    lengths = torso(xy)
    usual = float(np.median(lengths))
    fair: NDArray[np.bool_] = (lengths > usual / _UNUSUAL) & (lengths < usual * _UNUSUAL)
    return fair


def _other(shapes: NDArray[np.float64], row: int, others: list[int]) -> int | None:
    """Of a person's other photos one whose pose is far, but not the farthest: that is a mistake too often."""
    if not others:
        return None
    distance = pose_distance(shapes[[row]], shapes[others])[0]
    order = np.argsort(distance, kind="stable")
    return others[int(order[(3 * (len(others) - 1) + 3) // 4])]
