"""Commands that make generators: training, conversion. Heavy imports happen inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augment.commands.echo import echo
from augment.commands.options import DEVICE, EXISTING, FOLDER
from augment.runs import Say, describe_run
from reid_eval.foreign import read_json
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import torch

    from augment.generators.patn.batch import PairSource
    from augment.generators.patn.settings import PATNTrainSettings
    from augment.generators.patn.state import TrainState
    from augment.pairs.training_recipe import Recipe


@click.command()
@click.option("--recipe", required=True, help="A YAML file, or the name of a recipe that ships.")
@click.option("--out", type=FOLDER, required=True, help="Run directory: checkpoint, log, weights.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value, such as train.lr=1e-4.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--max-seconds", type=click.FloatRange(min=1), help="Stop after this time, with a checkpoint.")
@click.option("--licence", metavar="TEXT", help="Of the weights, for their metadata. Default: MIT where drawn people "
              "alone went in, else unspecified.")  # fmt: skip
@DEVICE
def train(
    recipe: str,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    max_seconds: float | None,
    licence: str | None,
    device: str,
) -> None:
    """Train a generator as a recipe says."""

    train_recipe(recipe, out, overrides, resume, max_seconds, licence, device, echo)


@click.command("import-checkpoint")
@click.argument("checkpoint", type=EXISTING)
@click.argument("out", type=FOLDER)
def import_checkpoint(checkpoint: Path, out: Path) -> None:
    """Convert the PATN authors' latest_net_netG.pth to safetensors, strictly."""
    from augment.generators.patn.authors import import_checkpoint as convert

    echo("\n".join(convert(checkpoint, out).lines()))


@click.command()
@click.argument("weights")
@click.argument("out", type=FOLDER)
@click.option("--dtype", type=click.Choice(["float32", "float16", "int8"]), required=True)
@click.option("--pairs", type=click.IntRange(min=1), default=128, show_default=True, help="Pairs to measure on.")
@DEVICE
def convert(weights: str, out: Path, dtype: str, pairs: int, device: str) -> None:
    """Store a generator's weights in other bits, and measure what that costs.

    WEIGHTS is the name of shipped weights or a .safetensors file.
    """

    convert_weights(weights, out, dtype, pairs, device, echo)


def train_recipe(
    recipe: str,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    max_seconds: float | None,
    licence: str | None,
    device: str,
    say: Say,
) -> None:
    """`patn-augment train`: read the recipe, open its data, train, say where the weights are."""
    from dataclasses import replace

    from augment.generators.lineage import listed_images, write_list
    from augment.generators.patn.distributed import launched_processes
    from augment.generators.patn.train import CHECKPOINT, train_generator
    from augment.pairs.training_recipe import load_recipe
    from reid_eval.runtime import hide_progress, resolve_device

    parsed = load_recipe(recipe, overrides)
    settings = replace(parsed.settings(), max_seconds=max_seconds)
    processes, where = launched_processes(resolve_device(device))
    data = parsed.data.model_dump(mode="json")
    if (out / CHECKPOINT).exists():
        if not resume:
            raise InputError(f"{out} already holds a training: give --resume to go on, or another folder")
        _check_same_data(out / "run.json", data)
    if not processes.first:
        hide_progress()
    source = parsed.data.open(where)
    names: list[str] = getattr(source, "training_images", [])
    earlier = listed_images(settings.init_weights) if settings.init_weights else []
    command = " ".join(["patn-augment train --recipe", Path(recipe).stem, *(f"--set {item}" for item in overrides)])
    result = train_generator(
        settings,
        source,
        out,
        where,
        resume=resume,
        info={**_told(parsed, settings, names, licence), "command": command, "device": where.type},
        on_sheet=_sheets(source, out, settings),
        processes=processes,
        on_start=_description(parsed, out, where) if processes.first else None,
    )
    if not processes.first:
        return
    if result.weights:
        write_list(result.weights, [*names, *earlier])
    if result.finished:
        say(f"Finished after {result.step} steps: {result.weights}")
    else:
        say(f"Stopped at step {result.step} of {settings.total_steps}; the same command with --resume goes on.")


def _description(parsed: Recipe, out: Path, where: torch.device) -> Callable[[], None]:
    """A function that writes what the training is: not called for one that is refused."""
    return lambda: describe_run(out / "run.json", {"recipe": parsed.model_dump(mode="json"), "device": str(where)})


def _told(parsed: Recipe, settings: PATNTrainSettings, names: list[str], licence: str | None) -> dict[str, Any]:
    """What the weights say of their data, so that anyone can check later whether a plan's dropped images were seen."""
    from augment.generators.lineage import licence_of, lineage
    from augment.generators.weights import names_digest

    init = lineage(settings.init_weights) if settings.init_weights else None
    told: dict[str, Any] = {"data": parsed.described(), "licence": licence or licence_of(parsed.licence(), init)}
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


def _check_same_data(path: Path, data: dict[str, Any]) -> None:
    try:
        earlier = dict(read_json(path)["recipe"]["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # nobody said; the settings in the checkpoint are compared in any case
    if changed := [key for key in {*earlier, *data} if earlier.get(key) != data.get(key)]:
        raise InputError(f"can't resume on other data: {', '.join(sorted(changed))} changed since {path}")


def convert_weights(weights: str, target: Path, dtype: str, pairs: int, device: str, say: Say) -> None:
    """`patn-augment convert`: store weights in fewer bits, and say what that costs."""
    from augment.generators.lineage import lineage, listed_images, write_list
    from augment.generators.open import as_patn, open_generator
    from augment.generators.patn.load import save_generator
    from augment.generators.patn.patn_transfer import PATNTransfer
    from augment.quality.errors import measure, unseen_pairs
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    before = as_patn(open_generator(weights, where), "convert")
    known = {key: value for key, value in lineage(weights).items() if key == "init"}
    save_generator(target, before.network, {**known, **before.info}, dtype)
    write_list(target, listed_images(weights))
    after = PATNTransfer.open(target, where)
    unseen = unseen_pairs(identities=32, size=before.size, device=where)
    old, new = (measure(generator, unseen, pairs) for generator in (before, after))
    change = 100 * (new.l1_mask / old.l1_mask - 1)
    say(f"Wrote {target}: {dtype}, {target.stat().st_size / 1e6:.1f} MB.")
    say(
        f"L1 inside the person on {pairs} unseen synthetic pairs: {old.l1_mask:.3f} before, {new.l1_mask:.3f} after "
        f"({change:+.2f}%)."
    )
