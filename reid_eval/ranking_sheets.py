"""Pictures of rankings: a query, and the first of the gallery by each of two networks, marked right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from reid_eval.datasets.images import read_image
from reid_eval.runtime import atomic_path, progress

if TYPE_CHECKING:
    from reid_eval.rankings import Photo, RankedQuery

_CELL = (64, 128)
_GAP, _FRAME, _LINE, _LEFT = 8, 3, 14, 92
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_RIGHT, _WRONG = (30, 140, 60), (200, 40, 40)
_ONE = {"wins": "win", "losses": "loss", "sample": "sample"}


def write_sheets(folder: Path, rankings: Mapping[str, Sequence[RankedQuery]], root: Path) -> None:
    """Write a JPEG a query, `win-01.jpg` and so on.

    Raises:
        InputError: an image cannot be read.
    """
    every = [(kind, i, one) for kind, found in rankings.items() for i, one in enumerate(found, 1)]
    with progress("Drawing rankings", len(every), "queries") as bar:
        for kind, number, one in every:
            with atomic_path(folder / f"{_ONE[kind]}-{number:02d}.jpg") as temporary:
                ranking_sheet(one, root, f"{_ONE[kind]} {number}").save(temporary, format="JPEG", quality=88)
            bar.advance()


def ranking_sheet(ranked: RankedQuery, root: Path, title: str) -> Image.Image:
    """One picture: the query, and a row of its ranking for each network."""
    width, height = _CELL[0] + 2 * _FRAME, _CELL[1] + 2 * _FRAME
    most = max([1, *(len(found) for found in ranked.lists.values())])
    tall = height + 2 * _LINE + _GAP
    size = (_LEFT + (most + 1) * (width + _GAP) + 2 * _GAP, _LINE + 2 * _GAP + len(ranked.lists) * tall)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), _font()
    draw.text((_GAP, _GAP // 2), f"{title}: {ranked.query.path}", _INK, font)
    for number, (side, found) in enumerate(ranked.lists.items()):
        y = _LINE + _GAP + number * tall
        told = f"{side}\nAP {100 * ranked.precision[side]:.0f}%\nfirst correct:\nrank {ranked.first_rank[side]}"
        draw.multiline_text((_GAP, y + height // 3), told, _INK, font, spacing=3)
        for place, photo in enumerate([ranked.query, *found]):
            x = _LEFT + place * (width + _GAP) + (2 * _GAP if place else 0)
            _put(sheet, draw, font, photo, root, (x, y))
    return sheet


def _put(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, photo: Photo,
    root: Path, at: tuple[int, int],
) -> None:  # fmt: skip
    x, y = at
    colour = {None: _GREY, True: _RIGHT, False: _WRONG}[photo.right]
    draw.rectangle((x, y, x + _CELL[0] + 2 * _FRAME - 1, y + _CELL[1] + 2 * _FRAME - 1), colour)
    picture = Image.fromarray(read_image(root / photo.path)).resize(_CELL, Image.Resampling.BICUBIC)
    sheet.paste(picture, (x + _FRAME, y + _FRAME))
    word = {None: "query", True: "right", False: "wrong"}[photo.right]
    below = y + _CELL[1] + 2 * _FRAME
    draw.text((x, below), word, colour, font)
    draw.text((x, below + _LINE - 2), f"{photo.pid} c{photo.camid}", _GREY, font)


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(11)
    except TypeError:  # Pillow before 10.1 has but one size
        return ImageFont.load_default()
