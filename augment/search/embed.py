"""Features of a whole data set, in one file that a search engine takes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.pose.keypoints import Keypoints
from augment.search.fusion import Floats, Parts, calibrate, fuse
from augment.search.normalized import PoseNormalized
from augment.search.searched_photos import Photos, calibration_photos, photos_of
from reid_eval.datasets import ReidData
from reid_eval.foreign import parse_json, reason_of
from reid_eval.foreign_arrays import open_arrays
from reid_eval.runtime import InputError, ProgressBar, progress, write_bytes

_PARTS = ("photos", "views", "known")
_BLOCK = 256  # photos held at a time, fewer large ones
_ARRAYS = ("features", "names", "pids", "camids", "splits", "joints_used")
_KINDS = "fUiiUb"  # numpy's letters for their types


@dataclass(frozen=True, eq=False)
class Embedded:
    """Features of images.

    Attributes:
        features: float32 `[N, D]`, of length 1; half precision in the file.
        names: paths in the data set, `[N]`.
        pids, camids: int64 `[N]`, as the data set has them.
        splits: `train`, `query` or `gallery`, `[N]`.
        joints_used: bool `[N]`: the image was seen in the generated poses, too.
        facts: what made them: network, generator, poses, weight.
        alone: as `features`, by the photos alone; not in the file.
    """

    features: Floats
    names: NDArray[np.str_]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    splits: NDArray[np.str_]
    joints_used: NDArray[np.bool_]
    facts: Mapping[str, Any]
    alone: Floats | None = None

    def save(self, path: Path | str) -> None:
        """Write a `.npz`, atomically; the same features give the same bytes."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["features"] = self.features.astype(np.float16)
        np.savez(buffer, **arrays, facts=np.array(json.dumps(dict(self.facts), sort_keys=True)))
        write_bytes(path, buffer.getvalue())


def embed(
    data: ReidData,
    keypoints: Keypoints,
    search: PoseNormalized,
    splits: Sequence[str] = ("query", "gallery"),
    facts: Mapping[str, Any] | None = None,
) -> Embedded:
    """Features of the images of some splits, in the order of their tables.

    Images without a row in `keypoints`, or without shoulders and hips in it, keep the feature of their photo. What all
    people have in common is taken away (see `augment.search.fusion`), measured on some training images, where there
    are any: nobody who is searched for has a say in it.

    Args:
        data: the data set.
        keypoints: of its images; (x, y) pixels.
        search: what makes the features; is calibrated if it is not yet.
        splits: `train`, `query`, `gallery`: whose images.
        facts: kept with the features; JSON-able.

    Raises:
        InputError: no image in those splits, or one that cannot be read.
    """
    tables = {split: data.split(split) for split in splits}
    paths = [path for table in tables.values() for path in table["path"]]
    if not paths:
        raise InputError(f"{data.root} has no image in {', '.join(splits)}")
    photos, others = photos_of(data, keypoints, paths), calibration_photos(data, keypoints)
    calibrates = search.calibration is None and len(others) > 1
    with progress("Extracting features", len(photos) + calibrates * len(others)) as bar:
        parts = _parts(photos, search, bar)
        if calibrates:
            search.calibration = calibrate(_parts(others, search, bar))
    return Embedded(
        features=fuse(parts, search.weight, search.calibration),
        names=np.array(paths),
        pids=np.concatenate([table["pid"].to_numpy(np.int64) for table in tables.values()]),
        camids=np.concatenate([table["camid"].to_numpy(np.int64) for table in tables.values()]),
        splits=np.array([split for split, table in tables.items() for _ in range(len(table))]),
        joints_used=parts.known,
        facts=dict(facts or {}),
        alone=fuse(parts, 0.0, search.calibration),
    )


def _parts(photos: Photos, search: PoseNormalized, bar: ProgressBar) -> Parts:
    blocks = [search.parts(block.read(), block.joints, bar) for block in photos.parts(_BLOCK)]
    return Parts(*(np.concatenate([getattr(block, name) for block in blocks]) for name in _PARTS))


def read_embedded(path: Path | str) -> Embedded:
    """Read what `Embedded.save` wrote.

    Raises:
        InputError: it cannot be read, lacks an array, or its arrays do not fit together.
    """
    try:
        with open_arrays(path) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            facts = parse_json(str(file["facts"]))
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged bytes
        raise InputError(f"cannot read features from {path}: {reason_of(error)}; make the file again") from None
    shapes = [arrays[name].shape for name in _ARRAYS]
    if len(shapes[0]) != 2 or any(shape != shapes[0][:1] for shape in shapes[1:]):
        raise InputError(f"{path}: its arrays are of different lengths; make the file again")
    wrong = [name for name, kind in zip(_ARRAYS, _KINDS, strict=True) if arrays[name].dtype.kind != kind]
    if wrong or not isinstance(facts, dict):
        raise InputError(f"{path}: {wrong[0] if wrong else 'facts'} is of another type; make the file again")
    arrays["features"] = arrays["features"].astype(np.float32)
    return Embedded(**arrays, facts=facts)
