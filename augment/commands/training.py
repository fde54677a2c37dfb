"""What `patn-augment train` and `measure` do, between reading options and printing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.generators.weights import trained_for
from augment.runs import Say, describe_run
from reid_eval.runtime import InputError, write_json, write_text

if TYPE_CHECKING:
    from augment.generators.patn.batch import PairSource
    from augment.generators.patn.settings import TrainSettings
    from augment.generators.patn.step import TrainState


def train_recipe(
    recipe: str,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    max_seconds: float | None,
    device: str,
    say: Say,
) -> None:
    """`patn-augment train`: read the recipe, open its data, train, say where the weights are."""
    from dataclasses import replace

    from augment.generators.patn.distributed import launched_processes
    from augment.generators.patn.train import CHECKPOINT, train_generator
    from augment.generators.weights import names_digest
    from augment.pairs.training_recipe import load_recipe
    from reid_eval.runtime import hide_progress, resolve_device

    parsed = load_recipe(recipe, overrides)
    settings = replace(parsed.settings(), max_seconds=max_seconds)
    processes, where = launched_processes(resolve_device(device))
    command = " ".join(["patn-augment train --recipe", Path(recipe).stem, *(f"--set {item}" for item in overrides)])
    info: dict[str, Any] = {"data": parsed.described(), "licence": "MIT", "command": command, "device": where.type}
    data = parsed.data.model_dump(mode="json")
    if (out / CHECKPOINT).exists():
        if not resume:
            raise InputError(f"{out} already holds a training: give --resume to go on, or another folder")
        _check_same_data(out / "run.json", data)
    if not processes.first:
        hide_progress()
    else:
        describe_run(out / "run.json", {"recipe": parsed.model_dump(mode="json"), "device": str(where)})
    source = parsed.data.open(where)
    names: list[str] = getattr(source, "training_images", [])
    if names:  # so that anyone can check later whether a plan's dropped images were seen
        info["training_images"] = {"sha256": names_digest(names), "count": len(names)}
    result = train_generator(
        settings,
        source,
        out,
        where,
        resume=resume,
        info=info,
        on_sheet=_sheets(source, out, settings),
        processes=processes,
    )
    if not processes.first:
        return
    if result.weights and names:
        write_text(result.weights.with_suffix(".training_images.txt"), "".join(f"{name}\n" for name in names))
    if result.finished:
        say(f"Finished after {result.step} steps: {result.weights}")
    else:
        say(f"Stopped at step {result.step} of {settings.total_steps}; the same command with --resume goes on.")


def _sheets(source: PairSource, out: Path, settings: TrainSettings) -> Callable[[TrainState], None]:
    """A function that draws what the generator can do now, always on the same pairs."""
    from augment.quality.errors import batch_sheet

    def draw(state: TrainState) -> None:
        network = state.exported
        training = network.training
        network.eval().use_blocks(network.architecture["n_blocks"])
        batch_sheet(network, source.preview(16), out / "sheets" / f"step_{state.step:06d}.png", sigma=settings.sigma)
        network.train(training)

    return draw


def _check_same_data(path: Path, data: dict[str, Any]) -> None:
    try:
        earlier = json.loads(path.read_text())["recipe"]["data"]
    except (OSError, ValueError, KeyError):
        return  # nobody said; the settings in the checkpoint are compared in any case
    if changed := [key for key in {*earlier, *data} if earlier.get(key) != data.get(key)]:
        raise InputError(f"can't resume on other data: {', '.join(sorted(changed))} changed since {path}")


def measure_weights(
    weights: str, data: Path | None, count: int, png: Path | None, target: Path | None, device: str, say: Say
) -> None:
    """`patn-augment measure`: figures and, if asked for, a picture."""
    from augment.generators.weights import load_generator, read_weights
    from augment.pairs.photos import folder_pairs
    from augment.quality.errors import measure, pairs_sheet, unseen_pairs
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    file = read_weights(weights)
    generator = load_generator(file, where)
    size, sigma = trained_for(file.metadata)
    if data is None:
        say("Pairs of synthetic people in a world that no shipped weights were trained in.")
        pairs = unseen_pairs(size=size, device=where)
    else:
        pairs = folder_pairs(data, split="gallery", size=size, device=where)
    result = measure(generator, pairs, count, sigma)
    say(result.message)
    if target:
        write_json(target, result.to_dict())
    if png:
        pairs_sheet(generator, pairs, png, sigma=sigma)
        say(f"Wrote {png}")


def convert_weights(weights: str, target: Path, dtype: str, pairs: int, device: str, say: Say) -> None:
    """`patn-augment convert`: store weights in fewer bits, and say what that costs."""
    from augment.generators.weights import load_generator, read_weights, save_generator
    from augment.quality.errors import measure, unseen_pairs
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    file = read_weights(weights)
    size, sigma = trained_for(file.metadata)
    before = load_generator(file, where)
    save_generator(target, before, file.metadata.get("info", {}), dtype)
    after = load_generator(str(target), where)
    unseen = unseen_pairs(identities=32, size=size, device=where)
    old, new = (measure(network, unseen, pairs, sigma) for network in (before, after))
    change = 100 * (new.l1_mask / old.l1_mask - 1)
    say(f"Wrote {target}: {dtype}, {target.stat().st_size / 1e6:.1f} MB.")
    say(
        f"L1 inside the person on {pairs} unseen synthetic pairs: {old.l1_mask:.3f} before, {new.l1_mask:.3f} after "
        f"({change:+.2f}%)."
    )


def draw_depth_curve(
    weights: str, png: Path, pairs: int, speed_batch: int, target: Path | None, device: str, say: Say
) -> None:
    """`patn-augment depth-curve`: figures of every depth, and their picture."""
    from augment.generators.weights import load_generator, read_weights
    from augment.quality.depth import depth_curve
    from augment.quality.errors import unseen_pairs
    from augment.quality.plots import plot_depths
    from reid_eval.runtime import resolve_device

    where = resolve_device(device)
    file = read_weights(weights)
    size, sigma = trained_for(file.metadata)
    generator = load_generator(file, where)
    points = depth_curve(generator, unseen_pairs(size=size, device=where), pairs, sigma, speed_batch)
    for point in points:
        say(
            f"{point.blocks:2d} blocks: SSIM {point.ssim:.3f}, L1 {point.l1:.2f}, inside the person "
            f"{point.l1_mask:.2f}, {point.images_per_second:.1f} images/s"
        )
    plot_depths(points, png, f"{pairs} unseen synthetic pairs, {where.type}, batch {speed_batch}")
    if target:
        write_json(target, {"pairs": pairs, "device": where.type, "depths": [point.to_dict() for point in points]})
    say(f"Wrote {png}")


def list_pairs(
    root: Path, target: Path, split: str, count: int | None, layout: str, keypoints: Path | None, seed: int, say: Say
) -> None:
    """`patn-augment pairs`: pairs by the authors' rules."""
    from augment.pairs.lists import draw_pairs, write_pairs
    from augment.pairs.photos import posed_images

    found = posed_images(root, split=split, layout=layout, keypoints=keypoints)
    pairs = draw_pairs(found.names, found.joints, found.table["pid"].to_numpy(), count, seed)
    write_pairs(target, pairs)
    people = found.table.loc[found.table["pid"] > 0, "pid"].nunique()
    say(f"Wrote {target}: {len(pairs):,} pairs of {people} identities of the {split} split.")
