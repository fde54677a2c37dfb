"""A recipe carried out: data opened, network trained, weights with their origin, sheets on the way.

`run.json` in the run's folder holds the recipe as it was carried out, so that going on needs nothing but the folder.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from augment.generators.lineage import licence_of, lineage, listed_images, write_list
from augment.generators.patn.distributed import launched_processes
from augment.generators.patn.train import CHECKPOINT, TrainResult, train_generator
from augment.generators.weights import names_digest
from augment.pairs.training_recipe import FolderSource, Recipe, check_recipe, load_recipe
from augment.runs import Say, describe_run
from augment.start.next_steps import command_line, generate_command, said
from reid_eval.foreign import read_json, reason_of
from reid_eval.machine import busy_note
from reid_eval.runtime import InputError, hide_progress, resolve_device
from reid_eval.yaml_recipes import override_value

if TYPE_CHECKING:
    from augment.generators.patn.batch import PairSource
    from augment.generators.patn.settings import PATNTrainSettings
    from augment.generators.patn.state import TrainState

RUN_FILE = "run.json"
MEASURED = 256
"""Pairs of the measurement that is suggested."""


@dataclass(frozen=True)
class Training:
    """What is to be trained.

    Attributes:
        recipe: data and settings.
        name: of the recipe, for messages and records.
        licence: of the weights, in the user's words; None: what their data and start say.
        overrides: `KEY=VALUE` that the recipe was changed by, for the record.
    """

    recipe: Recipe
    name: str
    licence: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What makes these weights."""
        return command_line("train", recipe=self.name, set=list(self.overrides))


def open_training(
    name: str | None, out: Path, overrides: Sequence[str] = (), *, resume: bool = False, licence: str | None = None
) -> Training:
    """The training that somebody asks for: of a recipe, or the one that `out` holds.

    Args:
        name: of the recipe, or its file; None: what `out` holds.
        out: the run's folder.
        overrides: `KEY=VALUE`, on top of the recipe, or of what `out` holds.
        resume: go on with what `out` holds, where it holds something.
        licence: of the weights.

    Raises:
        InputError: no recipe, a bad one, or a folder that holds another training.
    """
    known = _known(out / RUN_FILE) if resume and (out / CHECKPOINT).exists() else None
    if known is None:
        if name is None:
            what = "has no run.json of a training" if (out / CHECKPOINT).exists() else "holds no training to go on with"
            raise InputError(f"{out} {what}: give its recipe" if resume else "give a recipe, such as patn_finetune")
        return Training(load_recipe(name, tuple(overrides)), Path(name).stem, licence, tuple(overrides))
    told = str(known.get("recipe_name") or "")
    if name is not None and told and Path(name).stem.removeprefix("patn_") != told.removeprefix("patn_"):
        raise InputError(f"{out} holds a training of {told}, not of {Path(name).stem}: leave the recipe out to go on")
    before = tuple(str(one) for one in known.get("overrides") or ())
    told_all = (*before, *(one for one in overrides if one not in before))
    if name is not None:  # it may have been edited: then what changed is refused
        recipe = load_recipe(name, told_all)
    else:
        raw = copy.deepcopy(known["recipe"])
        for override in overrides:
            override_value(raw, override)
        recipe = check_recipe(raw, str(out / RUN_FILE))
    _check_same_data(check_recipe(known["recipe"], str(out / RUN_FILE)), recipe, out / RUN_FILE)
    return Training(recipe, told or "RECIPE", licence or known.get("licence"), told_all)


def _known(path: Path) -> dict[str, Any] | None:
    """What a run says of its recipe; None where nobody wrote that down."""
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise TypeError("it is no object")
        typed = isinstance(found.get("licence"), str | None) and isinstance(found.get("overrides", []), list)
        if isinstance(found["recipe"], dict) and typed:
            return dict(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {path} ({reason_of(error)}): remove it, and give the recipe") from None
    raise InputError(f"{path} holds no recipe: remove it, and give the recipe")


def _check_same_data(earlier: Recipe, now: Recipe, path: Path) -> None:
    old, new = (one.data.model_dump(mode="json") for one in (earlier, now))
    if changed := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
        raise InputError(f"can't resume on other data: {', '.join(sorted(changed))} changed since {path}")


def train_recipe(
    training: Training,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    max_seconds: float | None = None,
    facts: Mapping[str, Any] | None = None,
    source: PairSource | None = None,
    sheets: bool = True,
    on_checkpoint: Callable[[TrainState], None] | None = None,
    say: Say = lambda _: None,
) -> TrainResult | None:
    """Train, or go on training.

    Long because its ten arguments are explained here.

    Args:
        training: what.
        out: the run's folder.
        device: where; one process of several takes its own.
        resume: go on with what `out` holds.
        max_seconds: stop after this time, with a checkpoint.
        facts: more for `run.json`.
        source: the pairs, where they are open already.
        sheets: draw sample sheets on the way.
        on_checkpoint: as for `train_generator`.
        say: told once if other work hinders this one.

    Returns:
        How it ended; None in all processes but the first.

    Raises:
        InputError: `out` holds a training and `resume` is not said; or as `train_generator`.
    """
    recipe, settings = training.recipe, replace(training.recipe.settings(), max_seconds=max_seconds)
    processes, where = launched_processes(resolve_device(device))
    if (out / CHECKPOINT).exists() and not resume:
        raise InputError(f"{out} already holds a training: resume it, or name another folder", "resume")
    if not processes.first:
        hide_progress()
    busy = _Busy(where, say if processes.first else lambda _: None)
    source = source or recipe.data.open(where)
    names: list[str] = getattr(source, "training_images", [])
    earlier = listed_images(settings.init_weights) if settings.init_weights else []
    told: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_name": training.name,
        "overrides": training.overrides,
    }
    told |= {"licence": training.licence, "device": str(where), **(facts or {})}

    def saved(state: TrainState) -> None:
        busy.look(running=True)
        if on_checkpoint:
            on_checkpoint(state)

    result = train_generator(
        settings,
        source,
        out,
        where,
        resume=resume,
        info={**described(training, names), "command": training.command, "device": where.type},
        on_sheet=_sheets(source, out, settings) if sheets else None,
        on_checkpoint=saved,
        processes=processes,
        on_start=(lambda: describe_run(out / RUN_FILE, told)) if processes.first else None,
    )
    if not processes.first:
        return None
    if result.weights:
        write_list(result.weights, [*names, *earlier])
    return result


class _Busy:
    """Says once that others hinder a training on the CPU."""

    def __init__(self, where: torch.device, say: Say) -> None:
        self.say, self.silent = say, where.type != "cpu"
        self.look(running=False)

    def look(self, running: bool) -> None:
        if not self.silent and (note := busy_note(torch.get_num_threads(), running)):
            self.silent = True
            self.say(note)


def end_lines(result: TrainResult, training: Training, out: Path) -> list[str]:
    """How a training ended, in the bar's unit, and what comes next."""
    settings = training.recipe.settings()
    done, total = (steps * settings.batch_size for steps in (result.step, settings.total_steps))
    if not result.finished:
        go_on = command_line("train", resume=True, out=out)
        return [f"Stopped at {done:,} of {total:,} pairs (step {result.step} of {settings.total_steps}).",
                f"Next: {go_on}"]  # fmt: skip
    data = training.recipe.data
    root, plan, about = None, None, {}
    if isinstance(data, FolderSource):
        root, plan = Path(data.root), data.plan
        about = said(data.layout, Path(data.keypoints) if data.keypoints else None)
    measure = command_line("measure", result.weights, data=root, pairs=MEASURED, sheet=out / "pairs.png")
    made = generate_command(root, result.weights, about)
    if plan:
        made = command_line("generate", root, plan=plan, **about, weights=result.weights)
    return [
        f"Finished after {done:,} pairs ({result.step:,} steps): {result.weights}",
        f"Next: {measure}   or   {made}",
    ]


def described(training: Training, names: list[str]) -> dict[str, Any]:
    """What the weights say of their data, so that anyone can check later whether a plan's dropped images were seen."""
    settings = training.recipe.settings()
    init = lineage(settings.init_weights) if settings.init_weights else None
    licence = training.licence or licence_of(training.recipe.licence(), init)
    told: dict[str, Any] = {"data": training.recipe.described(), "licence": licence}
    if names:
        told["training_images"] = {"sha256": names_digest(names), "count": len(names)}
    return told


def _sheets(source: PairSource, out: Path, settings: PATNTrainSettings) -> Callable[[TrainState], None]:
    """A function that draws what the generator can do now, always on the same pairs."""
    from augment.generators.patn.patn_transfer import PATNTransfer
    from augment.quality.errors import batch_sheet

    def draw(state: TrainState) -> None:
        network = state.exported
        training = network.training
        network.eval().use_blocks(network.architecture["n_blocks"])
        generator = PATNTransfer(network, "in training", source.size, settings.sigma)
        batch_sheet(generator, source.preview(16), out / "sheets" / f"step_{state.step:06d}.png")
        network.train(training)

    return draw
