"""Commands that make generators: training, conversion. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, EXISTING, FOLDER, OUT
from augment.runs import Say


@command("Train")
@click.option("--recipe", help="A YAML file, or the name of a recipe that ships. Not needed with --resume.")
@click.option("--out", type=FOLDER, required=True, help="Run directory: checkpoint, log, sheets, weights.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value, such as train.lr=1e-4.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out, by the recipe in its run.json.")
@click.option("--max-seconds", type=click.FloatRange(min=1), help="Stop after this time, with a checkpoint.")
@click.option("--licence", metavar="TEXT", help="Of the weights, for their metadata. Default: MIT where drawn people "
              "alone went in, else unspecified.")  # fmt: skip
@DEVICE
def train(
    recipe: str | None,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    max_seconds: float | None,
    licence: str | None,
    device: str,
) -> None:
    """Train a generator as a recipe says.

    \b
    patn-augment train --recipe patn_finetune --out runs/ft --set data.root=Market-1501
    patn-augment train --resume --out runs/ft
    """
    from augment.generators.patn.train import CHECKPOINT
    from augment.start.recipe_training import end_lines, open_training, train_recipe
    from reid_eval.runtime import InputError

    if (out / CHECKPOINT).exists() and not resume:
        raise InputError(f"{out} already holds a training: give --resume to go on, or another folder")
    training = open_training(recipe, out, overrides, resume=resume, licence=licence)
    result = train_recipe(training, out, device=device, resume=resume, max_seconds=max_seconds, say=echo)
    if result is not None:
        facts = {"step": result.step, "finished": result.finished, "losses": result.losses}
        figures({**facts, "weights": str(result.weights) if result.weights else None})
        echo("\n".join(end_lines(result, training, out)))


@command("Train", "import-checkpoint")
@click.argument("checkpoint", type=EXISTING)
@OUT
def import_checkpoint(checkpoint: Path, out: Path) -> None:
    """Convert the PATN authors' latest_net_netG.pth to safetensors, strictly.

    \b
    patn-augment import-checkpoint latest_net_netG.pth --out patn.safetensors
    """
    from dataclasses import asdict

    from augment.generators.patn.authors import import_checkpoint as convert

    found = convert(checkpoint, out)
    figures({**asdict(found), "path": str(found.path)})
    echo("\n".join(found.lines()))


@command("Train")
@click.argument("weights")
@OUT
@click.option("--dtype", type=click.Choice(["float32", "float16", "int8"]), required=True)
@click.option("--pairs", type=click.IntRange(min=1), default=128, show_default=True, help="Pairs to measure on.")
@DEVICE
def convert(weights: str, out: Path, dtype: str, pairs: int, device: str) -> None:
    """Store a generator's weights in other bits, and measure what that costs.

    WEIGHTS is the name of shipped weights or a .safetensors file.

    \b
    patn-augment convert runs/ft/generator.safetensors --out small.safetensors --dtype int8
    """
    convert_weights(weights, out, dtype, pairs, device, echo)


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
    facts = {"dtype": dtype, "bytes": target.stat().st_size}
    figures({**facts, "before": old.to_dict(), "after": new.to_dict()})
    say(f"Wrote {target}: {dtype}, {target.stat().st_size / 1e6:.1f} MB.")
    say(
        f"L1 inside the person on {pairs} unseen synthetic pairs: {old.l1_mask:.3f} before, {new.l1_mask:.3f} after "
        f"({change:+.2f}%)."
    )
