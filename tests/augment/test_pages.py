"""`docs/python.md` runs, block by block, on the drawn data set; `docs/architecture.md` shows the code as it is."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import augment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_block_runs(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_root, tmp_path / "Market-1501")
    shutil.copytree(tiny_root, tmp_path / "Market-1501-aug")
    for path in sorted((tmp_path / "Market-1501-aug" / "bounding_box_train").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_gen0000.jpg"))
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 7
    names: dict[str, Any] = {"__name__": "python_page"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    assert names["moved"].shape == (2, 3, 256, 128)
    assert names["generated"].dtype == torch.bool
    assert names["flipped"].size == (64, 128)
    assert (tmp_path / "Market-1501-new" / "augmentation" / "manifest.json").is_file()


def test_the_table_lists_what_the_package_gives() -> None:
    table = PAGE.read_text().split("## Move a person")[0]
    listed = set(
        re.findall(r"`([A-Za-z_]+)[(`]", "\n".join(row for row in table.splitlines() if row.startswith("| `")))
    )
    assert set(augment.__all__) <= listed


def test_the_picture_and_its_table_show_the_layers_as_they_are() -> None:
    """Against the contract that import-linter checks; `reid_eval` stands below it."""
    contract = configparser.ConfigParser()
    contract.read(PAGE.parents[1] / ".importlinter")
    named = contract["importlinter:contract:layers"]["layers"].split()
    layers = [*(name for name in named if (PAGE.parents[1] / "augment" / name).is_dir()), "reid_eval"]
    page = PAGE.with_name("architecture.md").read_text()
    packages = page.split("## Packages")[1].split("## Where")[0]
    assert re.findall(r"^\| \[`(\w+)`\]", packages, re.MULTILINE) == layers
    picture = ElementTree.parse(PAGE.with_name("architecture.svg"))
    rows = {text.text: float(text.get("y", 0)) for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert [rows[name] for name in layers] == sorted(rows[name] for name in layers)


def test_links_lead_somewhere() -> None:
    for page in (PAGE, PAGE.with_name("architecture.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), target
