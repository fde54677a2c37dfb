"""Commands about poses: find them, train and measure the estimator that ships. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import (
    DATA,
    DEVICE,
    EXISTING,
    FOLDER,
    OUT,
    ray_options,
    take_cluster,
    worker_device,
)
from augment.commands.suggest import command_line, suggest
from reid_eval.foreign import read_json
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.cluster.ray_pool import Cluster
    from augment.estimators.estimate import Finding

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@command("Keypoints", "train-poses")
@click.option("--out", type=FOLDER, required=True, help="Run directory; ends with weights.safetensors in it.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Of training and rendering; the "
              "learning rate falls to 0 by then.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), help="Of the optimizer at most. Default: 20,000.")
@click.option("--batch-size", type=click.IntRange(min=2), help="Default: 512.")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), help="Default: bf16 on CUDA, else float32.")
@click.option("--seed", type=click.IntRange(min=0), help="The same seed and steps, the same weights on a CPU.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any other setting of the training.")
@click.option("--test-identities", type=click.IntRange(min=2), default=512, show_default=True,
              help="People of each unseen world for thresholds and figures; 4 images each.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an unfinished --out.")
@DEVICE
def train_poses(
    out: Path,
    max_seconds: float | None,
    steps: int | None,
    batch_size: int | None,
    precision: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    test_identities: int,
    resume: bool,
    device: str,
) -> None:
    """Train a pose estimator on synthetic pedestrians, set its thresholds, and measure it on people it has not seen.

    \b
    patn-augment train-poses --out runs/pose --max-seconds 600
    """
    from augment.estimators.posenet.make import FIGURES, make_estimator
    from augment.estimators.posenet.training_settings import pose_settings
    from reid_eval.runtime import resolve_device

    if precision is None and resolve_device(device).type == "cuda":
        precision = "bf16"
    settings = pose_settings(
        overrides, max_seconds=max_seconds, steps=steps, batch_size=batch_size, precision=precision, seed=seed
    )
    out.mkdir(parents=True, exist_ok=True)
    told = " ".join(["patn-augment", *_told(out)])
    make_estimator(settings, out, device=device, resume=resume, test_identities=test_identities, command=told, say=echo)
    figures(read_json(out / FIGURES))


def _told(out: Path) -> list[str]:
    """The arguments of this process for the record, the run directory by its name alone."""
    return [out.name if word == str(out) else word for word in sys.argv[1:]]


@command("Keypoints", "poses")
@click.argument("root", type=_FOLDER)
@click.option("--estimator", "name", help="synth (ships; trained on drawn people), keypointrcnn, rtmpose, mediapipe, "
              "openpose, or command:PROGRAM ARGUMENTS. Default: the best that is here without a download.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Annotation file. Default: ROOT/keypoints-ESTIMATOR.csv.")
@click.option(
    "--estimator-weights",
    "weights",
    type=EXISTING,
    help="Of the estimator. Default: shipped, or downloaded by its own code.",
)
@click.option("--prototxt", type=EXISTING, help="Of openpose's caffemodel.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="The lowest score of a joint. Default: the estimator's.")
@click.option("--height", type=click.IntRange(min=64), default=512, show_default=True,
              help="Small images are enlarged to this height, their borders repeated.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), help="Images at a time. Default: 32; 256 for a program.")
@click.option("--sheet", type=FOLDER, help="Picture of images with skeletons. Default: beside --out; beside ROOT if "
              "--out lies in it, where it would be taken for one of its images.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@DEVICE
@ray_options
def poses(
    root: Path,
    name: str | None,
    out: Path | None,
    weights: Path | None,
    prototxt: Path | None,
    threshold: float | None,
    height: int,
    batch_size: int | None,
    sheet: Path | None,
    resume: bool,
    device: str,
    **ray: Any,
) -> None:
    """Find the joints of every image of a data set or folder; write them in the format that PATN reads.

    A ROOT with the folders or lists of a data set is read as one, and what is wrong with it is an error; of any other
    folder all images are taken, at any depth.

    \b
    patn-augment poses Market-1501
    patn-augment poses Market-1501 --estimator keypointrcnn
    patn-augment poses photos --estimator "command:other/bin/python vitpose_program.py"
    """
    from augment.estimators.build import build_estimator, estimator_kind
    from augment.estimators.estimate import describe_estimator, estimate_folder, share_found
    from augment.estimators.folder_images import annotation_place, folder_images, sheet_place
    from augment.pose.keypoints import find_annotations
    from augment.pose.sheets import skeleton_sheet
    from reid_eval.runtime import resolve_device

    cluster = take_cluster(ray)
    device = worker_device(device, cluster)
    name = name or _best(weights, prototxt)
    kind = estimator_kind(name)
    folder = folder_images(root)
    echo(folder.message)
    out = annotation_place(root, kind, out, resume)
    sheet = sheet_place(folder, out, sheet, resumed=resume and out.exists())
    if out.exists():
        echo(f"{out} is finished already.")
    files: dict[str, Any] = {"weights": weights, "prototxt": prototxt}
    asked: dict[str, Any] = {"threshold": threshold, "height": height}
    # with a cluster, this process only asks it what it is: it may have no GPU
    where = "cpu" if cluster else resolve_device(device)
    estimator = build_estimator(name, **files, **asked, device=where)
    finding = _on_cluster(cluster, name, files, asked)
    facts = describe_estimator(name, weights, threshold, height)
    size = batch_size or (32 if kind == name else 256)
    table = estimate_folder(folder, out, estimator, facts, batch_size=size, resume=resume, finding=finding)
    share = share_found(table)
    echo(share.message)
    skeleton_sheet(root, folder.paths, table, sheet)
    figures({**share._asdict(), **facts, "estimator": kind})
    echo(f"Wrote {out} and {sheet}")
    _suggest(root, out, find_annotations(root), folder.layout is not None)


def _on_cluster(
    cluster: Cluster | None, name: str, files: dict[str, Path | None], asked: dict[str, Any]
) -> Finding | None:
    """Who finds the joints with a cluster; None without one."""
    if cluster is None:
        return None
    from augment.cluster.ray_finding import RayFinding

    return RayFinding(cluster, name, files, asked)


def _best(weights: Path | None, prototxt: Path | None) -> str:
    """The estimator that is taken where none is named; which, and why, is said."""
    from augment.estimators.build import best_installed

    if weights or prototxt:
        raise InputError(
            f"{'--estimator-weights' if weights else '--prototxt'} is of an estimator: give --estimator, too"
        )
    name, why = best_installed()
    echo(f"Estimator: {name}, {why}.")
    return name


def _suggest(root: Path, out: Path, own: list[Path], is_data_set: bool) -> None:
    """How the joints are used."""
    if out not in own and own:
        echo(f"{root} has {own[0].name} of its own: this one is used where --keypoints names it.")
    if is_data_set:
        suggest(command_line("generate", root, keypoints=None if out in own else out, ratio=0.5))
    else:
        echo(f"Use it with --keypoints {out}")


@command("Keypoints", "measure-poses")
@DATA
@click.option(
    "--estimator-weights", "weights", type=EXISTING, help="A file of train-poses. Default: the one that ships."
)
@click.option("--identities", type=click.IntRange(min=2), default=512, show_default=True, help="Synthetic people.")
@click.option("--sheet", type=FOLDER, help="Also write a picture: annotation above, found below.")
@DEVICE
def measure_poses(data: Path | None, weights: Path | None, identities: int, sheet: Path | None, device: str) -> None:
    """Measure the shipped estimator: how near its joints are to annotated ones, and which it reports.

    DATA is a data set with annotations; default: unseen synthetic people.

    \b
    patn-augment measure-poses Market-1501 --sheet joints.png
    """
    from augment.estimators.posenet.measure import measure_estimator

    figures(measure_estimator(weights, data, identities=identities, device=device, sheet=sheet, say=echo))


@command("Keypoints", "pose-library")
@click.argument("keypoints", type=EXISTING, required=False)
@OUT
@click.option("--between", type=click.IntRange(min=0), default=0, show_default=True,
              help="Poses to put between each two that follow each other (name0, name1, ...).")  # fmt: skip
@click.option("--mirror", is_flag=True, help="Add the mirror image of every pose, left and right exchanged.")
@click.option("--size", type=(int, int), metavar="H W", help="Frame of poses whose names do not tell it (NAME@HxW).")
@click.option("--sheet", type=FOLDER, help="Also write a picture of up to 120 poses.")
def pose_library(
    keypoints: Path | None, out: Path, between: int, mirror: bool, size: tuple[int, int] | None, sheet: Path | None
) -> None:
    """Write a pose library for `generate --pose-source library`, as an annotation file.

    KEYPOINTS is a file of poses to start from; default: the library that ships.

    \b
    patn-augment pose-library --out more.csv --between 1 --mirror --sheet more.png
    """
    from augment.pose.keypoints import write_keypoints
    from augment.pose.library import grown_library
    from augment.pose.sheets import library_sheet

    library = grown_library(keypoints, between, mirror, size)
    write_keypoints(out, library)
    usable = int(library.usable.sum())
    figures({"poses": len(library), "usable": usable})
    echo(f"Wrote {out}: {len(library)} poses, {usable} of them with both shoulders and both hips")
    if sheet:
        library_sheet(library, sheet, size)
        echo(f"Wrote {sheet}")
