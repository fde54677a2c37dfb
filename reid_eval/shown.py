"""Text from files and names, made fit for a terminal: the one place that escapes it.

A terminal obeys escape sequences, a reader is deceived by directions of writing, and a lone surrogate (what Python
makes of an undecodable byte in a file's name) cannot be written at all.
"""

from __future__ import annotations

import re
import unicodedata

# Controls, lone surrogates, separators of lines and paragraphs. All alphabets stay, and what joins letters.
_UNFIT = ("Cc", "Cs", "Zl", "Zp")
_PLAIN = re.compile(r"[\x20-\x7e\n\t]*")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def shown(text: object, most: int | None = None) -> str:
    """`text` with control characters, escape sequences, directions of writing and lone surrogates as `\\x1b` and such.

    Line ends and tabs stay; see `one_line`.

    Args:
        text: anything with a `str`.
        most: cut after so many characters.
    """
    found = str(text)
    if most is not None and len(found) > most:
        found = f"{found[:most]} ... ({len(found) - most} more characters)"
    return found if _PLAIN.fullmatch(found) else "".join(map(_shown, found))


def one_line(text: object, most: int | None = None) -> str:
    """As `shown`, line ends and tabs escaped, too: for a name within a line."""
    return shown(text, most).replace("\n", "\\n").replace("\t", "\\t")


def is_harmless(name: str) -> bool:
    """Whether a file's name can be written into tables and shown as it is: no control characters, can be encoded."""
    return one_line(name) == name


def _shown(character: str) -> str:
    if character in "\n\t" or (character not in _DIRECTIONS and unicodedata.category(character) not in _UNFIT):
        return character
    return character.encode("unicode_escape").decode("ascii")
