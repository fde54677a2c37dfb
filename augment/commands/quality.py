"""Commands about the quality of generated images. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import (
    DEVICE,
    EXISTING,
    FOLDER,
    OUT,
    WEIGHTS_HELP,
    check_new,
    check_outside,
    parse_size,
    ray_options,
    take_cluster,
)
from augment.commands.suggest import command_line, suggest
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.api import Planned
    from augment.cluster.ray_pool import Cluster
    from augment.folder.manifest import Manifest
    from augment.gate.judge import Gate, Verdict
    from augment.generators.base import PoseGenerator
    from augment.quality.material import Making
    from augment.quality.metrics import Tools

PAIRS = 512
_WAYS = {
    "inception": "--inception FILE",
    "lpips": "--lpips FILE",
    "detector": "--detector FILE",
    "reid": "--reid-weights FILE",
    "estimator": "--estimator NAME",
    "material": "--weights WEIGHTS",
}
"""How the user gives what a metric needs."""
_READERS = {
    "estimator": {"pckh"},
    "estimator_weights": {"pckh"},
    "inception": {"is", "mask_is", "fid"},
    "lpips": {"lpips"},
    "detector": {"ds"},
    "detector_name": {"ds"},
    "reid_weights": {"identity", "retrieval_rank1", "retrieval_map"},
    "reid_backbone": {"identity", "retrieval_rank1", "retrieval_map"},
}
"""The metrics that read an option."""


@command("Measure")
@click.argument("folder", type=EXISTING, required=False)
@click.option("--weights", metavar="WEIGHTS", help="Instead of FOLDER: a generator, against the real images of test "
              "pairs. " + WEIGHTS_HELP)  # fmt: skip
@click.option("--data", type=EXISTING, help="FOLDER or WEIGHTS is what is measured; this is a data set beside it. With "
              "FOLDER, the one it was made of, for pose space before; with --weights, that of the pairs (its test "
              "split). Default: unseen synthetic people.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="With FOLDER, images at most. Default: all.")
@click.option("--pairs", type=click.IntRange(min=1), help="With --weights, how many. Default: 512.")
@click.option("--world", type=click.IntRange(1, 2), default=2, show_default=True,
              help="With --weights, version of how synthetic people are drawn.")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True,
              help="With --weights, of the generator.")  # fmt: skip
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option("--estimator", default="synth", show_default=True, help="For PCKh; see `patn-augment poses`.")
@click.option("--estimator-weights", type=EXISTING, help="Of the estimator.")
@click.option("--inception", type=EXISTING, help="torch-fidelity's Inception, for IS and FID. Default: download.")
@click.option("--lpips", type=EXISTING, help="torchvision's AlexNet, for LPIPS. Default: download.")
@click.option("--detector", type=EXISTING, help="torchvision's weights of --detector-name, for DS. Default: download.")
@click.option("--detector-name", default="ssd300_vgg16", show_default=True, help="A torchvision detector.")
@click.option("--reid-weights", type=EXISTING, help="A re-ID network, for identity similarity and retrieval. Default "
              "for retrieval: one trained on real people now, and kept in the cache.")  # fmt: skip
@click.option("--reid-backbone", default="resnet50", show_default=True, help="Its name, as in reid-eval.")
@click.option("--csv", type=FOLDER, help="Also write the figures, a line a metric.")
@click.option("--pose-space", type=FOLDER, help="PNG: which poses identities have, before and after.")
@DEVICE
@ray_options
def quality(
    folder: Path | None,
    weights: str | None,
    data: Path | None,
    count: int | None,
    pairs: int | None,
    world: int,
    precision: str,
    metrics: tuple[str, ...],
    csv: Path | None,
    pose_space: Path | None,
    device: str,
    **tools: Any,
) -> None:
    """Measure generated images: FOLDER, an augmented one, or a generator against real images.

    What needs weights that cannot be had is left out, with the reason.

    \b
    patn-augment quality Market-1501-p0.5 --pose-space space.png
    patn-augment quality --weights patn-synth-tiny --data Market-1501
    """
    cluster = take_cluster(tools)
    _check_material(folder, weights, data, pose_space)
    check_outside(folder, csv, pose_space)
    about_poses = {} if folder is None or pose_space else {"data": {"diversity", "coverage"}}
    _refuse_unread(metrics, {**_READERS, **about_poses}, tools["reid_weights"])
    from augment.quality.extras import Unavailable
    from augment.quality.material import draw_pose_space, folder_material, generated_pairs
    from augment.quality.metrics import measure_quality
    from augment.quality.output import print_quality, quality_facts, with_way, write_quality_csv

    if folder is not None:
        material = folder_material(folder, data, count)
        facts: dict[str, Any] = {"folder": folder.name}
    else:
        assert weights is not None
        spread = _on_cluster(cluster, weights, precision)
        material, facts = generated_pairs(weights, data, pairs or PAIRS, device, echo, precision, world, spread)
    try:
        report = measure_quality(material, _tools(device=device, **tools), metrics or None)
    except Unavailable as error:
        raise InputError(with_way(error, _WAYS)) from None
    echo(f"{len(material.generated)} generated images:")
    print_quality(report, _WAYS)
    facts |= {"images": len(material.generated), "estimator": tools["estimator"]}
    figures(quality_facts(report, facts))
    if csv:
        write_quality_csv(csv, report)
    if pose_space:
        draw_pose_space(material, pose_space)
        echo(f"Wrote {pose_space}: before left, after right, brighter where more identities have it")


def _check_material(folder: Path | None, weights: str | None, data: Path | None, pose_space: Path | None) -> None:
    """Refuse options of the one material that are given with the other.

    Raises:
        InputError: some are.
    """
    if (folder is None) == (weights is None):
        raise InputError("give an augmented folder, or --weights WEIGHTS to measure a generator on test pairs")
    if pose_space and folder is None:
        raise InputError("--pose-space shows a data set: give an augmented folder")
    if folder and (named := _named(["world", "precision", "pairs"])):
        raise InputError(f"{', '.join(named)}: only with --weights")
    if folder and _named(["ray"]):
        raise InputError("--ray: only with --weights, whose images it makes; a folder's are measured in one process")
    if weights and _named(["count"]):
        raise InputError("--count: only with an augmented folder; --weights takes --pairs")
    if data and (named := _named(["world"])):
        raise InputError(f"{named[0]} is about synthetic people: not with --data")


def _on_cluster(cluster: Cluster | None, weights: str, precision: str) -> Callable[[PoseGenerator], Making] | None:
    """Who makes a generator's images with a cluster; None without one."""
    if cluster is None:
        return None
    from augment.cluster.ray_making import RayMaking

    return partial(RayMaking, cluster, weights, precision)


def _refuse_unread(metrics: Iterable[str], readers: dict[str, set[str]], reid: Path | None) -> None:
    """Options that nothing would read are errors.

    Args:
        metrics: asked for; none means all.
        readers: the metrics that read an option, as `_READERS`.
        reid: the network's weights.

    Raises:
        InputError: an option of a metric that was not asked for, or one without its like.
    """
    asked = set(metrics)
    if asked and (unread := _named(name for name, wanted in readers.items() if not asked & wanted)):
        raise InputError(f"{', '.join(unread)}: none of the metrics asked for reads it")
    if reid is None and (unread := _named(["reid_backbone"])):
        raise InputError(f"{unread[0]} is of the network of --reid-weights: give both")


def _named(names: Iterable[str]) -> list[str]:
    """Those of the current command's options that stand on the command line, as they are written there."""
    context = click.get_current_context()
    given = {name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    return [option.opts[-1] for option in context.command.params if option.name in given]


def _tools(
    estimator: str, estimator_weights: Path | None, reid_weights: Path | None, device: str, **files: Any
) -> Tools:
    from augment.estimators.build import build_estimator
    from augment.quality.metrics import Tools
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    return Tools(
        **files,
        reid=reid_weights,
        estimator=lambda: build_estimator(estimator, weights=estimator_weights, device=where),
        device=where,
    )


@command("Measure", "calibrate-gate")
@click.argument("data", type=EXISTING)
@OUT
@click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")
@click.option("--estimator", default="synth", show_default=True, help="See `patn-augment poses`.")
@click.option("--estimator-weights", "weights", type=EXISTING, help="Of the estimator.")
@click.option("--size", default="128x64", show_default=True, metavar="HxW",
              help="Height and width of the generator's images, which the thresholds hold for.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=8), default=256, show_default=True, help="Real images to look at.")
@click.option("--false-alarms", type=click.FloatRange(0, 1), default=0.02, show_default=True,
              help="Share of right poses, and of the same people, that may be rejected.")  # fmt: skip
@DEVICE
def calibrate_gate(data: Path, out: Path, size: str, **options: Any) -> None:
    """Set the gate's thresholds on real training images of DATA; write them as a JSON file.

    Says what share of wrong and of right poses, of other and of the same people such thresholds reject: set on one
    half of the identities, measured on the other.

    \b
    patn-augment calibrate-gate Market-1501 --out gate.json
    """
    sides = parse_size(size)
    check_new(out)
    from augment.gate.thresholds import describe, set_thresholds, write_thresholds

    limits = set_thresholds(data, size=sides, **options)
    write_thresholds(out, limits)
    figures(asdict(limits))
    echo(describe(limits))
    echo(f"Wrote {out}")
    program = options["estimator"] if options["estimator"].startswith("command:") else None
    told = {"gate_thresholds": out, "estimator_weights": options["weights"], "estimator": program}
    suggest(command_line("generate", data, keypoints=options["keypoints"], ratio=0.5, gate=True, **told))


@command("Augment")
@click.argument("folder", type=EXISTING, required=False)
@click.option("--weights", metavar="WEIGHTS", help="Instead of FOLDER: a generator, on test pairs whose real image is "
              "known. Are the images that are rejected the bad ones? With --repair: the generator that FOLDER was made "
              "with, if it does not ship.")  # fmt: skip
@click.option("--data", type=EXISTING, help="FOLDER or WEIGHTS is what is judged; this is a data set beside it. With "
              "--weights, that of the pairs (its test split) and of the thresholds; default: unseen synthetic people, "
              "thresholds of the embedded data set. With --repair, what FOLDER was made of; default: as its run file "
              "says.")  # fmt: skip
@click.option("--pairs", type=click.IntRange(min=1), help="With --weights, how many. Default: 512.")
@click.option("--exchange", type=click.FloatRange(0, 1), help="With --weights: exchange this share of the "
              "images among each other first. How many does the gate find?")  # fmt: skip
@click.option("--thresholds", type=EXISTING, help="Of calibrate-gate. Default: those that FOLDER was made with; if it "
              "was made without a gate, set on its real images.")  # fmt: skip
@click.option("--estimator", help="Of thresholds that were set with a program: command:PROGRAM ARGUMENTS, as to "
              "calibrate-gate. No file starts a program.")  # fmt: skip
@click.option("--estimator-weights", type=EXISTING, help="Of the estimator.")
@click.option("--reid-weights", type=EXISTING, help="With FOLDER: also reject images by which a search among the kept "
              "photos does not find their person. The re-ID network that searches, of reid-eval --save, trained on "
              "kept real images only. Default: that of generate --gate-person, if FOLDER was made so and the cache "
              "has it.")  # fmt: skip
@click.option("--margin", type=click.FloatRange(-2, 2), help="Of that test, see generate --gate-margin. Default: that "
              "which FOLDER was made with, else 0.")  # fmt: skip
@click.option("--csv", "target", type=FOLDER, help="Also write a line an image: its numbers, and what it failed.")
@click.option(
    "--sheet", "png", type=FOLDER, help="Also write a picture: photo, generated, asked pose; red is rejected."
)
@click.option("--repair", is_flag=True, help="Make rejected images again, in other poses, and give up what stays "
              "rejected. A killed repair goes on.")  # fmt: skip
@click.option("--keypoints", type=EXISTING, help="With --repair: of --data, if not its own.")
@click.option(
    "--library", type=EXISTING, help="With --repair: the pose library that FOLDER was made with, if not ours."
)
@click.option("--retries", type=click.IntRange(min=0), default=2, show_default=True, help="With --repair: other poses "
              "to try.")  # fmt: skip
@DEVICE
def gate(
    folder: Path | None,
    weights: str | None,
    data: Path | None,
    pairs: int | None,
    exchange: float | None,
    thresholds: Path | None,
    estimator: str | None,
    estimator_weights: Path | None,
    reid_weights: Path | None,
    margin: float | None,
    target: Path | None,
    png: Path | None,
    repair: bool,
    device: str,
    **made: Any,
) -> None:
    """Judge the generated images of an augmented FOLDER; exit code 1 if any is rejected (and not repaired).

    \b
    patn-augment gate Market-1501-p0.5 --sheet verdicts.png
    patn-augment gate Market-1501-p0.5 --repair
    patn-augment gate --weights patn-synth-tiny --exchange 0.2
    """
    _check_gate(folder, weights, repair, made)
    from augment.gate.verdicts import folder_gate, judge_folder, verdicts_message

    if folder is None:
        assert weights is not None
        how = (thresholds, estimator_weights, pairs or PAIRS, exchange or 0.0, device, echo, estimator)
        _judge_weights(weights, data, *how)
        return
    check_outside(folder, target, png)
    if _finish_killed(folder, data, repair, made):
        return
    judge = folder_gate(folder, thresholds, estimator_weights, device, echo, estimator, reid_weights, margin)
    verdicts = judge_folder(folder, judge)
    echo(verdicts_message(verdicts))
    rejected = _write_verdicts(folder, verdicts, target, png)
    if repair:
        _repair(folder, data, rejected, judge, device, {**made, "weights": weights})
    elif rejected:
        told: dict[str, Any] = {"thresholds": thresholds, "estimator": estimator}
        told |= {"estimator_weights": estimator_weights, "reid_weights": reid_weights, "margin": margin}
        suggest(command_line("gate", folder, repair=True, **told))
        sys.exit(1)


def _judge_weights(weights: str, *how: Any) -> None:
    from augment.gate.truth import judge_generator

    judged = judge_generator(weights, *how)
    figures(judged.to_dict())
    echo(judged.message)


def _write_verdicts(folder: Path, verdicts: dict[str, Verdict], target: Path | None, png: Path | None) -> list[str]:
    """Write what was asked for of a folder's verdicts; the rejected images."""
    from augment.gate.verdicts import reason_counts, verdict_sheet, write_verdicts

    if target:
        write_verdicts(target, verdicts)
    if png:
        verdict_sheet(folder, verdicts, png)
        echo(f"Wrote {png}")
    rejected = [name for name, verdict in verdicts.items() if not verdict.ok]
    reasons = reason_counts(list(verdicts.values()))
    figures({"images": len(verdicts), "rejected": rejected, "reasons": reasons})
    return rejected


def _check_gate(folder: Path | None, weights: str | None, repair: bool, made: dict[str, Any]) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: nothing, or two things to judge, or an option that nothing would read.
    """
    if folder is None and weights is None:
        raise InputError("give an augmented folder, or --weights WEIGHTS to see what the gate does to a generator")
    if folder is None and (named := _named(["target", "png", "repair", "reid_weights", "margin"])):
        raise InputError(f"{', '.join(named)}: not with --weights, but with a folder")
    if folder and (named := _named(["pairs", "exchange"])):
        raise InputError(f"{', '.join(named)}: only with --weights, and without a folder")
    if folder and not repair and (named := _named(["data", "weights"])):
        raise InputError(f"{', '.join(named)}: without a folder, or with --repair")
    if not repair and (named := _named(made)):
        raise InputError(f"{', '.join(named)}: only with --repair")


def _made_of(out: Path, data: Path | None, made: dict[str, Any]) -> Planned:
    """The plan of an augmented folder, with the data set it was made of."""
    from augment.api import made_market, origin, read_planned
    from augment.folder.layout import PLAN
    from augment.folder.manifest import read_manifest

    root = data or origin(out)
    if root is None:
        raise InputError(f"{out} does not say what it was made of: give --data, the original data set")
    about, job = {name: made[name] for name in ("keypoints", "library")}, read_manifest(out).job
    market = made_market(job.arguments)
    layout = job.layout if market is None else "auto"
    return read_planned(out / PLAN, root, layout=layout, market=market, say=lambda _: None, **about)


def _finish_killed(out: Path, data: Path | None, repair: bool, made: dict[str, Any]) -> bool:
    """Finish a repair that was killed while it moved files; whether there was one."""
    from augment.gate.repair import finish_repair, unfinished_repair

    if not unfinished_repair(out):
        return False
    if not repair:
        raise InputError(f"a repair of {out} was killed: give --repair, and it is finished")
    done = finish_repair(out, _made_of(out, data, made).source)
    figures({"repair": asdict(done)})
    echo(f"Went on where a repair was killed. {done.message}")
    return True


def _generator_of(out: Path, manifest: Manifest, named: str | None, device: str) -> PoseGenerator:
    """The generator that a folder was made by: as the user names it, or one that ships. A manifest imports no code."""
    from augment.generators.open import open_generator

    blocks = manifest.job.arguments.get("blocks")
    if named:
        return open_generator(named, device, blocks)
    try:
        return open_generator(manifest.job.weights, device, blocks, allow_code=False)
    except InputError:
        raise InputError(
            f"{out} was made by {manifest.job.weights}, which does not ship: name it", "generator"
        ) from None


def _repair(out: Path, data: Path | None, rejected: list[str], judge: Gate, device: str, made: dict[str, Any]) -> None:
    from augment.folder.manifest import read_manifest
    from augment.gate.redraw import GateRun
    from augment.gate.repair import how_to_redraw, repair

    manifest, planned = read_manifest(out), _made_of(out, data, made)
    generator = _generator_of(out, manifest, made["weights"], device)
    how = how_to_redraw(manifest, (planned.pose_source, planned.exclude_same_image))
    done = repair(out, planned.source, rejected, generator, GateRun(judge, made["retries"], **how))
    figures({"repair": asdict(done)})
    echo(done.message)
    suggest(command_line("verify", out))
