"""The one reader and writer of annotation files: joints of images, in the format of the PATN authors.

A file is text: a header `name:keypoints_y:keypoints_x`, then one row an image,
`0001_c1s1_000073_00.jpg: [y, y, ...]: [x, x, ...]`, 18 numbers each, -1 for a missing joint. Files of PATN, XingGAN and
their kin load as they are. On disk y comes first; in memory it is (x, y), everywhere.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.pose.skeleton import JOINT_COUNT, JOINTS, usable
from reid_eval.datasets.names import base_name
from reid_eval.foreign import iter_lines, parse_json, reason_of
from reid_eval.limits import LARGEST_COORDINATE, LONGEST_CELL, LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError, first_five, write_text
from reid_eval.shown import is_harmless

HEADER = "name:keypoints_y:keypoints_x"
MISSING = -1
MOST_BAD_ROWS = 1000
"""That are looked for in a file."""
_BLOCK = 4096
"""Rows that are read at a time."""
_NUMBER = r"(?:-1|0|[1-9]\d{0,5})(?:\.\d{1,20})?"
_LIST = rf"[ \t]{{0,9}}\[ {{0,9}}({_NUMBER}(?:, {{0,9}}{_NUMBER}){{{JOINT_COUNT - 1}}}) {{0,9}}\][ \t]{{0,9}}"
_PLAIN_ROW = re.compile(rf"(.*):{_LIST}:{_LIST}", re.ASCII)
"""Almost all rows; others are looked at one by one."""
_COLUMNS = {"y": "column 2 (keypoints_y)", "x": "column 3 (keypoints_x)"}


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Joints of N images.

    Attributes:
        names: N image names, as the file has them: usually the file name alone, else its path in the data set.
        xy: float32 `[N, 18, 2]`, (x, y) in pixels of that image; a missing joint is NaN, NaN.
        plausible: bool `[N]`, whether the pose can be a person's, see `augment.pose.geometry.plausible`; None: nobody
            has looked. No file holds it.
    """

    names: tuple[str, ...]
    xy: NDArray[np.float32]
    plausible: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.xy.shape != (len(self.names), JOINT_COUNT, 2):
            raise ValueError(f"xy has shape {self.xy.shape}, expected {(len(self.names), JOINT_COUNT, 2)}")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        """A line, not the joints."""
        return f"Keypoints({len(self)} images, {int(self.usable.sum())} usable)"

    @cached_property
    def index(self) -> dict[str, int]:
        """Row number of each name."""
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Bool `[N]`: both shoulders and both hips seen (the authors' rule), and not found to be implausible."""
        whole = usable(self.xy)
        return whole if self.plausible is None else whole & self.plausible

    @property
    def implausible(self) -> tuple[str, ...]:
        """Names of the rows with both shoulders and both hips, in a pose that was found to be no person's."""
        return tuple(self.names[row] for row in np.flatnonzero(usable(self.xy) & ~self.usable).tolist())

    def rows(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Row number of each image path, -1 where there is none; a row may carry the path or only the file name.

        Raises:
            InputError: two of the paths share a file name, and the row carries only that.
        """
        rows = np.full(len(paths), -1, dtype=np.int64)
        claimed: list[int | None] = [None] * len(self)
        for i, path in enumerate(paths):
            row = self.index.get(path)
            if row is None:
                row = self.index.get(base_name(path), -1)
                if row >= 0:
                    first = claimed[row]
                    if first is not None and paths[first] != path:
                        raise InputError(
                            f"keypoints row {self.names[row]!r} fits both {paths[first]} and {path}: "
                            "write the rows of equally named images with their folders"
                        )
                    claimed[row] = i
            rows[i] = row
        return rows

    def take(self, rows: Sequence[int] | NDArray[np.int64], names: Sequence[str] | None = None) -> Keypoints:
        """The given rows, in that order, under new names if some are given."""
        taken = [self.names[row] for row in rows] if names is None else names
        index = np.asarray(rows, dtype=np.int64)
        return Keypoints(tuple(taken), self.xy[index], None if self.plausible is None else self.plausible[index])


@dataclass(frozen=True)
class Match:
    """How images and rows fit together; see `match`."""

    rows: NDArray[np.int64]
    """Row number of each image, -1 without one."""
    images_without_row: tuple[str, ...]
    rows_without_image: tuple[str, ...]
    judged: Keypoints | None = None
    """The rows, with `plausible`, where `augment.pose.check` made this."""

    @property
    def message(self) -> str:
        """One line that lists both kinds of stragglers (count and first five of each), empty if there are none."""
        parts = [
            f"{len(names)} {what}: {first_five(names)}"
            for what, names in (
                ("images without a keypoints row", self.images_without_row),
                ("keypoints rows without an image", self.rows_without_image),
            )
            if names
        ]
        return "; ".join(parts)


def empty_keypoints() -> Keypoints:
    """A table without rows."""
    return Keypoints((), np.empty((0, JOINT_COUNT, 2), dtype=np.float32))


def match(keypoints: Keypoints, image_names: Sequence[str], *, strict: bool = False) -> Match:
    """Find the row of each image, and list images without row and rows without image.

    Raises:
        InputError: with `strict`, if either list has an entry; the message gives counts and the first five of each.
    """
    rows = keypoints.rows(image_names)
    used = set(rows.tolist())
    found = Match(
        rows,
        tuple(name for name, row in zip(image_names, rows, strict=True) if row < 0),
        tuple(name for row, name in enumerate(keypoints.names) if row not in used),
    )
    if strict and found.message:
        raise InputError(f"images and keypoints do not match: {found.message}")
    return found


def read_keypoints(path: Path | str, size: tuple[int, int] | None = None) -> Keypoints:
    """Read an annotation file, strictly.

    Args:
        path: the file.
        size: (H, W) of the images in pixels; given, a joint outside `0 <= x < W, 0 <= y < H` is an error.

    Raises:
        InputError: no such file, wrong header, a malformed row (named by row, counted from 1 with the header, and
            column), other than 18 joints, a coordinate outside the image, one name with two different poses.
    """
    path = Path(path)
    try:
        lines = iter_lines(path)
        header = next(lines, "")
        if header.replace(" ", "") != HEADER:
            raise InputError(f"{path}: row 1, column 1: the header is {header[:200]!r}, expected {HEADER!r}")
        rows = _Rows(str(path), size)
        for number, block in _blocks(lines):
            rows.add(number, block)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read keypoints {path}: {reason_of(error)}") from None
    rows.check()
    return rows.table()


def write_keypoints(path: Path | str, keypoints: Keypoints) -> None:
    """Write an annotation file atomically; reading it again gives the same table, bit for bit.

    Whole numbers are written as such, others with the fewest digits that name the float32.

    Raises:
        ValueError: a name that the format cannot hold (empty, with a line break or outer blanks), or half a joint.
    """
    missing = np.isnan(keypoints.xy)
    if (missing[..., 0] != missing[..., 1]).any():
        raise ValueError("a joint has only one of its two coordinates; missing is NaN in both")
    lines = [HEADER]
    for name, xy in zip(keypoints.names, keypoints.xy, strict=True):
        if not name or name != name.strip() or len(name.splitlines()) != 1:
            raise ValueError(f"image name {name!r} cannot stand in a keypoints file")
        lines.append(f"{name}: {_numbers(xy[:, 1])}: {_numbers(xy[:, 0])}")
    write_text(path, "\n".join(lines) + "\n")


def merge(tables: Iterable[Keypoints]) -> Keypoints:
    """Join tables; a name in several of them must have the same pose in all.

    Raises:
        InputError: one name with two different poses.
    """
    poses: dict[str, NDArray[np.float32]] = {}
    for table in tables:
        for name, pose in zip(table.names, table.xy, strict=True):
            try:
                _insert(poses, name, pose)
            except ValueError as error:
                raise InputError(f"keypoints files disagree: {error}") from None
    return _table(poses)


def find_annotations(root: Path | str, override: Path | str | None = None) -> list[Path]:
    """The annotation files of a data set: the one the user names, else those that lie in its folder.

    Looks for `market-annotation-train.csv` and `-test.csv`, then for `keypoints-*.csv`. The list may be empty.

    Raises:
        InputError: `override` is not a file.
    """
    if override is not None:
        if not Path(override).is_file():
            raise InputError(f"keypoints {override}: no such file", "keypoints")
        return [Path(override)]
    for pattern in ("market-annotation-*.csv", "keypoints-*.csv"):
        if found := sorted(Path(root).glob(pattern)):
            return found
    return []


def load_annotations(
    root: Path | str, override: Path | str | None = None, size: tuple[int, int] | None = None
) -> Keypoints:
    """Read and merge what `find_annotations` finds; (H, W) as in `read_keypoints`.

    Raises:
        InputError: there is no annotation file, or one of them is malformed.
    """
    files = find_annotations(root, override)
    if not files:
        raise InputError(
            f"{root} has no keypoints (market-annotation-*.csv, keypoints-*.csv): make them with `patn-augment poses "
            f"{shlex.quote(str(root))}`, or name a file of keypoints",
            "keypoints",
        )
    return merge(read_keypoints(file, size) for file in files)


class _Rows:
    """What has been read of a file: many rows at a time, and one by one those that are not as almost all are.

    Args:
        path: of the file, for messages.
        size: (H, W) of the images, or None.
    """

    def __init__(self, path: str, size: tuple[int, int] | None) -> None:
        self.path, self.size = path, size
        self.places: dict[str, int] = {}
        """Number of each name's pose, in the order of the file."""
        self.poses = np.empty((_BLOCK, JOINT_COUNT, 2), dtype=np.float32)
        """`[>= N, 18, 2]`, doubled when it is full."""
        self.first, self.wrong = "", 0

    def add(self, number: int, lines: list[str]) -> None:
        """Take some lines, the first of them row `number` of the file.

        Raises:
            InputError: `MOST_BAD_ROWS` rows are bad by now.
        """
        found = [_PLAIN_ROW.fullmatch(line) for line in lines]
        numbers = ",".join(f"{row[2]},{row[3]}" for row in found if row)
        values = np.array([*map(float, numbers.split(","))] if numbers else [], dtype=np.float64)
        plain = values.reshape(-1, 2, JOINT_COUNT)[:, ::-1].transpose(0, 2, 1)
        good = iter(_good_poses(plain, self.size).tolist())
        quick = iter(np.where(plain == MISSING, np.nan, plain).astype(np.float32))
        for place, (line, row) in enumerate(zip(lines, found, strict=True), start=number):
            pose, fine = (next(quick), next(good)) if row else (None, False)
            try:
                if row and fine and pose is not None:
                    self._insert(_checked_name(row[1].strip()), pose)
                elif line.strip():
                    self._insert(*_parse_row(line, self.size))
            except ValueError as error:
                self.first, self.wrong = self.first or f"row {place}, {error}", self.wrong + 1
                if self.wrong >= MOST_BAD_ROWS:  # a message each would take minutes, and nobody reads it
                    self.check()

    def check(self) -> None:
        """Raise `InputError` if a row is bad."""
        if self.wrong:
            least = "at least " if self.wrong >= MOST_BAD_ROWS else ""
            more = f" (and {least}{self.wrong - 1} more bad rows)" if self.wrong > 1 else ""
            raise InputError(f"{self.path}: {self.first}{more}")

    def table(self) -> Keypoints:
        """All rows."""
        return Keypoints(tuple(self.places), self.poses[: len(self.places)])

    def _insert(self, name: str, pose: NDArray[np.float32]) -> None:
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = len(self.places)
            if place == len(self.poses):
                self.poses = np.concatenate([self.poses, np.empty_like(self.poses)])
            self.poses[place] = pose
        elif not np.array_equal(self.poses[place], pose, equal_nan=True):
            raise ValueError(_twice(name))


def _blocks(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """(row, lines): some lines at a time, rows counted from 2, which is the first after the header."""
    number = 2
    while block := list(itertools.islice(lines, _BLOCK)):
        yield number, block
        number += len(block)


def _good_poses(xy: NDArray[np.float64], size: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Which of `[n, 18, 2]`, with -1 for missing, lie inside their image and have no half joint: bool `[n]`."""
    limits = np.array([LARGEST_COORDINATE] * 2 if size is None else size[::-1])
    missing = xy == MISSING
    inside = missing | ((xy >= 0) & (xy < limits))
    return inside.all((1, 2)) & (missing[..., 0] == missing[..., 1]).all(1)


def _insert(poses: dict[str, NDArray[np.float32]], name: str, pose: NDArray[np.float32]) -> None:
    if not np.array_equal(poses.setdefault(name, pose), pose, equal_nan=True):
        raise ValueError(_twice(name))


def _twice(name: str) -> str:
    return f"column 1 (name): {name!r} is there twice, with different joints"


def _table(poses: dict[str, NDArray[np.float32]]) -> Keypoints:
    return Keypoints(tuple(poses), np.stack(list(poses.values()))) if poses else empty_keypoints()


def _parse_row(line: str, size: tuple[int, int] | None) -> tuple[str, NDArray[np.float32]]:
    fields = line.rsplit(":", 2)
    if len(fields) != 3:
        raise ValueError(f"column {len(fields)}: found {len(fields)} of 3 fields separated by ':'")
    name = _checked_name(fields[0].strip())
    height, width = size or (None, None)
    y, x = _parse_numbers(fields[1], "y", height), _parse_numbers(fields[2], "x", width)
    for joint, (a, b) in enumerate(zip(x, y, strict=True)):
        if (a == MISSING) != (b == MISSING):
            column = _COLUMNS["x" if a == MISSING else "y"]
            raise ValueError(f"{column}: joint {joint + 1} ({JOINTS[joint]}) is -1 here only; missing is -1 in both")
    xy = np.array([x, y], dtype=np.float32).T
    xy[xy[:, 0] == MISSING] = np.nan
    return name, xy


def _checked_name(name: str) -> str:
    if not name or len(name) > LONGEST_IMAGE_NAME or not is_harmless(name):
        what = "has control characters" if 0 < len(name) <= LONGEST_IMAGE_NAME else f"has {len(name)} characters"
        raise ValueError(f"column 1 (name): the name {'is empty' if not name else what}")
    return name


def _parse_numbers(text: str, axis: str, limit: int | None) -> list[float]:
    try:
        if len(text) > LONGEST_CELL:
            raise ValueError(f"{len(text)} characters")
        values = parse_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{_COLUMNS[axis]}: not a list of numbers, {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise ValueError(f"{_COLUMNS[axis]}: not a list of finite numbers ({error})") from None
    if not isinstance(values, list) or any(type(v) not in (int, float) for v in values):
        raise ValueError(f"{_COLUMNS[axis]}: not a list of finite numbers")
    if len(values) != JOINT_COUNT:
        raise ValueError(f"{_COLUMNS[axis]}: {len(values)} joints, expected {JOINT_COUNT}")
    for joint, value in enumerate(values):
        if value != MISSING and not 0 <= value < (LARGEST_COORDINATE if limit is None else limit):
            inside = (
                f"0 <= {axis} < {limit}"
                if limit is not None
                else f"0 <= {axis} < {LARGEST_COORDINATE}, or -1 for missing"
            )
            raise ValueError(
                f"{_COLUMNS[axis]}: joint {joint + 1} ({JOINTS[joint]}) is at {axis} = {value}, "
                f"outside the image ({inside})"
            )
    return values


def _numbers(values: NDArray[np.float32]) -> str:
    return "[" + ", ".join(_number(value) for value in values) + "]"


def _number(value: np.float32) -> str:
    if np.isnan(value):
        return str(MISSING)
    return str(int(value)) if value == int(value) else np.format_float_positional(value, unique=True, trim="-")
