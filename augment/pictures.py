"""Grids of pictures with captions, and how they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reid_eval.runtime import atomic_path

Picture = NDArray[np.uint8]


_INK = (20, 20, 20)


_PAPER = (255, 255, 255)


_EMPTY = (225, 225, 225)


def grid(
    rows: Sequence[Sequence[Picture | None]],
    *,
    column_captions: Sequence[str] = (),
    row_captions: Sequence[str] = (),
    scale: int = 2,
    padding: int = 6,
    font_size: int = 14,
    gap_every: int = 0,
    gaps: Collection[int] = (),
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
        gaps: leave one before these columns, too.

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
    wider = [(i // gap_every if gap_every else 0) + sum(gap <= i for gap in gaps) for i in range(columns)]
    starts = [left + i * (width + padding) + 3 * padding * count for i, count in enumerate(wider)]
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


def save_sheet(sheet: Image.Image, path: Path | str) -> None:
    """Write a sheet as PNG, atomically."""
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has but one size
        return ImageFont.load_default()


def _wrap(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    head, blank, tail = caption.partition(" ")
    return f"{head}\n{tail}" if blank and font.getlength(caption) > width else caption
