"""The manifest's reader and writer, the mark of an unfinished folder, and what a report says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from augment.folder import manifest as module
from augment.folder.layout import MANIFEST, REPAIR, SCRATCH, UNFINISHED
from augment.folder.manifest import (
    MOST_TERMS,
    FileEntry,
    Job,
    Manifest,
    VerifyReport,
    begin_job,
    check_terms,
    differences,
    file_entries,
    folder_files,
    newest_augmented,
    read_job,
    read_manifest,
    write_manifest,
)
from augment.folder.part_lock import holder_of
from reid_eval.limits import LARGEST_INTEGER, LONGEST_IMAGE_NAME, MOST_SIDE
from reid_eval.runtime import InputError, sha256_bytes
from reid_eval.writing import PART

COUNTS = {"identities": 1, "train": 2, "train_generated": 1, "train_dropped": 0, "query": 1, "gallery": 1}
GATE = {"asked": 4, "accepted_at_once": 2, "accepted_after_retry": 1, "given_up": 1, "rejections": 3,
        "reasons": {"pose": 3}}  # fmt: skip


def job(**changed: Any) -> Job:
    return Job(**{
        "plan_sha256": "a" * 64, "keypoints_sha256": "b" * 64, "weights": "w", "weights_sha256": "c" * 64,
        "layout": "market1501", "generator_size": (128, 64), "precision": "float32", "device": "cpu",
        "jpeg_quality": 95, "link": "copy", "arguments": {"ratio": 0.5, "seed": 1}, **changed,
    })  # fmt: skip


def manifest(**changed: Any) -> Manifest:
    given = {"job": job(), "versions": {"python": "3"}, "counts": COUNTS, "reports": {}, "files": {}}
    return Manifest(**{**given, **changed})


def raw(**changed: Any) -> dict[str, Any]:
    return {**manifest().model_dump(mode="json", exclude={"gate"}), **changed}


def stored(out: Path, value: object) -> Path:
    (out / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).write_text(json.dumps(value))
    return out


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out" / MANIFEST).parent.mkdir(parents=True)
    return tmp_path / "out"


@pytest.mark.parametrize("gate", [None, GATE])
def test_it_comes_back_as_it_was_written(out: Path, gate: dict[str, Any] | None) -> None:
    begin_job(out, job())
    there = manifest(gate=gate, files={"a/b.jpg": FileEntry(sha256="d", size=0)}, reports={"x": ["y"]})
    write_manifest(out, there)
    assert read_manifest(out) == there
    assert ("gate" in json.loads((out / MANIFEST).read_text())) == (gate is not None)
    assert not (out / UNFINISHED).exists()
    write_manifest(out, there)  # without a mark to remove


def test_repairs_come_back_and_are_not_written_without_one(out: Path) -> None:
    write_manifest(out, manifest(repairs=[GATE]))
    assert read_manifest(out).repairs == [GATE]
    write_manifest(out, manifest())
    assert "repairs" not in json.loads((out / MANIFEST).read_text())
    with pytest.raises(InputError, match=r"repairs\.0: .*should be counts"):
        read_manifest(stored(out, raw(repairs=[{**GATE, "asked": "x"}])))


def test_terms_come_back_and_are_not_written_without_any(out: Path) -> None:
    begin_job(out, job(terms="CC BY"))
    assert json.loads((out / UNFINISHED).read_text())["terms"] == "CC BY"
    write_manifest(out, manifest(job=job(terms="CC BY")))
    assert read_manifest(out).terms == "CC BY"
    write_manifest(out, manifest())
    assert "terms" not in json.loads((out / MANIFEST).read_text())["job"]
    assert begin_job(out / "other", job()) is True
    assert "terms" not in json.loads((out / "other" / UNFINISHED).read_text())


def test_terms_are_one_short_line(out: Path) -> None:
    for terms in (None, "x", "x" * MOST_TERMS):
        check_terms(terms)
        assert job(terms=terms).terms == terms
    for terms in ("", " ", "x" * (MOST_TERMS + 1), "a\nb", "\x1b[2J"):
        with pytest.raises(InputError, match="terms are one line of at most 1000 characters") as caught:
            check_terms(terms)
        assert caught.value.argument == "terms"
        with pytest.raises(InputError, match=r"job\.terms: .*terms are one line"):
            read_manifest(stored(out, raw(job={**raw()["job"], "terms": terms})))


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True), ("a/b c.jpg", True), ("a" * LONGEST_IMAGE_NAME, True), ("...", True), ("a.b/..c", True),
        ("a" * (LONGEST_IMAGE_NAME + 1), False), ("", False), ("/a", False), ("a/", False), ("a//b", False),
        ("../a", False), ("a/..", False), ("a/./b", False), ("a\nb", False), ("\x1b[2J", False),
    ],
)  # fmt: skip
def test_names_are_paths_in_the_folder(out: Path, name: str, good: bool) -> None:
    stored(out, raw(files={name: {"sha256": "x", "size": 1}}))
    if good:
        assert list(read_manifest(out).files) == [name]
    else:
        with pytest.raises(InputError, match=r"(?s)manifest.json: files\..* is no path in the folder"):
            read_manifest(out)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_all_there_and_no_less_than_nothing(out: Path, name: str) -> None:
    assert read_manifest(stored(out, raw(counts={**COUNTS, name: LARGEST_INTEGER}))).counts[name] == LARGEST_INTEGER
    assert read_manifest(stored(out, raw(counts={**COUNTS, name: 0}))).counts[name] == 0
    with pytest.raises(InputError, match=rf"counts\.{name}: .*greater than or equal to 0"):
        read_manifest(stored(out, raw(counts={**COUNTS, name: -1})))
    with pytest.raises(InputError, match="too large"):
        read_manifest(stored(out, raw(counts={**COUNTS, name: LARGEST_INTEGER + 1})))
    with pytest.raises(ValueError, match="less than or equal to"):
        manifest(counts={**COUNTS, name: LARGEST_INTEGER + 1})
    with pytest.raises(InputError, match=rf"counts: Value error, {name} is missing"):
        read_manifest(stored(out, raw(counts={one: count for one, count in COUNTS.items() if one != name})))


@pytest.mark.parametrize("side", [0, 1])
def test_sizes_of_a_network_are_bounded(side: int) -> None:
    for number, good in ((0, False), (1, True), (MOST_SIDE, True), (MOST_SIDE + 1, False)):
        size = [128, 64]
        size[side] = number
        if good:
            assert job(generator_size=size).generator_size[side] == number
        else:
            with pytest.raises(ValueError, match="generator_size"):
                job(generator_size=size)


def test_unknown_keys_are_refused_and_nothing_changes_afterwards(out: Path) -> None:
    for value in (raw(more=1), raw(job={**raw()["job"], "more": 1}),
                  raw(files={"a": {"sha256": "x", "size": 1, "more": 1}})):  # fmt: skip
        with pytest.raises(InputError, match=r"more: Extra inputs are not permitted"):
            read_manifest(stored(out, value))
    with pytest.raises(ValueError, match="frozen"):
        job().device = "cuda"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        manifest().versions = {}  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        FileEntry(sha256="x", size=1).size = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", [*GATE, "a reason"])
def test_what_messages_tell_of_a_gate_are_counts(out: Path, name: str) -> None:
    wrong = {**GATE, "reasons": {"pose": "x"}} if name == "a reason" else {**GATE, name: "x"}
    with pytest.raises(InputError, match=r"gate: .*asked, .* and reasons should be counts"):
        read_manifest(stored(out, raw(gate=wrong)))
    lacking = {one: value for one, value in GATE.items() if one != name}
    if lacking != GATE:
        with pytest.raises(InputError, match="should be counts"):
            read_manifest(stored(out, raw(gate=lacking)))
    assert read_manifest(stored(out, raw(gate=None))).gate is None


def test_the_first_to_begin_marks_the_folder(out: Path) -> None:
    assert begin_job(out, job()) is True
    assert begin_job(out, job(device="cuda")) is False
    assert read_job(out) == job()
    assert [path.name for path in (out / MANIFEST).parent.iterdir()] == [Path(UNFINISHED).name]


def test_where_the_folder_is_finished_nothing_begins(out: Path) -> None:
    write_manifest(out, manifest())
    assert begin_job(out, job()) is False
    assert not (out / UNFINISHED).exists()
    assert read_job(out) == job()


def test_without_hard_links_the_mark_is_renamed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(1, "not here")

    monkeypatch.setattr(os, "link", link)
    assert begin_job(out, job()) is True
    assert read_job(out) == job()
    assert not [path for path in (out / MANIFEST).parent.iterdir() if path.name.startswith(PART)]


def test_a_mark_that_another_swept_away_is_no_beginning(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise FileNotFoundError(2, "gone")

    monkeypatch.setattr(os, "link", link)
    assert begin_job(out, job()) is False
    assert read_job(out) is None


def test_a_mark_that_cannot_be_read(out: Path) -> None:
    (out / UNFINISHED).write_text("[]")
    with pytest.raises(InputError, match=r"unfinished.json: : .*made by another version, or edited"):
        read_job(out)
    (out / UNFINISHED).write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*unfinished.json: "):
        read_job(out)


def test_a_job_that_does_not_say_its_sigma_has_the_authors() -> None:
    assert job().sigma == 6.0


def test_what_differs_between_jobs() -> None:
    assert differences(job(), job()) == ""
    other = job(arguments={"ratio": 0.7, "mode": "add"}, plan_sha256="e" * 64, device="cuda")
    assert differences(job(), other) == (
        f"plan_sha256: {'a' * 12}..., now {'e' * 12}...; device: cpu, now cuda; ratio: 0.5, now 0.7; "
        "seed: 1, now None; mode: None, now add"
    )
    assert differences(job(), other, ("device", "seed", "mode", "plan_sha256")) == "ratio: 0.5, now 0.7"
    assert differences(job(), job(generator_size=(64, 32))) == "generator_size: [128, 64], now [64, 32]"
    assert differences(job(weights="x" * 63), job(weights="y" * 65)) == f"weights: {'x' * 63}, now {'y' * 65}"


def test_all_files_of_a_folder_but_its_manifest(out: Path) -> None:
    stored(out, {})
    (out / "z").mkdir()
    (out / "z" / "b.jpg").write_bytes(b"b")
    (out / "a.jpg").write_bytes(b"aa")
    (out / "linked").symlink_to("z")
    (out / "empty").mkdir()
    assert list(folder_files(out)) == ["a.jpg", "linked", "z/b.jpg"]
    assert file_entries(out, ["z/b.jpg", "a.jpg"]) == {
        "z/b.jpg": FileEntry(sha256=sha256_bytes(b"b"), size=1),
        "a.jpg": FileEntry(sha256=sha256_bytes(b"aa"), size=2),
    }


def test_hashing_shows_its_progress(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, ...]] = []

    class Bar:
        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            told.append(("end",))

        def advance(self) -> None:
            told.append((1,))

    monkeypatch.setattr(module, "progress", lambda *words: told.append(words) or Bar())
    (out / "a.jpg").write_bytes(b"a")
    (out / "b.jpg").write_bytes(b"b")
    file_entries(out, ["a.jpg", "b.jpg"])
    assert told == [("Hashing", 2, "files"), (1,), (1,), ("end",)]


def test_a_report_names_each_kind() -> None:
    for kind in ("missing", "changed", "extra", "mislabelled"):
        report = VerifyReport(
            **{"checked": 3, "missing": (), "changed": (), "extra": (), "mislabelled": (), kind: ("x",)}
        )
        assert not report.ok
        assert report.message == f"1 {kind}: x"
    assert VerifyReport(3, (), (), ()).message == "3 files, all as the manifest says"
    both = VerifyReport(9, ("a", "b"), (), tuple("123456"))
    assert both.message == "2 missing: a, b; 6 extra: 1, 2, 3, 4, 5, ..."


@pytest.mark.parametrize("left", [UNFINISHED, f"{SCRATCH}/gate/000001.json", f"query/{PART}x.jpg"])
def test_what_a_killed_process_left_is_told(left: str) -> None:
    message = VerifyReport(3, (), (), ("guest.jpg", left)).message
    assert message.endswith("(1 left by a process that was killed: resume it, and they go)")
    assert "killed" not in VerifyReport(3, (left,), (), ("guest.jpg",)).message


def test_a_killed_repair_is_told() -> None:
    name = f"{REPAIR}/000001.json"
    message = VerifyReport(3, (), (), ("guest.jpg", name)).message
    assert message == f"2 extra: guest.jpg, {name} (a repair was killed: give it again, and it goes on)"
    assert "repair was" not in VerifyReport(3, (name,), (), ("guest.jpg", REPAIR)).message


def test_long_messages_of_a_manifest_are_cut(out: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_manifest(stored(out, raw(counts={"x" * 999: "y" * 999})))
    assert len(str(caught.value)) < len(str(out)) + 700
    assert "x" * 80 in str(caught.value)
    assert "x" * 81 not in str(caught.value)


def test_the_newest_is_by_its_manifest(tmp_path: Path) -> None:
    for name, age in (("a", 3), ("b", 1), ("c", 2)):
        stored(tmp_path / name, {})
        os.utime(tmp_path / name / MANIFEST, (1000 - age, 1000 - age))
    (tmp_path / "unfinished").mkdir()
    assert newest_augmented(tmp_path) == tmp_path / "b"


def test_what_a_lock_file_says_is_escaped(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    for text, said in (
        ("12\nhost\n", "process 12 of host"),
        ("12\n\x1b[2Jhost\n", r"process 12 of \x1b[2Jhost"),
        ("9" * 500 + f"\n{'h' * 500}\n", f"process {'9' * 20} of {'h' * 80} ... (420 more characters)"),
        ("x\nhost\n", "another process"),
        ("", "another process"),
    ):
        lock.write_text(text)
        assert holder_of(lock) == said
    lock.write_text(f"12\n{'h' * 10_000}\n")  # more than is read
    assert holder_of(lock) == "another process"
    lock.unlink()
    os.mkfifo(lock)  # it keeps nobody waiting
    assert holder_of(lock) == "another process"
