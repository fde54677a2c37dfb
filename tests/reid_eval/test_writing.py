from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reid_eval.runtime import RunError, atomic_path, sweep_parts, write_bytes, write_text
from reid_eval.writing import disk_error


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".part-*"))


def killed_while_writing(target: Path) -> None:
    """A process that is killed when the file is half there."""
    code = (
        "import os, signal, sys; from reid_eval.writing import atomic_path\n"
        "with atomic_path(sys.argv[1]) as part:\n"
        "    part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, target], check=False).returncode == -9


def test_what_a_killed_process_left_goes_with_the_next_writing_of_that_file(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "checkpoint.pt")
    killed_while_writing(tmp_path / "other.pt")
    assert len(parts(tmp_path)) == 2
    write_text(tmp_path / "checkpoint.pt", "whole")
    assert len(parts(tmp_path)) == 1  # the other one's
    assert (tmp_path / "checkpoint.pt").read_text() == "whole"
    write_text(tmp_path / "other.pt", "whole")
    assert parts(tmp_path) == []


def test_sweeping_leaves_what_is_being_written(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "deep/a.jpg")
    (tmp_path / ".part-folder").mkdir()
    with atomic_path(tmp_path / "deep/b.jpg") as part:
        part.write_text("b")
        sweep_parts(tmp_path)
        assert len(parts(tmp_path / "deep")) == 2
        sweep_parts(tmp_path, deep=True)
        assert parts(tmp_path / "deep") == [part.name]
        write_text(tmp_path / "deep/b.jpg", "by another")
    assert (tmp_path / "deep/b.jpg").read_text() == "b"
    assert parts(tmp_path) == [".part-folder"]


def test_a_file_without_a_suffix_and_one_that_is_all_suffix(tmp_path: Path) -> None:
    for name in ("name", "x." + "y" * 240):
        write_bytes(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_errors_of_the_disk_are_one_line(number: int, tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with pytest.raises(RunError) as caught, atomic_path(target):
        raise OSError(number, os.strerror(number))
    message = str(caught.value)
    assert message.startswith(f"cannot write {target}: {os.strerror(number)} (")
    assert " MB free of " in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_errors_about_other_files_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "the-source.jpg")
    assert str(disk_error(PermissionError(errno.EACCES, "Permission denied", "a.csv"))).startswith("cannot use a.csv: ")
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert disk_error(ValueError("x")) is None
    told = disk_error(RuntimeError("I/O error: No space left on device (os error 28)"), "x")
    assert "make room, or name a folder on another disk, then give the same command again" in str(told)
