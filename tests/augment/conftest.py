"""Fixtures: a place of one's own, the drawn data set, and the real one where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from drawn import draw_dataset

from reid_eval.datasets import ReidData, read_dataset


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Identities 2 (9 images), 7 (6) and 11 (4, two of them unusable); test identities 101 and 102 with 6 each."""
    root = tmp_path_factory.mktemp("tiny-market")
    unusable = ("0011_c1s1_000001_00.jpg", "0011_c2s1_000002_00.jpg")
    return draw_dataset(root, {2: 9, 7: 6, 11: 4}, {101: 6, 102: 6}, unusable)


@pytest.fixture(scope="session")
def tiny_data(tiny_root: Path) -> ReidData:
    return read_dataset(tiny_root)


@pytest.fixture(scope="session")
def pets_mini() -> Path:
    """Real pedestrians: `PATN_PETS_MINI`, or `../shared/pets_mini` beside the repository."""
    default = Path(__file__).resolve().parents[3] / "shared" / "pets_mini"
    path = Path(os.environ.get("PATN_PETS_MINI", default))
    if not path.is_dir():
        pytest.skip(f"pets_mini is not at {path}; set PATN_PETS_MINI to its folder")
    return path
