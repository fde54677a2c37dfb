"""Contact sheets: grids of enlarged images with captions, for looking at what was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from augment.donors import stable_hash
from augment.manifest import read_manifest
from augment.plan_file import LIBRARY, read_plan
from augment.poses.draw import skeleton_image
from augment.poses.keypoints import read_keypoints
from reid_eval.runtime import InputError, atomic_path

Picture = NDArray[np.uint8]
COLUMNS = ("condition", "target pose", "generated", "real, that pose")
_INK, _PAPER, _EMPTY = (20, 20, 20), (255, 255, 255), (225, 225, 225)


def grid(
    rows: Sequence[Sequence[Picture | None]],
    *,
    column_captions: Sequence[str] = (),
    row_captions: Sequence[str] = (),
    scale: int = 2,
    padding: int = 6,
    font_size: int = 14,
    gap_every: int = 0,
) -> Image.Image:
    """Lay images out in rows and columns.

    Args:
        rows: uint8 RGB `[H, W, 3]` each, of any size; None leaves a grey cell. A cell is as large as the largest
            enlarged image, and smaller ones are centred in it. Rows may have different lengths.
        column_captions: one a column, drawn above it; wrapped into two lines where it is too wide.
        row_captions: one a row, drawn to its left.
        scale: enlargement by a whole number, without smoothing; images that come enlarged need 1.
        padding: between cells, in pixels.
        font_size: of captions, in pixels.
        gap_every: leave a wider gap after every so many columns; 0 for none.

    Raises:
        ValueError: nothing to show.
    """
    pictures = [picture for row in rows for picture in row if picture is not None]
    if not pictures:
        raise ValueError("a sheet needs at least one image")
    height = max(picture.shape[0] for picture in pictures) * scale
    width = max(picture.shape[1] for picture in pictures) * scale
    columns = max(len(row) for row in rows)
    font = _font(font_size)
    captions = [_wrap(caption, width + padding, font) for caption in column_captions]
    line = font_size + 3
    top = padding + line * max((caption.count("\n") + 1 for caption in captions), default=0)
    left = padding + (max((round(font.getlength(c)) for c in row_captions), default=-padding) + padding)
    starts = [
        left + i * (width + padding) + (3 * padding * (i // gap_every) if gap_every else 0) for i in range(columns)
    ]
    sheet = Image.new("RGB", (starts[-1] + width + padding, top + len(rows) * (height + padding)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for x, caption in zip(starts, captions, strict=False):
        draw.multiline_text((x + width // 2, padding // 2), caption, _INK, font, anchor="ma", align="center", spacing=2)
    for number, row in enumerate(rows):
        y = top + number * (height + padding)
        if number < len(row_captions):
            draw.text((padding, y + height // 2), row_captions[number], _INK, font, anchor="lm")
        for x, picture in zip(starts, row, strict=False):
            if picture is None:
                sheet.paste(_EMPTY, (x, y, x + width, y + height))
            else:
                large = Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))
                sheet.paste(large, (x + (width - large.width) // 2, y + (height - large.height) // 2))
    return sheet


def generation_sheet(
    conditions: Sequence[Picture],
    poses: Sequence[NDArray[np.floating]],
    generated: Sequence[Picture],
    real: Sequence[Picture | None],
    *,
    captions: Sequence[str] = COLUMNS,
    groups: int = 2,
    scale: int = 2,
) -> Image.Image:
    """Condition, target pose, generated and a real image in that pose, side by side.

    Args:
        conditions, generated: uint8 RGB `[H, W, 3]`.
        poses: `[18, 2]` each, (x, y) in pixels of the generated image, NaN missing.
        real: the image that lent the pose (of whomever), None where there is none.
        captions: of the four columns.
        groups: how many such quadruples go into one row of the sheet.
        scale: enlargement by a whole number.
    """
    cells: list[list[Picture | None]] = []
    for condition, pose, made, donor in zip(conditions, poses, generated, real, strict=True):
        height, width = made.shape[:2]
        pictures = [_enlarge(condition, scale), skeleton_image(pose, (height, width), scale=scale)]
        cells.append([*pictures, _enlarge(made, scale), None if donor is None else _enlarge(donor, scale)])
    groups = max(1, min(groups, len(cells)))
    rows = [[cell for quad in cells[at : at + groups] for cell in quad] for at in range(0, len(cells), groups)]
    return grid(rows, column_captions=list(captions) * groups, scale=1, gap_every=len(captions))


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
    read_manifest(out)
    plan = read_plan(out / "augmentation/plan.csv")
    made = plan[plan["action"] == "generate"]
    if made.empty:
        raise InputError(f"{out} has no generated image to show")
    keys = [stable_hash(seed, "sheet", output) for output in made["output"]]
    made = made.assign(key=keys).sort_values("key")
    made = made.assign(turn=made.groupby("pid").cumcount()).sort_values(["turn", "key"]).head(count).sort_values("pid")
    kept = plan[plan["action"] == "keep"]
    place = dict(zip(kept["image"], kept["output"], strict=True))
    keypoints = read_keypoints(out / "market-annotation-train.csv")
    poses = keypoints.xy[keypoints.rows(made["output"].tolist())]
    donors = [None if pose.startswith(LIBRARY) else _read(out / place[pose]) for pose in made["pose"]]
    sheet = generation_sheet(
        [_read(out / place[condition]) for condition in made["condition"]],
        list(poses),
        [_read(out / output) for output in made["output"]],
        donors,
        scale=scale,
    )
    if path is not None:
        save_sheet(sheet, path)
    return sheet


def save_sheet(sheet: Image.Image, path: Path | str) -> None:
    """Write a sheet as PNG, atomically."""
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _read(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _enlarge(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has but one size
        return ImageFont.load_default()


def _wrap(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    head, blank, tail = caption.partition(" ")
    return f"{head}\n{tail}" if blank and font.getlength(caption) > width else caption
