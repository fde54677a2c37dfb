"""Plots of a training and of an any-depth generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from reid_eval.foreign import parse_json, read_lines, reason_of
from reid_eval.plotting import check_plot, new_figure, save_plot
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import problems_of

if TYPE_CHECKING:
    from augment.quality.depth import Depth

_BLUE = "#2f6db3"


def plot_depths(points: Sequence[Depth], path: Path | str, title: str = "") -> None:
    """Plot the three curves: PNG, SVG or PDF by the suffix of `path`."""
    figure = new_figure(figsize=(10.5, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    blocks = [point.blocks for point in points]
    names = (("ssim", "SSIM (higher is better)"), ("l1_mask", "L1 inside the person, grey levels"),
             ("images_per_second", "images/s"))  # fmt: skip
    for axis, (field, label) in zip(axes, names, strict=True):
        axis.plot(blocks, [getattr(point, field) for point in points], "o-", color=_BLUE)
        axis.set(xlabel="blocks used", ylabel=label, xticks=blocks)
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    save_plot(figure, path, dpi=130)


class LogLine(BaseModel):
    """Of a line of `train.jsonl` what is plotted."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    pairs: int
    l1: float | None = None
    gan_appearance: float | None = None
    gan_shape: float | None = None
    d_appearance: float | None = None
    d_shape: float | None = None
    pairs_per_second: float | None = None


PANELS = {
    "L1 (images in [-1, 1])": ("l1",),
    "generator, adversarial": ("gan_appearance", "gan_shape"),
    "discriminators": ("d_appearance", "d_shape"),
    "pairs/s": ("pairs_per_second",),
}
"""Title of a panel to the fields of `LogLine` in it."""


def read_log(log: Path | str) -> list[LogLine]:
    """What can be plotted of a training's `train.jsonl`.

    Raises:
        InputError: not such a log, or an empty one.
    """
    try:
        lines = [LogLine.model_validate(parse_json(line)) for line in read_lines(log)]
    except (OSError, ValueError) as error:
        reason = problems_of(error)[:300] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"{log} is not the train.jsonl of a training: {reason}") from None
    if not lines:
        raise InputError(f"{log} is empty: the training has not logged yet")
    return lines


def shown_panels(lines: Sequence[LogLine]) -> dict[str, tuple[str, ...]]:
    """Of `PANELS` what the lines have figures for: a training without discriminators has no panel of theirs."""
    found = {
        title: tuple(name for name in names if any(getattr(line, name) is not None for line in lines))
        for title, names in PANELS.items()
    }
    return {title: names for title, names in found.items() if names}


def plot_losses(log: Path | str, path: Path | str) -> None:
    """Plot a training's losses and rate against pairs seen, from its `train.jsonl`: PNG, SVG or PDF by the suffix.

    Raises:
        InputError: not such a log, an empty one, or another suffix.
    """
    check_plot(path)
    lines = read_log(log)
    pairs = [line.pairs for line in lines]
    panels = shown_panels(lines)
    figure = new_figure(figsize=(3.5 * max(1, len(panels)), 3.2), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axis, (title, names) in zip(axes, panels.items(), strict=False):
        for name in names:
            values = [getattr(line, name) for line in lines]
            axis.plot(pairs, [float("nan") if value is None else value for value in values], label=name)
        axis.set(title=title, xlabel="pairs seen")
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend()
    save_plot(figure, path, dpi=130)
