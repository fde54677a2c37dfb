"""A data set under names that say nothing: what `generate --anonymous` makes its folder of.

Names of images are keyed hashes (HMAC-SHA256, see `augment.folder.secret_key`) in Market-1501's grammar, which all
re-ID code reads; only without the key can they not be told from any others. People and cameras are numbered anew from
1, in the order of their keyed hashes and over all splits, so that labels are consistent within the folder and within
the limits of readers that know how many there are. Sequence and frame of the source do not appear. Junk (-1) and
distractors (0) stay what they are. A data set with one folder an identity keeps that layout, its folders numbered.

Nothing else of the pipeline knows of this: it is given a `Source` of the new names, which finds the old files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from augment.folder.carry import Source
from augment.folder.layout import TEST_FOLDERS
from augment.folder.secret_key import SecretKey
from augment.plan.file import COLUMNS, LIBRARY, TRAIN
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of, pose_name
from reid_eval.datasets import ReidData
from reid_eval.datasets.names import image_stem
from reid_eval.datasets.tables import make_table
from reid_eval.runtime import InputError, write_text

_FOLDERS = {"train": TRAIN, **TEST_FOLDERS}
_DIGITS = 18
"""Of a name's hash: what 64 bits hold."""
_NUMBER = re.compile(r"_gen(\d{4,})$", re.ASCII)


def anonymous_source(source: Source, key: SecretKey) -> Source:
    """A source under new names.

    Args:
        source: as it was read; joints and images have been checked against each other.
        key: what names are hashed with.

    Raises:
        InputError: two images get one name (which chance never does).
    """
    data, originals = anonymous_data(source.data, key)
    names, rows = [], []
    new_of = {old: new for new, old in originals.items()}
    for split in _FOLDERS:
        paths = source.data.split(split)["path"].tolist()
        known = [(new_of[path], row) for path, row in zip(paths, source.keypoints.rows(paths), strict=True) if row >= 0]
        names += [name for name, _ in known]
        rows += [row for _, row in known]
    order = sorted(range(len(names)), key=names.__getitem__)
    joints = source.keypoints.take(np.array(rows, dtype=np.int64)[order], [names[place] for place in order])
    library = None if source.library is None else _anonymous_library(source.library, key)
    return Source(data, joints, library, originals, key)


def anonymous_data(data: ReidData, key: SecretKey) -> tuple[ReidData, dict[str, str]]:
    """The tables under new names, and the path in the data set of each new path.

    Raises:
        InputError: as `anonymous_source`.
    """
    tables = [data.split(split) for split in _FOLDERS]
    pids = _numbered(key, "pid", (pid for table in tables for pid in table["pid"].tolist() if pid > 0), data.identities)
    camids = _numbered(key, "camid", (camid for table in tables for camid in table["camid"].tolist()))
    width = max(4, len(str(len(pids))))
    new, originals = [], dict[str, str]()
    for split, table in zip(_FOLDERS, tables, strict=True):
        records = []
        image: Any
        for image in table.itertuples():
            pid, camid = pids.get(image.pid, image.pid), camids[image.camid]
            frame = key.number("image", image.path) % 10**_DIGITS
            path = _path(_FOLDERS[split], data.has_cameras, pid, camid, frame, width, image.path)
            records.append((path, pid, camid, 1 if data.has_cameras else 0, frame, image.source))
            originals[path] = image.path
        new.append(make_table(records))
    if len(originals) < sum(map(len, tables)):
        raise InputError("two images get the same name with this key: take another key")
    layout = "market1501" if data.has_cameras else data.layout
    identities = {number: f"{number:0{width}d}" for number in pids.values()} if data.identities else {}
    train, query, gallery = new
    return ReidData(data.root, layout, train, query, gallery, identities), originals


def anonymous_plan(plan: pd.DataFrame, source: Source) -> pd.DataFrame:
    """A plan of source names under the new ones, in the order that a plan of those has.

    Args:
        plan: checked against the data set.
        source: from `anonymous_source`, of that data set.
    """
    from augment.plan.sampler import output_path

    assert source.originals is not None
    new_of = {old: new for new, old in source.originals.items() if new.startswith(f"{TRAIN}/")}
    train = source.data.train
    who = dict(zip(train["path"], zip(train["pid"].tolist(), train["camid"].tolist(), strict=True), strict=True))
    assert source.key is not None
    records = []
    row: Any
    for row in plan[list(COLUMNS)].itertuples(index=False):
        image, condition = new_of.get(row.image, ""), new_of.get(row.condition, "")
        pose = _library_row(row.pose, source.key) if row.pose.startswith(LIBRARY) else new_of.get(row.pose, "")
        output, number = "", 0
        if row.action == "keep":
            output = output_path(image, source.data.layout)
        elif row.action == "generate":
            found = _NUMBER.search(image_stem(row.output))
            number = int(found[1]) if found else 0
            output = output_path(condition, source.data.layout, number, PurePosixPath(row.output).suffix)
        pid, camid = who[image or condition]
        order = 1 + number if row.action == "generate" else 0
        records.append((row.action, pid, camid, image, condition, pose, output, order))
    table = pd.DataFrame(records, columns=[*COLUMNS, "order"])
    return table.sort_values(["pid", "order", "image", "output"], ignore_index=True)[list(COLUMNS)]


def write_names(path: Path | str, data: ReidData, key: SecretKey) -> int:
    """Write a CSV of `image, pid, camid` of a data set and `anonymous, anonymous_pid, anonymous_camid`; their number.

    Raises:
        InputError: as `anonymous_source`.
    """
    hidden, originals = anonymous_data(data, key)
    columns = ["path", "pid", "camid"]
    old, new = (pd.concat([one.split(split)[columns] for split in _FOLDERS]) for one in (data, hidden))
    new = new.rename(columns={"path": "anonymous", "pid": "anonymous_pid", "camid": "anonymous_camid"})
    new = new.assign(path=[originals[name] for name in new["anonymous"]])
    table = old.merge(new, on="path", validate="one_to_one").rename(columns={"path": "image"})
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    return len(table)


def _path(folder: str, cameras: bool, pid: int, camid: int, frame: int, width: int, old: str) -> str:
    suffix = PurePosixPath(old).suffix.lower()
    person = "-1" if pid == -1 else f"{pid:0{width}d}"
    if not cameras:
        return f"{folder}/{person}/{frame:0{_DIGITS}d}{suffix}"
    return f"{folder}/{person}_c{camid}s1_{frame:0{_DIGITS}d}_00{suffix}"


def _numbered(
    key: SecretKey, kind: str, values: Iterable[int], names: Mapping[int, str] | None = None
) -> dict[int, int]:
    """Numbers from 1 in the order of keyed hashes: of names, where there are some."""
    ordered = sorted(set(values), key=lambda value: key.number(kind, (names or {}).get(value, str(value))))
    return {value: number for number, value in enumerate(ordered, start=1)}


def _anonymous_library(library: Keypoints, key: SecretKey) -> Keypoints:
    names = [_library_row(LIBRARY + name, key)[len(LIBRARY) :] for name in library.names]
    order = sorted(range(len(names)), key=names.__getitem__)
    return library.take(order, [names[place] for place in order])


def _library_row(pose: str, key: SecretKey) -> str:
    """`library:NAME@HxW` under another name, measured in the same frame."""
    frame = frame_of(pose)
    name = f"{key.number('pose', pose) % 10**_DIGITS:0{_DIGITS}d}"
    return LIBRARY + (pose_name(name, frame) if frame else name)
