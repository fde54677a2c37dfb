"""What lies where in an augmented folder, the one place that knows; and its parts that no network makes: kept images,
the test splits, and everybody's joints.

    OUT/bounding_box_train              kept and generated images
    OUT/query, OUT/bounding_box_test    as they were
    OUT/market-annotation-train.csv     joints of all training images; a generated one has its target pose
    OUT/market-annotation-test.csv
    OUT/augmentation/plan.csv           the plan as it was carried out
    OUT/augmentation/gate.csv           with a gate: all attempts
    OUT/augmentation/repair-0001.csv    of a repair: all attempts
    OUT/augmentation/manifest.json      there once all else is
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.plan.file import TRAIN, read_plan
from augment.pose.keypoints import Keypoints, empty_keypoints, read_keypoints
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError, atomic_path, progress
from reid_eval.writing import PART, disk_error

LINKS = ("copy", "hard", "symlink")
PLAN = "augmentation/plan.csv"
TAR_PLAN = "augmentation/plan.parquet"
"""Instead, where the images are in tars (`augment.folder.tar_folder`)."""
GATE_LOG = "augmentation/gate.csv"
MANIFEST = "augmentation/manifest.json"
ANNOTATIONS = ("market-annotation-train.csv", "market-annotation-test.csv")
"""Of the training split, and of the test splits."""
UNFINISHED = "augmentation/unfinished.json"
"""The job that a folder is under construction for."""
SCRATCH = "augmentation/work"
"""What unfinished generations keep for themselves."""
REPAIR = "augmentation/repair"
"""What an unfinished repair by the gate keeps for itself."""
TEST_FOLDERS = {"query": "query", "gallery": "bounding_box_test"}


def folder_plan(out: Path) -> pd.DataFrame:
    """The plan that was carried out in a folder.

    Raises:
        InputError: as `augment.plan.file.read_plan`.
    """
    return read_plan(out / PLAN)


def train_keypoints(out: Path) -> Keypoints:
    """Joints of a folder's training images, (x, y) pixels of each.

    Raises:
        InputError: as `augment.pose.keypoints.read_keypoints`.
    """
    return read_keypoints(out / ANNOTATIONS[0])


def list_copies(data: ReidData, plan: pd.DataFrame) -> list[tuple[str, str]]:
    """(path in the data set, path in the augmented folder) of every image that is not generated.

    Raises:
        InputError: two images would get one name.
    """
    kept = plan[plan["action"] == "keep"]
    pairs = list(zip(kept["image"].tolist(), kept["output"].tolist(), strict=True))
    for split in TEST_FOLDERS:
        pairs += [(path, _test_path(path, split, data)) for path in data.split(split)["path"].tolist()]
    twice = [target for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if twice:
        raise InputError(f"{len(twice)} images would get the same name, such as {twice[0]}: rename them")
    return pairs


def place(root: Path, out: Path, pairs: Sequence[tuple[str, str]], link: str) -> None:
    """Copy or link images from `root` into `out`; what is there already stays.

    Args:
        root: of the data set.
        out: augmented folder.
        pairs: from `list_copies`.
        link: `copy`, `hard`, or `symlink` (relative, so that both folders may move together).

    Raises:
        InputError: an image cannot be read, or a link cannot be made.
        RunError: the disk is full, read-only or gone.
    """
    put: Callable[[Path, Path], None] = {"copy": _copy, "hard": _hard_link, "symlink": _symlink}[link]

    def put_pair(pair: tuple[str, str]) -> None:
        source, target = root / pair[0], out / pair[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            put(source, target)
        except FileExistsError:
            pass  # there already, or another shard was faster
        except OSError as error:
            if is_there(source, target):
                return  # another shard put it there, and has swept away what this one was writing
            if isinstance(error, FileNotFoundError) and source.exists():
                raise  # the folder vanished
            if error.errno not in (errno.EPERM, errno.EACCES) and (told := disk_error(error, target, writing=True)):
                raise told from None
            hint = "" if link == "copy" else "; copy instead"
            raise InputError(f"cannot {link} {source} to {target}: {error.strerror}{hint}") from None

    with ThreadPoolExecutor(4) as pool, progress("Copying" if link == "copy" else "Linking", len(pairs)) as bar:
        for _ in pool.map(put_pair, pairs):
            bar.advance()


def is_there(source: Path, target: Path) -> bool:
    """Whether an image that is not generated is in place, in full: as long as the original."""
    try:
        return target.stat().st_size == source.stat().st_size
    except OSError:
        return False


def sweep(out: Path) -> None:
    """Remove what a finished folder needs no more: marks and records of work, what killed runs left half-written.

    Another process may still be at work: one that loses a file it is writing finds the folder finished.
    """
    for folder, _, names in os.walk(out):  # which takes no harm from folders that another process removes
        for name in names:
            if name.startswith(PART):
                Path(folder, name).unlink(missing_ok=True)
    (out / UNFINISHED).unlink(missing_ok=True)
    shutil.rmtree(out / SCRATCH, ignore_errors=True)


def train_annotations(
    keypoints: Keypoints, plan: pd.DataFrame, generated: Sequence[NDArray[np.float32]], layout: str
) -> Keypoints:
    """Joints of the augmented training split: kept images as they were, generated ones in their target pose.

    Args:
        keypoints: of the data set.
        plan: the plan.
        generated: `[18, 2]` of each generated image, in the plan's order, in its own pixels.
        layout: of the data set; in `folders` the rows carry the path, since names may repeat.
    """
    kept = plan[plan["action"] == "keep"]
    made = plan.loc[plan["action"] == "generate", "output"].tolist()
    rows = keypoints.rows(kept["image"].tolist())
    pairs = [(path, keypoints.xy[row]) for path, row in zip(kept["output"].tolist(), rows, strict=True) if row >= 0]
    pairs += zip(made, generated, strict=True)
    return _table({_row_name(path, layout): xy for path, xy in pairs})


def test_annotations(keypoints: Keypoints, data: ReidData) -> Keypoints:
    """Joints of query and gallery. A name that is in both, with different joints, is written with its folder."""
    by_name: dict[str, list[tuple[str, NDArray[np.float32]]]] = {}
    for split in TEST_FOLDERS:
        paths = data.split(split)["path"].tolist()
        for path, row in zip(paths, keypoints.rows(paths).tolist(), strict=True):
            if row >= 0:
                target = _test_path(path, split, data)
                by_name.setdefault(_row_name(target, data.layout), []).append((target, keypoints.xy[row]))
    table: dict[str, NDArray[np.float32]] = {}
    for name, entries in by_name.items():
        same = all(np.array_equal(entries[0][1], xy, equal_nan=True) for _, xy in entries)
        table.update({name: entries[0][1]} if same else dict(entries))
    return _table(table)


def told_apart(train: Keypoints, test: Keypoints) -> Keypoints:
    """`train`, its rows written with their folder where `test` has one of the same name (as in MSMT17, where both
    splits number their people from 0)."""
    shared = set(train.names) & set(test.names)
    names = (f"{TRAIN}/{name}" if name in shared else name for name in train.names)
    return Keypoints(tuple(names), train.xy)


def _test_path(path: str, split: str, data: ReidData) -> str:
    path = data.renamed.get(path, path)
    tail = path.split("/")[-2:] if data.layout == "folders" else path.split("/")[-1:]
    return "/".join([TEST_FOLDERS[split], *tail])


def _row_name(path: str, layout: str) -> str:
    return path if layout == "folders" else path.rpartition("/")[2]


def _table(poses: dict[str, NDArray[np.float32]]) -> Keypoints:
    names = sorted(poses)
    return Keypoints(tuple(names), np.stack([poses[name] for name in names])) if names else empty_keypoints()


def _copy(source: Path, target: Path) -> None:
    if is_there(source, target):
        return
    with atomic_path(target, durable=False) as temporary:
        shutil.copyfile(source, temporary)


def _hard_link(source: Path, target: Path) -> None:
    os.link(source.resolve(), target)


def _symlink(source: Path, target: Path) -> None:
    target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
