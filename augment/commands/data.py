"""Commands that make data: drawn pedestrians, lists of pairs. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, EXISTING, FOLDER, LAYOUT, OUT, SEED
from augment.runs import Say


@command("Other")
@click.option("--out", type=FOLDER, required=True, help="Folder to write.")
@click.option("--train-ids", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--test-ids", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--images-per-id", type=click.IntRange(min=2), default=12, show_default=True)
@click.option("--cameras", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--height", type=click.IntRange(min=32), default=128, show_default=True)
@click.option("--width", type=click.IntRange(min=16), default=64, show_default=True)
@click.option("--masks", is_flag=True, help="Also write the exact person masks, as PNG.")
@click.option("--world", type=click.IntRange(1, 2), default=2, show_default=True,
              help="Version of how everything is drawn; 2 is nearer to photographs.")  # fmt: skip
@SEED
@DEVICE
def synth(out: Path, height: int, width: int, device: str, **options: Any) -> None:
    """Draw a synthetic data set of pedestrians in the Market-1501 layout, with keypoints.

    \b
    patn-augment synth --out world --train-ids 100
    """
    from augment.synth.dataset import SynthSettings, write_dataset
    from reid_eval.runtime import resolve_device

    settings = SynthSettings(size=(height, width), **options)
    write_dataset(out, settings, resolve_device(device))
    total = (settings.train_ids + settings.test_ids) * settings.images_per_id
    figures({"train_ids": settings.train_ids, "test_ids": settings.test_ids, "images": total})
    echo(f"Wrote {out}: {settings.train_ids} + {settings.test_ids} synthetic identities, {total} images.")


@command("Measure")
@click.argument("folders", type=EXISTING, nargs=-1)
@click.option("--world", "worlds", type=click.IntRange(1, 2), multiple=True,
              help="Drawn people, of this version; may be given twice. Default: 2, without FOLDERS.")  # fmt: skip
@click.option(
    "--count", type=click.IntRange(min=1), help="Images of each at most. Default: all of a folder, 512 drawn."
)
def image_statistics(folders: tuple[Path, ...], worlds: tuple[int, ...], count: int | None) -> None:
    """Table what the images of FOLDERS are like as signals, beside drawn people: contrast, blacks, grain, spectrum.

    \b
    patn-augment image-statistics Market-1501/bounding_box_train --world 2
    """
    from augment.quality.statistics import compared, statistics_table, summaries

    found = compared(folders, worlds or (() if folders else (2,)), count)
    figures(summaries(found))
    echo(statistics_table(found))


@command("Train")
@click.argument("data", type=EXISTING)
@OUT
@click.option("--split", type=click.Choice(["train", "query", "gallery"]), default="gallery", show_default=True)
@click.option("--pairs", "count", type=click.IntRange(min=1), help="How many. Default: 12000 of a test split, all of "
              "the training split.")  # fmt: skip
@click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")
@LAYOUT
@SEED
def pairs(data: Path, out: Path, split: str, count: int | None, keypoints: Path | None, layout: str, seed: int) -> None:
    """List pairs (condition, target) of a data set by the authors' rules, as CSV.

    Use it by --set data.pairs=FILE in a training.

    \b
    patn-augment pairs Market-1501 --out test-pairs.csv
    """
    from augment.pairs.lists import TEST_PAIRS

    wanted = count or (None if split == "train" else TEST_PAIRS)
    list_pairs(data, out, split, wanted, layout, keypoints, seed, echo)


def list_pairs(
    root: Path, target: Path, split: str, count: int | None, layout: str, keypoints: Path | None, seed: int, say: Say
) -> None:
    """`patn-augment pairs`: pairs by the authors' rules."""
    from augment.pairs.lists import draw_pairs, write_pairs
    from augment.pairs.photos import posed_images

    found = posed_images(root, split=split, layout=layout, keypoints=keypoints)
    pairs = draw_pairs(found.paths, found.joints, found.table["pid"].to_numpy(), count, seed)
    write_pairs(target, pairs)
    people = found.table.loc[found.table["pid"] > 0, "pid"].nunique()
    figures({"pairs": len(pairs), "identities": people, "split": split})
    say(f"Wrote {target}: {len(pairs):,} pairs of {people} identities of the {split} split.")
