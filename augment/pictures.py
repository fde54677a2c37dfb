"""Grids of pictures with captions, and how they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reid_eval.runtime import atomic_path

Picture = NDArray[np.uint8]


_INK = (20, 20, 20)


_PAPER = (255, 255, 255)


def grid(
    rows: Sequence[Sequence[Picture | None]],
    *,
    column_captions: Sequence[str] = (),
    row_captions: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
    scale: int = 2,
    padding: int = 6,
    font_size: int = 14,
    gap_every: int = 0,
    gaps: Collection[int] = (),
) -> Image.Image:
    """Lay images out in rows and columns.

    Args:
        rows: uint8 RGB `[H, W, 3]` each, of any size; None leaves the place empty. A cell is as large as the largest
            enlarged image, and smaller ones are centred in it. Rows may have different lengths.
        column_captions: one a column, drawn above it; wrapped into two lines where it is too wide.
        row_captions: one a row, drawn to its left.
        captions: one a cell, row by row as `rows` are, drawn under it; lines are cut where the cell ends.
        title: drawn at the top, over all columns.
        scale: enlargement by a whole number, without smoothing; images that come enlarged need 1.
        padding: between cells, in pixels.
        font_size: of captions, in pixels.
        gap_every: leave a wider gap after every so many columns; 0 for none.
        gaps: leave one before these columns, too.

    Raises:
        ValueError: nothing to show.
    """
    height, width = (side * scale for side in _largest(rows))
    columns = max(len(row) for row in rows)
    font = _font(font_size)
    heads = [_wrap(caption, width + padding, font) for caption in column_captions]
    line = font_size + 3
    head = padding // 2 + (line + padding if title else 0)
    top = padding + (head - padding // 2) + line * max((caption.count("\n") + 1 for caption in heads), default=0)
    under = [line * max((text.count("\n") + 1 for text in row if text), default=0) for row in captions]
    under += [0] * (len(rows) - len(under))
    left = padding + (max((round(font.getlength(c)) for c in row_captions), default=-padding) + padding)
    wider = [(i // gap_every if gap_every else 0) + sum(gap <= i for gap in gaps) for i in range(columns)]
    starts = [left + i * (width + padding) + 3 * padding * count for i, count in enumerate(wider)]
    broad = max(starts[-1] + width + padding, round(font.getlength(title)) + 2 * padding)
    sheet = Image.new("RGB", (broad, top + len(rows) * (height + padding) + sum(under)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((padding, padding // 2), title, _INK, font)
    for x, caption in zip(starts, heads, strict=False):
        _centred(draw, (x + width // 2, head), caption, font)
    for number, row in enumerate(rows):
        y = top + number * (height + padding) + sum(under[:number])
        for x, text in zip(starts, captions[number] if number < len(captions) else (), strict=False):
            cut = "\n".join(_cut(one, width, font) for one in text.split("\n"))
            _centred(draw, (x + width // 2, y + height + 1), cut, font)
        if number < len(row_captions):
            draw.text((padding, y + height // 2), row_captions[number], _INK, font, anchor="lm")
        for x, picture in zip(starts, row, strict=False):
            _paste(sheet, picture, scale, (x, y, width, height))
    return sheet


def _largest(rows: Sequence[Sequence[Picture | None]]) -> tuple[int, int]:
    pictures = [picture for row in rows for picture in row if picture is not None]
    if not pictures:
        raise ValueError("a sheet needs at least one image")
    return max(picture.shape[0] for picture in pictures), max(picture.shape[1] for picture in pictures)


def _centred(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: Any) -> None:
    draw.multiline_text(at, text, _INK, font, anchor="ma", align="center", spacing=2)


def _paste(sheet: Image.Image, picture: Picture | None, scale: int, cell: tuple[int, int, int, int]) -> None:
    """Put an enlarged picture into the middle of a cell: left, top, width, height."""
    if picture is not None:
        large = Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))
        sheet.paste(large, (cell[0] + (cell[2] - large.width) // 2, cell[1] + (cell[3] - large.height) // 2))


def save_sheet(sheet: Image.Image, path: Path | str) -> None:
    """Write a sheet as PNG, atomically."""
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has but one size
        return ImageFont.load_default()


def colour_bar(colours: Picture, top: str, bottom: str, width: int = 64) -> Picture:
    """A scale to stand beside pictures: uint8 RGB `[H, width, 3]`.

    Args:
        colours: `[H, 3]` from the top to the bottom.
        top, bottom: what its ends mean.
        width: of all; the bar takes a quarter.
    """
    height, bar = len(colours), max(4, width // 4)
    picture = np.full((height, width, 3), _PAPER, np.uint8)
    picture[:, :bar] = colours[:, None]
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), _font(14)
    draw.text((bar + 4, 0), top, _INK, font)
    draw.text((bar + 4, height - 3), bottom, _INK, font, anchor="ls")
    return np.array(image)


def colour_strip(colours: Picture, low: str, high: str, width: int) -> Picture:
    """A scale to stand under pictures: uint8 RGB `[24, width, 3]`.

    Args:
        colours: `[N, 3]` from the left to the right, a pixel each.
        low, high: what its ends mean.
        width: of all.
    """
    image, font = Image.new("RGB", (width, 24), _PAPER), _font(14)
    draw, left = ImageDraw.Draw(image), 12 + round(_font(14).getlength(low))
    draw.text((6, 12), low, _INK, font, anchor="lm")
    draw.text((left + len(colours) + 6, 12), high, _INK, font, anchor="lm")
    image.paste(Image.fromarray(np.ascontiguousarray(colours[None].repeat(16, axis=0))), (left, 4))
    return np.array(image)


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A line that fits, its end dotted where it does not."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}..") > width:
        text = text[:-1]
    return f"{text}.."


def _wrap(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    head, blank, tail = caption.partition(" ")
    return f"{head}\n{tail}" if blank and font.getlength(caption) > width else caption
