"""What the commands print: all of it goes through here, since it may hold text of files that somebody else made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from reid_eval.limits import LONGEST_MESSAGE
from reid_eval.shown import one_line, shown

_NOTES = ("Note:", "Warning:")
_notes_to_error = False


@contextmanager
def notes_to_error() -> Iterator[None]:
    """For --quiet: lines that begin as a note go to standard error as long as this lasts, and are seen."""
    global _notes_to_error
    before, _notes_to_error = _notes_to_error, True
    try:
        yield
    finally:
        _notes_to_error = before


def echo(text: object) -> None:
    """Print to standard output; what a terminal would obey is escaped, see `reid_eval.shown`."""
    if _notes_to_error and str(text).startswith(_NOTES):
        echo_error(text)
    click.echo(_writable(shown(text), sys.stdout))


def echo_error(text: object) -> None:
    """Print one line to standard error, likewise; of a very long one the beginning."""
    click.echo(_writable(one_line(text, LONGEST_MESSAGE), sys.stderr), err=True)


def _writable(text: str, stream: object) -> str:
    """`text` with what the stream's encoding lacks escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
