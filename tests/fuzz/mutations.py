"""Spoils files: bytes, JSON values and texts, each change a function of a `random.Random`."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

NASTY_TEXTS = (
    "", " ", "\n", "\x1b]0;title\x07", "\x1b[2J", "\u202eexe.gpj", "\ud800", "\udcff", "\0", "a" * 300, "a" * 70_000,
    "../../etc/passwd", "/dev/zero", "/dev/stdin", "command:touch OWNED", "os:system", "entry:nothing",
    "augment.generators.copy:CopyGenerator", "http://127.0.0.1:9/x", "a@0x0", "a@1x", "a@" + "9" * 400 + "x1",
    "-1_c1s1_000001_00.jpg", "9" * 30 + "_c1s1_000001_00.jpg", "[red]x[/blue]", "{p}{seed}{0}", "%s%n", "nan", "1e400",
    "٣", "2001-01-01", "timm:hf-hub:x/y", "torchreid:x", "x" * 255, "library:a@0x0", "bounding_box_train/x.jpg",
)  # fmt: skip
NASTY_NUMBERS = (
    0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400,
    float("nan"), float("inf"), -float("inf"), True, 20_000, 10**9,
)  # fmt: skip


def nasty_value(rng: random.Random) -> Any:
    """Anything that JSON or YAML can say."""
    deep: Any = 1
    for _ in range(rng.choice((1, 40, 200))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(NASTY_TEXTS),
        lambda: rng.choice(NASTY_NUMBERS),
        lambda: None,
        list,
        dict,
        lambda: deep,
        lambda: [rng.choice(NASTY_NUMBERS) for _ in range(rng.randrange(4))],
        lambda: list(range(3000)),
        lambda: {rng.choice(NASTY_TEXTS): rng.choice(NASTY_NUMBERS)},
    ]
    return rng.choice(kinds)()


def spoil_value(value: Any, rng: random.Random) -> Any:
    """A value with one to three of its parts replaced, removed, doubled or named otherwise."""
    value = copy.deepcopy(value)
    for _ in range(rng.randrange(1, 4)):
        if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
            return nasty_value(rng)
        place = value
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.3:
                break
            place = inner
        act = rng.random()
        if act < 0.65:
            place[key] = nasty_value(rng)
        elif act < 0.8:
            del place[key]
        elif isinstance(place, dict):
            place[rng.choice((*NASTY_TEXTS, "x"))] = place.pop(key) if act < 0.9 else copy.deepcopy(place[key])
        else:
            place.append(copy.deepcopy(inner))
    return value


def json_bytes(value: Any) -> bytes:
    """As a careless program would write it: NaN, numbers of any size, lone surrogates."""
    return json.dumps(value).encode()


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few cut, doubled, overwritten or put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(found) + 1)
        act = rng.randrange(6)
        if act == 0:
            del found[place : place + rng.choice((1, 4, 100, 10**9))]
        elif act == 1:
            found[place:place] = found[place : place + rng.choice((1, 16, 200))] * rng.choice((1, 3))
        elif act == 2:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif act == 3:
            found[place : place + 4] = struct.pack(rng.choice("<>") + "I", rng.choice((0, 1, 2**31, 2**32 - 1, 20_000)))
        elif act == 4:
            found[place:place] = rng.choice(
                (
                    b"[" * 3000,
                    b"{" * 3000,
                    b"9" * 500,
                    b"\0",
                    b"\xff\xfe",
                    b"\n",
                    b",",
                    b":",
                    b'"',
                    b"-",
                    b"\x1b[2J",
                    b"&a *a",
                )
            )
        else:
            found[place:place] = rng.choice(NASTY_TEXTS[:30]).encode("utf-8", "surrogatepass")[:4000]
    return bytes(found)


def spoil_cells(data: bytes, rng: random.Random, separator: bytes) -> bytes:
    """Lines of cells with one cell replaced."""
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    cells = lines[row].split(separator)
    value = nasty_value(rng)
    text = value if isinstance(value, str) else json.dumps(value)
    cells[rng.randrange(len(cells))] = text.encode("utf-8", "surrogatepass")
    lines[row] = separator.join(cells)
    return b"\n".join(lines)
