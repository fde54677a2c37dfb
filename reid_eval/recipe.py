"""Re-ID recipes: YAML files of training settings, one experiment a file. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from reid_eval.runtime import InputError
from reid_eval.settings import CHOICES, TrainSettings, settings_from

NOT_HERE = ("seed", "device")
_WORDS = ("preset", "backbone", "init", "losses", *CHOICES)


def recipe_path(name: str) -> Path:
    """The file of a recipe: a path as it is, or the name of one that ships (`reid_bot`, or `bot` for short).

    Raises:
        InputError: neither; the message lists the recipes that ship.
    """
    if Path(name).is_file():
        return Path(name)
    root = Path(str(files("recipes")))
    shipped = sorted(path.stem for path in root.glob("reid_*.yaml"))
    for stem in (name, f"reid_{name}"):
        if stem in shipped:
            return root / f"{stem}.yaml"
    raise InputError(f"no re-ID recipe {name!r}: give a file, or one of {', '.join(shipped)}")


def load_settings(name: str, overrides: Sequence[str] = ()) -> TrainSettings:
    """Settings of a recipe, some of them replaced.

    Args:
        name: see `recipe_path`.
        overrides: `KEY=VALUE`, the value in YAML.

    Raises:
        InputError: unreadable YAML, unknown keys, values out of range.
    """
    path = recipe_path(name)
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a re-ID recipe is a mapping of training settings, such as `lr: 0.05`")
    return settings_of({**raw, **parse_overrides(overrides)}, str(path))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE`s as a dict, values read as YAML and numbers such as 1e-4 as numbers.

    Raises:
        InputError: no equals sign, or a value that is not YAML.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: write KEY=VALUE, such as lr=1e-4")
        try:
            found[key] = _plain(key, yaml.safe_load(text))
        except yaml.YAMLError:
            raise InputError(f"--set {override}: the value is not YAML") from None
    return found


def settings_of(values: dict[str, Any], source: str) -> TrainSettings:
    """Settings from a recipe's values: fields of `TrainSettings`, and maybe the `preset` that they start from.

    Raises:
        InputError: as in `settings_from`, or a key that is no recipe's to set.
    """
    plain = {str(key): _plain(str(key), value) for key, value in values.items()}
    if fixed := sorted(set(NOT_HERE) & set(plain)):
        raise InputError(f"{source}: {', '.join(fixed)} cannot be set here: see --seed, --device")
    preset = plain.pop("preset", "quick")
    try:
        return settings_from(preset, plain)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _plain(key: str, value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; people who write a learning rate mean the number."""
    if key in _WORDS or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
