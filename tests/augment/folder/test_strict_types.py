"""Files that are written here hold numbers as numbers: texts and truth values in their place are no such file."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from augment.folder.manifest import Manifest
from augment.folder.tar_folder import Index
from augment.folder.tar_shards import TarRecord
from augment.gate.repair import _Moves
from augment.table.filtered import _Choice
from reid_eval.table.cells import Record

MANIFEST: dict[str, Any] = {
    "version": 1,
    "job": {
        "plan_sha256": "0", "keypoints_sha256": "0", "weights": "w", "weights_sha256": "0", "layout": "market1501",
        "generator_size": [128, 64], "sigma": 6, "precision": "float32", "device": "cpu", "jpeg_quality": 95,
        "link": "copy",
    },
    "versions": {"torch": "2"},
    "counts": dict.fromkeys(("identities", "train", "train_generated", "train_dropped", "query", "gallery"), 1),
    "reports": {"odd": ["a.jpg"]},
    "files": {"a.jpg": {"sha256": "0", "size": 7}},
    "repairs": [{**dict.fromkeys(("asked", "accepted_at_once", "accepted_after_retry", "given_up"), 1),
                 "rejections": 0, "reasons": {"pose": 0}}],
}  # fmt: skip
SCORES = dict.fromkeys(("rank1", "rank5", "rank10", "mAP", "mINP", "train_accuracy"), 0.5) | dict.fromkeys(
    ("n_train", "n_generated", "n_query", "n_gallery", "n_skipped", "steps"), 1
)
RECORD: dict[str, Any] = {
    "format": 1, "key": "k", "facts": {"a": 1}, "scores": SCORES,
    "queries": {"pids": [3], "precisions": [0.5], "first_ranks": [1]},
    "made": {"seconds": 1.5, "device": "cpu", "device_name": "x"},
    "curve": [{"steps": 1, "mAP": 1, "rank1": 0.5}],
}  # fmt: skip
GOOD: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Manifest, MANIFEST),
    (Record, RECORD),
    (Index, {"version": 1, "splits": {"train": [{"file": "f", "images": 1, "size": 2, "sha256": "0"}]}}),
    (TarRecord, {"sha256": "0", "size": 3, "samples": [{"name": "a", "offset": 0, "size": 3}]}),
    (_Moves, {"moves": ["a"], "removes": [], "restores": [["a", "b"]], "manifest": MANIFEST}),
    (_Choice, {"images": ["a"], "of": 3}),
]

_FREE = {("facts", "a")}
"""What only a hash reads."""
_VERSIONS = ("version", "format")
"""True is 1 to Python, and to a list of what may be."""


def numbers(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to all numbers of nested values."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, one in items for found in numbers(one, (*way, key))]
    return [way] if isinstance(value, int | float) else []


@pytest.mark.parametrize(("model", "values"), GOOD, ids=[model.__name__ for model, _ in GOOD])
def test_no_number_may_be_a_text_or_a_truth_value(model: type[BaseModel], values: dict[str, Any]) -> None:
    model.model_validate(values)
    ways = [way for way in numbers(values) if way not in _FREE]
    assert ways
    for way in ways:
        for wrong in (str, bool)[: 1 if way[-1] in _VERSIONS else 2]:
            spoilt = copy.deepcopy(values)
            place = spoilt
            for key in way[:-1]:
                place = place[key]
            place[way[-1]] = wrong(place[way[-1]])
            with pytest.raises(ValidationError):
                model.model_validate(spoilt)
