"""Plots of a training and of an any-depth generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_eval.runtime import InputError, atomic_path

if TYPE_CHECKING:
    from augment.quality.depth import Depth

_BLUE = "#2f6db3"


def plot_depths(points: Sequence[Depth], path: Path | str, title: str = "") -> None:
    """PNG of the three curves."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 3, figsize=(10.5, 3.2), constrained_layout=True)
    blocks = [point.blocks for point in points]
    names = (("ssim", "SSIM (higher is better)"), ("l1_mask", "L1 inside the person, grey levels"),
             ("images_per_second", "images/s"))  # fmt: skip
    for axis, (field, label) in zip(axes, names, strict=True):
        axis.plot(blocks, [getattr(point, field) for point in points], "o-", color=_BLUE)
        axis.set(xlabel="blocks used", ylabel=label, xticks=blocks)
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    _save(figure, path)


def plot_losses(log: Path | str, path: Path | str) -> None:
    """PNG of a training's losses and rate against pairs seen, from its `train.jsonl`.

    Raises:
        InputError: not such a log, or an empty one.
    """
    try:
        lines = [json.loads(line) for line in Path(log).read_text().splitlines()]
        pairs = [line["pairs"] for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{log} is not the train.jsonl of a training: {error}") from None
    if not lines:
        raise InputError(f"{log} is empty: the training has not logged yet")
    pyplot = _pyplot()
    panels = {
        "L1 (images in [-1, 1])": ("l1",),
        "generator, adversarial": ("gan_appearance", "gan_shape"),
        "discriminators": ("d_appearance", "d_shape"),
        "pairs/s": ("pairs_per_second",),
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(14, 3.2), constrained_layout=True)
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            axis.plot(pairs, [line.get(name) for line in lines], label=name)
        axis.set(title=title, xlabel="pairs seen")
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend()
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path | str) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    _pyplot().close(figure)
