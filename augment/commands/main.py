"""The command line `patn-augment`: parse, validate, one call. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from augment.commands.options import DEVICE, EXISTING, FOLDER, parse_shard
from augment.commands.poses import measure_poses, pose_library, poses, train_poses
from augment.commands.quality import calibrate_gate, gate, quality
from augment.commands.table import table

SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same bytes."
)


LAYOUT = click.option(
    "--layout",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "market1501", "dukemtmc", "msmt17", "cuhk03-np", "folders"]),
)
F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="patn-augment")
def cli() -> None:
    """Give every person of a re-identification data set more poses, and measure what that buys.

    Add --debug anywhere for a traceback instead of a one-line error.
    """


def _plan_options(command: F) -> F:
    """The options that determine a plan, shared by `plan` and `generate`."""
    sources = ["dataset", "identity", "camera", "diverse", "library"]
    options = [
        click.option("--ratio", type=click.FloatRange(min=0), help="Share of each identity's training images that is "
                     "replaced (--mode replace, 0 to 1) or added (--mode add, 1.0 doubles)."),
        click.option("--data", type=EXISTING, help="Data set folder. Default: the embedded synthetic data set."),
        LAYOUT,
        click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own."),
        click.option("--mode", type=click.Choice(["replace", "add"]), default="replace", show_default=True),
        click.option("--pose-source", type=click.Choice(sources), default="dataset", show_default=True,
                     help="Where the new poses come from."),
        click.option("--library", type=EXISTING, help="Keypoints file of poses, for --pose-source library. Default: "
                     "a gait cycle from all sides, which ships."),
        click.option("--exclude-same-image", is_flag=True, help="Never take a pose from the condition image itself."),
        SEED,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@_plan_options
@click.option("--plan", type=EXISTING, help="Carry out this plan (see `patn-augment plan`) instead of drawing one.")
@click.option("--out", type=FOLDER, help="Folder to write. Default: a new one under ./runs.")
@click.option("--weights", help="Name of shipped weights or a .safetensors file. Default: the best for the device.")
@DEVICE
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Never changes a byte.")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--blocks", type=click.IntRange(min=1), help="Leave after so many blocks: faster (any-depth weights).")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    show_default=True,
    help="How real images get into the new folder.",
)
@click.option("--gate", is_flag=True, help="Reject images in a wrong pose, of another person or broken; try "
              "other poses, else keep the real image.")  # fmt: skip
@click.option("--gate-thresholds", type=EXISTING, help="Of patn-augment calibrate-gate. Default: set on this data set.")
@click.option("--gate-weights", type=EXISTING, help="Of the estimator that the thresholds were set with.")
@click.option("--gate-retries", type=click.IntRange(min=0), default=2, show_default=True, help="Other poses to try.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished --out.")
@click.option("--shard", default="0/1", show_default=True, help="I/N: do the I-th of N parts (I from 0).")
def generate(shard: str, **options: Any) -> None:
    """Replace or add training images by generated ones in new poses; write a Market-1501 folder.

    \b
    patn-augment generate --ratio 0.5
    patn-augment generate --data Market-1501 --ratio 0.5 --out Market-1501-p0.5
    """
    from augment.commands.workflow import GenerateOptions, generate_folder

    generate_folder(GenerateOptions(shard=parse_shard(shard), **options), click.echo)


@cli.command()
@click.argument("out", type=FOLDER)
@_plan_options
@click.option("--pose-space", type=FOLDER, help="Also a PNG: which poses identities have, before and after.")
def plan(out: Path, pose_space: Path | None, **options: Any) -> None:
    """Write the plan that `generate` would carry out, as CSV, to look at or edit: OUT."""
    from augment.commands.workflow import GenerateOptions, write_plan_file

    write_plan_file(GenerateOptions(**options), out, click.echo, pose_space)


@cli.command("reid-eval")
@click.option("--backbone", help="resnet50, inception_v2 or torchreid:NAME. Default: the recipe's, or resnet50.")
@click.option("--data", type=EXISTING, help="The original data set. Default: what the augmented folder was made of.")
@click.option(
    "--augmented", type=EXISTING, help="The augmented folder. Default: the newest under ./runs, or a new one."
)
@LAYOUT
@click.option("--preset", type=click.Choice(["quick", "ide", "bot"]), default="quick", show_default=True)
@click.option("--recipe", help="A YAML file, or the name of a re-ID recipe that ships, in place of --preset.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Replace a setting, such as lr=1e-4.")
@click.option("--init", help="scratch (default), imagenet or a weights file.")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the preset's.")
@click.option("--generated-label", type=click.Choice(["hard", "lsr", "lsro"]), help="Default: hard.")
@click.option("--rerank", is_flag=True, default=None, help="Rank by k-reciprocal encoding (Zhong et al., CVPR 2017).")
@click.option("--breakdown", is_flag=True, help="Also print scores by the query's camera and by its pose.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds, from --seed on."
)
@SEED
@DEVICE
def reid_eval(
    data: Path | None,
    augmented: Path | None,
    layout: str,
    preset: str,
    recipe: str | None,
    changes: tuple[str, ...],
    breakdown: bool,
    seeds: int,
    seed: int,
    **overrides: Any,
) -> None:
    """Train a re-ID baseline on the original and on the augmented images; print both and the gain.

    \b
    patn-augment reid-eval --backbone resnet50
    patn-augment reid-eval --backbone inception_v2 --data Market-1501 --augmented Market-1501-p0.5 --preset ide
    patn-augment reid-eval --recipe reid_bot --set init=imagenet --data Market-1501 --augmented Market-1501-p0.5
    """
    from augment.commands.workflow import EvaluationOptions, evaluate_pair

    options = EvaluationOptions(preset, recipe, changes, overrides, list(range(seed, seed + seeds)), layout, breakdown)
    evaluate_pair(data, augmented, options, click.echo)


@cli.command()
@click.argument("out", type=FOLDER)
@click.option("--train-ids", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--test-ids", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--images-per-id", type=click.IntRange(min=2), default=12, show_default=True)
@click.option("--cameras", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--height", type=click.IntRange(min=32), default=128, show_default=True)
@click.option("--width", type=click.IntRange(min=16), default=64, show_default=True)
@click.option("--masks", is_flag=True, help="Also write the exact person masks, as PNG.")
@SEED
@DEVICE
def synth(out: Path, height: int, width: int, device: str, **options: Any) -> None:
    """Draw a synthetic data set of pedestrians in the Market-1501 layout, with keypoints."""
    from augment.synth.dataset import SynthSettings, write_dataset
    from reid_eval.runtime import resolve_device

    settings = SynthSettings(size=(height, width), **options)
    write_dataset(out, settings, resolve_device(device))
    total = (settings.train_ids + settings.test_ids) * settings.images_per_id
    click.echo(f"Wrote {out}: {settings.train_ids} + {settings.test_ids} synthetic identities, {total} images.")


@cli.command()
@click.option("--recipe", required=True, help="A YAML file, or the name of a recipe that ships.")
@click.option("--out", type=FOLDER, required=True, help="Run directory: checkpoint, log, weights.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value, such as train.lr=1e-4.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--max-seconds", type=click.FloatRange(min=1), help="Stop after this time, with a checkpoint.")
@DEVICE
def train(
    recipe: str, out: Path, overrides: tuple[str, ...], resume: bool, max_seconds: float | None, device: str
) -> None:
    """Train a generator as a recipe says."""
    from augment.commands.training import train_recipe

    train_recipe(recipe, out, overrides, resume, max_seconds, device, click.echo)


@cli.command("import-checkpoint")
@click.argument("checkpoint", type=EXISTING)
@click.argument("out", type=FOLDER)
def import_checkpoint(checkpoint: Path, out: Path) -> None:
    """Convert the PATN authors' latest_net_netG.pth to safetensors, strictly."""
    from augment.generators.patn.authors import import_checkpoint as convert

    click.echo("\n".join(convert(checkpoint, out).lines()))


@cli.command()
@click.argument("weights")
@click.argument("out", type=FOLDER)
@click.option("--dtype", type=click.Choice(["float32", "float16", "int8"]), required=True)
@click.option("--pairs", type=click.IntRange(min=1), default=128, show_default=True, help="Pairs to measure on.")
@DEVICE
def convert(weights: str, out: Path, dtype: str, pairs: int, device: str) -> None:
    """Store a generator's weights in other bits, and measure what that costs.

    WEIGHTS is the name of shipped weights or a .safetensors file.
    """
    from augment.commands.training import convert_weights

    convert_weights(weights, out, dtype, pairs, device, click.echo)


@cli.command()
@click.argument("root", type=EXISTING)
@click.argument("out", type=FOLDER)
@click.option("--split", type=click.Choice(["train", "query", "gallery"]), default="gallery", show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Default: 12000 of a test split, all of the training split.")
@click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")
@LAYOUT
@SEED
def pairs(root: Path, out: Path, split: str, count: int | None, keypoints: Path | None, layout: str, seed: int) -> None:
    """List pairs (condition, target) of a data set by the authors' rules, as CSV: OUT.

    Use it by --set data.pairs=OUT in a training.
    """
    from augment.commands.training import list_pairs
    from augment.pairs.lists import TEST_PAIRS

    wanted = count or (None if split == "train" else TEST_PAIRS)
    list_pairs(root, out, split, wanted, layout, keypoints, seed, click.echo)


@cli.command()
@click.argument("folder", type=EXISTING)
def verify(folder: Path) -> None:
    """Check an augmented folder against its manifest; exit code 1 if files are missing, changed or extra."""
    from augment.folder.generate import verify as check

    report = check(folder)
    click.echo(report.message)
    if not report.ok:
        sys.exit(1)


@cli.command()
@click.argument("folder", type=EXISTING)
@click.argument("png", type=FOLDER, required=False)
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="Generated images to show.")
@SEED
def sheet(folder: Path, png: Path | None, count: int, seed: int) -> None:
    """Picture of an augmented folder: condition, target pose, generated, real image in that pose."""
    from augment.quality.sheet import folder_sheet

    folder = folder.resolve()
    png = png or folder.parent / f"{folder.name}.sheet.png"
    folder_sheet(folder, png, count=count, seed=seed)
    click.echo(f"Wrote {png}")


@cli.command()
@click.argument("weights")
@click.option("--data", type=EXISTING, help="Pairs of this data set's test split. Default: unseen synthetic people.")
@click.option("--pairs", type=click.IntRange(min=1), default=512, show_default=True)
@click.option("--sheet", "png", type=FOLDER, help="Also write a picture of 32 pairs.")
@click.option("--json", "target", type=FOLDER, help="Also write the figures.")
@DEVICE
def measure(weights: str, data: Path | None, pairs: int, png: Path | None, target: Path | None, device: str) -> None:
    """Measure a generator on pairs it has not seen: L1 to the target, and what copying the photo would give.

    WEIGHTS is the name of shipped weights or a .safetensors file.
    """
    from augment.commands.training import measure_weights

    measure_weights(weights, data, pairs, png, target, device, click.echo)


@cli.command()
@click.option("--image", type=EXISTING, required=True, help="The photo to redraw.")
@click.option("--pose", type=EXISTING, required=True, help="An image that lends its pose.")
@click.option("-o", "--out", "png", type=FOLDER, required=True, help="PNG to write.")
@click.option("--keypoints", type=EXISTING, help="Annotation file of both. Default: their data set's own.")
@click.option("--weights", help="Name of shipped weights or a .safetensors file. Default: the best for the device.")
@click.option("--blocks", type=click.IntRange(min=1), help="Leave after so many blocks (any-depth weights).")
@DEVICE
def explain(
    image: Path, pose: Path, png: Path, keypoints: Path | None, weights: str | None, blocks: int | None, device: str
) -> None:
    """Picture of one transfer: condition, poses, the attention mask of each block, result.

    \b
    patn-augment explain --image Market-1501/bounding_box_train/0002_c1s1_000451_03.jpg \\
        --pose Market-1501/bounding_box_train/0007_c2s3_070952_01.jpg -o out.png
    """
    from augment.commands.workflow import explain_transfer

    explain_transfer(image, pose, png, keypoints, weights, blocks, device, click.echo)


@cli.command("plot-log")
@click.argument("log", type=EXISTING)
@click.argument("png", type=FOLDER)
def plot_log(log: Path, png: Path) -> None:
    """Plot a training's losses and rate from its train.jsonl: PNG."""
    from augment.quality.plots import plot_losses

    plot_losses(log, png)
    click.echo(f"Wrote {png}")


@cli.command("depth-curve")
@click.argument("weights")
@click.argument("png", type=FOLDER)
@click.option("--pairs", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--speed-batch", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--json", "target", type=FOLDER, help="Also write the figures.")
@DEVICE
def depth_curve(weights: str, png: Path, pairs: int, speed_batch: int, target: Path | None, device: str) -> None:
    """Plot SSIM, L1 and images a second against the number of blocks, for any-depth WEIGHTS: PNG."""
    from augment.commands.training import draw_depth_curve

    draw_depth_curve(weights, png, pairs, speed_batch, target, device, click.echo)


cli.add_command(table)
cli.add_command(quality)
cli.add_command(gate)
cli.add_command(calibrate_gate)


cli.add_command(poses)
cli.add_command(pose_library)
cli.add_command(train_poses)
cli.add_command(measure_poses)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one-line errors; exit code 2 for bad input, 1 for anything unexpected, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        cli.main(args=arguments, prog_name="patn-augment", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        from reid_eval.runtime import InputError

        if isinstance(error, InputError):
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
        click.echo(f"Error: {type(error).__name__}: {error} (add --debug for the traceback)", err=True)
        sys.exit(1)
