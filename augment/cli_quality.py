"""Commands about the quality of generated images. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)
_EXISTING = click.Path(exists=True, path_type=Path)
_DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")


@click.command()
@click.argument("out", type=_EXISTING, required=False)
@click.option("--pairs", metavar="WEIGHTS", help="Instead of a folder: a generator, against the real images of test "
              "pairs. Name of shipped weights or a .safetensors file.")  # fmt: skip
@click.option("--data", type=_EXISTING, help="With OUT, the data set it was made of, for pose space before; with "
              "--pairs, the data set of the pairs (its test split). Default: unseen synthetic people.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="Images at most. Default: all of OUT, 512 pairs.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option("--estimator", default="synth", show_default=True, help="For PCKh; see `patn-augment poses`.")
@click.option("--estimator-weights", type=_EXISTING, help="Of the estimator.")
@click.option("--inception", type=_EXISTING, help="torch-fidelity's Inception, for IS and FID. Default: download.")
@click.option("--lpips", type=_EXISTING, help="torchvision's AlexNet, for LPIPS. Default: download.")
@click.option("--detector", type=_EXISTING, help="torchvision's weights of --detector-name, for DS. Default: download.")
@click.option("--detector-name", default="ssd300_vgg16", show_default=True, help="A torchvision detector.")
@click.option("--reid", type=_EXISTING, help="Weights of a re-ID network, for identity similarity.")
@click.option("--reid-backbone", default="resnet50", show_default=True, help="Its name, as in reid-eval.")
@click.option("--json", "target", type=_FILE, help="Also write the figures.")
@click.option("--csv", type=_FILE, help="Also write the figures, a line a metric.")
@click.option("--pose-space", type=_FILE, help="PNG: which poses identities have, before and after.")
@_DEVICE
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
@click.argument("data", type=_EXISTING)
@click.argument("out", type=_FILE)
@click.option("--keypoints", type=_EXISTING, help="Annotation file. Default: the data set's own.")
@click.option("--estimator", "name", default="synth", show_default=True, help="See `patn-augment poses`.")
@click.option("--weights", type=_EXISTING, help="Of the estimator.")
@click.option("--count", type=click.IntRange(min=8), default=256, show_default=True, help="Real images to look at.")
@click.option("--false-alarms", type=click.FloatRange(0, 1), default=0.02, show_default=True,
              help="Share of right poses, and of the same people, that may be rejected.")  # fmt: skip
@_DEVICE
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
    from augment.gate_workflow import calibrate_gate as run

    run(data, out, keypoints, name, weights, count, false_alarms, device, click.echo)


@click.command()
@click.argument("out", type=_EXISTING)
@click.option("--thresholds", type=_EXISTING, help="Of calibrate-gate. Default: set on the real images in OUT.")
@click.option("--weights", type=_EXISTING, help="Of the estimator.")
@click.option("--csv", "target", type=_FILE, help="Also write a line an image: its numbers, and what it failed.")
@click.option("--sheet", "png", type=_FILE, help="Also write a picture: photo, generated, asked pose; red is rejected.")
@_DEVICE
def gate(
    out: Path, thresholds: Path | None, weights: Path | None, target: Path | None, png: Path | None, device: str
) -> None:
    """Judge the generated images of an augmented folder, OUT; exit code 1 if any is rejected."""
    from augment.gate_workflow import run_gate

    if not run_gate(out, thresholds, weights, target, png, device, click.echo):
        sys.exit(1)
