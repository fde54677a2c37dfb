"""Commands about the quality of generated images. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from augment.commands.options import DEVICE, EXISTING, FOLDER


@click.command()
@click.argument("out", type=EXISTING, required=False)
@click.option("--pairs", metavar="WEIGHTS", help="Instead of a folder: a generator, against the real images of test "
              "pairs. Name of shipped weights or a .safetensors file.")  # fmt: skip
@click.option("--data", type=EXISTING, help="With OUT, the data set it was made of, for pose space before; with "
              "--pairs, the data set of the pairs (its test split). Default: unseen synthetic people.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="Images at most. Default: all of OUT, 512 pairs.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option("--estimator", default="synth", show_default=True, help="For PCKh; see `patn-augment poses`.")
@click.option("--estimator-weights", type=EXISTING, help="Of the estimator.")
@click.option("--inception", type=EXISTING, help="torch-fidelity's Inception, for IS and FID. Default: download.")
@click.option("--lpips", type=EXISTING, help="torchvision's AlexNet, for LPIPS. Default: download.")
@click.option("--detector", type=EXISTING, help="torchvision's weights of --detector-name, for DS. Default: download.")
@click.option("--detector-name", default="ssd300_vgg16", show_default=True, help="A torchvision detector.")
@click.option("--reid", type=EXISTING, help="Weights of a re-ID network, for identity similarity.")
@click.option("--reid-backbone", default="resnet50", show_default=True, help="Its name, as in reid-eval.")
@click.option("--json", "target", type=FOLDER, help="Also write the figures.")
@click.option("--csv", type=FOLDER, help="Also write the figures, a line a metric.")
@click.option("--pose-space", type=FOLDER, help="PNG: which poses identities have, before and after.")
@DEVICE
def quality(**options: Any) -> None:
    """Measure generated images: OUT, an augmented folder, or a generator against real images.

    What needs weights that cannot be had is left out, with the reason.

    \\b
    patn-augment quality Market-1501-p0.5 --pose-space space.png
    patn-augment quality --pairs patn-synth-tiny --data Market-1501
    """
    from augment.quality.workflow import QualityOptions, run_quality

    run_quality(QualityOptions(**options), click.echo)


@click.command("calibrate-gate")
@click.argument("data", type=EXISTING)
@click.argument("out", type=FOLDER)
@click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")
@click.option("--estimator", "name", default="synth", show_default=True, help="See `patn-augment poses`.")
@click.option("--weights", type=EXISTING, help="Of the estimator.")
@click.option("--count", type=click.IntRange(min=8), default=256, show_default=True, help="Real images to look at.")
@click.option("--false-alarms", type=click.FloatRange(0, 1), default=0.02, show_default=True,
              help="Share of right poses, and of the same people, that may be rejected.")  # fmt: skip
@DEVICE
def calibrate_gate(
    data: Path,
    out: Path,
    keypoints: Path | None,
    name: str,
    weights: Path | None,
    count: int,
    false_alarms: float,
    device: str,
) -> None:
    """Set the gate's thresholds on real training images of DATA; write them to OUT, a JSON file.

    Says what share of wrong and of right poses, of other and of the same people the thresholds reject.
    """
    from augment.gate.workflow import calibrate_gate as run

    run(data, out, keypoints, name, weights, count, false_alarms, device, click.echo)


@click.command()
@click.argument("out", type=EXISTING, required=False)
@click.option("--pairs", metavar="WEIGHTS", help="Instead of a folder: a generator, on test pairs whose real image "
              "is known. Are the images that are rejected the bad ones?")  # fmt: skip
@click.option("--data", type=EXISTING, help="With --pairs, the data set of the pairs (its test split) and of the "
              "thresholds. Default: unseen synthetic people, thresholds of the embedded data set.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="Pairs. Default: 512.")
@click.option("--exchange", type=click.FloatRange(0, 1), help="With --pairs: exchange this share of the "
              "images among each other first. How many does the gate find?")  # fmt: skip
@click.option("--thresholds", type=EXISTING, help="Of calibrate-gate. Default: set on the real images in OUT.")
@click.option("--weights", type=EXISTING, help="Of the estimator.")
@click.option("--csv", "target", type=FOLDER, help="Also write a line an image: its numbers, and what it failed.")
@click.option(
    "--sheet", "png", type=FOLDER, help="Also write a picture: photo, generated, asked pose; red is rejected."
)
@DEVICE
def gate(
    out: Path | None,
    pairs: str | None,
    data: Path | None,
    count: int | None,
    exchange: float | None,
    thresholds: Path | None,
    weights: Path | None,
    target: Path | None,
    png: Path | None,
    device: str,
) -> None:
    """Judge the generated images of an augmented folder, OUT; exit code 1 if any is rejected.

    \b
    patn-augment gate Market-1501-p0.5 --sheet verdicts.png
    patn-augment gate --pairs patn-synth-tiny --exchange 0.2
    """
    from augment.gate.workflow import judge_pairs, run_gate

    if (out is None) == (pairs is None):
        raise click.UsageError("give an augmented folder, or --pairs WEIGHTS to see what the gate does to a generator")
    strangers = (
        {"--csv": target, "--sheet": png} if pairs else {"--data": data, "--count": count, "--exchange": exchange}
    )
    if named := [name for name, value in strangers.items() if value is not None]:
        raise click.UsageError(f"{', '.join(named)}: {'not with' if pairs else 'only with'} --pairs")
    if pairs is not None:
        judge_pairs(pairs, data, thresholds, weights, count or 512, exchange or 0.0, device, click.echo)
        return
    assert out is not None
    if not run_gate(out, thresholds, weights, target, png, device, click.echo):
        sys.exit(1)
