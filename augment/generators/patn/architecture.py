"""Which numbers a PATN generator may have: what files and recipes say is checked before a network is built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid_eval.yaml_recipes import problems_of


class _Architecture(BaseModel):
    """The arguments of `PATNGenerator`, within what is built; the authors' are 64 wide with 9 blocks."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    image_channels: Annotated[int, Field(ge=1, le=16)] = 3
    pose_channels: Annotated[int, Field(ge=1, le=256)] = 18
    ngf: Annotated[int, Field(ge=1, le=512)] = 64
    n_blocks: Annotated[int, Field(ge=1, le=64)] = 9
    n_downsampling: Annotated[int, Field(ge=1, le=5)] = 2
    norm: Literal["batch", "instance"] = "batch"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    any_depth: bool = False


def checked_architecture(values: object) -> dict[str, Any]:
    """Arguments of `PATNGenerator`, those that are given.

    Raises:
        ValueError: an unknown one, or one beyond what any such network has; all of them in one line.
    """
    try:
        return _Architecture.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise ValueError(problems_of(error)[:500]) from None
