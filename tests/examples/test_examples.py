"""The examples run, on a small drawn folder; fast-reid's is only compiled, since fast-reid is no package."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
sys.path.insert(0, str(EXAMPLES.parent / "tests" / "augment"))

from drawn import draw_dataset  # noqa: E402


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A data set of 16 training images of two people, and an augmented one with a generated image of each photo."""
    root = tmp_path_factory.mktemp("examples")
    real = draw_dataset(root / "real", {2: 10, 7: 6}, {101: 4, 102: 4})
    augmented = root / "augmented"
    shutil.copytree(real, augmented)
    for path in sorted((augmented / "bounding_box_train").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_gen0000.jpg"))
    return str(real), str(augmented)


def test_plain_pytorch(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    load("plain_pytorch").main([*folders, "--rate", "0.5", "--weight", "0.5"])
    said = capsys.readouterr().out
    epochs = re.findall(r"epoch (\d): loss \d+\.\d+, (\d+) generated images", said)
    assert [number for number, _ in epochs] == ["0", "1"]
    assert all(0 < int(made) < 16 for _, made in epochs)


def test_plain_pytorch_with_a_network_of_torchvision(
    folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--model", "mobilenet_v3_small", "--epochs", "1", "--size", "64", "32", "--rate", "1"]
    load("plain_pytorch").main([*folders, *small])
    assert "16 generated images" in capsys.readouterr().out


def test_torchreid(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchreid")
    example = load("torchreid_train")
    seen = []

    class Watched(example.AugmentedDataset):
        def __getitem__(self, index: int) -> object:
            item = super().__getitem__(index)
            seen.append((self.epoch, item["generated"], "_gen" in item["impath"], item["camid"]))
            return item

    example.AugmentedDataset = Watched
    small = ["--height", "64", "--width", "32", "--epochs", "2", "--rate", "0.5"]
    example.main([*folders, "--out", str(tmp_path), *small])
    assert "mAP:" in capsys.readouterr().out
    assert [epoch for epoch, *_ in seen] == [0] * 16 + [1] * 16
    assert {generated for _, generated, *_ in seen} == {False, True}
    assert all(generated == named for _, generated, named, _ in seen)
    assert {camid for *_, camid in seen} == {0, 1}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    compile(text, str(path), "exec")
    assert len(text.splitlines()) <= 80
    head = ast.get_docstring(ast.parse(text)) or ""
    for word in ("Purpose:", "Needs:", "Run:", "Override:", f"examples/{path.name}"):
        assert word in head, word


def test_the_readme_lists_them_all() -> None:
    listed = re.findall(r"^\| \[`([a-z_]+\.py)`\]\(\1\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in FILES]
