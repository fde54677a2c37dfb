"""Frozen dataclasses whose values are checked by pydantic: all that is wrong in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from reid_eval.alike import unknown_keys
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import plain_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Number = Annotated[float, BeforeValidator(plain_number)]
"""A finite float; text such as `1e-4`, which YAML 1.1 leaves as text, is the number that was meant."""
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
AtLeast0 = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("should be each only once")
    return values


EACH_ONCE = AfterValidator(_each_once)
"""Annotation of a tuple that may hold nothing twice."""


def checked(
    kind: type[DataclassInstance], values: Mapping[str, Any], what: str, conflicts: Sequence[str] = ()
) -> dict[str, Any]:
    """Values for the fields of a dataclass, those that are not given at their default.

    Types are strict (`"3"` is no number, 1 no bool), but lists do for tuples; floats are finite; what else holds stands
    in the fields' annotations.

    Args:
        kind: a dataclass, its fields annotated with pydantic's constraints.
        values: field to value.
        what: what they are called in messages, such as `training settings`.
        conflicts: what the caller found wrong between fields, told with the rest.

    Raises:
        InputError: unknown fields and values that cannot be, all of them.
    """
    faults = list(conflicts)
    try:
        found = _model(kind).model_validate(dict(values))
    except ValidationError as error:
        faults = [*_told(error, [field.name for field in fields(kind)]), *faults]
    if faults:
        raise InputError(f"{what}: {'; '.join(faults)}")
    return dict(found)


@cache
def _model(kind: type[DataclassInstance]) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    columns: dict[str, Any] = {field.name: (hints[field.name], field.default) for field in fields(kind)}
    return create_model(
        kind.__name__, __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), **columns
    )


def _told(error: ValidationError, known: list[str]) -> list[str]:
    """Each problem as `epochs is 0, should be at least 1`; of unknown fields, the known ones."""
    problems: dict[str, str] = {}
    unknown = []
    inner = {one["loc"][0] for one in error.errors() if len(one["loc"]) > 1}
    for one in error.errors():
        name, inside = str(one["loc"][0]), one["loc"][1:]
        if one["type"] == "extra_forbidden":
            unknown.append(name)
            continue
        if one["type"] == "too_short" and name in inner:
            continue  # of what was in it nothing was left
        message = one["msg"].removeprefix("Input ").removeprefix("Value error, ").replace("a valid ", "a ")
        message = message.replace("a integer", "an integer")
        message = message.replace("Tuple should have", "should hold").replace(" after validation, not 0", "")
        message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
        shown = one["input"]
        place = f"{name}[{']['.join(map(str, inside))}]" if inside else name
        if isinstance(shown, float) and not math.isfinite(shown):
            message = "should be a finite number"
        missing = one["type"] == "missing"
        problems.setdefault(place, f"{place} is missing" if missing else f"{place} is {shown!r}, {message}")
    if unknown:
        problems[""] = f"unknown {unknown_keys(sorted(unknown), known)}; the known ones are {', '.join(known)}"
    return list(problems.values())
