"""Shards of one folder, gated and not: whoever is last, one whole folder. Interleavings are forced, not hoped for."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import hashes
from gated import gated
from PIL import Image
from toy import Toy

from augment.folder import generate as generation
from augment.folder import manifest as manifests
from augment.folder import part_lock
from augment.folder.carry import Source
from augment.folder.generate import generate, verify
from augment.folder.layout import sweep
from augment.folder.manifest import MANIFEST, Manifest, folder_files, read_manifest
from augment.folder.render import save_image
from augment.plan.sampler import plan_dataset
from augment.pose import load_annotations
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError, RunError

Run = Callable[..., Manifest | None]


def plain(data: ReidData, out: Path, *, toy: Toy | None = None, **more: Any) -> Manifest | None:
    keypoints = load_annotations(data.root)
    plan, _ = plan_dataset(data, keypoints, ratio=0.6, seed=1)
    return generate(Source(data, keypoints), plan, toy or Toy(), out, **more)


@pytest.fixture(params=[plain, gated], ids=["plain", "gated"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


@pytest.fixture(scope="module")
def wholes(tiny_data: ReidData, tmp_path_factory: pytest.TempPathFactory) -> dict[Run, dict[str, str]]:
    """The files that one uninterrupted run makes."""
    root, found = tmp_path_factory.mktemp("whole"), {}
    for one in (plain, gated):
        one(tiny_data, root / one.__name__)
        found[one] = hashes(root / one.__name__)
    return found


class Between:
    """Stands in for a function of a module: something happens before or after its n-th call, once."""

    def __init__(self, patch: pytest.MonkeyPatch, module: Any, name: str, happens: Callable[[], object], **when: int):
        self.real, self.happens, self.calls = getattr(module, name), happens, 0
        self.before, self.after = when.get("before", 0), when.get("after", 0)
        patch.setattr(module, name, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        number = self.calls
        if number == self.before:
            self.happens()
        value = self.real(*arguments, **named)
        if number == self.after:
            self.happens()
        return value


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_shard_that_finishes_while_another_copies(
    run: Run, when: str, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shard has made its images; the second one does all of its work before the first has copied its own."""
    out, told = tmp_path / "out", []
    Between(monkeypatch, generation, "place", lambda: told.append(run(tiny_data, out, shard=(1, 2))), **{when: 1})
    told.append(run(tiny_data, out, shard=(0, 2)))
    assert [one is not None for one in told] == ([False, True] if when == "before" else [True, True])
    assert hashes(out) == wholes[run]
    assert told[-1] == read_manifest(out)


def test_a_shard_that_is_stopped_in_the_middle_of_its_copying(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shard 0 has copied some of its images and is writing one; shard 1 does all it has to; shard 0 goes on."""
    out, told, real, calls = tmp_path / "out", [], shutil.copyfile, []

    def slow(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 3:
            Path(target).write_bytes(b"half")
            told.append(run(tiny_data, out, shard=(1, 2)))
            assert Path(target).read_bytes() == b"half"  # nobody swept it away
        real(source, target)

    monkeypatch.setattr(shutil, "copyfile", slow)
    told.append(run(tiny_data, out, shard=(0, 2)))
    assert [one is not None for one in told] == [False, True]
    assert hashes(out) == wholes[run]
    assert verify(out).ok


def test_two_that_finish_at_the_same_instant(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hashes the files, the other does so, too, and is the first to be done: records and marks are gone."""
    out, told = tmp_path / "out", []
    assert run(tiny_data, out, shard=(1, 2)) is None
    Between(monkeypatch, generation, "file_entries", lambda: told.append(run(tiny_data, out, shard=(1, 2))), before=1)
    told.append(run(tiny_data, out, shard=(0, 2)))
    assert told == [read_manifest(out)] * 2
    assert hashes(out) == wholes[run]
    assert verify(out).ok


def test_records_that_vanish_under_a_shard_that_looks(
    tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has done its part; before it reads the records, another finishes the folder and removes them."""
    from augment.gate import strategy

    out, told = tmp_path / "out", []
    assert gated(tiny_data, out, shard=(1, 2)) is None

    def finish() -> None:
        told.append(gated(tiny_data, out, shard=(1, 2)))

    Between(monkeypatch, strategy, "read_records", finish, before=1)
    told.append(gated(tiny_data, out, shard=(0, 2)))
    assert told == [read_manifest(out)] * 2
    assert hashes(out) == wholes[gated]


def test_a_shard_killed_while_it_copies_and_started_again(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Between(patch, generation, "place", die, before=1)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, out, shard=(0, 2))
    assert run(tiny_data, out, shard=(1, 2)) is None
    toy = Toy()
    assert run(tiny_data, out, shard=(0, 2), resume=True, toy=toy) is not None
    assert toy.calls == 0  # its images were there
    assert hashes(out) == wholes[run]


def test_three_shards_of_which_one_dies_in_the_middle_of_another(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While 0 copies, 2 does all it has to and 1 is killed at once; 1 is started again at the end."""
    out, told = tmp_path / "out", []

    def others() -> None:
        told.append(run(tiny_data, out, shard=(2, 3)))
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, out, shard=(1, 3), toy=Toy(stop=0))

    Between(monkeypatch, generation, "place", others, before=1)
    told.append(run(tiny_data, out, shard=(0, 3)))
    told.append(run(tiny_data, out, shard=(1, 3), resume=True))
    assert [one is not None for one in told] == [False, False, True]
    assert hashes(out) == wholes[run]


@pytest.mark.parametrize(
    ("module", "name"), [(generation, "read_job"), (generation, "folder_files")], ids=["read_job", "folder_files"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_shards_that_start_at_the_same_instant(
    module: Any, name: str, when: str, run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One sees no job; before it goes on another begins, makes its images and is done, or finishes all there is."""
    out = tmp_path / "out"
    out.mkdir()
    Between(monkeypatch, module, name, lambda: run(tiny_data, out, shard=(1, 2)), **{when: 1})
    assert run(tiny_data, out, shard=(0, 2)) is not None
    assert hashes(out) == wholes[run]


def test_a_folder_finished_while_another_starts(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, toy = tmp_path / "out", Toy()
    out.mkdir()
    Between(monkeypatch, generation, "read_job", lambda: run(tiny_data, out), after=1)
    assert run(tiny_data, out, shard=(0, 2), toy=toy) == read_manifest(out)
    assert toy.calls == 0
    assert hashes(out) == wholes[run]


def test_two_different_jobs_that_start_at_the_same_instant(
    tiny_data: ReidData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    Between(monkeypatch, manifests, "write_json", lambda: plain(tiny_data, out, shard=(1, 2)), before=1)
    with pytest.raises(InputError, match=r"was made with other settings \(ratio"):
        plain(tiny_data, out, shard=(0, 2), arguments={"ratio": 0.6})


def test_a_truncated_image_of_another_shard_is_not_taken_for_done(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path
) -> None:
    """The machine of shard 1 lost power: a generated and a copied image have no end."""
    out = tmp_path / "out"
    assert run(tiny_data, out, shard=(1, 2)) is None
    torn = [next(out.glob("bounding_box_train/*_gen*.jpg")), next(out.glob("bounding_box_test/*.jpg"))]
    for path in torn:
        path.write_bytes(path.read_bytes()[:200])
    assert run(tiny_data, out, shard=(0, 2)) is None
    assert run(tiny_data, out, shard=(1, 2), resume=True) is not None
    assert hashes(out) == wholes[run]


def test_a_half_written_file_that_another_swept_away(
    tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process of a shard writes an image again; before it is in place another finishes and sweeps."""
    out = tmp_path / "out"
    plain(tiny_data, out)
    made = next(out.glob("bounding_box_train/*_gen*.jpg"))
    pixels, write = np.asarray(Image.open(made)), Path.write_bytes

    def swept(path: Path, data: bytes) -> int:
        count = write(path, data)
        sweep(out)
        return count

    monkeypatch.setattr(Path, "write_bytes", swept)
    save_image(pixels, made, (128, 64), 95)
    with pytest.raises(FileNotFoundError):
        save_image(pixels, out / "bounding_box_train/new.jpg", (128, 64), 95)
    assert hashes(out) == wholes[plain]


def test_folders_that_vanish_under_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that finish sweep at the same instant: what one has seen and not yet looked into the other removes."""
    for number in range(6):
        (tmp_path / f"augmentation/{number}").mkdir(parents=True)
        (tmp_path / f"augmentation/{number}/.part-x").touch()
    unlink = Path.unlink

    def all_gone(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        for other in path.parent.parent.iterdir():
            shutil.rmtree(other)

    monkeypatch.setattr(Path, "unlink", all_gone)
    sweep(tmp_path)
    assert list(folder_files(tmp_path)) == []


# --- two processes for one part -----------------------------------------------------------------------------------


class Slow(Toy):
    """Stops at its second call until it is told to go on."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(stop=1)
        self.reached, self.go_on, self.fails = threading.Event(), threading.Event(), fails

    def die(self) -> None:
        self.reached.set()
        assert self.go_on.wait(20)
        if self.fails:
            raise ZeroDivisionError


def test_the_second_process_of_a_part_waits_for_the_first(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, slow, toy = tmp_path / "out", Slow(), Toy()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, tiny_data, out, resume=True, toy=slow)
        assert slow.reached.wait(20)
        second = pool.submit(run, tiny_data, out, resume=True, toy=toy)
        said = ""
        while "is making this part" not in said:
            assert not second.done()
            time.sleep(0.05)  # reading empties the capture: without a pause it meets the line while it is written
            said += capfd.readouterr().err
        slow.go_on.set()
        assert first.result(20) == second.result(20) == read_manifest(out)
    assert toy.calls == 0
    assert f"{out}: process {os.getpid()} of {socket.gethostname()} is making this part: waiting" in said
    assert hashes(out) == wholes[run]
    assert verify(out).ok
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # no lock stays


def test_the_second_goes_on_where_the_first_fails(run: Run, tiny_data: ReidData, tmp_path: Path) -> None:
    out, slow = tmp_path / "out", Slow(fails=True)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, tiny_data, out, resume=True, toy=slow)
        assert slow.reached.wait(20)
        second = pool.submit(run, tiny_data, out, resume=True)
        slow.go_on.set()
        assert second.result(20) is not None
        assert first.exception(20) is not None
    assert verify(out).ok


def test_a_lock_file_that_nobody_holds_means_nothing(tiny_data: ReidData, tmp_path: Path) -> None:
    """Of a process that was killed, or of a host whose locks the file server has freed."""
    (tmp_path / ".out.part-0-of-1.lock").write_text("1\nanother-host\n")
    assert plain(tiny_data, tmp_path / "out") is not None
    assert not (tmp_path / ".out.part-0-of-1.lock").exists()


def test_where_no_lock_can_be_written(tiny_data: ReidData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(part_lock.FileLock, "acquire", refuse)
    assert plain(tiny_data, tmp_path / "out") is not None


def test_records_that_come_late_are_told_and_go(tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path) -> None:
    """A process of another number of shards was killed when it had just written a record beside the manifest."""
    out = tmp_path / "out"
    gated(tiny_data, out)
    late = out / "augmentation/work/gate/000001.json"
    late.parent.mkdir(parents=True)
    late.write_text("[]")
    report = verify(out)
    assert report.extra == ("augmentation/work/gate/000001.json",)
    assert report.message.endswith("(1 left by a process that was killed: resume it, and they go)")
    assert gated(tiny_data, out, resume=True) == read_manifest(out)
    assert verify(out).ok
    assert hashes(out) == wholes[gated]


# --- files that vanish ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "image", "copy"])
def test_what_vanishes_under_the_only_process_is_an_error(
    what: str, run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def vanish() -> None:
        if what == "folder":
            shutil.rmtree(out)
        else:
            next(out.glob("bounding_box_train/*_gen*" if what == "image" else "query/*")).unlink()

    with monkeypatch.context() as patch:
        when = {"after": 1} if what == "copy" else {"before": 1}
        Between(patch, generation, "place", vanish, **when)
        with pytest.raises(RunError, match=r"\d+ files of .*out vanished while it was being made: .*Resume it"):
            run(tiny_data, out)
    assert not (out / MANIFEST).exists()
    assert run(tiny_data, out, resume=True) is not None
    assert hashes(out) == wholes[run]


def test_a_shard_knows_its_own_files_from_the_others(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of shard 1 is there, which is its own affair; but a file that shard 0 has made is gone, too."""
    out = tmp_path / "out"

    def vanish() -> None:
        for path in out.glob("*/*.jpg"):
            path.unlink()

    with monkeypatch.context() as patch:
        Between(patch, generation, "place", vanish, before=1)
        with pytest.raises(RunError, match=r"vanished while it was being made: .*bounding_box_train/.*_gen"):
            run(tiny_data, out, shard=(0, 2))
    assert run(tiny_data, out, shard=(0, 2), resume=True) is None
    assert run(tiny_data, out, shard=(1, 2)) is not None
    assert hashes(out) == wholes[run]


# --- killed at the end -------------------------------------------------------------------------------------------


def test_killed_while_files_are_hashed(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, toy = tmp_path / "out", Toy()

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Between(patch, generation, "file_entries", die, before=1)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, out)
    assert run(tiny_data, out, resume=True, toy=toy) is not None
    assert toy.calls == 0
    assert hashes(out) == wholes[run]


def test_killed_after_the_manifest(
    run: Run, tiny_data: ReidData, wholes: dict[Run, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks, records and half-written files that are left are no part of a finished folder."""
    out, toy = tmp_path / "out", Toy()

    def die() -> None:
        (out / "augmentation/.part-x.json").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Between(patch, generation, "write_manifest", die, after=1)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_data, out)
    assert (out / MANIFEST).is_file()
    assert run(tiny_data, out, resume=True, toy=toy) == read_manifest(out)
    assert toy.calls == 0
    assert hashes(out) == wholes[run]
