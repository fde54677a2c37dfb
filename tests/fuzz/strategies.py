"""Hypothesis strategies of spoilt files: values, documents in JSON and YAML, tables, bytes, names.

What is drawn is small plain data (which part of a valid file becomes what), so that it shrinks, and so that what fell
can be kept in the corpus.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

NASTY_TEXTS = (
    "", " ", "\n", "\x1b]0;title\x07", "\x1b[2J", "\u202eexe.gpj", "\ud800", "\udcff", "\0", "a" * 300, "a" * 70_000,
    "../../etc/passwd", "/dev/zero", "/dev/stdin", "command:touch OWNED", "os:system", "entry:nothing",
    "augment.generators.copy:CopyGenerator", "http://127.0.0.1:9/x", "a@0x0", "a@1x", "a@" + "9" * 400 + "x1",
    "-1_c1s1_000001_00.jpg", "9" * 30 + "_c1s1_000001_00.jpg", "[red]x[/blue]", "{p}{seed}{0}", "%s%n", "nan", "1e400",
    "٣", "2001-01-01", "timm:hf-hub:x/y", "torchreid:x", "x" * 255, "library:a@0x0", "bounding_box_train/x.jpg",
    "=cmd|' /C calc'!A0", "\ufeff", "\u2028", "a\rb", "con", "~/x", "$HOME", "`touch OWNED`",
)  # fmt: skip
NASTY_NUMBERS = (
    0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400,
    float("nan"), float("inf"), -float("inf"), True, False, 20_000, 10**9,
)  # fmt: skip
RAW_JSON = (
    "1e999999", "9" * 5000, "-" + "9" * 500, "0." + "3" * 5000, "NaN", "-Infinity", "01", "0x10", "1_000", "+1", "'a'",
    '{"a":1,"a":2}', "[" * 3000, "[" * 30 + "]" * 30, "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, '"\\ud800"',
    '"\\u0000"', '"\x01"', "[1,]", "// x", "", "nul", '"a', "tru", "\ufeff1", '"\\x41"',
)  # fmt: skip
"""Words where a value should stand; most are no JSON."""
RAW_YAML = (
    "!!int x", "!!float x", "!!binary x", "!!set {a}", "!!omap [a: 1]", "!!python/object/apply:os.system [touch OWNED]",
    "!!timestamp x", "!x y", "&a [*a]", "*b", "{<<: *a}", "{<<: 1}", "{a: 1, a: 2}", "2001-01-01", "2001-13-45",
    "1:30:00", "0o17", "0b2", ".inf", "-.INF", ".nan", "yes", "~", "? a", "{? [a] : b}", "[a: b]", "|", ">-", "@a",
    "{&a a: *a}", "&a [1,2,3,*a]", "[" * 900, "{a: " * 40 + "}" * 40, "1e400", "9" * 5000, "!!null x", "!!bool x",
    "[&b [x,x,x,x,x,x,x,x,x], &c [*b,*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c], [*d,*d,*d,*d,*d,*d,*d,*d]]",
    "--- a", "a\n---\nb", "!!str &a b", "'a", '"\\x"', '"\\ud800"', "\t- a", "# a", "[]]", "{}}", ": :",
)  # fmt: skip
_RAW = "raw-word-"
Edit = tuple[tuple[Any, ...], str, Any]
"""Where (keys from the outside), `set`, `drop`, `name` or `twice`, and with what."""
Splice = tuple[int, int, bytes]
"""Bytes from, to, and what stands there instead."""


def texts() -> SearchStrategy[str]:
    """Texts that somebody might be hurt by, and any."""
    return st.sampled_from(NASTY_TEXTS) | st.text(max_size=12)


def numbers() -> SearchStrategy[Any]:
    """Whole and broken numbers of any size."""
    return st.sampled_from(NASTY_NUMBERS) | st.integers() | st.floats()


@st.composite
def deep(draw: DrawFn) -> Any:
    """Lists and mappings within each other."""
    value: Any = draw(st.none() | numbers())
    for _ in range(draw(st.sampled_from((2, 20, 31, 33, 60)))):
        value = {"a": value} if draw(st.booleans()) else [value]
    return value


def values() -> SearchStrategy[Any]:
    """Anything that JSON or YAML can say."""
    scalars = st.none() | texts() | numbers()
    nested = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=3), max_leaves=8
    )
    return scalars | nested | deep() | st.just(list(range(3000)))


@st.composite
def edits(draw: DrawFn, value: Any, most: int = 3) -> list[Edit]:
    """One to three changes of the parts of a value."""
    return [_edit(draw, value) for _ in range(draw(st.integers(1, most)))]


def _edit(draw: DrawFn, value: Any) -> Edit:
    where: list[Any] = []
    if not draw(st.sampled_from((True,) * 15 + (False,))):
        return (), "set", draw(values())
    place = value
    while isinstance(place, (dict, list)) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        where.append(draw(st.sampled_from(keys)))
        place = place[where[-1]]
        if draw(st.sampled_from((False, False, True))):
            break
    act = draw(st.sampled_from(("set", "set", "near", "near", "drop", "name", "twice")))
    if act == "near":
        return tuple(where), "set", draw(_near(place, value))
    with_ = {"set": values(), "name": texts(), "twice": texts()}.get(act, st.none())
    return tuple(where), act, draw(with_)


def _near(leaf: Any, whole: Any) -> SearchStrategy[Any]:
    """What might as well stand there: it is of the same type, and comes farther."""
    if isinstance(leaf, bool):
        return st.just(not leaf)
    if isinstance(leaf, (int, float)):
        return st.sampled_from((leaf - 1, leaf + 1, leaf * 2, -leaf, leaf + 0.5, leaf * 1000, 0))
    if isinstance(leaf, str):
        return st.sampled_from((*_texts_in(whole)[:50], leaf + "x", leaf[:-1], leaf.upper(), f" {leaf}"))
    return values()


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts_in(one)]


def edited(value: Any, changes: list[Edit]) -> Any:
    """The value with its parts changed; lists and mappings are made anew, all else is shared."""
    for where, act, what in changes:
        value = _changed(value, list(where), act, what)
    return value


def _changed(value: Any, where: list[Any], act: str, what: Any) -> Any:
    if not where:
        return what if act == "set" else value
    key, *inner = where
    if isinstance(value, dict):
        if key not in value:  # an earlier change took it away
            return value
        if inner:
            return {**value, key: _changed(value[key], inner, act, what)}
        rest = {name: one for name, one in value.items() if name != key}
        if act == "drop":
            return rest
        return {**value, key: what} if act == "set" else {**(rest if act == "name" else value), what: value[key]}
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        if inner:
            return [*value[:key], _changed(value[key], inner, act, what), *value[key + 1 :]]
        new = {"set": [what], "drop": [], "name": [what], "twice": [value[key], value[key]]}[act]
        return [*value[:key], *new, *value[key + 1 :]]
    return value


@st.composite
def _with_words(draw: DrawFn, value: Any, words: tuple[str, ...]) -> tuple[str, bool]:
    """JSON text of a changed value, in one case of four with a raw word where a value was; whether it has one."""
    changes = draw(edits(value))
    has = draw(st.sampled_from((False, False, False, True)))
    if has:
        where, _, _ = draw(edits(value, 1))[0]
        changes = [(where, "set", f"{_RAW}{draw(st.integers(0, len(words) - 1))}")]
    text = json.dumps(edited(value, changes))
    for number, word in reversed(list(enumerate(words))):
        text = text.replace(f'"{_RAW}{number}"', word)
    return text, has


@st.composite
def json_documents(draw: DrawFn, value: Any) -> bytes:
    """A JSON file as a careless or a hostile program would write it, or one with its bytes spoilt."""
    kind = draw(st.sampled_from(("words", "words", "words", "words", "bytes", "code")))
    if kind == "bytes":
        data = json.dumps(value).encode()
        return spliced(data, draw(splices(data)))
    text, _ = draw(_with_words(value, RAW_JSON))
    if kind == "code":
        return text.encode(draw(st.sampled_from(("utf-16", "utf-32", "utf-8-sig", "cp500"))), "replace")
    return text.encode("utf-8", "surrogatepass")


@st.composite
def yaml_documents(draw: DrawFn, value: Any) -> bytes:
    """A YAML file likewise: in blocks, in flow style with words of YAML's own, or with its bytes spoilt."""
    kind = draw(st.sampled_from(("words", "words", "blocks", "blocks", "bytes")))
    if kind == "words":
        return draw(_with_words(value, RAW_YAML))[0].encode("utf-8", "surrogatepass")
    if kind == "bytes":
        data = yaml.safe_dump(value).encode()
        return spliced(data, draw(splices(data)))
    try:
        text = yaml.safe_dump(edited(value, draw(edits(value))), allow_unicode=True)
    except (RecursionError, yaml.YAMLError):
        text = json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


_PIECES = (
    b"[" * 3000, b"{" * 3000, b"9" * 500, b"\0", b"\xff\xfe", b"\n", b",", b":", b'"', b"-", b"\x1b[2J", b"&a *a",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\xe2\x80\xa8", b"'", b"%", b"\x85",
    *(text.encode("utf-8", "surrogatepass")[:4000] for text in NASTY_TEXTS),
)  # fmt: skip


@st.composite
def splices(draw: DrawFn, data: bytes, head: int | None = None, most: int = 3) -> list[Splice]:
    """Changes of bytes, the last place first; `head`: two of three lie in the first so many bytes."""
    found: list[Splice] = []
    for _ in range(draw(st.integers(1, most))):
        end = len(data) if head is None or draw(st.sampled_from((True, False, False))) else min(head, len(data))
        place = draw(st.integers(0, end))
        act = draw(st.sampled_from(("byte", "cut", "end", "word", "piece", "again")))
        if act == "byte":
            found.append((place, place + 1, bytes([draw(st.integers(0, 255))])))
        elif act in ("cut", "end"):
            length = draw(st.sampled_from((1, 4, 100))) if act == "cut" else len(data)
            found.append((place, min(place + length, len(data)), b""))
        elif act == "word":
            order, number = draw(st.sampled_from("<>")), draw(st.sampled_from((0, 1, 2**31, 2**32 - 1, 20_000)))
            found.append((place, place + 4, struct.pack(f"{order}I", number)))
        elif act == "piece":
            found.append((place, place, draw(st.sampled_from(_PIECES) | st.binary(max_size=8))))
        else:
            length, times = draw(st.sampled_from((1, 16, 200))), draw(st.sampled_from((1, 3)))
            found.append((place, place, data[place : place + length] * times))
    return sorted(found, key=lambda splice: -splice[0])


def spliced(data: bytes, changes: list[Splice]) -> bytes:
    """The bytes with parts replaced."""
    for start, stop, new in changes:
        data = data[:start] + new + data[stop:]
    return data


@st.composite
def tables(draw: DrawFn, data: bytes, separator: bytes) -> list[Splice]:
    """Changes of the cells and rows of a table."""
    lines = data.split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found: list[Splice] = []
    for row in draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=2, unique=True)):
        start, line = starts[row], lines[row]
        act = draw(st.sampled_from(("cell", "cell", "cell", "cell", "twice", "drop", "quote")))
        if act == "cell":
            cells = line.split(separator)
            at = draw(st.integers(0, len(cells) - 1))
            begin = start + sum(len(cell) + len(separator) for cell in cells[:at])
            found.append((begin, begin + len(cells[at]), draw(cells_of(cells[at], lines, separator, at))))
        elif act == "twice":
            found.append((start, start, line + b"\n"))
        elif act == "drop":
            found.append((start, min(start + len(line) + 1, len(data)), b""))
        else:
            found.append((start, start, draw(st.sampled_from((b'"', b"'", b"\\", b" ", separator, separator * 200)))))
    return sorted(found, key=lambda splice: -splice[0])


def cells_of(cell: bytes, lines: list[bytes], separator: bytes, column: int) -> SearchStrategy[bytes]:
    """What may stand in a cell: any value, the cell of another row, the cell in a quirky form."""
    others = [line.split(separator)[column] for line in lines if len(line.split(separator)) > column] or [b""]
    forms = (cell + b" ", b" " + cell, b'"' + cell + b'"', cell * 2, cell.upper(), cell[:-1], b"+" + cell, cell + b".0")
    shown = values().map(lambda value: value if isinstance(value, str) else json.dumps(value))
    return (
        st.sampled_from(others)
        | st.sampled_from(forms)
        | shown.map(lambda text: text.encode("utf-8", "surrogatepass"))
        | shown.map(lambda text: text.encode("utf-8", "surrogatepass"))
    )


@st.composite
def file_names(draw: DrawFn) -> bytes:
    """The name of an image: what a file system takes, and no more sense than that."""
    text = draw(texts()).replace("/", "_").replace("\0", "_") + draw(st.sampled_from(("", "\n", "\x1b[2J")))
    name = text.encode("utf-8", "surrogatepass")[:200] + draw(st.sampled_from((b"", b"\xff", b" ", b"_gen0001")))
    return (name or b"x") + draw(st.sampled_from((b".jpg", b".JPG", b".png", b".jpg.jpg", b". jpg")))
