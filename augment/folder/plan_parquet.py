"""The one reader and writer of `augmentation/plan.parquet`: the plan of a run of tars, and where each image is.

Columns are the plan's, and `shard`, `offset`, `size`: the tar, and the picture's bytes in it; empty and -1 where an
image is dropped. A row group a tar, so that a million rows are never held twice. Extra: `webdataset`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.folder.layout import TAR_PLAN
from augment.folder.tar_shards import TarRecord
from augment.plan.file import COLUMNS, check_rows
from reid_eval.foreign import open_regular, reason_of
from reid_eval.limits import (
    LARGEST_INTEGER,
    LONGEST_IMAGE_NAME,
    MOST_PICTURE_BYTES,
    MOST_ROWS,
    MOST_TABLE_BYTES,
    MOST_UNPACKED_BYTES,
)
from reid_eval.runtime import InputError, atomic_path

__all__ = ["TAR_PLAN", "check_arrow", "read_tar_plan", "write_tar_plan"]

PLACES = ("shard", "offset", "size")
_NUMBERS = ("pid", "camid", "offset", "size")
_BATCH = 1024
_LARGEST_ROW = 4 * LONGEST_IMAGE_NAME * len((*COLUMNS, *PLACES))
_LARGEST_OFFSET = LARGEST_INTEGER - MOST_PICTURE_BYTES


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError("pyarrow is not installed: pip install 'patn-augment[webdataset]'") from None


def check_arrow() -> None:
    """Before hours of work.

    Raises:
        InputError: pyarrow is not installed.
    """
    _arrow()


def write_tar_plan(path: Path, plan: pd.DataFrame, records: Iterator[tuple[str, TarRecord]]) -> None:
    """Write a plan and the places of its images, atomically.

    Args:
        path: the file.
        plan: the plan.
        records: of all tars with images of the plan, in its order.
    """
    arrow, parquet = _arrow()
    schema = arrow.schema(list(_kinds(arrow).items()))
    actions, outputs = (plan[name].to_numpy(object).tolist() for name in ("action", "output"))
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        start = 0
        for shard, record in records:
            places, samples, stop = [], iter(record.samples), start
            left = len(record.samples)
            while stop < len(plan) and (left or actions[stop] == "drop"):
                if actions[stop] == "drop":
                    places.append(("", -1, -1))
                else:
                    one = next(samples)
                    if one.name != outputs[stop]:
                        raise InputError(f"{shard} holds {one.name} where the plan has {outputs[stop]}: remove it")
                    places.append((shard, one.offset, one.size))
                    left -= 1
                stop += 1
            part = plan.iloc[start:stop][list(COLUMNS)]
            columns = [part[name].to_numpy(object).tolist() for name in COLUMNS]
            columns += [[place[n] for place in places] for n in range(len(PLACES))]
            kept = zip(columns, schema.types, strict=True)
            writer.write_table(arrow.table([arrow.array(column, kind) for column, kind in kept], schema=schema))
            start = stop
        if start < len(plan):  # all dropped
            raise InputError(f"{len(plan) - start} rows of the plan are in no tar")


def read_tar_plan(path: Path) -> pd.DataFrame:
    """The plan with `shard`, `offset` and `size`.

    Raises:
        InputError: it cannot be read, is no such table or one beyond the limits, or a row of the plan is wrong.
    """
    arrow, parquet = _arrow()
    try:
        with open_regular(path, MOST_TABLE_BYTES) as file:
            table = _read(arrow, parquet.ParquetFile(file)).to_pandas()
    except Exception as error:  # pyarrow raises ArrowInvalid, OSError, and others on bytes that are no parquet
        raise InputError(f"cannot read {path}: {reason_of(error)[:200]}") from None
    if any(table[name].dtype != np.int64 for name in _NUMBERS):
        raise InputError(f"{path}: {', '.join(_NUMBERS)} should be whole numbers")
    table = table.fillna({name: "" for name in (*COLUMNS, *PLACES) if name not in _NUMBERS})
    check_rows(str(path), table)
    there = table[table["action"] != "drop"]
    inside = there["offset"].between(0, _LARGEST_OFFSET) & there["size"].between(0, MOST_PICTURE_BYTES)
    if not inside.all():
        raise InputError(f"{path}: row {inside.idxmin() + 2}: no picture has such an offset and size")
    return table


def _read(arrow: Any, file: Any) -> Any:
    """The table, some rows at a time: what a small file unpacks to may be any size, and what it states of that a lie.

    Raises:
        ValueError: other columns, or more or longer rows than the limits say.
    """
    kinds, facts = _kinds(arrow), file.metadata
    names, types = file.schema_arrow.names, file.schema_arrow.types
    if names != list(kinds):
        raise ValueError(f"the columns are {', '.join(names)[:100]}, expected {', '.join(COLUMNS)}, ...")
    text = (arrow.string(), arrow.large_string())  # the latter is what pandas writes
    asked = [text if kind in text else (kind,) for kind in kinds.values()]
    if not all(kind in wanted for kind, wanted in zip(types, asked, strict=True)):
        raise ValueError(f"the columns are {', '.join(map(str, types))[:100]}: texts and whole numbers were due")
    stated = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
    if stated > MOST_UNPACKED_BYTES or facts.num_rows > MOST_ROWS:
        raise ValueError(f"it has {facts.num_rows} rows in {stated} bytes, at most {MOST_ROWS} are read")
    parts, rows, size = [], 0, 0
    for part in file.iter_batches(_BATCH, use_threads=False):
        rows, size = rows + part.num_rows, size + part.nbytes
        if rows > MOST_ROWS or size > MOST_UNPACKED_BYTES or part.nbytes > _BATCH * _LARGEST_ROW:
            raise ValueError(f"it unpacks to more than {MOST_ROWS} rows, or to rows that no plan has")
        part.validate(full=True)  # texts that are none, which nobody can take out again
        parts.append(part)
    return arrow.Table.from_batches(parts, file.schema_arrow)


def _kinds(arrow: Any) -> dict[str, Any]:
    """The columns and their types."""
    return {name: arrow.int64() if name in _NUMBERS else arrow.string() for name in (*COLUMNS, *PLACES)}
