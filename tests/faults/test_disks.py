"""Disks that are full or read-only: one line, exit code 1, and the same command goes on when there is room."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fault_jobs import JOBS, command, state

from augment import runs
from augment.commands.main import main
from augment.search.cache import FeatureCache
from augment.synth.dataset import SynthSettings, write_dataset
from reid_eval.runtime import InputError, RunError

torch.set_num_threads(1)
Disk = Callable[[str], Path]
SMALL = SynthSettings(train_ids=1, test_ids=1, images_per_id=4, cameras=2, size=(32, 16))


def ends(arguments: list[str]) -> object:
    """The exit code."""
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    return 0


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, after notes about progress."""
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("Error: ") for line in lines) == 1, lines
    return lines[-1]


@pytest.mark.usefixtures("small_jobs")
@pytest.mark.parametrize("size", ["8k", "60k"])
@pytest.mark.parametrize("job", JOBS)
def test_a_full_disk(
    job: str, size: str, jobs_root: Path, disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = disk(f"size={size}")
    assert ends(command(job, jobs_root, place)) == 1
    told = last_line(capsys)
    assert re.search(rf"Error: cannot write {place}/\S+: No space left on device \(0.0 MB free of 0.\d MB\)", told)
    assert "make room, or name a folder on another disk, then give the same command again" in told
    assert [path for path in place.rglob("*") if path.name.startswith(".part-")] == []
    disk("size=64m")
    assert ends(command(job, jobs_root, place)) == 0
    if job != "table":  # whose run takes a second
        (tmp_path / "whole").mkdir()
        assert ends(command(job, jobs_root, tmp_path / "whole")) == 0
        assert state(place) == state(tmp_path / "whole")


@pytest.mark.usefixtures("small_jobs")
@pytest.mark.parametrize("job", JOBS)
def test_a_disk_that_only_reads(job: str, jobs_root: Path, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    place = disk("size=64k")
    disk("ro")
    assert ends(command(job, jobs_root, place)) == (2 if job == "poses" else 1)
    told = last_line(capsys)
    if job == "poses":  # which looks first whether it will be able to write its picture
        assert re.search(rf"cannot write the contact sheet into {place}: name another place", told)
        return
    assert re.search(rf"cannot write {place}/\S+: Read-only file system \(0.1 MB free of 0.1 MB\)", told)
    assert "name a folder that can be written" in told


@pytest.mark.parametrize("options", ["size=4k", "ro"])
def test_a_cache_that_cannot_be_written(
    options: str, disk: Disk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = disk("size=4k")
    disk(options)
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(place))
    monkeypatch.setattr("augment.synth.dataset.SynthSettings", lambda: SMALL)
    assert ends(["plan", "--out", str(tmp_path / "plan.csv"), "--ratio", "0.5"]) == 1
    told = last_line(capsys)
    assert re.search(rf"cannot write {place}/\S+: (No space left on device|Read-only file system) \(", told)
    assert told.endswith("or set PATN_AUGMENT_CACHE to a folder that can be written")
    assert [path.name for path in place.iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.parametrize("home", ["/dev/null/home", ""])
def test_no_home(home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PATN_AUGMENT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home)
    if not home:
        monkeypatch.setattr(runs.Path, "home", none)
    assert ends(["generate", "--ratio", "0.5", "--weights", "entry:copy"]) == 1
    told = last_line(capsys)
    assert told.endswith("set PATN_AUGMENT_CACHE to a folder that can be written")
    assert ("/dev/null/home/.cache/patn-augment" if home else "this user has no home folder") in told


def test_a_full_disk_under_drawn_people(disk: Disk) -> None:
    place = disk("size=12k")
    with pytest.raises(RunError, match=r"cannot write .*/people.*: No space left on device"):
        write_dataset(place / "people", SMALL)
    assert [path.name for path in place.iterdir()] == [".people.lock"]
    disk("size=1m")
    write_dataset(place / "people", SMALL)
    assert [path.name for path in place.iterdir()] == ["people"]


def test_what_a_killed_drawing_left_goes_with_the_next_of_that_folder(tmp_path: Path) -> None:
    for name in ("people", "others"):
        (tmp_path / f".part-{name}/bounding_box_train").mkdir(parents=True)
    write_dataset(tmp_path / "people", SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-others", "people"]


@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_cache_of_features_on_a_disk_that_fails(options: str, disk: Disk) -> None:
    place = disk("size=64k")
    cache = FeatureCache(place / "c.sqlite")
    disk(options)
    said = {"size=64k": "No space left on device", "ro": "Read-only file system"}[options]
    keys, rows = [b"%d" % number for number in range(200)], np.ones((200, 2, 512), np.float32)
    with pytest.raises(RunError, match=rf"cannot write {place}/c.sqlite: {said} \(0.\d MB free of 0.1 MB\)") as told:
        cache.write(keys, rows)
    assert str(told.value).endswith("or set PATN_AUGMENT_CACHE to a folder that can be written")


def test_a_cache_of_features_that_can_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name another"):
        FeatureCache(tmp_path / "file/c.sqlite")
    with pytest.raises(InputError, match="delete it, or name another"):
        FeatureCache(tmp_path)
