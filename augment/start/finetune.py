"""Weights of one's own in so many minutes: one knob over `patn-augment train --recipe patn_finetune`.

A short measurement says which weights can be trained here, and for how many steps; some of the training people are
held out, measured before and after, and shown. Stopped by its time it leaves weights, and can go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from augment.generators.lineage import lineage, listed_images, write_list
from augment.generators.open import as_patn, open_generator
from augment.generators.patn.batch import PairSource
from augment.generators.patn.load import save_generator
from augment.generators.patn.state import TrainState, build_state
from augment.generators.patn.step import train_step
from augment.generators.patn.train import CHECKPOINT, WEIGHTS
from augment.generators.weights import available_weights, read_weights
from augment.imagenet.wheels import LITE0
from augment.pairs.training_recipe import load_recipe
from augment.pictures import save_sheet
from augment.quality.known import KnownPairs
from augment.runs import Say
from augment.start.holdout import (
    Figures,
    Split,
    before_after_sheet,
    copying,
    figures_lines,
    figures_of,
    held_pairs,
    hold_out,
    verdict,
    write_learnt_pairs,
)
from augment.start.rates import duration, speed_of
from augment.start.recipe_training import RUN_FILE, Training, described, open_training, train_recipe
from reid_eval.foreign import read_json, reason_of
from reid_eval.runtime import InputError, resolve_device, write_json

RECIPE = "patn_finetune"
PAIRS, SHEET, FIGURES = "learnt-pairs.csv", "before-after.png", "figures.json"
ENOUGH = 2_000
"""Pairs from which on the larger weights are worth training: below, the tiny ones get further in the same time."""
_TRAINING, _LOOKING = 0.85, 0.1
"""Shares of the time: of the training itself, and of the figures before and after it."""
_LEAST_STEPS, _MOST_STEPS, _TRIED_STEPS, _MOST_TRIED = 4, 20_000, 2, 20
_TRYING = 0.02
_AVERAGED = {1000: 0.99, 300: 0.97, 60: 0.9}
"""Steps from which on weights are averaged, to the decay."""
_SAVE_SECONDS, _SPARE_SECONDS, _LONGER = 60.0, 3.0, 1.5
_WIDE = 64
_BLURS = "; the extra `imagenet` is not installed, and L1 alone blurs"
SIZE = (128, 64)
_LEAST_MEASURED, _MOST_MEASURED = 16, 256


@dataclass(frozen=True)
class Choice:
    """What is trained, and how.

    Attributes:
        weights: to start from.
        overrides: `KEY=VALUE` of the recipe, all but its schedule.
        source: where the pairs come from.
        batch_size: pairs a step.
        seconds_a_step: as measured.
    """

    weights: str
    overrides: tuple[str, ...]
    source: PairSource
    batch_size: int
    seconds_a_step: float

    def steps(self, seconds: float) -> int:
        """So many there is time for."""
        return max(_LEAST_STEPS, min(_MOST_STEPS, int(seconds / self.seconds_a_step)))

    def training(self, seconds: float) -> Training:
        """The recipe with a schedule for so much time: half at one rate, half falling to 0."""
        steps = self.steps(seconds)
        decay = next((decay for least, decay in _AVERAGED.items() if steps >= least), 0.0)
        schedule = {
            "train.constant_steps": steps - steps // 2,
            "train.decay_steps": steps // 2,
            "train.ema_decay": decay,
            "train.checkpoint_every": max(1, round(_SAVE_SECONDS / self.seconds_a_step)),
        }
        overrides = (*self.overrides, *_settings(schedule))
        return Training(load_recipe(RECIPE, overrides), RECIPE, None, overrides)


@dataclass(frozen=True)
class Finetuned:
    """How it ended; `finished`: all steps were done."""

    weights: Path
    finished: bool
    steps: int
    before: Figures
    after: Figures
    copied: Figures

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        figures = {"before": self.before, "after": self.after, "copying_the_photo": self.copied}
        return {"finished": self.finished, "steps": self.steps, **{k: one.to_dict() for k, one in figures.items()}}

    def lines(self) -> list[str]:
        """The figures."""
        head = f"People held out, {self.after.pairs} pairs:"
        return [head, *figures_lines(self.before, self.after, self.copied), verdict(self.before, self.after)]


def finetune(
    root: Path,
    out: Path,
    *,
    minutes: float = 10.0,
    weights: str | None = None,
    layout: str = "auto",
    keypoints: Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: bool = False,
    say: Say = lambda _: None,
) -> Finetuned:
    """Fit shipped weights to a data set's photographs, in a time.

    Long because its ten arguments are explained here.

    Args:
        root: the data set, with keypoints.
        out: folder of the run.
        minutes: for all of it, about: reading, measuring, training, figures.
        weights: to start from; None: what the time allows.
        layout, keypoints: as for `posed_images`.
        seed: of the people held out, the pairs and the training; None: 0, or that of the run that goes on.
        device: where.
        resume: go on with what `out` holds, for `minutes` more at most.
        say: told what is chosen and measured.

    Raises:
        InputError: no data set or joints, too few people, weights that cannot be trained, or an `out` that holds
            another run.
    """
    end = time.monotonic() + 60 * minutes
    where = resolve_device(device)
    known = _known(out) if resume else None
    if known is None and (out / CHECKPOINT).exists():
        raise InputError(f"{out} already holds a training: resume it, or name another folder", "resume")
    if known is not None and seed not in (None, known["seed"]):
        raise InputError(f"{out} held out the people of seed {known['seed']}: go on with that seed", "seed")
    seed = known["seed"] if known else seed or 0
    asked = _Asked(root, out, {"layout": layout, "keypoints": keypoints}, where, seed)
    split = hold_out(root, SIZE, **asked.about, seed=seed)
    held = split.people(split.held)
    say(f"{held} of {held + split.people(split.learnt)} training people are held out, to measure on.")
    begun = _go_on(asked, known) if known else _begin(asked, split, weights, end, say)
    looks = _Looks(begun.start, held_pairs(split, SIZE, where, seed), where, end)
    training = begun.training(_TRAINING * (end - time.monotonic() - looks.seconds))
    result = train_recipe(
        training,
        out,
        device=device,
        resume=resume,
        max_seconds=max(1.0, end - time.monotonic() - looks.seconds - _SPARE_SECONDS),
        facts={"finetune": True, "data": str(root)},
        source=begun.source,
        sheets=False,
        on_checkpoint=_Saved(out / WEIGHTS, training, begun.source),
        say=say,
    )
    if result is None:
        raise InputError("fine-tuning by a time is for one process: train by a recipe in several")
    after = looks.of(out / WEIGHTS)
    found = Finetuned(out / WEIGHTS, result.finished, result.step, looks.before, after, copying(after.material))
    save_sheet(before_after_sheet(looks.before.material, after.material), out / SHEET)
    write_json(out / FIGURES, found.to_dict())
    return found


class _Begun(NamedTuple):
    """Where a fine-tuning starts from.

    `training` gives what is trained in so many seconds.
    """

    start: str
    source: PairSource
    training: Callable[[float], Training]


def _begin(asked: _Asked, split: Split, weights: str | None, end: float, say: Say) -> _Begun:
    """Choose."""
    asked.out.mkdir(parents=True, exist_ok=True)
    write_learnt_pairs(split, asked.out / PAIRS, asked.seed)
    choice = _choose(asked, weights, end, say)

    def training(seconds: float) -> Training:
        made = choice.training(seconds)
        steps = made.recipe.settings().total_steps
        say(
            f"Training {choice.weights}: {choice.seconds_a_step:.2g} s a step of {choice.batch_size} pairs now, so "
            f"{steps:,} steps in {duration(max(0.0, seconds))}{'' if _has_lite0() else _BLURS}."
        )
        return made

    return _Begun(choice.weights, choice.source, training)


def _go_on(asked: _Asked, known: Mapping[str, Any]) -> _Begun:
    """As the run was begun."""
    training = open_training(None, asked.out, resume=True)
    return _Begun(known["init_weights"], training.recipe.data.open(asked.where), lambda _: training)


class _Looks:
    """Figures of people held out, before and after, on as many pairs as the time allows."""

    def __init__(self, start: str, known: KnownPairs, where: torch.device, end: float) -> None:
        self.known, self.where = known, where
        began = time.monotonic()
        generator = open_generator(start, where)
        rate = speed_of(generator, 1.0)
        wanted = int(rate * _LOOKING / 2 * max(0.0, end - time.monotonic()))
        self.count = max(_LEAST_MEASURED, min(_MOST_MEASURED, wanted - wanted % 8))
        self.before = figures_of(generator, known, self.count)
        self.seconds = _LONGER * (time.monotonic() - began)
        """What it took and will take again, the sheet and a machine that gets busier included."""

    def of(self, weights: Path) -> Figures:
        """Figures of a file."""
        return figures_of(open_generator(weights, self.where), self.known, self.count)


class _Saved:
    """Writes the weights at each checkpoint, so that a training stopped by its time has some."""

    def __init__(self, target: Path, training: Training, source: PairSource) -> None:
        self.target, self.training = target, training
        self.names: list[str] = getattr(source, "training_images", [])

    def __call__(self, state: TrainState) -> None:
        settings = self.training.recipe.settings()
        init = lineage(settings.init_weights)
        info = {**described(self.training, self.names), "command": self.training.command, "init": init,
                "size": list(SIZE), "settings": asdict(settings), "pairs_seen": state.step * settings.batch_size,
                "stopped_at_step": state.step}  # fmt: skip
        save_generator(self.target, state.exported, info)
        write_list(self.target, [*self.names, *listed_images(settings.init_weights)])


def _known(out: Path) -> Mapping[str, Any] | None:
    """The settings of a run that can go on; None: there is none yet."""
    if not (out / CHECKPOINT).exists():
        return None
    try:
        found = read_json(out / RUN_FILE)
        settings = found["recipe"]["train"]
        typed = isinstance(settings["init_weights"], str) and isinstance(settings["seed"], int)
        if found["finetune"] is not True or not typed:
            raise TypeError("it is no fine-tuning's")
        return dict(settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        path = out / RUN_FILE
        raise InputError(f"{path} tells of no fine-tuning ({reason_of(error)}): name another folder") from None


class _Asked(NamedTuple):
    """What a choice is made for."""

    root: Path
    out: Path
    about: Mapping[str, Any]
    where: torch.device
    seed: int


def _choose(asked: _Asked, weights: str | None, end: float, say: Say) -> Choice:
    """The largest weights that can see enough pairs in the time; the smallest if none can."""
    names = [weights] if weights else sorted(available_weights(), key=_parameters)
    if not names:
        raise InputError("no weights ship with this installation: name some", "weights")
    found: Choice | None = None
    for name in names:
        if found:
            left = _TRAINING * (end - time.monotonic())
            slower = found.seconds_a_step * _parameters(name) / _parameters(found.weights)
            if left / slower * found.batch_size < ENOUGH:
                say(f"{name} would see too few pairs here in this time: about {left / slower * found.batch_size:,.0f}.")
                break
        share = _TRYING * (end - time.monotonic())
        larger = _measured(asked, name, found.source if found else None, share)
        if found and larger.steps(_TRAINING * (end - time.monotonic())) * larger.batch_size < ENOUGH:
            say(f"{name} would see too few pairs here in this time.")
            break
        found = larger
    assert found is not None
    return found


def _parameters(name: str) -> int:
    return sum(tensor.numel() for tensor in read_weights(name).tensors.values())


def _measured(asked: _Asked, weights: str, source: PairSource | None, seconds: float) -> Choice:
    """How long a step takes, of a training that is thrown away; two steps at least, and some more in `seconds`."""
    overrides = _settings(_values(asked, weights))
    recipe = load_recipe(RECIPE, overrides)
    source = source or recipe.data.open(asked.where)
    settings = recipe.settings()
    state = build_state(settings, asked.where)
    train_step(state, source.sample(0, settings.batch_size), settings)  # the first one prepares
    began, steps = _now(asked.where), 0
    while steps < _TRIED_STEPS or (steps < _MOST_TRIED and _now(asked.where) - began < seconds):
        steps += 1
        train_step(state, source.sample(steps, settings.batch_size), settings)
    return Choice(weights, overrides, source, settings.batch_size, (_now(asked.where) - began) / steps)


def _now(where: torch.device) -> float:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter()


def _values(asked: _Asked, weights: str) -> dict[str, Any]:
    """The recipe's settings with what weights, device and the packages at hand ask for; no schedule."""
    generator = as_patn(open_generator(weights, "cpu"), "fine-tuning")
    if generator.size != SIZE:
        raise InputError(
            f"{weights} draws {generator.size[0]}x{generator.size[1]}, and fine-tuning by a time is for "
            f"{SIZE[0]}x{SIZE[1]}: train by a recipe",
            "weights",
        )
    numbers = dict(generator.network.architecture)
    cpu = asked.where.type == "cpu"
    values: dict[str, Any] = {
        "data.root": str(asked.root),
        "data.pairs": str(asked.out / PAIRS),
        "data.seed": asked.seed,
        "train.generator": "patn_tiny" if numbers["ngf"] < _WIDE else "patn_market",
        "train.overrides": numbers,
        "train.exit_share": 0.2,
        "train.init_weights": weights,
        "train.seed": asked.seed,
        "train.batch_size": 8 if cpu else 32,
        "train.precision": "float32" if cpu else "bf16",
        # the authors' discriminators say little (docs/training.md), and what they cost is time
        **{"train.gan_start": 0, "train.lambda_gan": 0, "train.ndf": 4, "train.d_blocks": 0},
        "train.lambda_grid": 0.3,
    }
    values |= {f"data.{key}": str(value) for key, value in asked.about.items() if value not in (None, "auto")}
    if numbers["norm"] == "batch":
        values["train.batchnorm"] = "frozen"
    if _has_lite0():
        values |= {"train.perceptual": "lite0", "train.lambda_l1": 5.0, "train.lambda_perceptual": 1.0}
        values |= {"train.perceptual_shift": 8, "train.perceptual_texture": 2.0}
    return values


def _settings(values: Mapping[str, Any]) -> tuple[str, ...]:
    """As `--set` takes them: JSON is YAML."""
    return tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


def _has_lite0() -> bool:
    try:
        LITE0.find()
    except InputError:
        return False
    return True
