"""What a `run.json` tells of a run, as far as it can be read: a page is made without it, too."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reid_eval.foreign import read_json
from reid_eval.limits import MOST_TABLE_BYTES

_MATTER = ("--keypoints", "--layout", "--library", "--weights", "--precision", "--blocks", "--quality")
"""Options of a generation that another one of the same data set needs, too."""


@dataclass(frozen=True)
class RunFacts:
    """What was written by `augment.runs.describe_run`; empty without such a file."""

    told: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """A fact that is text."""
        value = self.told.get(name)
        return value if isinstance(value, str) and value else None

    def table(self, name: str) -> dict[str, Any]:
        """A fact that is a group of facts."""
        value = self.told.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def words(self) -> list[str]:
        """The command, word by word."""
        value = self.told.get("command")
        return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []

    @property
    def command(self) -> str | None:
        """The command, as a shell takes it."""
        return shlex.join(self.words) or None

    @property
    def versions(self) -> str:
        """`torch 2.1.0, numpy 1.26.4` and so on."""
        return ", ".join(f"{name} {value}" for name, value in self.table("versions").items() if isinstance(value, str))

    def options(self) -> list[str]:
        """Those of the options that matter to another generation, as they were given."""
        found: list[str] = []
        for word, after in zip(self.words, [*self.words[1:], ""], strict=False):
            name, _, value = word.partition("=")
            if name in _MATTER:
                found += [name, value or after]
        return found


def read_run(path: Path) -> RunFacts:
    """The facts in a file; none where it cannot be read."""
    try:
        told = read_json(path, MOST_TABLE_BYTES)
    except (OSError, ValueError):
        return RunFacts()
    return RunFacts(told if isinstance(told, dict) else {})


def flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings as lines: `train.lr`, `0.0004`; in their order, groups unfolded."""
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += flat(value, f"{before}{name}.")
        else:
            lines.append((f"{before}{name}", str(value)))
    return lines
