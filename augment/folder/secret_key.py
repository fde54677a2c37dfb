"""The key of an anonymous folder: drawn for it and thrown away, or from a file that its owner keeps.

A drawn key lies beside the folder while that is unfinished, as `.OUT.anonymous-key`, for its owner alone to read, so
that every part and every resumed run gives the same names. It goes when the folder is finished; it is never inside.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from augment.folder.manifest import MANIFEST, read_job
from reid_eval.foreign import read_foreign, reason_of
from reid_eval.runtime import InputError, RunError
from reid_eval.writing import atomic_path, disk_errors

LEAST_BYTES = 16
_DRAWN_BYTES = 32
_LONGEST_STEM = 200  # bytes of a folder's name that leave room for ours


@dataclass(frozen=True)
class SecretKey:
    """What names are hashed with.

    Attributes:
        secret: the bytes.
        drawn: it is thrown away once the folder is finished.
    """

    secret: bytes = field(repr=False)
    drawn: bool = False

    def number(self, kind: str, text: str) -> int:
        """HMAC-SHA256 of a text, as a number of 256 bits; `kind` keeps those of images and people apart."""
        message = f"{kind}\0{text}".encode(errors="surrogatepass")
        return int.from_bytes(hmac.new(self.secret, message, hashlib.sha256).digest())

    @property
    def mark(self) -> str:
        """By which a manifest tells keys apart: 48 bits of a hash, from which nobody gets the key."""
        return f"{self.number('key', '') >> 208:012x}"


def read_key(path: Path | str, out: Path | str | None = None) -> SecretKey:
    """The key in a file: its bytes, whatever they are.

    Args:
        path: the file.
        out: the folder that is to be written, which must not hold it.

    Raises:
        InputError: it cannot be read, has fewer than `LEAST_BYTES` bytes, or lies in `out`.
    """
    path = Path(path)
    try:
        secret = read_foreign(path)
    except OSError as error:
        raise InputError(f"cannot read the key {path}: {reason_of(error)}", "key") from None
    if len(secret) < LEAST_BYTES:
        raise InputError(
            f"the key {path} has {len(secret)} bytes, which can be guessed: make one of {_DRAWN_BYTES} random bytes "
            f"(head -c {_DRAWN_BYTES} /dev/urandom)",
            "key",
        )
    if out is not None and path.resolve().is_relative_to(Path(out).resolve()):
        raise InputError(f"the key {path} lies in the folder that it is to hide names in: keep it elsewhere", "key")
    return SecretKey(secret)


def draw_key(out: Path | str | None = None, shared: bool = False) -> SecretKey:
    """A key for a folder: the one that it was begun with, or a new one.

    Args:
        out: the folder; None: nothing is kept.
        shared: other processes begin the folder, too: a new key is put beside it at once, and the first one counts.
            Else `keep_key` does so when the folder is begun.

    Raises:
        InputError: the key that it was begun with is not beside it, or cannot be read.
        RunError: the disk is full, read-only or gone.
    """
    key = SecretKey(secrets.token_bytes(_DRAWN_BYTES), drawn=True)
    if out is None or (Path(out) / MANIFEST).is_file():
        return key
    kept = _kept(Path(out))
    if kept is None and (begun := read_job(out)) is not None and "anonymous" in begun.arguments:
        raise InputError(
            f"{out} was begun with a key that is not beside it: give its file, or name another folder", "key"
        )
    return kept or (_put(Path(out), key) if shared else key)


def keep_key(out: Path, key: SecretKey) -> None:
    """Put a drawn key beside the folder that is being begun with it.

    Raises:
        RunError: another process has begun the folder with its own, or the disk is full, read-only or gone.
    """
    if key.drawn and _put(out, key) != key:
        raise RunError(f"another process began {out} at the same instant, with its own key: give the command again")


def throw_away(out: Path) -> None:
    """Remove the key beside a folder."""
    with suppress(OSError):
        _beside(out).unlink(missing_ok=True)


def _put(out: Path, key: SecretKey) -> SecretKey:
    """Write a key unless there is one; the one that is there then."""
    path = _beside(out)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            with open(own, "wb", opener=_private) as file:
                file.write(key.secret)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(own, path)  # unlike a rename it fails where the file is there already
            except FileExistsError:
                return _kept(out) or key
            except OSError:  # a file system without hard links
                with atomic_path(path) as temporary:
                    temporary.write_bytes(key.secret)
                path.chmod(0o600)
        finally:
            own.unlink(missing_ok=True)
    return key


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _kept(out: Path) -> SecretKey | None:
    path = _beside(out)
    return SecretKey(read_key(path).secret, drawn=True) if path.exists() else None


def _beside(out: Path) -> Path:
    out = out.absolute()
    name = os.fsencode(out.name)
    stem = out.name if len(name) <= _LONGEST_STEM else hashlib.sha256(name).hexdigest()[:16]
    return out.with_name(f".{stem}.anonymous-key")
