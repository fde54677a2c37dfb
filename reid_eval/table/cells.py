"""The one reader and writer of a cell's record: `records/KEY.json`, where KEY is the hash of all that determines it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.numbers_in_files import Count, Share
from reid_eval.runtime import InputError, sha256_bytes, write_text

FORMAT = 1
"""Raise it when the same facts begin to give other scores: every cell is then computed anew."""


class Scores(BaseModel):
    """What a training and its evaluation gave; shares are 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rank1: Share
    rank5: Share
    rank10: Share
    mAP: Share
    mINP: Share
    n_train: Count
    n_generated: Count
    """Generated images among the `n_train`."""
    n_query: Count
    n_gallery: Count
    n_skipped: Count
    """Queries without a correct image in the gallery."""
    steps: Count
    train_accuracy: Share


class Queries(BaseModel):
    """Scores of every query, in the order of the data set's query table: what intervals are drawn from."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    pids: list[int]
    precisions: list[Share | None]
    """Average precision, 0..1, to six decimals; None for a query without a correct image."""
    first_ranks: list[Count]
    """Rank of the first correct image, from 1; 0 for a query without one."""

    @model_validator(mode="after")
    def _of_the_same_queries(self) -> Queries:
        if not len(self.pids) == len(self.precisions) == len(self.first_ranks):
            raise ValueError("pids, precisions and first_ranks should be of the same queries")
        return self


class Point(BaseModel):
    """Scores of a training that would have ended after so many steps; shares are 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    steps: Count
    mAP: Share
    rank1: Share


def _told(made: dict[str, Any]) -> dict[str, Any]:
    """What tables and estimates tell of how a record was made."""
    seconds = made.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ValueError("seconds should be a number")
    if wrong := [name for name in ("device", "device_name") if not isinstance(made.get(name), str)]:
        raise ValueError(f"{wrong[0]} should be a text")
    return made


class Record(BaseModel):
    """One cell: what determined it, what came out, and what made it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    key: str
    facts: dict[str, Any]
    """All that determines the scores, up to rounding; `key` is its hash."""
    scores: Scores
    queries: Queries
    made: Annotated[dict[str, Any], AfterValidator(_told)]
    """Seconds, device, precision and versions: no output but the seconds of an estimate depends on these times."""
    curve: Annotated[tuple[Point, ...], Field(strict=False)] = ()  # a list in JSON
    """On the way, the end included; empty where nobody looked."""


def cell_key(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts as sorted JSON, with the format's number: 64 hexadecimal digits."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_bytes(text.encode())


def _first(error: ValidationError) -> str:
    """Where in a record what is wrong."""
    found = error.errors(include_input=False)[0]
    return f"{'.'.join(str(part)[:80] for part in found['loc'])}: {found['msg'][:300]}"


class Records:
    """The records of a folder; those of other tables may lie among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the record of a cell is, or would be."""
        return self.folder / f"{key}.json"

    def __iter__(self) -> Iterator[str]:
        """Keys of all records of the folder, sorted."""
        return iter(sorted(path.stem for path in self.folder.glob("*.json") if not path.name.startswith(".")))

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def read(self, key: str) -> Record:
        """Read and check one.

        Raises:
            InputError: it cannot be read, or its facts are not those that its name is the hash of.
        """
        path = self.path(key)
        try:
            record = Record.model_validate(read_json(path, MOST_TABLE_BYTES))
        except (OSError, ValueError) as error:
            reason = _first(error) if isinstance(error, ValidationError) else reason_of(error)
            raise InputError(f"cannot read {path} ({reason}): delete it, and the cell is computed again") from None
        if not record.key == key == cell_key(record.facts):
            raise InputError(f"{path} was edited or renamed: delete it, and the cell is computed again")
        return record

    def found(self, keys: list[str]) -> dict[str, Record]:
        """Those of `keys`, which are of one table, that are there.

        Raises:
            InputError: as `read`, or they are of other queries than the first.
        """
        found = {key: self.read(key) for key in dict.fromkeys(keys) if key in self}
        pids = next((record.queries.pids for record in found.values()), [])
        for key, record in found.items():
            if record.queries.pids != pids:
                raise InputError(f"{self.path(key)} is of other queries than the table's: delete it")
        return found

    def write(self, record: Record) -> None:
        """Write one, atomically."""
        without = None if record.curve else {"curve"}
        write_text(self.path(record.key), record.model_dump_json(exclude=without) + "\n")
