"""Commands that show what a generator does. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, EXISTING, FOLDER, WEIGHTS_HELP
from augment.runs import Say


@command("Measure")
@click.argument("weights")
@click.option("--data", type=EXISTING, help="Pairs of this data set's test split. Default: unseen synthetic people.")
@click.option("--pairs", type=click.IntRange(min=1), default=512, show_default=True, help="How many.")
@click.option("--sheet", "png", type=FOLDER, help="Also write a picture of 32 pairs.")
@DEVICE
def measure(weights: str, data: Path | None, pairs: int, png: Path | None, device: str) -> None:
    """Measure a generator on pairs it has not seen: L1 to the target, and what copying the photo would give.

    WEIGHTS names the generator, which is what is measured: shipped weights, a .safetensors file, entry:NAME
    (entry:copy and entry:warp ship) or package.module:factory of your own code.

    \b
    patn-augment measure patn-synth-tiny --data Market-1501 --pairs 256 --sheet pairs.png
    """

    measure_weights(weights, data, pairs, png, device, echo)


@command("Measure")
@click.argument("image", type=EXISTING)
@click.argument("pose", type=EXISTING)
@click.option("--out", "png", type=FOLDER, required=True, metavar="PNG", help="Picture to write.")
@click.option("--keypoints", type=EXISTING, help="Annotation file of both. Default: their data set's own.")
@click.option("--weights", help=WEIGHTS_HELP + " Default: the best for the device.")
@click.option("--blocks", type=click.IntRange(min=1), help="Leave after so many blocks (any-depth weights).")
@DEVICE
def explain(
    image: Path, pose: Path, png: Path, keypoints: Path | None, weights: str | None, blocks: int | None, device: str
) -> None:
    """Picture of one transfer: condition, poses, the attention mask of each block, result.

    IMAGE is the photo to redraw, POSE an image that lends its pose.

    \b
    patn-augment explain Market-1501/bounding_box_train/0002_c1s1_000451_03.jpg \\
        Market-1501/bounding_box_train/0007_c2s3_070952_01.jpg --out out.png
    """

    explain_transfer(image, pose, png, keypoints, weights, blocks, device, echo)


@command("Train", "plot-log", figures=False)
@click.argument("log", type=EXISTING)
@click.option("--out", "png", type=FOLDER, required=True, metavar="PNG", help="Picture to write: PNG, SVG or PDF.")
def plot_log(log: Path, png: Path) -> None:
    """Plot a training's losses and rate from its train.jsonl: PNG, SVG or PDF by its suffix.

    \b
    patn-augment plot-log runs/ft/train.jsonl --out losses.png
    """
    from augment.quality.plots import plot_losses

    plot_losses(log, png)
    echo(f"Wrote {png}")


@command("Measure", "depth-curve")
@click.argument("weights")
@click.option("--out", "png", type=FOLDER, required=True, metavar="PNG", help="Picture to write: PNG, SVG or PDF.")
@click.option("--pairs", type=click.IntRange(min=1), default=256, show_default=True, help="How many.")
@click.option("--speed-batch", type=click.IntRange(min=1), default=8, show_default=True)
@DEVICE
def depth_curve(weights: str, png: Path, pairs: int, speed_batch: int, device: str) -> None:
    """Plot SSIM, L1 and images a second against the number of blocks, for any-depth WEIGHTS.

    \b
    patn-augment depth-curve patn-synth --out curve.png
    """
    draw_depth_curve(weights, png, pairs, speed_batch, device, echo)


def measure_weights(weights: str, data: Path | None, count: int, png: Path | None, device: str, say: Say) -> None:
    """`patn-augment measure`: figures and, if asked for, a picture."""
    from augment.generators.open import open_generator
    from augment.quality.errors import measure, measured_pairs, pairs_sheet
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    generator = open_generator(weights, where)
    pairs = measured_pairs(generator, data, where, say)
    result = measure(generator, pairs, count)
    say(result.message)
    figures(result.to_dict())
    if png:
        pairs_sheet(generator, pairs, png)
        say(f"Wrote {png}")


def draw_depth_curve(weights: str, png: Path, pairs: int, speed_batch: int, device: str, say: Say) -> None:
    """`patn-augment depth-curve`: figures of every depth, and their picture."""
    from augment.generators.open import as_patn, open_generator
    from augment.quality.depth import depth_curve
    from augment.quality.errors import unseen_pairs
    from augment.quality.plots import plot_depths
    from reid_eval.plotting import check_plot
    from reid_eval.runtime import resolve_device

    check_plot(png)
    where = resolve_device(device)
    generator = as_patn(open_generator(weights, where), "depth-curve")
    points = depth_curve(generator, unseen_pairs(size=generator.size, device=where), pairs, speed_batch)
    for point in points:
        say(
            f"{point.blocks:2d} blocks: SSIM {point.ssim:.3f}, L1 {point.l1:.2f}, inside the person "
            f"{point.l1_mask:.2f}, {point.images_per_second:.1f} images/s"
        )
    plot_depths(points, png, f"{pairs} unseen synthetic pairs, {where.type}, batch {speed_batch}")
    figures({"pairs": pairs, "device": where.type, "depths": [point.to_dict() for point in points]})
    say(f"Wrote {png}")


def explain_transfer(
    image: Path,
    pose: Path,
    png: Path,
    keypoints: Path | None,
    weights: str | None,
    blocks: int | None,
    device: str,
    say: Say,
) -> None:
    """`patn-augment explain`: one transfer, mask by mask."""
    from augment.generators.open import open_generator, pick_weights
    from augment.quality.explain import explain_sheet

    generator = open_generator(pick_weights(weights, device), device, blocks)
    masks = explain_sheet(generator, image, pose, png, keypoints=keypoints)
    for number, mask in enumerate(masks, 1):
        say(f"Block {number}: mask {mask.min():.2f} to {mask.max():.2f}, mean {mask.mean():.2f}")
    facts = [{"min": float(one.min()), "max": float(one.max()), "mean": float(one.mean())} for one in masks]
    figures({"generator": generator.name, "masks": facts})
    if not masks:
        say(f"{generator.name} has no masks to show: only PATN's blocks have")
    say(f"Wrote {png}")
