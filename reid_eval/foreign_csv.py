"""The one reader of CSV files that somebody else may have made. As `reid_eval.foreign`, which see."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from reid_eval.foreign import check_rows, read_foreign
from reid_eval.limits import LONGEST_LINE, MOST_COLUMNS, MOST_TABLE_BYTES

if TYPE_CHECKING:
    import pandas as pd


def read_csv(path: Path | str) -> pd.DataFrame:
    """A CSV file's cells as text; an empty cell is empty text.

    A path is a file here: pandas would fetch addresses and unpack archives.

    Raises:
        OSError: as `reid_eval.foreign.open_regular`.
        ValueError: not UTF-8, a NUL, more than `MOST_ROWS` lines or `MOST_COLUMNS` columns, a line of
            more than `LONGEST_LINE` bytes, or rows of unequal length.
    """
    import pandas as pd

    data = read_foreign(path, MOST_TABLE_BYTES)
    if b"\0" in data:
        raise ValueError("it is no text")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    check_rows(data)
    if data.partition(b"\n")[0].count(b",") >= MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS} columns")
    if max(map(len, data.splitlines()), default=0) > LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE} bytes")
    table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for names of rows
        raise ValueError("a row has more cells than the first")
    return table.fillna("")  # cells that a short row lacks
