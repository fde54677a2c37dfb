"""A bounded run of the fuzzer: the corpus, and always the same few cases of every door, in a process of limited memory.

`FUZZ_MINUTES=10` makes it a long run, of other cases with another `FUZZ_FIRST`; what falls is appended to the corpus.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
EACH = 3


def test_spoilt_files_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATN_AUGMENT_CACHE": str(tmp_path / "cache")}
    sys.path.insert(0, str(HERE))
    try:
        from doors import DOORS
    finally:
        sys.path.remove(str(HERE))
    words = ["--count", str(EACH * len(DOORS))]
    if minutes := os.environ.get("FUZZ_MINUTES"):
        words = ["--minutes", minutes, "--keep", "--seed", os.environ.get("FUZZ_FIRST", "0")]
    command = [sys.executable, str(HERE / "run.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    print(done.stdout[-5000:])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) cases, 0 faults", done.stdout)
    assert found
    kept = [json.loads(line)["door"] for line in (HERE / "corpus.jsonl").read_text().splitlines()]
    assert int(found[1]) >= EACH * len(DOORS) + sum(door in DOORS for door in kept)
    for door in DOORS:  # each is passed, and something is refused at it
        row = re.search(rf"^\| {door} \| (\d+) \| (\d+) \| ", done.stdout, re.MULTILINE)
        assert row, door
        assert int(row[1]) >= max(EACH, int(row[2])), door
        assert int(row[2]) > 0, door
    assert ": 0 " in done.stdout  # some are harmless


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.mark.usefixtures("tools")
def test_a_fault_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: a traceback, two lines and an escape sequence are faults."""
    import run

    from augment.commands import main as commands
    from reid_eval.runtime import InputError

    def broken(error: BaseException | None, text: str = "") -> run.Outcome:
        def main(**_: object) -> None:
            print(text)
            if error:
                raise error

        monkeypatch.setattr(commands.cli, "main", main)
        return run.run(["verify"])

    assert "unexpected" in broken(KeyError("x")).fault
    assert "obeyed" in broken(None, "\x1b[2J").fault
    assert broken(InputError("a\nb")).fault == ""  # main makes one line of it
    assert broken(InputError("a")).code == 2
    assert "exit code 130" in broken(KeyboardInterrupt()).fault


@pytest.mark.usefixtures("tools")
def test_a_fault_is_made_small_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of documents with a long text in them, the shortest falls; the same fault is found once."""
    import run
    from case import Case, whole
    from hypothesis import strategies as st

    def done(case: Case, root: Path) -> run.Outcome:
        return run.Outcome(2, 0.0, "a line", "too long" if len(case.files[0].splices[0][2]) > 9 else "")

    lines = st.binary(max_size=99).map(lambda data: Case("plan", ("verify",), (whole("x", data),)))
    monkeypatch.setattr(run, "done", done)
    monkeypatch.setattr(run, "cases", lambda door, ground: lines)
    monkeypatch.setattr(run, "CORPUS", tmp_path / "corpus.jsonl")
    runner = run.Runner(type("Ground", (), {"root": tmp_path})())  # type: ignore[arg-type]
    for seed in (1, 2):
        runner.door("plan", seed, 200, shrinks=True)
    run.keep(list(runner.tally.faults.values()))
    run.keep(list(runner.tally.faults.values()))
    (case,) = run.corpus()
    assert case.files[0].splices == ((0, 0, bytes(10)),)
    assert runner.tally.codes["plan: 2"] > 50


@pytest.mark.usefixtures("tools")
def test_a_case_leaves_nothing_and_comes_back_from_its_line(tmp_path: Path) -> None:
    from case import Case, File, laid, whole

    (tmp_path / "valid.txt").write_bytes(b"{root}/0123456789")
    (tmp_path / "folder").mkdir()
    files = (File("valid.txt", "valid.txt", ((6, 7, b"X"),)), whole("folder/a\udcff\n.jpg", b"\xff{root}"),
             File("copy/x", "valid.txt"))  # fmt: skip
    case = Case("plan", ("verify", "{root}/a", "\ud800"), files, (("folder", "copy"),))
    assert Case.of_line(case.line()) == case
    with laid(case, tmp_path) as words:
        assert words == ["verify", f"{tmp_path}/a", "\ud800"]
        assert (tmp_path / "valid.txt").read_bytes() == f"{tmp_path}X0123456789".encode()
        assert (tmp_path / "folder" / "a\udcff\n.jpg").read_bytes() == b"\xff" + os.fsencode(tmp_path)
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "b").touch()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["folder", "valid.txt"]
    assert (tmp_path / "valid.txt").read_bytes() == b"{root}/0123456789"
