"""What the commands print: all of it goes through here, since it may hold text of files that somebody else made."""

from __future__ import annotations

import sys

import click

from reid_eval.limits import LONGEST_MESSAGE
from reid_eval.shown import one_line, shown


def echo(text: object) -> None:
    """Print to standard output; what a terminal would obey is escaped, see `reid_eval.shown`."""
    click.echo(_writable(shown(text), sys.stdout))


def echo_error(text: object) -> None:
    """Print one line to standard error, likewise; of a very long one the beginning."""
    click.echo(_writable(one_line(text, LONGEST_MESSAGE), sys.stderr), err=True)


def _writable(text: str, stream: object) -> str:
    """`text` with what the stream's encoding lacks escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
