"""How a table's networks are searched with: each entry of a recipe's `test` is a row of its own below the row trained.

Controls come in the same form as generated views: images beside the photo, whose features are fused with the photo's by
`augment.search.fusion`. They differ only in what those images are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from augment.search.views import WEIGHT
from reid_eval.limits import LARGEST_INTEGER


class _Search(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    pose_weight: NonNegativeFloat = WEIGHT
    """Of the images beside the photo against it."""
    calibrate: bool = True
    """Take away what training people have in common, see `augment.search.fusion.calibrate`."""
    rerank: bool = False
    """Rank by k-reciprocal encoding."""
    gallery: Literal["market1501", "same_camera", "other_cameras"] = "market1501"
    """What is ranked for a query: Market-1501's protocol (all but what its own camera took of its person), only what
    its own camera took, or only what others took."""
    rows: tuple[str, ...] | None = None
    """Of the table, whose networks are searched with; None: all of them."""


class Photo(_Search):
    """The photo alone: what another protocol or a calibration does by itself."""

    kind: Literal["photo"]


class Mirror(_Search):
    """Its mirror image."""

    kind: Literal["mirror"]


class Jitter(_Search):
    """Copies that are shifted, blurred and made lighter or darker, by chance."""

    kind: Literal["jitter"]
    copies: Annotated[int, Field(ge=1, le=64)] = 4
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = 0


class Views(_Search):
    """The person generated in other poses."""

    kind: Literal["views"]
    weights: str
    """What `augment.generators.open.open_generator` takes."""
    weights_sha256: str | None = None
    """What these weights are; the file is then needed only where a search is still to be made."""
    poses: PositiveInt | Literal["own"] | str = 4
    """How many of `augment.search.views.VIEWS`; `own`: the photo's own pose; else a file of poses."""
    precision: Literal["float32", "bf16"] = "float32"
    blocks: PositiveInt | None = None
    """Of the network's pose-attention transfer blocks; None: all."""


class Mask(_Search):
    """The photo without its background, by the renderer's own mask; drawn people only."""

    kind: Literal["mask"]


class Oracle(_Search):
    """The person truly drawn in the poses, in place of generated; drawn people only."""

    kind: Literal["oracle"]
    poses: PositiveInt = 4
    background: Literal["kept", "removed"] = "kept"
    """The place, as the photo's camera shows it, or nothing, by the true mask."""


Search = Annotated[Photo | Mirror | Jitter | Views | Mask | Oracle, Field(discriminator="kind")]
SEARCHES = (Photo, Mirror, Jitter, Views, Mask, Oracle)


def poses_asked(search: Search) -> int:
    """How many of the poses that ship a search wants; 0 where it wants none of them."""
    poses = search.poses if isinstance(search, (Views, Oracle)) else 0
    return poses if isinstance(poses, int) else 0
