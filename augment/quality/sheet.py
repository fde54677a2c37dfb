"""Contact sheets: grids of enlarged images with captions, for looking at what was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from augment.folder.layout import folder_plan, train_keypoints
from augment.folder.manifest import read_manifest
from augment.pictures import Picture, grid, save_sheet
from augment.plan.donors import stable_hash
from augment.plan.file import LIBRARY
from augment.pose.draw import skeleton_image
from augment.quality.edited import kept_outputs, own_rows
from reid_eval.datasets.folders import SPLIT_FOLDERS
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError

COLUMNS = ("condition", "target pose", "generated", "pose donor")
"""The donor is the image that lent the pose, of whomever: that is why it may show another person."""


def generation_sheet(
    conditions: Sequence[Picture],
    poses: Sequence[NDArray[np.floating]],
    generated: Sequence[Picture],
    real: Sequence[Picture | None],
    *,
    captions: Sequence[str] = COLUMNS,
    under: Sequence[Sequence[str]] = (),
    groups: int = 2,
    scale: int = 2,
) -> Image.Image:
    """Condition, target pose, generated and the image that lent the pose, side by side.

    Args:
        conditions, generated: uint8 RGB `[H, W, 3]`.
        poses: `[18, 2]` each, (x, y) in pixels of the generated image, NaN missing.
        real: the image that lent the pose (of whomever), None where there is none; where there is none at all, the
            fourth column is left out.
        captions: of the four columns.
        under: texts under the pictures, four for each image.
        groups: how many such quadruples go into one row of the sheet.
        scale: enlargement by a whole number.
    """
    cells: list[list[Picture | None]] = []
    for condition, pose, made, donor in zip(conditions, poses, generated, real, strict=True):
        height, width = made.shape[:2]
        pictures = [_enlarge(condition, scale), skeleton_image(pose, (height, width), scale=scale)]
        cells.append([*pictures, _enlarge(made, scale), None if donor is None else _enlarge(donor, scale)])
    wide = len(captions) if any(donor is not None for donor in real) else 3
    groups = max(1, min(groups, len(cells)))
    starts = range(0, len(cells), groups)
    rows = [[cell for quad in cells[at : at + groups] for cell in quad[:wide]] for at in starts]
    texts = [[text for quad in under[at : at + groups] for text in quad[:wide]] for at in starts] if under else []
    heads = list(captions[:wide]) * groups
    return grid(rows, column_captions=heads, captions=texts, scale=1, gap_every=wide)


def folder_sheet(
    out: Path | str, path: Path | str | None = None, *, count: int = 16, seed: int = 0, scale: int = 2
) -> Image.Image:
    """The sheet of a finished augmented folder: `count` of its generated images, spread over identities.

    Needs nothing but the folder, since conditions and donors are kept images.

    Args:
        out: the augmented folder.
        path: PNG to write as well.
        count: how many generated images, at most.
        seed: of the choice.
        scale: enlargement by a whole number.

    Raises:
        InputError: the folder is unfinished or none, or has no generated image.
    """
    out = Path(out)
    layout, plan = read_manifest(out).job.layout, folder_plan(out)
    made = plan[plan["action"] == "generate"]
    if made.empty:
        raise InputError(f"{out} has no generated image to show")
    keys = [stable_hash(seed, "sheet", output) for output in made["output"]]
    made = made.assign(key=keys).sort_values("key")
    made = made.assign(turn=made.groupby("pid").cumcount()).sort_values(["turn", "key"]).head(count).sort_values("pid")
    keypoints = train_keypoints(out)
    poses = keypoints.xy[own_rows(keypoints, made["output"].tolist(), out)]
    lenders = [pose for pose in made["pose"] if not pose.startswith(LIBRARY)]
    place = dict(zip(lenders, kept_outputs(plan, lenders, out), strict=True))
    donors = [read_image(out / place[pose]) if pose in place else None for pose in made["pose"]]
    about = _people(plan, layout)
    under = [
        (
            about[photo],
            pose.removeprefix(LIBRARY) if pose.startswith(LIBRARY) else "",
            about[photo],
            about.get(pose, ""),
        )
        for photo, pose in zip(made["condition"], made["pose"], strict=True)
    ]
    sheet = generation_sheet(
        [read_image(out / photo) for photo in kept_outputs(plan, made["condition"].tolist(), out)],
        list(poses),
        [read_image(out / output) for output in made["output"]],
        donors,
        under=under,
        scale=scale,
    )
    if path is not None:
        save_sheet(sheet, path)
    return sheet


def _people(plan: pd.DataFrame, layout: str) -> dict[str, str]:
    """Image to who is on it, seen by which camera."""
    real = plan[plan["image"] != ""]
    return {
        image: who_and_where(image, pid, camid, layout)
        for image, pid, camid in zip(real["image"], real["pid"].tolist(), real["camid"].tolist(), strict=True)
    }


def who_and_where(image: str, pid: int, camid: int, layout: str) -> str:
    """`2, camera 1`; the name of the person's folder, where images have one; no camera in the layout `folders`."""
    parts = image.split("/")
    own_folder = len(parts) > 1 and parts[-2] not in {name for names in SPLIT_FOLDERS.values() for name in names}
    who = parts[-2] if own_folder else str(pid)
    return who if layout == "folders" else f"{who}, camera {camid}"


def _enlarge(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)
