"""What a training is told. The defaults are the authors' Market-1501 recipe, number for number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from augment.generators.patn.architecture import checked_architecture
from augment.generators.patn.builders import BUILDERS, DISCRIMINATORS, NUMBERS
from augment.generators.patn.distributed import BATCHNORMS
from augment.generators.patn.losses import GAN_LOSSES
from reid_eval.limits import LARGEST_INTEGER, MOST_BATCH, MOST_SIDE
from reid_eval.runtime import InputError

PRECISIONS = ("float32", "bf16")
_MOST_BETWEEN_LOGS, _LINES = 100, 50
_LEAST_BETWEEN_SHEETS, _MOST_BETWEEN_SHEETS, _SHEETS = 5, 1000, 10
# These may change between the parts of one resumed training: they do not change its weights.
FREE_ON_RESUME = ("checkpoint_every", "log_every", "check_every", "sheet_every", "tensorboard", "max_seconds")


@dataclass(frozen=True)
class PATNTrainSettings:
    """Settings of one training. Fields after `seed` are extras that the authors' code does not have.

    Attributes:
        generator: a key of `BUILDERS`; `overrides` replace its arguments.
        ndf, d_blocks, d_dropout: the discriminators; their norm is the generator's.
        constant_steps, decay_steps: iterations at `lr`, then towards 0: 500 and 200 epochs of 4,000 pairs.
        epoch_steps: iterations between two changes of the rate; 1 changes it smoothly.
        gan: `bce`, `lsgan` or `hinge`; pool_size: pairs kept for each discriminator.
        perceptual: `torchvision`, `lite0`, a file of either's weights, or `off`; see `.feature_losses`.
        sigma: of the pose maps, in pixels.
        gan_start: iterations before this one train the generator alone, without GAN losses.
        mask_weight: extra weight of L1 inside the target's mask, where the source knows it.
        ema_decay: of a moving average of the generator's weights, which is then what is exported; 0 is off.
        batchnorm_gain: the discriminators' start, see `init_discriminator`.
        init_weights: generator weights to start from (a name or a file): fine-tuning.
        exit_share: any-depth generators only: the share of iterations that leave early, after 1 ... n - 1 blocks
            with equal chances; the others use all.
        perceptual_shift: of `lite0`: the most pixels by which both images, twice as large, are moved in a step.
        perceptual_texture: of `lite0`: weight of local deviations against local values, see `LayersLoss`.
        discriminators: `authors`, or `patches` (spectral normalisation, no norm layers, one channel; `d_blocks` and
            `d_dropout` are not theirs).
        d_lr: the discriminators' rate, if not `lr`; it falls as `lr` does.
        d_alone: iterations from `gan_start` on in which the discriminators learn, and the generator does not hear
            of it.
        gan_ratio: if not 0, the GAN losses (with `lambda_features`) get that weight which makes their gradient at the
            generated image so many times the other losses', `lambda_gan` at most.
        lambda_features: of feature matching in `patches`, on the scale of a GAN loss.
        lambda_grid: of `grid_loss`, against patterns of the decoder's own period.
        stop_at_chance: stop when the discriminators' hinge loss stays above 0.9 of chance for so many iterations after
            `d_alone`; 0 is never.
        discriminators_at_once: each discriminator takes real and generated in one pass, not two. Not with BatchNorm,
            which would mix them. Dropout masks are then drawn in another order.
        batchnorm: in several processes, statistics over the batch of all (`synced`, as one process would have them) or
            of each its own (`local`, no messages, another training than one process's). `frozen`: the generator's are
            those of the weights that it starts from, in training as in use, so that what goes wrong with them in use
            goes wrong under the losses.
        compile: let torch.compile fuse what lies between the convolutions; worth its minute on a GPU.
        cuda_graph: record the step and replay it as a whole; no effect but on a CUDA device.
        precision: `float32`, or `bf16` for autocast with float32 losses, norms' statistics and weights.
        check_every: iterations between two looks at whether losses are finite; 0 is 1 on a CPU and 20 on a GPU,
            where each look waits for the device.
        log_every: iterations between two lines of the log; 0 is a fiftieth of the training, 100 at most, so that a
            short one has a curve, too.
        sheet_every: iterations between two sample sheets (`sheets/step_*.png`); 0 is none, None a tenth of the
            training, 1,000 at most. There is always one at the end.
        tensorboard: also log for TensorBoard.
        max_seconds: stop after this time, with a checkpoint.

    Raises:
        InputError: all that is wrong, in one message.
    """

    generator: str = "patn_market"
    overrides: dict[str, Any] = field(default_factory=dict)
    ndf: int = 64
    d_blocks: int = 3
    d_dropout: float = 0.5
    batch_size: int = 32
    constant_steps: int = 62_500
    decay_steps: int = 25_000
    epoch_steps: int = 125
    lr: float = 2e-4
    beta1: float = 0.5
    lambda_gan: float = 5.0
    lambda_l1: float = 10.0
    lambda_perceptual: float = 10.0
    gan: str = "bce"
    pool_size: int = 50
    perceptual: str = "torchvision"
    sigma: float = 6.0
    seed: int = 0
    gan_start: int = 0
    mask_weight: float = 0.0
    ema_decay: float = 0.0
    batchnorm_gain: str = "uniform"
    init_weights: str = ""
    exit_share: float = 0.5
    perceptual_shift: int = 0
    perceptual_texture: float = 0.0
    discriminators: str = "authors"
    d_lr: float = 0.0
    d_alone: int = 0
    gan_ratio: float = 0.0
    lambda_features: float = 0.0
    lambda_grid: float = 0.0
    stop_at_chance: int = 0
    discriminators_at_once: bool = False
    batchnorm: str = "synced"
    compile: bool = False
    cuda_graph: bool = False
    precision: str = "float32"
    channels_last: bool = True
    checkpoint_every: int = 1000
    log_every: int = 0
    check_every: int = 0
    sheet_every: int | None = None
    tensorboard: bool = False
    max_seconds: float | None = None

    @property
    def norm(self) -> str:
        """The norm of generator and discriminators."""
        return str(self.overrides.get("norm", NUMBERS.get(self.generator, {}).get("norm", "batch")))

    @property
    def total_steps(self) -> int:
        """Iterations of the whole training."""
        return self.constant_steps + self.decay_steps

    @property
    def steps_between_logs(self) -> int:
        """Iterations between two lines of the log."""
        return self.log_every or max(1, min(_MOST_BETWEEN_LOGS, self.total_steps // _LINES))

    @property
    def steps_between_sheets(self) -> int:
        """Iterations between two sample sheets; 0 is none."""
        if self.sheet_every is not None:
            return self.sheet_every
        return max(_LEAST_BETWEEN_SHEETS, min(_MOST_BETWEEN_SHEETS, self.total_steps // _SHEETS))

    def learning_rate(self, step: int) -> float:
        """The rate of iteration `step` (from 0): the authors' lambda rule, its epochs being `epoch_steps` long.

        Their last epoch has a rate of exactly 0, and so has ours.
        """
        epoch = step // self.epoch_steps
        constant, decay = (steps // self.epoch_steps for steps in (self.constant_steps, self.decay_steps))
        return self.lr * (1.0 - max(0, epoch + 2 - constant) / (decay + 1)) if self.decay_steps else self.lr

    def discriminator_rate(self, step: int) -> float:
        """The discriminators' rate of iteration `step`."""
        return (self.d_lr or self.lr) * (self.learning_rate(step) / self.lr)

    def discriminators_learn(self, step: int) -> bool:
        """Whether iteration `step` trains discriminators."""
        return self.lambda_gan > 0 and step >= self.gan_start

    def generator_hears(self, step: int) -> bool:
        """Whether the generator of iteration `step` has GAN losses."""
        return self.discriminators_learn(step) and step >= self.gan_start + self.d_alone

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be one of {', '.join(ok)}, got {got!r}" for name, got, ok in self._choices() if got not in ok
        ]
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < math.inf:  # NaN fails every comparison
                problems.append(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                problems.append(f"{name} must be at most {most}, got {getattr(self, name)}")
        if self.sheet_every is not None and self.sheet_every < 0:
            problems.append(f"sheet_every must be at least 0, got {self.sheet_every}")
        for name in ("lr", "sigma"):
            if not 0 < getattr(self, name) < math.inf:
                problems.append(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.exit_share <= 1:
            problems.append(f"exit_share must be in [0, 1], got {self.exit_share}")
        if self.discriminators_at_once and self.norm != "instance" and self.discriminators != "patches":
            problems.append("discriminators_at_once needs norm instance: BatchNorm would mix real and generated images")
        if self.lambda_features and self.discriminators != "patches":
            problems.append("lambda_features needs discriminators patches")
        if self.stop_at_chance and self.gan != "hinge":
            problems.append("stop_at_chance needs gan hinge")
        for name in ("beta1", "d_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} must be in [0, 1), got {getattr(self, name)}")
        try:
            checked_architecture(self.overrides)
        except ValueError as error:
            problems.append(f"overrides: {error}")
        if self.epoch_steps > 0 and (self.constant_steps % self.epoch_steps or self.decay_steps % self.epoch_steps):
            problems.append(
                f"constant_steps {self.constant_steps} and decay_steps {self.decay_steps} must be multiples of "
                f"epoch_steps {self.epoch_steps} (1 always is good)"
            )
        if self.total_steps < 1:
            problems.append("constant_steps and decay_steps are both 0: nothing to train")
        if problems:
            raise InputError("training settings: " + "; ".join(problems))

    def _choices(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [
            ("generator", self.generator, tuple(sorted(BUILDERS))),
            ("gan", self.gan, GAN_LOSSES),
            ("discriminators", self.discriminators, tuple(DISCRIMINATORS)),
            ("precision", self.precision, PRECISIONS),
            ("batchnorm_gain", self.batchnorm_gain, ("uniform", "ones")),
            ("batchnorm", self.batchnorm, BATCHNORMS),
        ]

    def check_resumes(self, earlier: dict[str, Any]) -> None:
        """Compare with the settings in a checkpoint.

        Raises:
            InputError: a setting that shapes the weights is not what it was; all such are named.
        """
        changed = [
            f"{f.name} was {earlier.get(f.name)!r}, is {getattr(self, f.name)!r}"
            for f in fields(self)
            if f.name not in FREE_ON_RESUME and earlier.get(f.name) != getattr(self, f.name)
        ]
        if changed:
            raise InputError(f"can't resume with other settings: {'; '.join(changed)}")


_MOST = {
    "ndf": 512,
    "d_blocks": 64,
    "batch_size": MOST_BATCH,
    "constant_steps": 1 << 40,
    "decay_steps": 1 << 40,
    "epoch_steps": 1 << 40,
    "pool_size": 1 << 20,
    "sigma": MOST_SIDE,
    "perceptual_shift": 64,
    "seed": LARGEST_INTEGER,
}
_LEAST = {
    "seed": 0,
    "ndf": 1,
    "d_blocks": 0,
    "batch_size": 1,
    "constant_steps": 0,
    "decay_steps": 0,
    "epoch_steps": 1,
    "lambda_gan": 0,
    "lambda_l1": 0,
    "lambda_perceptual": 0,
    "pool_size": 0,
    "gan_start": 0,
    "mask_weight": 0,
    "perceptual_shift": 0,
    "perceptual_texture": 0,
    "d_lr": 0,
    "d_alone": 0,
    "gan_ratio": 0,
    "lambda_features": 0,
    "lambda_grid": 0,
    "stop_at_chance": 0,
    "checkpoint_every": 1,
    "log_every": 0,
    "check_every": 0,
}
