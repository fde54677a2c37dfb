"""Commands that search with generated views. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DATA, DEVICE, EXISTING, FOLDER, LAYOUT, WEIGHTS_HELP, check_outside

if TYPE_CHECKING:
    from augment.pose.keypoints import Keypoints
    from augment.search.normalized import PoseNormalized


@command("Evaluate")
@DATA
@click.option("--reid-weights", type=EXISTING, required=True, help="The network: what reid-eval --save wrote.")
@click.option("--out", type=FOLDER, required=True, help="File to write, such as features.npz.")
@click.option("--poses", default="4", show_default=True, help="How many of the poses that ship, or a file of poses; 0: "
              "the photos alone.")  # fmt: skip
@click.option("--pose-weight", type=click.FloatRange(min=0), help="Of the views against the photo. Default: 1, or 3 "
              "for a network trained from scratch.")  # fmt: skip
@click.option("--weights", help=WEIGHTS_HELP + " Default: the best for the device.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16"]), default="auto", show_default=True,
              help="Of the generator; auto: the fastest engine here at next to no loss.")  # fmt: skip
@click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")
@click.option("--cache", type=FOLDER, help="Keep features in this file, and take them from it.")
@click.option("--split", "splits", type=click.Choice(["train", "query", "gallery"]), multiple=True,
              help="Whose images; may be given several times. Default: query and gallery.")  # fmt: skip
@click.option("--sheet", type=FOLDER, help="Also a PNG: some queries, their views, and their first five by the photo "
              "alone and with the views.")  # fmt: skip
@LAYOUT
@DEVICE
def embed(
    data: Path | None,
    reid_weights: Path,
    out: Path,
    poses: str,
    pose_weight: float | None,
    weights: str | None,
    precision: str,
    keypoints: Path | None,
    cache: Path | None,
    splits: tuple[str, ...],
    sheet: Path | None,
    layout: str,
    device: str,
) -> None:
    """Features of images, each person also seen in generated poses, for a search engine: npz.

    DATA is a data set; default: the embedded one.

    \b
    patn-augment embed Market-1501 --reid-weights networks/resnet50-original-seed0.safetensors --out features.npz
    """
    from augment.generators.open import open_to_look
    from augment.pictures import save_sheet
    from augment.pose.keypoints import load_annotations
    from augment.search.before_after import before_after
    from augment.search.cache import FeatureCache
    from augment.search.embed import embed as run
    from augment.search.extractors import reid_extractor
    from augment.search.normalized import PoseNormalized
    from augment.search.views import default_weight
    from augment.synth.dataset import source_data
    from reid_eval import load_model
    from reid_eval.datasets import check_images, read_dataset
    from reid_eval.model_file import read_model_file
    from reid_eval.runtime import resolve_device

    check_outside(data, sheet)
    root = source_data(data, echo)
    where = resolve_device(device)
    file = read_model_file(reid_weights)
    model = load_model(file, where)
    people = read_dataset(root, layout)
    check_images(people)
    views, (generator, how) = _poses(poses), open_to_look(weights, where, precision, say=echo)
    echo(f"Generator: {generator.name}; {len(views.names)} views of each image.")
    kept: dict[str, Any] = {"cache": FeatureCache(cache) if cache else None, "identity": file.sha256}
    weight = default_weight(model.init) if pose_weight is None else pose_weight
    search = PoseNormalized(reid_extractor(model), generator, views, weight=weight, precision=how.precision, **kept)
    joints = load_annotations(root, keypoints)
    facts = {"reid": file.sha256, **_facts(search), "engine": str(how)}
    found = run(people, joints, search, splits or ("query", "gallery"), facts)
    found.save(out)
    used = int(found.joints_used.sum())
    figures({**facts, "images": len(found.names), "dimensions": found.features.shape[1], "with_views": used})
    echo(f"Wrote {out}: {len(found.names)} features of {found.features.shape[1]} numbers, {used} with views.")
    if sheet is not None:
        save_sheet(before_after(people, joints, found, search), sheet)
        echo(f"Sheet: {sheet}")


def _facts(search: PoseNormalized) -> dict[str, Any]:
    """What makes the views, for the file."""
    from augment.generators.open import generator_sha256

    return {
        "generator": search.generator.name,
        "generator_sha256": generator_sha256(search.generator),
        "poses": list(search.poses.names),
        "weight": search.weight,
    }


def _poses(text: str) -> Keypoints:
    """The poses that ship, by their number, or those of a file."""
    from augment.pose.keypoints import empty_keypoints, read_keypoints
    from augment.search.views import shipped_views

    if text.isdecimal():
        return shipped_views(int(text)) if int(text) else empty_keypoints()
    return read_keypoints(Path(text))
