"""What the training of the shipped estimator is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from augment.estimators.posenet.network import BUILDERS
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import override_value, plain_number, problems_of

_FREE_ON_RESUME = ("max_seconds", "log_every", "checkpoint_every")
# Thresholds are set in this world; it is neither trained on nor measured on.
CALIBRATION_WORLD = 778


def _sides(value: Any) -> Any:
    """`128x64` as two numbers; anything else stays."""
    return value.split("x") if isinstance(value, str) else value


Real = Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False)]
Share = Annotated[Real, Field(ge=0, le=1)]
Positive = Annotated[Real, Field(gt=0)]
Side = Annotated[int, Field(ge=16, multiple_of=16)]


class PoseTrainSettings(BaseModel):
    """Settings of one training.

    Attributes:
        network: a key of `augment.estimators.posenet.network.BUILDERS`.
        world: seed of the stream; never `UNSEEN_WORLD` or `CALIBRATION_WORLD`.
        world_version: of how it is drawn; see `augment.synth.world`.
        identities, images_per_id, cameras: of one generation of the stream.
        size: (H, W) of the images, multiples of 16 pixels.
        pool: generations held at once; batches are drawn from all of them.
        steps_per_generation: steps between two new generations.
        render_share: with max_seconds, no new generation while rendering has taken more than this share of the time.
        steps, batch_size: length of the training and examples a step.
        lr, weight_decay, warmup: AdamW's rate at its highest, its decay, and the share of the training in which the
            rate rises; then it falls to 0 with a cosine.
        sigma: of the Gaussian that heat maps are trained towards, pixels.
        hidden_weight: of joints that are in the picture but not seen, in the loss of positions.
        ema_decay: of the moving average that is kept.
        precision: `float32` or `bf16` (autocast).
        max_seconds: of the whole training, rendering included; the rate reaches 0 then, if `steps` do not come first.

    Raises:
        InputError: unusable values or unknown keys, all in one message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = "posenet_small"
    world: int = 2019
    world_version: Literal[1, 2] = 2
    identities: PositiveInt = 2048
    images_per_id: PositiveInt = 4
    cameras: PositiveInt = 64
    size: Annotated[tuple[Side, Side], BeforeValidator(_sides)] = (128, 64)
    pool: PositiveInt = 16
    steps_per_generation: PositiveInt = 60
    render_share: Share = 0.4
    steps: PositiveInt = 20_000
    batch_size: PositiveInt = 512
    lr: Positive = 2e-3
    weight_decay: Annotated[Real, Field(ge=0)] = 0.05
    warmup: Annotated[Real, Field(ge=0, lt=1)] = 0.05
    sigma: Positive = 2.0
    hidden_weight: Annotated[Real, Field(ge=0)] = 0.5
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = 0.998
    precision: Literal["float32", "bf16"] = "float32"
    seed: Annotated[int, Field(ge=0)] = 0
    max_seconds: Positive | None = None
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(f"training of poses: {problems_of(error, PoseTrainSettings)}") from None

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BUILDERS:
            raise ValueError(f"must be one of {', '.join(BUILDERS)}")
        return name

    @field_validator("world")
    @classmethod
    def _trainable(cls, world: int) -> int:
        if world in (UNSEEN_WORLD, CALIBRATION_WORLD):
            raise ValueError(f"world {world} is kept for measuring: take another")
        return world

    def rate(self, share: float) -> float:
        """The learning rate when `share` of the training, in [0, 1], is done."""
        if share < self.warmup:
            return self.lr * max(share / self.warmup, 0.02)
        return self.lr * 0.5 * (1 + math.cos(math.pi * min((share - self.warmup) / (1 - self.warmup), 1.0)))

    def check_resumes(self, earlier: dict[str, Any]) -> None:
        """Compare with the settings in a checkpoint.

        Raises:
            InputError: a setting that shapes the weights is another; all such are named.
        """
        now = self.model_dump(mode="json")
        changed = [
            f"{name} was {earlier.get(name)!r}, is {now[name]!r}"
            for name in now
            if name not in _FREE_ON_RESUME and earlier.get(name) != now[name]
        ]
        if changed:
            raise InputError(f"can't resume with other settings: {'; '.join(changed)}")


def pose_settings(items: Sequence[str] = (), **given: Any) -> PoseTrainSettings:
    """Settings from `KEY=VALUE` texts, the value in YAML or `HxW`, and from arguments that are not None.

    Raises:
        InputError: an unknown key or an unusable value.
    """
    values = {key: value for key, value in given.items() if value is not None}
    for item in items:
        override_value(values, item)
    return PoseTrainSettings(**values)
