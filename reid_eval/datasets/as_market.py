"""A data set as if it had Market-1501's names: for programs that read no other layout.

Nothing is written here: the tables keep the paths that are on disk, and `ReidData.renamed` says what each file is to be
called. Identities, splits and sources stay what they are.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from reid_eval.datasets.names import image_stem
from reid_eval.datasets.tables import SPLITS, ReidData
from reid_eval.runtime import InputError, first_five

SECONDS = 30.0
"""For a pattern on all names: some take for ever on a name of fifty characters."""
LONGEST = 255
"""Characters of a name that a pattern is tried on: what file systems take."""
_BY_SPLIT = {"train": 1, "query": 1, "gallery": 2}
_SEARCH = (
    "import json, re, sys\n"
    "asked = json.load(sys.stdin)\n"
    "pattern = re.compile(asked['pattern'])\n"
    "found = [pattern.search(name) for name in asked['names']]\n"
    "json.dump([None if one is None else one[1 if pattern.groups else 0] for one in found], sys.stdout)\n"
)


def as_market(data: ReidData, camera_regex: str | None = None) -> ReidData:
    """A data set under Market-1501's names, `0002_c1s1_000003_00.jpg`; frames are counted within each person.

    Cameras are those of the names, where the layout has any. One folder an identity has none: there `camera_regex`
    finds them, or every split folder counts as one camera (training and query 1, gallery 2), so that the protocol,
    which leaves out gallery images of the query's own camera, leaves out none.

    Args:
        data: in any layout but `market1501`.
        camera_regex: searched in `PERSON/FILE` of each image, its first group (or all that it matches) is the camera's
            name. Numbers above 0 stay, other names are counted in their order.

    Raises:
        InputError: the layout already, cameras that are known, a pattern that is none, takes too long, or finds nothing
            in an image's name.
    """
    if data.layout == "market1501":
        raise InputError(f"{data.root} has the layout market1501 already")
    if camera_regex is not None and data.has_cameras:
        raise InputError(
            f"{data.root}: its names tell the cameras ({data.layout}): no pattern is needed", "camera_regex"
        )
    tables = {split: data.split(split) for split in SPLITS}
    if not data.has_cameras:
        tables = _with_cameras(tables, camera_regex)
    every = pd.concat([table.assign(split=split) for split, table in tables.items()])
    frames = every.groupby("pid").cumcount() + 1
    renamed = {
        path: _name(pid, camid, frame, path, source)
        for path, pid, camid, frame, source in zip(
            every["path"], every["pid"], every["camid"], frames, every["source"], strict=True
        )
    }
    train, query, gallery = (tables[split] for split in SPLITS)
    return replace(data, layout="market1501", train=train, query=query, gallery=gallery, renamed=renamed)


def _name(pid: int, camid: int, frame: int, path: str, source: str) -> str:
    person = str(pid) if pid < 0 else f"{pid:04d}"
    mark = f"_gen{frame:04d}" if source == "generated" else ""
    return f"{person}_c{camid}s1_{frame:06d}_00{mark}{PurePosixPath(path).suffix.lower()}"


def _with_cameras(tables: dict[str, pd.DataFrame], pattern: str | None) -> dict[str, pd.DataFrame]:
    if pattern is None:
        return {split: table.assign(camid=np.int64(_BY_SPLIT[split])) for split, table in tables.items()}
    paths = [path for table in tables.values() for path in table["path"]]
    numbers = dict(zip(paths, _numbers(camera_names(paths, pattern)), strict=True))
    return {
        split: table.assign(camid=table["path"].map(numbers).astype(np.int64) if len(table) else table["camid"])
        for split, table in tables.items()
    }


def camera_names(paths: Sequence[str], pattern: str) -> list[str]:
    """What a pattern finds in `PERSON/FILE` of each path; another process looks, and is ended after `SECONDS`.

    Raises:
        InputError: as `as_market`.
    """
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"pattern {pattern[:200]!r} is no regular expression: {error}", "camera_regex") from None
    if groups > 1:
        raise InputError(
            f"pattern {pattern[:200]!r} has {groups} groups: mark the camera's name with one", "camera_regex"
        )
    names = ["/".join(path.split("/")[-2:]) for path in paths]
    if long := next((name for name in names if len(name) > LONGEST), None):
        raise InputError(f"{long[:80]}...: a pattern is tried on names of at most {LONGEST} characters", "camera_regex")
    asked = json.dumps({"pattern": pattern, "names": names})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _SEARCH],
            input=asked,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"pattern {pattern[:200]!r} took more than {SECONDS:.0f} s: write a simpler one", "camera_regex"
        ) from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"pattern {pattern[:200]!r} failed: {error.stderr[-200:].strip()}", "camera_regex") from None
    found: list[str | None] = json.loads(done.stdout)
    if missed := [path for path, name in zip(paths, found, strict=True) if not name]:
        raise InputError(
            f"pattern {pattern[:200]!r} finds no camera in {len(missed)} of {len(paths)} names: {first_five(missed)}",
            "camera_regex",
        )
    return [str(name) for name in found]


def _numbers(names: Sequence[str]) -> list[int]:
    """Numbers of cameras: their names, where all are numbers above 0, else the ranks of those from 1."""
    if all(name.isascii() and name.isdecimal() and len(name) <= 18 and int(name) > 0 for name in names):
        return [int(name) for name in names]
    ranks = {name: rank for rank, name in enumerate(sorted(set(names)), start=1)}
    return [ranks[name] for name in names]


def renamed_output(output: str, renamed: str) -> str:
    """An output under the new name of the photo that it is, or is made from; the mark of a generated one stays."""
    folder = output.split("/")[0]
    mark = re.search(r"_gen\d{4,}$", image_stem(output))
    if mark is None:
        return f"{folder}/{renamed}"
    return f"{folder}/{image_stem(renamed)}{mark[0]}{PurePosixPath(output).suffix}"
