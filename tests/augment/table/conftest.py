"""Fixtures of the table's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_tables import TinyTable, tiny_trunk

from augment.table.study import Study, open_study
from reid_eval.backbones import BACKBONES


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", tiny_trunk)


@pytest.fixture
def table(tiny_root: Path, tmp_path: Path) -> TinyTable:
    found = TinyTable(tmp_path / "tiny.yaml", tmp_path / "out")
    found.write(tiny_root)
    return found


@pytest.fixture
def study(table: TinyTable) -> Study:
    return open_study(table.load(), table.out, "cpu")
