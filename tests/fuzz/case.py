"""A case: files to write, a command to give; plain data, so that it can be kept in the corpus and done again."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from strategies import Edit, Splice, edited, spliced

ROOT = "{root}"
"""Stands for the folder that cases live in, in words and in files."""


@dataclass(frozen=True)
class File:
    """A file to write: `base`, a valid one, with bytes replaced; or a torch file with its contents edited."""

    path: str
    """In the folder; bytes that are no text as Python has them (surrogates)."""
    base: str = ""
    splices: tuple[Splice, ...] = ()
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Case:
    """Folders to copy (from, to), files to write, and the command; `read:NAME` is a reader of Python's."""

    door: str
    words: tuple[str, ...]
    files: tuple[File, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return self.line()[:2000]

    def line(self) -> str:
        """For the corpus."""
        return json.dumps(asdict(self), default=_coded)

    @staticmethod
    def of_line(line: str) -> Case:
        """Of the corpus."""
        raw = json.loads(line, object_hook=_decoded)
        files = tuple(
            File(file["path"], file["base"], tuple(map(tuple, file["splices"])),
                 tuple((tuple(where), act, what) for where, act, what in file["edits"]))
            for file in raw["files"]
        )  # fmt: skip
        return Case(raw["door"], tuple(raw["words"]), files, tuple(map(tuple, raw["copies"])))


def _coded(value: Any) -> dict[str, str]:
    try:
        return {"utf-8": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _decoded(value: dict[str, Any]) -> Any:
    if value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return value["utf-8"].encode() if value.keys() == {"utf-8"} else value


def whole(path: str, data: bytes) -> File:
    """A file with these bytes."""
    return File(path, splices=((0, 0, data),))


@contextmanager
def laid(case: Case, root: Path) -> Iterator[list[str]]:
    """The words of the command, and the case's files in the block; then what appeared in the folder goes."""
    there, before = set(root.iterdir()), {}
    try:
        for source, target in case.copies:
            shutil.copytree(root / source, root / target, symlinks=True)
        for file in case.files:
            path = root / file.path
            before[path] = path.read_bytes() if path.is_file() else None
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(file, path, root)
        yield [word.replace(ROOT, str(root)) for word in case.words]
    finally:
        for path in set(root.iterdir()) - there:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path, data in before.items():
            if data is None:
                path.unlink(missing_ok=True)
            elif path.parent.is_dir():  # else it was of a copied folder
                path.write_bytes(data)


def _write(file: File, path: Path, root: Path) -> None:
    if file.edits:
        torch.save(edited(torch.load(root / file.base, weights_only=True), list(file.edits)), path)
        return
    data = (root / file.base).read_bytes() if file.base else b""
    path.write_bytes(spliced(data, list(file.splices)).replace(ROOT.encode(), os.fsencode(root)))
