"""Torch's own files: what is refused, and that equal values are equal bytes."""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from reid_eval import torch_file
from reid_eval.runtime import InputError
from reid_eval.torch_file import read_torch, save_torch


def test_what_is_no_file_of_torch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't read .*none.pt: No such file"):
        read_torch(tmp_path / "none.pt")
    (tmp_path / "a.pt").write_bytes(b"PK and so on")
    with pytest.raises(InputError, match=r"a.pt is not a readable PyTorch file: get it again"):
        read_torch(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"can't read .*: it is no regular file"):
        read_torch(tmp_path)


def test_code_is_told_and_not_run(tmp_path: Path) -> None:
    torch.save({"a": Path}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a.pt holds code or objects, not only tensors: refused; it was not run"):
        read_torch(tmp_path / "a.pt")


def test_packed_and_large_archives_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    monkeypatch.setattr(torch_file, "MOST_WEIGHTS_BYTES", max(size, path.stat().st_size))
    assert read_torch(path)["a"].tolist() == [1, 1, 1]
    with path.open("rb") as file:
        monkeypatch.setattr(torch_file, "MOST_WEIGHTS_BYTES", size)
        torch_file._check_unpacked(file)
        assert file.tell() == 0
        monkeypatch.setattr(torch_file, "MOST_WEIGHTS_BYTES", size - 1)
        with pytest.raises(InputError, match=f"has parts of more than {size - 1} bytes"):
            torch_file._check_unpacked(file)
    monkeypatch.undo()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(9))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"a.pt is a packed archive, which torch does not write: get it again"):
        read_torch(path)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: [t], lambda t: (1, {"a": t}), lambda t: {"a": [{"b": (t,)}]}])
def test_a_tensor_larger_than_its_bytes_is_found_wherever_it_lies(tmp_path: Path, wrap: object) -> None:
    huge = torch.zeros(1).expand(1 << 40)
    torch.save(wrap(huge), tmp_path / "a.pt")  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a.pt holds a tensor that is larger than its bytes: get it again"):
        read_torch(tmp_path / "a.pt")
    torch.save(wrap(torch.zeros(1).expand(2)), tmp_path / "a.pt")  # type: ignore[operator]
    with pytest.raises(InputError, match="larger than its bytes"):
        read_torch(tmp_path / "a.pt")
    torch.save(wrap(torch.zeros(6)[2:]), tmp_path / "a.pt")  # type: ignore[operator]
    read_torch(tmp_path / "a.pt")
    torch_file._check_tensors(torch.zeros(3))  # exactly its bytes
    torch_file._check_tensors(torch.eye(3).to_sparse())


def test_lists_within_themselves_end() -> None:
    ring: list[object] = []
    ring.append(ring)
    torch_file._check_tensors({"a": ring})


def test_warnings_of_torch_are_kept_from_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> int:
        warnings.warn("torch has something to say", stacklevel=1)
        return 3

    torch.save(1, tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_torch(tmp_path / "a.pt") == 3


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    text = "a text that is said twice"
    one = {
        "a": text,
        "b": [text, (1, None, 2.5)],
        "c": OrderedDict(d=torch.ones(2)),
        "e": MappingProxyType({"f": text}),
    }
    other = {"a": "".join(list(text)), "b": ["".join(list(text)), (1, None, 2.5)], "c": {"d": torch.ones(2)},
             "e": {"f": text}}  # fmt: skip
    save_torch(tmp_path / "one.pt", one)
    save_torch(tmp_path / "other.pt", other)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
    back = read_torch(tmp_path / "one.pt")
    assert back["b"] == [text, (1, None, 2.5)]
    assert type(back["c"]) is dict
    assert back["e"] == {"f": text}
