from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from augment import runs as run_folders
from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.folder.manifest import (
    MANIFEST,
    VerifyReport,
    file_entries,
    newest_augmented,
    read_manifest,
    verify,
    write_manifest,
)
from augment.generators.copy import CopyGenerator
from augment.plan.sampler import plan_dataset
from augment.pose import load_annotations
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError


@pytest.fixture(scope="module")
def made(tiny_data: ReidData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keypoints = load_annotations(tiny_data.root)
    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    out = tmp_path_factory.mktemp("verify") / "out"
    generate(
        Source(tiny_data, keypoints),
        plan,
        CopyGenerator(),
        out,
    )
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def test_a_folder_as_made_is_well(folder: Path) -> None:
    report = verify(folder)
    assert report.ok
    assert report.checked == 19 + 12 + 3
    assert report.message == "34 files, all as the manifest says"


@pytest.mark.parametrize("name", ["bounding_box_train/*_gen0000.jpg", "query/*.jpg", "augmentation/plan.csv", "*.csv"])
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    path = sorted(folder.glob(name))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = verify(folder)
    assert not report.ok
    assert report.changed == (path.relative_to(folder).as_posix(),)
    assert report.missing == report.extra == ()


def test_missing_and_extra_files_are_named(folder: Path) -> None:
    gone = sorted(folder.glob("bounding_box_train/*.jpg"))[:7]
    for path in gone:
        path.unlink()
    (folder / "query" / "guest.jpg").write_bytes(b"x")
    (folder / "dangling.jpg").symlink_to("nowhere")
    report = verify(folder)
    assert report.missing == tuple(f"bounding_box_train/{path.name}" for path in gone)
    assert report.extra == ("dangling.jpg", "query/guest.jpg")
    assert report.message.startswith("7 missing: bounding_box_train/")
    assert report.message.endswith(", ...; 2 extra: dangling.jpg, query/guest.jpg")


def test_a_link_to_nowhere_or_to_another_folder_is_no_file_of_the_folder(folder: Path, tmp_path: Path) -> None:
    photo = min(folder.glob("query/*.jpg"))
    photo.unlink()
    photo.symlink_to("nowhere.jpg")
    assert verify(folder).missing == (f"query/{photo.name}",)
    names = sorted(f"query/{path.name}" for path in (folder / "query").iterdir())
    shutil.move(folder / "query", tmp_path / "elsewhere")
    (folder / "query").symlink_to(tmp_path / "elsewhere")
    report = verify(folder)
    assert report.missing == tuple(names)
    assert report.extra == ("query",)


def test_a_plan_that_nobody_can_read_though_the_manifest_knows_it(folder: Path) -> None:
    (folder / "augmentation/plan.csv").write_text("a,b\n")
    manifest = read_manifest(folder)
    entry = file_entries(folder, ["augmentation/plan.csv"])
    write_manifest(folder, manifest.model_copy(update={"files": {**manifest.files, **entry}}))
    report = verify(folder)
    assert (report.missing, report.changed, report.extra) == ((), (), ())
    assert len(report.mislabelled) == 1
    assert "row 1: the columns are a,b" in report.mislabelled[0]


def test_a_plan_that_is_changed_or_gone_is_told_as_that_alone(folder: Path) -> None:
    (folder / "augmentation/plan.csv").write_text("a,b\n")
    report = verify(folder)
    assert (report.changed, report.missing, report.mislabelled) == (("augmentation/plan.csv",), (), ())
    (folder / "augmentation/plan.csv").unlink()
    report = verify(folder)
    assert (report.changed, report.missing, report.mislabelled) == ((), ("augmentation/plan.csv",), ())


def test_folders_without_a_manifest(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        verify(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no augmentation/manifest.json: it is not an augmented folder"):
        verify(tmp_path / "empty")
    (folder / MANIFEST).rename(folder / "augmentation/unfinished.json")
    with pytest.raises(InputError, match="is unfinished: run the same generation once more"):
        verify(folder)


def test_a_manifest_that_cannot_be_read(folder: Path) -> None:
    path = folder / MANIFEST
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "version": 2}))
    with pytest.raises(InputError, match=r"manifest.json: version: .*made by another version, or edited"):
        read_manifest(folder)
    path.write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*manifest.json"):
        verify(folder)


def test_the_report_of_nothing_wrong_is_ok() -> None:
    assert VerifyReport(0, (), (), ()).ok
    assert not VerifyReport(1, (), ("a",), ()).ok


def test_run_folders_are_numbered_and_never_shared(tmp_path: Path) -> None:
    first, second = (run_folders.new_run_dir("generate", tmp_path / "runs") for _ in range(2))
    assert (first.name, second.name) == ("generate-0001", "generate-0002")
    first.rmdir()
    assert run_folders.new_run_dir("generate", tmp_path / "runs").name == "generate-0003"
    assert run_folders.new_run_dir("train", tmp_path / "runs").name == "train-0001"


def test_the_newest_augmented_run_is_the_one_finished_last(tmp_path: Path) -> None:
    assert newest_augmented(tmp_path / "runs") is None
    runs = [run_folders.new_run_dir("generate", tmp_path) for _ in range(3)]
    for age, path in enumerate(runs[:2]):
        (path / "augmentation").mkdir()
        (path / MANIFEST).write_text("{}")
        os.utime(path / MANIFEST, (1000 - age, 1000 - age))
    assert newest_augmented(tmp_path) == runs[0]


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATN_AUGMENT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run_folders.cache_dir() == tmp_path / "home/.cache/patn-augment"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert run_folders.cache_dir() == tmp_path / "xdg/patn-augment"
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "own"))
    assert run_folders.cache_dir() == tmp_path / "own"
    assert (tmp_path / "own").is_dir()
