"""Pose libraries: poses nobody photographed, as an annotation file; the one that ships, and how to make more of one.

A library is an annotation file (see `augment.pose.keypoints`). A row whose name ends in `@HxW`, such as
`gait/view030/phase2@128x64`, is measured in a frame of that size and is scaled to the image it is used for; a row
without is in pixels of the data set's images.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.pose.geometry import mirror, plausible
from augment.pose.keypoints import Keypoints, read_keypoints
from reid_eval.limits import LARGEST_COORDINATE
from reid_eval.runtime import InputError

SHIPPED = "gait"
_FRAME = re.compile(r"^(.*)@(\d+)x(\d+)$", re.ASCII)
# Joints that swing around another one; the rest belongs to the trunk and moves in straight lines, as a body does that
# turns: its shoulders pass through each other, they do not go round.
_SWING = {3: 2, 4: 3, 6: 5, 7: 6, 9: 8, 10: 9, 12: 11, 13: 12}

Pose = NDArray[np.float32]


def pose_name(name: str, size: tuple[int, int]) -> str:
    """The row's name of a pose measured in a frame of `size` (H, W)."""
    return f"{name}@{size[0]}x{size[1]}"


def frame_of(name: str) -> tuple[int, int] | None:
    """(H, W) of the frame that a row's name tells, None if it tells none.

    Raises:
        InputError: a frame that cannot be, such as 0x0.
    """
    if (found := _FRAME.match(name)) is None:
        return None
    sides = (found[2], found[3])
    if not all(len(side) < 6 and 0 < int(side) < LARGEST_COORDINATE for side in sides):
        raise InputError(
            f"library pose {name[:80]!r}: a frame of {sides[0][:20]}x{sides[1][:20]} cannot be: name it anew"
        )
    return int(sides[0]), int(sides[1])


def shipped_library() -> Keypoints:
    """The library that ships: twelve views of eight moments of a gait cycle, and of standing, at 128x64.

    Raises:
        InputError: this installation lacks it.
    """
    entry = importlib.resources.files("augment") / "pose" / "library_data" / f"{SHIPPED}.csv"
    if not entry.is_file():
        raise InputError("this installation has no pose library: name a file", "library")
    return read_keypoints(Path(str(entry)))


def judged_library(library: Keypoints) -> Keypoints:
    """A library with whether each pose is plausible, in its frame where the name tells one."""
    frames = [frame_of(name) for name in library.names]
    heights = np.array([np.nan if frame is None else frame[0] for frame in frames], np.float64)
    return Keypoints(library.names, library.xy, plausible(library.xy, heights))


def interpolate(a: Pose, b: Pose, share: float) -> Pose:
    """A pose between two of one frame.

    Head, neck, shoulders and hips move in straight lines. Elbows, wrists, knees and ankles swing around the joint
    above them: angle and length change evenly, so that no limb gets shorter on the way.

    Args:
        a, b: `[18, 2]` (x, y) pixels, NaN missing.
        share: 0 is `a`, 1 is `b`.

    Returns:
        float32 `[18, 2]`; a joint that one of the two lacks is missing.
    """
    between = (1 - share) * a.astype(np.float64) + share * b
    for joint, parent in _SWING.items():
        before, after = a[joint] - a[parent], b[joint] - b[parent]
        lengths = np.hypot(*before), np.hypot(*after)
        start, end = np.arctan2(before[1], before[0]), np.arctan2(after[1], after[0])
        turn = (end - start + np.pi) % (2 * np.pi) - np.pi
        angle, length = start + share * turn, (1 - share) * lengths[0] + share * lengths[1]
        between[joint] = between[parent] + length * np.array([np.cos(angle), np.sin(angle)])
    return between.astype(np.float32)


def with_between(library: Keypoints, steps: int) -> Keypoints:
    """The library with `steps` poses between each two neighbouring ones of a sequence, evenly spaced.

    A sequence is all rows of one name but for the number at its end (`gait/view030/phase0`, `phase1`, ...); the last
    is followed by the first, as in a gait cycle.

    Raises:
        InputError: two neighbours have different frames, or no sequence has two poses.
    """
    sequences: dict[str, list[int]] = {}
    for row, name in enumerate(library.names):
        if found := re.match(r"^(.*?)(\d+)(@\d+x\d+)?$", name, re.ASCII):
            sequences.setdefault(found[1], []).append(row)
    names, poses = list(library.names), list(library.xy)
    for stem, rows in sequences.items():
        rows.sort(key=lambda row: _number(library.names[row], stem))
        for first, second in zip(rows, rows[1:] + rows[:1], strict=True) if len(rows) > 1 else ():
            for name, pose in _between(library, first, second, steps):
                names.append(name)
                poses.append(pose)
    if len(names) == len(library) and steps:
        raise InputError("no two poses of the library follow each other (name0, name1, ...): nothing lies between")
    return Keypoints(tuple(names), np.stack(poses))


def _number(name: str, stem: str) -> int:
    return int(name.removeprefix(stem).partition("@")[0])


def _between(library: Keypoints, first: int, second: int, steps: int) -> Iterator[tuple[str, Pose]]:
    a, b = library.names[first], library.names[second]
    frame = frame_of(a)
    if frame != frame_of(b):
        raise InputError(f"library poses {a} and {b} have different frames: nothing lies between them")
    stem = a.rpartition("@")[0] if frame else a
    for step in range(1, steps + 1):
        name = f"{stem}+{step}of{steps + 1}"
        yield (
            pose_name(name, frame) if frame else name,
            interpolate(library.xy[first], library.xy[second], step / (steps + 1)),
        )


def with_mirrored(library: Keypoints, size: tuple[int, int] | None = None) -> Keypoints:
    """The library and its mirror image: what was left is right.

    Args:
        library: the poses.
        size: (H, W) of the frame of rows that do not tell theirs.

    Raises:
        InputError: a row without a frame, and no `size`.
    """
    names, poses = list(library.names), list(library.xy)
    for name, pose in zip(library.names, library.xy, strict=True):
        frame = frame_of(name) or size
        if frame is None:
            raise InputError(
                f"library pose {name} does not tell its frame (NAME@HxW): give a size for such poses", "size"
            )
        stem, at, end = name.rpartition("@") if frame_of(name) else (name, "", "")
        names.append(f"{stem}/mirror{at}{end}")
        poses.append(mirror(pose, frame[1]))
    return Keypoints(tuple(names), np.stack(poses).astype(np.float32))


def grown_library(
    source: Path | None = None, between: int = 0, mirrored: bool = False, size: tuple[int, int] | None = None
) -> Keypoints:
    """A library, the shipped one or the user's, with `between` poses between neighbours, and mirrored.

    Raises:
        InputError: see `with_between` and `with_mirrored`.
    """
    library = read_keypoints(source) if source else shipped_library()
    if between:
        library = with_between(library, between)
    return with_mirrored(library, size) if mirrored else library
