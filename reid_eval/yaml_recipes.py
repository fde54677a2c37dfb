"""What all recipes share: YAML files by name or path, and `--set KEY=VALUE`. What may stand in one is its owner's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from reid_eval.alike import MOST_HINTS, did_you_mean
from reid_eval.foreign import is_file, reason_of
from reid_eval.foreign_yaml import parse_yaml, read_yaml
from reid_eval.runtime import InputError


def recipe_file(name: str, prefix: str | tuple[str, ...], kind: str, shipped: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        name: a path, or the name of one that ships, with or without `prefix`.
        prefix: what the names of such recipes begin with, such as `reid_`; or several.
        kind: what they are called in messages, such as `re-ID recipe`.
        shipped: the folder of those that ship; None: there are none.

    Raises:
        InputError: neither; the message lists the recipes that ship.
    """
    if is_file(name):
        return Path(name)
    begins = (prefix,) if isinstance(prefix, str) else prefix
    shipping = [] if shipped is None else sorted(path for one in begins for path in shipped.glob(f"{one}*.yaml"))
    files = {path.stem: path for path in shipping}
    for stem in (name, *(one + name for one in begins)):
        if stem in files:
            return files[stem]
    among = f", or one of {', '.join(files)}" if files else ""
    meant = did_you_mean(name, [*files, *(stem.removeprefix(one) for stem in files for one in begins)])
    raise InputError(f"no {kind} {name[:200]!r}: {meant}give a file{among}")


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
        raw = read_yaml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not YAML as recipes are: {reason_of(error)}") from None
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
        raise InputError(f"setting {override!r}: write KEY=VALUE, the value in YAML")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"setting {override!r}: {parent} is not a group of settings")
    try:
        place[last] = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"setting {override[:80]!r}: the value is not YAML ({error})") from None


def plain_number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; people who write a learning rate mean the number. Anything else stays."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def problems_of(error: ValidationError, *models: type[BaseModel]) -> str:
    """All that is wrong, in one line; for a key that is unknown, those that are known.

    Args:
        error: of pydantic.
        models: the parts that the validated one has: of a choice by a tag (`source`, `kind`) the tag's is told.
    """
    return "; ".join(
        _problem(one["loc"], one["type"], one["msg"], models, number < MOST_HINTS)
        for number, one in enumerate(error.errors())
    )


def _problem(
    loc: tuple[int | str, ...], kind: str, message: str, models: tuple[type[BaseModel], ...], guess: bool
) -> str:
    if kind == "extra_forbidden":
        # `folder` is both a source of data and a kind of row: where it stands tells which.
        tag = "source" if loc[0] == "data" else "kind"
        owner = next((model for model in models if loc[-2:-1] and loc[-2] in _tags(model, tag)), None)
        if owner is None and len(loc) == 1 and models:
            owner = models[-1]
        meant = did_you_mean(str(loc[-1]), owner.model_fields).strip() if owner and guess else ""
        known = f"; {f'{meant} ' if meant else ''}known: {', '.join(sorted(owner.model_fields))}" if owner else ""
        message = f"unknown key{known}"
    return f"{'.'.join(map(str, loc))}: {message}"


def _tags(model: type[BaseModel], tag: str) -> tuple[str, ...]:
    """The only values that a model's field `tag` may have; none for a model without it."""
    field = model.model_fields.get(tag)
    return get_args(field.annotation) if field else ()
