"""Re-ID recipes: YAML files of training settings, one experiment a file. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings, settings_from
from reid_eval.yaml_recipes import override_value, read_recipe, recipe_file

NOT_HERE = ("seed", "device")
"""Settings of a run, not of an experiment: no recipe has them."""


def load_settings(name: str, overrides: Sequence[str] = (), shipped: Path | None = None) -> TrainSettings:
    """Settings of a recipe, some of them replaced.

    Args:
        name: a file, or the name of a recipe that ships (`reid_bot`, or `bot` for short).
        overrides: `KEY=VALUE`, the value in YAML.
        shipped: the folder of the recipes that ship.

    Raises:
        InputError: unreadable YAML, unknown keys, values out of range.
    """
    values, source = recipe_values(name, overrides, shipped)
    return settings_of(values, source)


def recipe_values(name: str, overrides: Sequence[str] = (), shipped: Path | None = None) -> tuple[dict[str, Any], str]:
    """A recipe's values as they stand, some replaced, and its path for messages; arguments as in `load_settings`.

    Raises:
        InputError: unreadable YAML, or an override that can't be made.
    """
    path = recipe_file(name, "reid_", "re-ID recipe", shipped)
    expected = "a re-ID recipe is a mapping of training settings, such as `lr: 0.05`"
    return read_recipe(path, expected, overrides), str(path)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE`s as a dict, values read as YAML.

    Raises:
        InputError: no equals sign, or a value that is not YAML.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        override_value(found, override)
    return found


def settings_of(values: dict[str, Any], source: str) -> TrainSettings:
    """Settings from a recipe's values: fields of `TrainSettings`, and maybe the `preset` that they start from.

    Raises:
        InputError: as in `settings_from`, or a key that is no recipe's to set.
    """
    plain = {str(key): value for key, value in values.items()}
    preset = str(plain.pop("preset", "quick"))
    faults = [f"{', '.join(fixed)} cannot be set here"] if (fixed := sorted(set(NOT_HERE) & set(plain))) else []
    try:
        settings = settings_from(preset, {key: value for key, value in plain.items() if key not in NOT_HERE})
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError(f"{source}: {'; '.join(faults)}")
    return settings
