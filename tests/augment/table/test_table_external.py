"""Others' code on our folder: torchreid trains and tests an epoch; fast-reid's registration against a stand-in."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

EXTERNAL = Path(__file__).resolve().parents[3] / "recipes" / "external"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXTERNAL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def augmented(tiny_root: Path, tmp_path: Path) -> Path:
    made = tmp_path / "augmented"
    shutil.copytree(tiny_root, made)
    source = made / "bounding_box_train" / "0002_c1s1_000001_00.jpg"
    shutil.copy(source, source.with_name(f"{source.stem}_gen0000.jpg"))
    return made


def test_torchreid_trains_and_tests(augmented: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchreid")
    small = ["--epochs", "1", "--batch-size", "8", "--height", "64", "--width", "32", "--workers", "0", "--ranks", "1"]
    out = tmp_path / "out"
    load("torchreid_train").main([str(augmented), "--out", str(out), "--model", "osnet_x0_25", *small])
    said = capsys.readouterr().out
    assert "# source images   : 20" in said  # one of the 20 is generated
    assert "mAP:" in said
    assert list((out / "log").rglob("model.pth.tar-1"))


def test_the_link_is_made_anew(augmented: Path, tiny_root: Path, tmp_path: Path) -> None:
    link = load("torchreid_train").link
    for folder in (augmented, tiny_root):
        root = link(folder, tmp_path / "out")
        assert (root / "market1501" / "Market-1501-v15.09.15").resolve() == folder.resolve()


def test_fastreids_lists(augmented: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fast-reid is not here: this checks what its registry and base class would be given, not fast-reid."""
    registered: dict[str, Any] = {}

    class Registry:
        def register(self) -> Any:
            return lambda kind: registered.setdefault(kind.__name__, kind)

    class ImageDataset:
        def __init__(self, train: list, query: list, gallery: list, **options: Any) -> None:
            self.train, self.query, self.gallery, self.options = train, query, gallery, options

    for name, content in (
        ("fastreid", {}), ("fastreid.data", {}), ("fastreid.data.datasets", {"DATASET_REGISTRY": Registry()}),
        ("fastreid.data.datasets.bases", {"ImageDataset": ImageDataset}),
    ):  # fmt: skip
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    load("fastreid_train")
    config = yaml.safe_load((EXTERNAL / "fastreid_bagtricks.yml").read_text())
    assert config["DATASETS"]["NAMES"] == '("PatnFolder",)'
    monkeypatch.setenv("PATN_FOLDER", str(augmented))
    found = registered["PatnFolder"](root="datasets", combineall=False)
    assert found.options == {"combineall": False}
    assert len(found.train) == 20
    path, pid, camid = next(item for item in found.train if "_gen0000" in item[0])
    assert Path(path).is_file()
    assert (pid, camid) == ("patn_2", "patn_0")
    assert {item[1:] for item in found.query} == {(101, 0), (101, 1), (102, 0), (102, 1)}
    assert len(found.gallery) == 8
