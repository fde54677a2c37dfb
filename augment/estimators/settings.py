"""What the training of the shipped estimator is told."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from augment.estimators.network import BUILDERS
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.runtime import InputError

_FREE_ON_RESUME = ("max_seconds", "log_every", "checkpoint_every")
# Thresholds are set in this world; it is neither trained on nor measured on.
CALIBRATION_WORLD = 778


@dataclass(frozen=True)
class PoseTrainSettings:
    """Settings of one training.

    Attributes:
        network: a key of `augment.estimators.network.BUILDERS`.
        world: seed of the stream; never `UNSEEN_WORLD` or `CALIBRATION_WORLD`.
        identities, images_per_id, cameras: of one generation of the stream.
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
        InputError: unusable numbers, all in one message.
    """

    network: str = "posenet_small"
    world: int = 2019
    identities: int = 2048
    images_per_id: int = 4
    cameras: int = 64
    size: tuple[int, int] = (128, 64)
    pool: int = 16
    steps_per_generation: int = 60
    render_share: float = 0.4
    steps: int = 20_000
    batch_size: int = 512
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    sigma: float = 2.0
    hidden_weight: float = 0.5
    ema_decay: float = 0.998
    precision: str = "float32"
    seed: int = 0
    max_seconds: float | None = None
    log_every: int = 50
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be positive, got {getattr(self, name)}"
            for name in ("identities", "images_per_id", "cameras", "pool", "steps_per_generation", "steps",
                         "batch_size", "lr", "sigma", "log_every", "checkpoint_every")
            if not getattr(self, name) > 0
        ]  # fmt: skip
        if self.network not in BUILDERS:
            problems.append(f"network must be one of {', '.join(BUILDERS)}, got {self.network!r}")
        if min(self.size) < 16 or any(side % 16 for side in self.size):
            problems.append(f"size must be multiples of 16, got {self.size[0]}x{self.size[1]}")
        if self.precision not in ("float32", "bf16"):
            problems.append(f"precision must be float32 or bf16, got {self.precision!r}")
        if self.world in (UNSEEN_WORLD, CALIBRATION_WORLD):
            problems.append(f"world {self.world} is kept for measuring: take another")
        if problems:
            raise InputError("training of poses: " + "; ".join(problems))

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
        now = json.loads(json.dumps(asdict(self)))
        changed = [
            f"{f.name} was {earlier.get(f.name)!r}, is {now[f.name]!r}"
            for f in fields(self)
            if f.name not in _FREE_ON_RESUME and earlier.get(f.name) != now[f.name]
        ]
        if changed:
            raise InputError(f"can't resume with other settings: {'; '.join(changed)}")
