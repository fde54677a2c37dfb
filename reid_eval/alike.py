"""`did_you_mean`: a name that is spelt nearly as one that is known. The one place that guesses."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from reid_eval.limits import LONGEST_NAME

MOST_HINTS = 20
"""In one message: a stranger's file may have thousands of unknown keys."""


def alike(asked: str, known: Iterable[str], count: int = 1) -> list[str]:
    """At most `count` of the known names that `asked` may have meant, the likeliest first.

    Capitals, and - for _, make no difference; nor does what a known name has before a colon (`torchreid:osnet_x1_0`
    is found by `osnet_x1_0`), or a dot (`train.lr` by `lr`).
    """
    if not asked or len(asked) > LONGEST_NAME:
        return []
    places: dict[str, list[str]] = {}
    for name in known:
        for form in dict.fromkeys((_plain(name), _tail(_plain(name)))):
            places.setdefault(form, []).append(name)
    forms = dict.fromkeys((_plain(asked), _tail(_plain(asked))))
    found = [form for form in forms if form in places]
    for form in forms:
        found += get_close_matches(form, places, count)
    return list(dict.fromkeys(name for form in found for name in places[form]))[:count]


def did_you_mean(asked: str, known: Iterable[str], count: int = 1) -> str:
    """`did you mean resnet50? `, to stand before a list of what is known; nothing where no name is near."""
    names = alike(asked, known, count)
    return f"did you mean {' or '.join(names)}? " if names else ""


def unknown_keys(asked: Iterable[str], known: Iterable[str]) -> str:
    """`batchsize (did you mean batch_size?), x`, for messages about keys that nobody reads."""
    asked, known = list(asked), list(known)
    hints = [did_you_mean(name, known).strip() for name in asked[:MOST_HINTS]]
    told = [f"{name} ({hint})" if hint else name for name, hint in zip(asked, hints, strict=False)]
    return ", ".join([*told, *asked[MOST_HINTS:]])


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _tail(name: str) -> str:
    return name.replace(":", ".").rpartition(".")[2]
