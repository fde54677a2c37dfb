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
from reid_eval.limits import MOST_ROWS
from reid_eval.runtime import InputError, atomic_path

__all__ = ["TAR_PLAN", "check_arrow", "read_tar_plan", "write_tar_plan"]

PLACES = ("shard", "offset", "size")
_NUMBERS = ("pid", "camid", "offset", "size")


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
    kinds = [(name, arrow.int64() if name in _NUMBERS else arrow.string()) for name in (*COLUMNS, *PLACES)]
    schema = arrow.schema(kinds)
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
        InputError: it cannot be read, is no such table, or a row of the plan is wrong.
    """
    _, parquet = _arrow()
    try:
        file = parquet.ParquetFile(path)
        if file.metadata.num_rows > MOST_ROWS:
            raise InputError(f"{path}: {file.metadata.num_rows} rows, at most {MOST_ROWS} are read")
        names = tuple(file.schema_arrow.names)
        if names != (*COLUMNS, *PLACES):
            raise InputError(f"{path}: the columns are {', '.join(names)[:200]}, expected {', '.join(COLUMNS)}, ...")
        table = file.read().to_pandas()
    except InputError:
        raise
    except Exception as error:  # pyarrow raises ArrowInvalid, OSError, and others on bytes that are no parquet
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"cannot read {path}: {lines[0][:200]}") from None
    if any(table[name].dtype != np.int64 for name in _NUMBERS):
        raise InputError(f"{path}: {', '.join(_NUMBERS)} should be whole numbers")
    table = table.fillna({name: "" for name in (*COLUMNS, *PLACES) if name not in _NUMBERS})
    check_rows(str(path), table)
    return table
