"""Re-ID recipes: YAML files of training settings, one experiment a file. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reid_eval.runtime import InputError
from reid_eval.settings import CHOICES, TrainSettings, settings_from
from reid_eval.yaml_recipes import override_value, plain_number, read_recipe, recipe_file

NOT_HERE = ("seed", "device")
_WORDS = ("preset", "backbone", "init", "losses", *CHOICES)


def load_settings(name: str, overrides: Sequence[str] = (), shipped: Path | None = None) -> TrainSettings:
    """Settings of a recipe, some of them replaced.

    Args:
        name: a file, or the name of a recipe that ships (`reid_bot`, or `bot` for short).
        overrides: `KEY=VALUE`, the value in YAML.
        shipped: the folder of the recipes that ship.

    Raises:
        InputError: unreadable YAML, unknown keys, values out of range.
    """
    path = recipe_file(name, "reid_", "re-ID recipe", shipped)
    raw = read_recipe(path, "a re-ID recipe is a mapping of training settings, such as `lr: 0.05`")
    return settings_of({**raw, **parse_overrides(overrides)}, str(path))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE`s as a dict, values read as YAML and numbers such as 1e-4 as numbers.

    Raises:
        InputError: no equals sign, or a value that is not YAML.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        override_value(found, override)
    return {key: _plain(key, value) for key, value in found.items()}


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
    return value if key in _WORDS else plain_number(value)
