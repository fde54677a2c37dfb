"""The readers of files that somebody else may have made, and the place that shows their text."""

from __future__ import annotations

import os
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_eval.datasets.images import check_images, image_size, load_images, read_image
from reid_eval.datasets.reader import read_dataset
from reid_eval.foreign import open_regular, parse_json, read_json
from reid_eval.foreign_arrays import open_arrays
from reid_eval.foreign_csv import read_csv
from reid_eval.foreign_yaml import parse_yaml, read_yaml
from reid_eval.limits import MOST_PIXELS
from reid_eval.runtime import InputError, check_target, progress, sha256_file
from reid_eval.shown import is_harmless, one_line, shown
from reid_eval.torch_file import read_torch

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 40 + "]" * 40, "more than 32 levels"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 500, "too large"),
        ("9223372036854775808", "too large"),
        ("-" + "9" * 5000, "too large"),
        ("1e400", "too large"),
        ("0." + "1" * 200, "characters"),
        ("NaN", "no finite number"),
        ("[-Infinity]", "no finite number"),
        ("[" + "[]," * 8_000_000, "more than 8000000 values"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('"\\ud800"', "lone surrogate"),
        ('"\\u0000"', "NUL"),
        ("\ud800", "lone surrogate|Expecting"),
        ("{", "Expecting"),
        (b"\xff", "not UTF-8"),
    ],
    ids=lambda text: str(text)[:12].encode("unicode_escape").decode(),
)
def test_json_of_strangers(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_json(text)
    assert len(str(error.value)) < 200


def test_json_of_ours() -> None:
    assert parse_json('{"a": [1, -2.5, 9223372036854775807, "ä\\n", null, true]}') == {
        "a": [1, -2.5, 2**63 - 1, "ä\n", None, True]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 20000 values"),
        ("a: &x [*x]", "'x' stands within itself"),
        ("a: &x {b: *x}", "'x' stands within itself"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("a: {b: 1, 'b': 2}", "'b' is there twice"),
        ("a: 2001-01-01", "is a timestamp"),
        ("a: !!int x", "'x' is no number"),
        ("a: !!float x", "'x' is no number"),
        ("a: !!bool x", "plain values"),
        ("a: !!binary eA==", "is a binary"),
        ("!!set {a}", "is a set"),
        ("a: .inf", "not finite"),
        ("a: .nan", "not finite"),
        ("a: 1.0e+999", "not finite"),
        ("a: " + "1" * 5000, "5000 characters"),
        ("a: 0x" + "f" * 40, "too large"),
        ("[" * 100_000, "more than 32 levels"),
        ("- " * 50_000 + "a", "more than 32 levels"),
        ("? [a]\n: 1", "used as a key"),
        ("!!python/object/apply:os.system [touch OWNED]", "could not determine a constructor"),
        ("[" + "1," * 30_000 + "]", "more than 20000 values"),
        ('"\\uD800"', "lone surrogate"),
        ('"\\0"', "NUL"),
        ("a: \x1b[2J", "special characters"),
        ("a: [", "line"),
    ],
    ids=lambda text: text[:16].encode("unicode_escape").decode(),
)
def test_yaml_of_strangers(text: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text)
    assert len(str(error.value)) < 300
    assert time.monotonic() - start < 2


def test_yaml_of_ours() -> None:
    assert parse_yaml("a: &b {x: 1}\nc: {<<: *b, y: 1e-4}\nd: [0.5, yes, null, 'x']\n") == {
        "a": {"x": 1},
        "c": {"x": 1, "y": "1e-4"},
        "d": [0.5, True, None, "x"],
    }


def test_only_regular_files_of_a_size_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(bytes(200))
    for name in ("pipe", "link"):
        for read in (open_regular, read_json, read_yaml, read_csv, sha256_file):
            with pytest.raises(OSError, match="no regular file"):
                read(tmp_path / name)
    with pytest.raises(OSError, match="200 bytes, at most 100"):
        open_regular(tmp_path / "large", 100)
    (tmp_path / "good").symlink_to("large")
    with open_regular(tmp_path / "good", 200) as file:
        assert len(file.read()) == 200


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2,3\n", "more cells|Expected 2 fields"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 fields"),
        (b"a,b\n\0,1\n", "no text"),
        (b"a,b\n\xff,1\n", "not UTF-8"),
        (b"a,b\n" + b"x" * 100_000, "more than 65536 bytes"),
        (b"," * 200, "more than 100 columns"),
        (b"a,b\n" + b"\n" * 2_000_001, "more than 2000000 lines"),
        (b"", "No columns"),
    ],
)
def test_tables_of_strangers(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "a.csv")


def test_a_table_is_never_fetched_or_unpacked(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_csv("http://127.0.0.1:9/plan.csv")
    import gzip

    (tmp_path / "plan.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(ValueError, match=r"no text|not UTF-8"):
        read_csv(tmp_path / "plan.csv.gz")
    (tmp_path / "short.csv").write_text("a,b\n1\n")
    assert read_csv(tmp_path / "short.csv").to_dict("list") == {"a": ["1"], "b": [""]}


def _ppm(width: object, height: object) -> bytes:
    return f"P6\n{width} {height}\n255\n".encode() + bytes(99)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_ppm(4097, 4097), f"at most {MOST_PIXELS} are read"),
        (_ppm(30_000, 30_000), "exceeds limit|at most"),
        (_ppm(8000, 1), "8000 pixels wide and 1 high is no picture of a person"),
        (_ppm(1, 500), "no picture of a person"),
        (_ppm(0, 0), "not an image|must be"),
        (_ppm(-5, 5), "."),
        (_ppm("9" * 400, 1), "."),
        (_ppm("x", 1), "."),
        (_ppm(64, 128), "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),  # Pillow would start Ghostscript
        (b"GIF89a" + bytes(40), "not an image"),
        (b"", "0 bytes"),
    ],
    ids=range(12),
)
def test_pictures_of_strangers(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(data)
    for read in (read_image, image_size, lambda path: load_images(path.parent, [path.name], (8, 8))):
        if read is image_size and data == _ppm(64, 128):  # a header that is all right
            continue
        with pytest.raises(InputError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_pipes_and_devices_are_no_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "b.jpg"):
        for read in (read_image, image_size):
            with pytest.raises(InputError, match="no regular file"):
                read(tmp_path / name)


def test_large_pictures_within_the_limit_are_read(tmp_path: Path) -> None:
    Image.new("L", (4096, 4096)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (4096, 4096, 3)
    Image.new("RGB", (10, 100)).save(tmp_path / "b.png")
    assert image_size(tmp_path / "b.png") == (100, 10)


def test_names_are_checked_before_pictures(tmp_path: Path) -> None:
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        pid = 1 if folder == "bounding_box_train" else 2
        (tmp_path / folder / f"{pid:04d}_c1s1_000001_00.jpg").write_bytes(b"")
    assert len(read_dataset(tmp_path).train) == 1
    long = tmp_path / "bounding_box_train" / f"{'9' * 30}_c1s1_000001_00.jpg"  # beyond 64 bits
    long.write_bytes(b"")
    with pytest.raises(InputError, match="do not follow market1501's grammar"):
        read_dataset(tmp_path)
    long.unlink()
    people = tmp_path / "people"
    for number, name in enumerate(("a\nb.jpg", "c\x1b[2J.jpg", os.fsdecode(b"d\xff.jpg"), "e\u202egpj.jpg")):
        folder = people / f"{number}" / "x"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
        with pytest.raises(InputError, match="control characters or undecodable bytes") as error:
            check_images(read_dataset(people / f"{number}"))
        assert is_harmless(str(error.value))


def test_names_too_long_to_be_written() -> None:
    check_target("x" * 180)
    with pytest.raises(InputError, match="has 255 bytes, at most 180"):
        check_target("a/" + "x" * 255, "out")


def test_torch_files_of_strangers(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    with pytest.raises(InputError, match="larger than its bytes"):
        read_torch(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(InputError, match="packed archive"):
        read_torch(path)
    torch.save({"a": np.zeros(1)}, path)  # not a tensor
    with pytest.raises(InputError) as error:
        read_torch(path)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)
    torch.save({"a": torch.ones(2), "b": [1, "x"]}, path)
    assert read_torch(path)["b"] == [1, "x"]


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert shown("a\x1b]0;title\x07b\x1b[2J") == "a\\x1b]0;title\\x07b\\x1b[2J"
    assert shown("\u202egpj.exe \udcff\ud800 \x9b2J \u2028") == "\\u202egpj.exe \\udcff\\ud800 \\x9b2J \\u2028"
    assert shown("Zoë 王小明 پویا\u200c می ± → \u00a0\t\n") == "Zoë 王小明 پویا\u200c می ± → \u00a0\t\n"
    assert one_line("a\nb\tc\rd") == "a\\nb\\tc\\rd"
    assert one_line("x" * 50, 10) == "x" * 10 + " ... (40 more characters)"
    assert is_harmless("0001_c1.jpg")
    assert not any(map(is_harmless, ("a\n", "\x1b", "\udcff", "\u202e", "a\tb")))


def test_progress_shows_no_escape(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Training \x1b[2J[red]", 2) as bar:
        bar.log_every = 0.0
        bar.advance(1, "note \x1b]0;x\x07")
    told = capsys.readouterr().err
    assert "Training \\x1b[2J[red]: 1/2" in told
    assert "\x1b" not in told


def npz(path: Path, header: bytes, data: bytes, packed: bool = False) -> Path:
    """A file with one array `a`, of whatever header."""
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }\n",
            "should have .100000000000. ",
        ),
        (b"{'descr': '<U200000000', 'fortran_order': False, 'shape': (1,), }\n", "values of 800000000 bytes"),
        (b"{'descr': '<U0', 'fortran_order': False, 'shape': (9000000000,), }\n", "values of 0 bytes"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2), }\n", "should have .-1, -2. values"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", "holds objects"),
        (b"{'descr': '<f8'", "array a has no header"),
    ],
)
def test_arrays_that_claim_more_than_they_have(header: bytes, message: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", header, b"\0" * 16)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message), open_arrays(path) as file:
        file["a"]
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_arrays_in_files_that_are_packed_or_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
    with open_arrays(npz(tmp_path / "a.npz", good, b"\0" * 16)) as file:
        assert file["a"].tolist() == [0, 0]
        with pytest.raises(ValueError, match="no array b"):
            file["b"]
    with pytest.raises(ValueError, match="it is packed"), open_arrays(npz(tmp_path / "b.npz", good, b"\0" * 16, True)):
        pass
    monkeypatch.setattr("reid_eval.foreign_arrays.MOST_ARRAYS", 0)
    with pytest.raises(ValueError, match="holds 1 arrays"), open_arrays(tmp_path / "a.npz"):
        pass
    monkeypatch.setattr("reid_eval.foreign_arrays.MOST_ARRAYS_BYTES", 10)
    with pytest.raises(OSError, match="at most 10 are read"), open_arrays(tmp_path / "a.npz"):
        pass
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"), open_arrays(tmp_path / "pipe"):
        pass
