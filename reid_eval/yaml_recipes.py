"""What all recipes share: YAML files by name or path, and `--set KEY=VALUE`. What may stand in one is its owner's."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from reid_eval.runtime import InputError


def recipe_file(name: str, prefix: str, kind: str) -> Path:
    """The file of a recipe.

    Args:
        name: a path, or the name of one that ships, with or without `prefix`.
        prefix: what the names of such recipes begin with, such as `reid_`.
        kind: what they are called in messages, such as `re-ID recipe`.

    Raises:
        InputError: neither; the message lists the recipes that ship.
    """
    if Path(name).is_file():
        return Path(name)
    root = Path(str(files("recipes")))
    shipped = sorted(path.stem for path in root.glob(f"{prefix}*.yaml"))
    for stem in (name, prefix + name):
        if stem in shipped:
            return root / f"{stem}.yaml"
    raise InputError(f"no {kind} {name!r}: give a file, or one of {', '.join(shipped)}")


def read_recipe(path: Path, expected: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe and replace values.

    Args:
        path: the file.
        expected: the end of the message for a file that is no mapping.
        overrides: `KEY=VALUE`, or `GROUP.KEY=VALUE`, the value in YAML.

    Raises:
        InputError: unreadable, not YAML, not a mapping, or an override that can't be made.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {expected}")
    for override in overrides:
        override_value(raw, override)
    return raw


def override_value(raw: dict[str, Any], override: str) -> None:
    """Replace one value, in place.

    Raises:
        InputError: no equals sign, a group that is none, or a value that is not YAML.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set {override}: write KEY=VALUE, the value in YAML")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"--set {override}: {parent} is not a group of settings")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not YAML") from None


def plain_number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; people who write a learning rate mean the number. Anything else stays."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
