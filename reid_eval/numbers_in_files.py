"""Numbers as files may hold them, for pydantic's models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reid_eval.limits import LARGEST_INTEGER

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
