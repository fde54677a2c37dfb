"""The command that trains and compares re-ID baselines. Heavy imports happen inside."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from augment.api import made_market, origin, plan_folder, read_source
from augment.commands.echo import echo
from augment.commands.generate import write_folder
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, EXISTING, FOLDER, LAYOUT, SEED, WEIGHTS_HELP
from augment.commands.suggest import command_line
from augment.runs import Say, describe_run, new_run_dir, recipes_folder
from reid_eval.runtime import InputError, write_json

if TYPE_CHECKING:
    from reid_eval.datasets import ReidData
    from reid_eval.harness import Comparison, Searcher, ViewsOf
    from reid_eval.settings import TrainSettings


@command("Evaluate", "reid-eval")
@click.argument("data", type=EXISTING, required=False)
@click.option("--backbone", help="resnet50, inception_v2, torchreid:NAME or timm:NAME. Default: the recipe's, "
              "or resnet50.")  # fmt: skip
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
@click.option("--train-with-views", "views", type=click.IntRange(0, 12), metavar="N", help="Train on each photo "
              "together with so many generated views of it, under one loss. Default: 0.")  # fmt: skip
@click.option("--poses-at-test", "poses", metavar="N|FILE", help="Also search with this many generated views of each "
              "test image (0: none), or in the poses of a file. Default: 4 for drawn people, else none.")  # fmt: skip
@click.option("--pose-weight", type=click.FloatRange(min=0), help="Of those views against the photo. Default: 1, or "
              "3 for networks trained from scratch.")  # fmt: skip
@click.option("--weights", help=WEIGHTS_HELP + " For all views.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16"]), help="Of that generator. Default: auto, "
              "the fastest engine here at next to no loss.")  # fmt: skip
@click.option("--keypoints", type=EXISTING, help="Annotation file for those views. Default: the data set's own.")
@click.option("--save", type=FOLDER, help="Keep the trained networks in this folder, as safetensors, with features of "
              "the test images and CMC curves.")  # fmt: skip
@click.option("--rankings", type=click.IntRange(min=0), default=0, metavar="N", help="With --save: also the top 10 of "
              "N queries that were won, N that were lost and N at random, as pictures.")  # fmt: skip
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
    save: Path | None,
    rankings: int,
    breakdown: bool,
    seeds: int,
    seed: int,
    poses: str | None,
    pose_weight: float | None,
    weights: str | None,
    precision: str | None,
    keypoints: Path | None,
    **overrides: Any,
) -> None:
    """Train a re-ID baseline on the original and on the augmented images; print both and the gain.

    DATA is the original data set; default: what the augmented folder was made of.

    \b
    patn-augment reid-eval --backbone resnet50
    patn-augment reid-eval Market-1501 --augmented Market-1501-p0.5 --backbone inception_v2 --preset ide
    patn-augment reid-eval --backbone resnet50 --poses-at-test 4
    patn-augment reid-eval --backbone resnet50 --save runs/networks --rankings 20
    patn-augment reid-eval Market-1501 --augmented Market-1501-p0.5 --recipe reid_bot --set init=imagenet
    """
    from augment.pose.bins import query_bins
    from reid_eval.backbones import check_backbone
    from reid_eval.harness import check_test, compare, format_breakdown, format_comparison, preset_name

    _refuse_both(recipe)
    settings, test = training_settings(preset, recipe, changes, overrides, pose_weight)
    asked = {"poses": poses, "weight": pose_weight, "weights": weights, "precision": precision}
    test |= {key: value for key, value in asked.items() if value is not None}
    check_backbone(settings.backbone)
    original, folder = find_pair(data, augmented, echo)
    first, second = _read_pair(original, folder, layout)
    check_test(first)
    if preset_name(settings) == "quick":
        echo("Preset quick: small images, few steps, a look within minutes. For figures use --preset ide or bot.")
    groups = query_bins(first)
    if not (second.train["source"] == "generated").any():
        echo(f"Note: {folder} has no generated image, so there is nothing to gain.")
    with ExitStack() as stack:
        search = _search(stack, first, test, keypoints, settings.device, weights is not None)
        joints = {second.root: None, first.root: keypoints}
        beside = _beside(stack, joints, test, settings.device, weights is not None) if settings.views else None
        trained_on = list(range(seed, seed + seeds))
        comparison = compare(first, second, settings, trained_on, groups, save, search, rankings, beside)
    echo(format_comparison(comparison))
    if breakdown:
        echo(format_breakdown(comparison))
    _write(comparison, original, folder, save)


def _write(comparison: Comparison, original: Path, folder: Path, save: Path | None) -> None:
    """Write the result of a comparison of two folders, and say where it is."""
    from reid_eval.harness import evaluation_path

    target = new_run_dir("reid-eval") / "result.json"
    found = comparison.to_dict()
    write_json(target, found)
    figures(found)
    told = {"data": str(original.resolve()), "augmented": str(folder.resolve())}
    kept = {"evaluation": str(evaluation_path(save, comparison.original[0].settings).resolve())} if save else {}
    describe_run(target.with_name("run.json"), {**told, **kept})
    echo(f"Numbers: {target}; as a page: patn-augment report {target.parent}")
    if save:
        echo(f"Networks, features, CMC curves: {save}; read a network with reid_eval.load_model, or start from it with "
             "--init FILE")  # fmt: skip


def _read_pair(original: Path, folder: Path, layout: str) -> tuple[ReidData, ReidData]:
    """Both data sets: the original as the augmented folder was made of it, which its manifest tells."""
    from augment.folder.manifest import MANIFEST, read_manifest
    from reid_eval.datasets import read_dataset

    job = read_manifest(folder).job if (folder / MANIFEST).is_file() else None
    made_as, market = (job.layout, made_market(job.arguments)) if job else (layout, None)
    first = read_source(original, made_as if layout == "auto" and market is None else layout, market)
    return first, read_dataset(folder, made_as)


def _refuse_both(recipe: str | None) -> None:
    """A preset beside a recipe would be ignored."""
    chosen = click.get_current_context().get_parameter_source("preset")
    if recipe is not None and chosen == click.core.ParameterSource.COMMANDLINE:
        raise InputError("--recipe says already what --preset would: leave one of them out")


def _search(
    stack: ExitStack, data: ReidData, test: dict[str, Any], keypoints: Path | None, device: str, code: bool
) -> Searcher | None:
    """What else is searched with than photos, if anything; its views are gone when `stack` ends."""
    from augment.synth.dataset import FACTS

    if not test and not (data.root / FACTS).is_file():
        return None
    from augment.pose.check import check_keypoints
    from augment.pose.keypoints import load_annotations
    from augment.search.at_test import ViewSearch, search_settings

    if "poses" in test and str(test["poses"]).isdecimal():
        test = {**test, "poses": int(test["poses"])}
    settings = search_settings(test, "reid-eval")
    if settings.poses == 0:
        return None
    joints = load_annotations(data.root, keypoints)
    check_keypoints(data, joints)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="patn-augment-views-")))
    return ViewSearch(data, joints, settings, device, folder, allow_code=code)


def _beside(
    stack: ExitStack, joints: dict[Path, Path | None], test: dict[str, Any], device: str, code: bool
) -> ViewsOf:
    """What trains together with photos, by the annotation files of the data sets in `joints` (None: their own).

    All of them are read here: a training must not end before one that is absent is found. The views are gone when
    `stack` ends.
    """
    from augment.pose.keypoints import load_annotations
    from augment.search.at_test import search_settings
    from augment.search.training_views import TrainingViews

    how = search_settings({key: value for key, value in test.items() if key != "poses"}, "reid-eval")
    read = {root: load_annotations(root, file) for root, file in joints.items()}
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="patn-augment-beside-")))
    return TrainingViews(how.weights, device, how.precision, folder, read, code)


def find_pair(data: Path | None, augmented: Path | None, say: Say) -> tuple[Path, Path]:
    """(original, augmented) for an evaluation, from what the user named and the newest of ./runs.

    Raises:
        InputError: the original of a named folder is not known, or no augmented folder of the named data set is.
    """
    from augment.folder.manifest import newest_augmented
    from augment.synth.dataset import source_data

    if augmented is not None:
        original = data or origin(augmented)
        if original is None:
            raise InputError(f"{augmented} does not say what it was made of: give DATA, too, the original data set")
        return original, augmented
    newest = newest_augmented()
    if data is not None:
        if newest is None or origin(newest) != data.resolve():
            raise InputError(
                f"the newest folder under ./runs was not made of {data}: "
                f"run `{command_line('generate', data, ratio=0.5)}` first, or give --augmented FOLDER"
            )
        return data, newest
    original = origin(newest) if newest else None
    if newest is not None and original is not None and original.is_dir():
        say(f"No --augmented given: using the newest augmented folder, {newest}, made of {original}.")
        return original, newest
    why = (
        "No augmented folder under ./runs yet" if newest is None else f"The data set that {newest} was made of is gone"
    )
    say(f"{why}: making a new one (patn-augment generate --ratio 0.5).")
    made = write_folder(plan_folder(ratio=0.5, say=say), None)
    assert made is not None  # one part: no other shard is at work
    return origin(made) or source_data(None, say), made


def training_settings(
    preset: str,
    recipe: str | None,
    changes: tuple[str, ...],
    given: dict[str, Any],
    pose_weight: float | None = None,
) -> tuple[TrainSettings, dict[str, Any]]:
    """The training settings that the options come to, and the recipe's group `test`.

    Args:
        preset: where they start from.
        recipe: of `reid_eval.recipe`, in place of the preset.
        changes: `KEY=VALUE`s on top of either.
        given: settings with an option of their own; None where it was not given.
        pose_weight: of views; those in training get it where neither recipe nor changes name their `views_weight`.

    Raises:
        InputError: unknown or unusable settings.
    """
    from augment.search.views import default_weight
    from reid_eval.recipe import parse_overrides, recipe_values, settings_of

    given = {key: value for key, value in given.items() if value is not None}
    if "epochs" in given and not any(change.partition("=")[0] == "max_steps" for change in changes):
        given["max_steps"] = 0  # so many epochs, however many steps that is
    if recipe is None:
        values, source = {"preset": preset, **parse_overrides(changes)}, "--set"
    else:
        values, source = recipe_values(recipe, changes, recipes_folder())
    test = values.pop("test", {})
    if not isinstance(test, dict):
        raise InputError(f"{source}: test: expected a group of settings, such as `poses: 4`")
    settings = replace(settings_of(values, source), **given)
    if given.get("views") and "views_weight" not in values:
        weight = default_weight(settings.init) if pose_weight is None else pose_weight
        settings = replace(settings, views_weight=weight)
    return settings, test
