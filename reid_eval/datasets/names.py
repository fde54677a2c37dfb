"""File-name grammars of the public re-ID data sets: the only place where an image's name is taken apart.

Every grammar also takes our mark of a generated image, `_genNNNN` at the end of the stem. Numbers have at most 18
digits: 64 bits hold them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from reid_eval.runtime import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes (lower case) of the files that are read as images; any case of them is accepted."""

GENERATED = r"(?P<generated>_gen\d{4,})?"


def _grammar(pattern: str) -> re.Pattern[str]:
    """A pattern in which `<name>` stands for a number of that name, and the mark of a generated image may follow."""
    return re.compile(re.sub(r"(?<!\?P)<(\w+)>", r"(?P<\1>\\d{1,18})", pattern) + GENERATED, re.ASCII)


MARKET = _grammar(r"(?P<pid>-1|\d{1,18})_c<camid>s<seq>_<frame>_<box>")
DUKE = _grammar(r"<pid>_c<camid>_f<frame>")
CAMERA_FRAME = _grammar(r"<pid>_c<camid>_<frame>")
MSMT_ORIGINAL = _grammar(r"<pid>_<image>_<camid>_(?P<day>\d{4})(morning|noon|afternoon)_<frame>_<box>(_ex)?")


class ImageName(NamedTuple):
    """What an image's name says. `camid` is the number as written (Market counts cameras from 1)."""

    pid: int
    """Identity; -1 is junk, 0 a distractor in Market-1501."""
    camid: int
    seq: int
    """Sequence within the camera; 0 where the name has none."""
    frame: int
    source: str
    """`real`, or `generated` where the stem ends with `_genNNNN`."""


class Grammar(NamedTuple):
    """How the names of one data set are read."""

    example: str
    patterns: tuple[re.Pattern[str], ...]
    first_pid: int
    """Number of the first identity in the names. MSMT17 begins at 0, which elsewhere means distractor: see `parse`."""

    def parse(self, name: str) -> ImageName | None:
        """Read the file name `name`; None where it does not follow the grammar. pid -1 and 0 keep Market's meaning."""
        stem = image_stem(name)
        for pattern in self.patterns:
            if match := pattern.fullmatch(stem):
                return self._image_name(match)
        return None

    def _image_name(self, match: re.Match[str]) -> ImageName:
        groups = match.groupdict()
        pid = int(groups["pid"]) + 1 - self.first_pid
        source = "generated" if groups["generated"] else "real"
        return ImageName(pid, int(groups["camid"]), int(groups.get("seq") or 0), int(groups["frame"]), source)


GRAMMARS: dict[str, Grammar] = {
    "market1501": Grammar("0002_c1s1_000451_03.jpg", (MARKET,), 1),
    "dukemtmc": Grammar("0005_c2_f0046985.jpg", (DUKE,), 1),
    "cuhk03-np": Grammar("0001_c1_1.png", (CAMERA_FRAME,), 1),
    "msmt17": Grammar("0000_c1_0002.jpg or 0000_013_01_0303morning_0015_0.jpg", (CAMERA_FRAME, MSMT_ORIGINAL), 0),
}


def is_image(name: str) -> bool:
    """Whether a file of this name is read: an image suffix of any case, and not hidden."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def image_stem(name: str) -> str:
    """The name without folder and suffix; a doubled suffix (`x.jpg.jpg`, as some releases have) goes as a whole."""
    stem = base_name(name)
    while is_image(stem):
        stem = stem[: stem.rindex(".")]
    return stem


def base_name(path: str) -> str:
    """`PurePosixPath(path).name`, ten times as fast: a plan of a million images asks some ten million times."""
    tail = path.rpartition("/")[2]
    return tail if tail not in ("", ".") else PurePosixPath(path).name


def distinct_names(paths: Iterable[str]) -> list[str]:
    """Names that tell images apart: file names where no two of the images share one, else their paths as given."""
    paths = list(paths)
    names = [base_name(path) for path in paths]
    return names if len(set(names)) == len(set(paths)) else paths


def is_generated(name: str) -> bool:
    """Whether the stem ends with our mark `_genNNNN`."""
    return re.search(r"_gen\d{4,}$", image_stem(name)) is not None


def parse_market_name(name: str) -> ImageName:
    """Read a Market-1501 name such as `0002_c1s1_000451_03.jpg` (folders before it are ignored).

    Raises:
        InputError: the name does not follow Market-1501's grammar.
    """
    parsed = GRAMMARS["market1501"].parse(name)
    if parsed is None:
        raise InputError(
            f"{name!r} is not a Market-1501 image name: expected PID_cCAMsSEQ_FRAME_BOX.jpg, as 0002_c1s1_000451_03.jpg"
        )
    return parsed


def guess_grammar(names: list[str]) -> str | None:
    """The data set whose grammar reads most of `names`; None where none reads any.

    CUHK03-np and the Market-like MSMT17 share a grammar: four-digit frames in JPEGs are taken for MSMT17.
    """

    def reads(layout: str) -> int:
        return sum(GRAMMARS[layout].parse(name) is not None for name in names)

    counts = {layout: reads(layout) for layout in GRAMMARS}
    best = max(counts, key=lambda layout: counts[layout])
    if counts[best] == 0:
        return None
    if best == "cuhk03-np" and _looks_like_msmt17(names):
        return "msmt17"
    return best


def _looks_like_msmt17(names: list[str]) -> bool:
    read: Callable[[str], re.Match[str] | None] = CAMERA_FRAME.fullmatch
    matches = [(name, match) for name in names if (match := read(image_stem(name)))]
    return all(len(match["frame"]) == 4 and name.lower().endswith((".jpg", ".jpeg")) for name, match in matches)
