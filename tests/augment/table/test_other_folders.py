"""Another method's folder beside columns of ours: a share that is not theirs is refused or told, never compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_tables import TinyTable
from toy import Toy

import augment
from augment.table.other_folders import kept_share
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError


@pytest.fixture
def kept_70(tiny_root: Path, tmp_path: Path) -> Path:
    """A folder that replaces 30% of the images."""
    out = tmp_path / "seventy"
    augment.augment_folder(augment.plan_folder(tiny_root, ratio=0.3), out, Toy())  # type: ignore[arg-type]
    return out


def row(folder: object, *columns: float) -> dict[str, object]:
    return {"kind": "folder", "name": "other", "folder": str(folder), **({"columns": list(columns)} if columns else {})}


def test_a_folder_of_another_share_is_refused(table: TinyTable, tiny_root: Path, kept_70: Path) -> None:
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row(kept_70, 0.5)], columns=[0.5])
    with pytest.raises(
        InputError, match=r"row 'other': .*seventy keeps (68|74|79)% .* rows beside it keep 5\d% at p = 0.5"
    ):
        table.run("seeds=[0]")


def test_a_folder_of_its_own_share_is_told_of(table: TinyTable, tiny_root: Path, kept_70: Path) -> None:
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row(kept_70, 0.7)], columns=[0.7])
    table.run("seeds=[0, 1]")
    text = (table.out / "table.md").read_text()
    assert "Folders of `other`: p = 0.7: " in text
    assert "DO NOT COMPARE" not in text
    assert "`other` has one folder for all seeds: its spread is that of trainings alone" in text


def test_a_folder_without_a_plan_is_judged_by_its_names(table: TinyTable, tiny_root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_root, tmp_path / "theirs"))
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row(folder, 0.5)], columns=[0.5])
    table.run("seeds=[0]")
    text = (table.out / "table.md").read_text()
    assert "100% of the real training images are kept, by their names, where the other rows keep 5" in text
    assert "DO NOT COMPARE" in text
    assert "one folder for all seeds" not in text, "there is but one seed"


def test_names_that_tell_nothing(tiny_root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_root, tmp_path / "renamed"))
    for image in sorted((folder / "bounding_box_train").glob("*.jpg")):
        image.rename(image.with_name(image.name.replace("_00.jpg", "_77.jpg")))
    assert kept_share(read_dataset(folder), read_dataset(tiny_root)).share is None
