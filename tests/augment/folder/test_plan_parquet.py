"""A plan in a parquet is read some rows at a time: what it states of its size may be a lie."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from augment.folder import plan_parquet
from augment.folder.plan_parquet import read_tar_plan
from reid_eval.runtime import InputError

pyarrow = pytest.importorskip("pyarrow")


def batch(rows: int = 2, action: str = "keep") -> Any:
    """Rows of a plan, as a parquet gives them."""
    kinds = plan_parquet._kinds(pyarrow)
    one = {"action": action, "image": "bounding_box_train/0001_c1s1_000001_00.jpg", "pid": 1, "camid": 1, "offset": 0,
           "size": 0, "output": "bounding_box_train/0001_c1s1_000001_00.jpg"}  # fmt: skip
    columns = {name: [one.get(name)] * rows for name in kinds}
    return pyarrow.RecordBatch.from_pydict(columns, schema=pyarrow.schema(kinds))


def said_to_be_empty(*batches: Any) -> Any:
    """A file whose footer tells of no rows."""
    schema = batches[0].schema
    facts = SimpleNamespace(num_row_groups=0, num_rows=0)
    return SimpleNamespace(metadata=facts, schema_arrow=schema, iter_batches=lambda *_, **__: iter(batches))


@pytest.mark.parametrize(("name", "most"), [("MOST_ROWS", 4), ("MOST_UNPACKED_BYTES", 2 * batch().nbytes)])
def test_what_it_unpacks_to_is_counted(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    monkeypatch.setattr(plan_parquet, name, most)
    table = plan_parquet._read(pyarrow, said_to_be_empty(batch(), batch()))
    assert table.num_rows == 4
    with pytest.raises(ValueError, match="it unpacks to more than"):
        plan_parquet._read(pyarrow, said_to_be_empty(batch(), batch(), batch(1)))


def test_rows_longer_than_any_plan_has_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    one = batch()
    monkeypatch.setattr(plan_parquet, "_BATCH", 2)
    monkeypatch.setattr(plan_parquet, "_LARGEST_ROW", one.nbytes // 2 + 1)
    assert plan_parquet._read(pyarrow, said_to_be_empty(one)).num_rows == 2
    monkeypatch.setattr(plan_parquet, "_LARGEST_ROW", one.nbytes // 2 - 1)
    with pytest.raises(ValueError, match="or to rows that no plan has"):
        plan_parquet._read(pyarrow, said_to_be_empty(one))


def test_bytes_that_are_no_text_are_refused() -> None:
    good = batch(1)
    data = pyarrow.py_buffer(b"\xff\xfe")
    offsets = pyarrow.py_buffer((0).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    wrong = pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, offsets, data])
    columns = [wrong if name == "output" else good.column(name) for name in good.schema.names]
    broken = pyarrow.RecordBatch.from_arrays(columns, schema=good.schema)
    with pytest.raises(pyarrow.ArrowInvalid):
        plan_parquet._read(pyarrow, said_to_be_empty(broken))


def test_its_rows_are_checked_as_those_of_a_text(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "plan.parquet"
    parquet.write_table(pyarrow.Table.from_batches([batch()]), path)
    with pytest.raises(InputError, match=r"plan\.parquet: row 3: image .* is there twice"):
        read_tar_plan(path)
    parquet.write_table(pyarrow.Table.from_batches([batch(1)]), path)
    assert read_tar_plan(path)["offset"].tolist() == [0]
    parquet.write_table(pyarrow.Table.from_batches([batch(1, "gone")]), path)
    with pytest.raises(InputError, match="action 'gone' is not one of"):
        read_tar_plan(path)
