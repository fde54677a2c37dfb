"""Plots of a training and of an any-depth generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reid_eval.foreign import parse_json, read_lines, reason_of
from reid_eval.runtime import InputError, atomic_path
from reid_eval.yaml_recipes import problems_of

if TYPE_CHECKING:
    from augment.quality.depth import Depth

_BLUE = "#2f6db3"


def plot_depths(points: Sequence[Depth], path: Path | str, title: str = "") -> None:
    """A picture of the three curves: PNG, or SVG or PDF by the suffix."""
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


class _Line(BaseModel):
    """Of a line of `train.jsonl` what is plotted."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    pairs: int
    l1: float | None = None
    gan_appearance: float | None = None
    gan_shape: float | None = None
    d_appearance: float | None = None
    d_shape: float | None = None
    pairs_per_second: float | None = None


def plot_losses(log: Path | str, path: Path | str) -> None:
    """A picture of a training's losses and rate against pairs seen: PNG, or SVG or PDF by the suffix.

    Args:
        log: the `train.jsonl` of a training.
        path: to write.

    Raises:
        InputError: not such a log, or an empty one.
    """
    try:
        lines = [_Line.model_validate(parse_json(line)) for line in read_lines(log)]
    except (OSError, ValueError) as error:
        reason = problems_of(error)[:300] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"{log} is not the train.jsonl of a training: {reason}") from None
    pairs = [line.pairs for line in lines]
    if not lines:
        raise InputError(f"{log} is empty: the training has not logged yet")
    pyplot = _pyplot()
    wanted = {
        "L1 (images in [-1, 1])": ("l1",),
        "generator, adversarial": ("gan_appearance", "gan_shape"),
        "discriminators": ("d_appearance", "d_shape"),
        "pairs/s": ("pairs_per_second",),
    }
    logged = {title: tuple(name for name in names if _has(lines, name)) for title, names in wanted.items()}
    panels = {title: names for title, names in logged.items() if names}  # a training without GAN loss has none of it
    if not panels:
        raise InputError(f"{log} has nothing to plot")
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(3.5 * len(panels), 3.2), constrained_layout=True, squeeze=False
    )
    for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
        for name in names:
            axis.plot(pairs, [getattr(line, name) for line in lines], label=name)
        axis.set(title=title, xlabel="pairs seen")
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend()
    _save(figure, path)


def _has(lines: Sequence[_Line], name: str) -> bool:
    return any(getattr(line, name) is not None for line in lines)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path | str) -> None:
    suffix = Path(path).suffix.lower().removeprefix(".")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format=suffix if suffix in ("svg", "pdf") else "png")
    _pyplot().close(figure)
