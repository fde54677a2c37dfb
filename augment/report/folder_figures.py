"""Figures of an augmented folder for its page: what is cheap and needs no download, beside what real photos give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.estimators.base import Estimator
from augment.quality.catalogue import METRICS
from augment.quality.extras import Unavailable
from augment.quality.joints import pckh
from augment.quality.likeness import colour_drift, part_colours
from augment.quality.material import folder_material
from augment.quality.metrics import Material, Tools, in_batches, measure_quality
from augment.quality.similarity import joints_masks
from augment.quality.texture import gradient
from augment.report.folder_items import Chosen, sample
from reid_eval.datasets import load_images
from reid_eval.runtime import InputError, resolve_device

COUNT = 256
"""Images that figures are taken of, at most."""
_MEASURED = ("pckh", "colour", "grid", "kid", "diversity", "coverage")
_PAIRS = "needs the real image in the target pose: patn-augment quality --weights WEIGHTS measures the generator so"
_LARGE = "needs a network that is downloaded or given: patn-augment quality FOLDER measures it"


@dataclass(frozen=True)
class Figure:
    """A line of the page's table.

    Attributes:
        title: of what.
        value, spread: mean and deviation.
        unit: of both.
        better: `higher`, `lower`, `near 1`.
        usual: the same figure of real photos of this folder, None where that makes no sense.
        usual_of: what `usual` was taken of.
        count: images or joints.
        source: who defined it.
    """

    title: str
    value: float
    spread: float | None
    unit: str
    better: str
    usual: float | None
    usual_of: str
    count: int
    source: str


@dataclass(frozen=True)
class Figures:
    """All that was measured, and why the rest was not."""

    measured: tuple[Figure, ...]
    left_out: tuple[tuple[str, str], ...]
    sharpness: float | None
    """Mean gradient inside generated people over that inside the people of their photos."""
    grid: float | None = None
    """The pattern that a decoder prints, see `augment.quality.texture.grid`, over that of real photos."""


def no_figures(reason: str) -> Figures:
    """Nothing was measured, for one reason."""
    return Figures((), tuple((metric.title, reason) for metric in METRICS.values()), None)


def folder_figures(
    chosen: Chosen, original: Path | None, estimator: Callable[[], Estimator], device: str, seed: int
) -> Figures:
    """Measure up to `COUNT` of a folder's generated images, and as many photos.

    Args:
        chosen: the folder.
        original: what it was made of, where that is there: pose space before is then that of all its images.
        estimator: finds joints, for PCKh.
        device: where networks compute.
        seed: of the choice.
    """
    material = _with_photos(chosen, _material(chosen, original, seed), seed)
    tools, found, left_out = Tools(estimator=estimator, device=resolve_device(device)), [], []
    usual = _usual(chosen, material, tools, seed)
    for name, metric in METRICS.items():
        if name not in _MEASURED:
            left_out.append((metric.title, _PAIRS if metric.pairs_only else _LARGE))
            continue
        try:
            result = measure_quality(material, tools, [name]).results[0]
        except Unavailable as error:
            left_out.append((metric.title, str(error).removeprefix(f"{name}: ")))
            continue
        reference, told = usual.get(name, (result.before, "the real images alone"))
        found.append(
            Figure(
                metric.title,
                result.value,
                result.spread,
                metric.unit,
                metric.better,
                reference,
                told,
                result.count,
                metric.source,
            )
        )
    sharp = _sharpness(material)
    if sharp is not None:
        found.insert(0, _sharp_figure(sharp, len(material.generated)))
    grids = [one.value / one.usual for one in found if one.title == METRICS["grid"].title and one.usual]
    return Figures(tuple(found), tuple(left_out), sharp, next(iter(grids), None))


def _material(chosen: Chosen, original: Path | None, seed: int) -> Material:
    try:
        return folder_material(chosen.out, original, COUNT, seed, crowd=False)
    except InputError:
        if original is None:
            raise
        return folder_material(chosen.out, None, COUNT, seed, crowd=False)  # its joints lie elsewhere


def _with_photos(chosen: Chosen, material: Material, seed: int) -> Material:
    kept = chosen.plan.loc[chosen.plan["action"] == "keep", "output"].tolist()
    paths = sample(kept, COUNT, seed, "report photos")
    return replace(material, crowd=load_images(chosen.out, paths, chosen.size).transpose(0, 2, 3, 1))


def _usual(chosen: Chosen, material: Material, tools: Tools, seed: int) -> dict[str, tuple[float | None, str]]:
    """What the same figures are of real photos."""
    from augment.quality.texture import grid

    found: dict[str, tuple[float | None, str]] = {}
    if len(material.crowd):
        found["grid"] = (grid(material.crowd), "real photos of this folder")
    if tools.estimator is not None:
        joints = in_batches(tools.estimator(), material.conditions)
        found["pckh"] = (pckh(joints, material.condition_poses).share, "the photos, in their own poses")
    found["colour"] = (_same_person(chosen, seed), "two photos of one person, median")
    found["kid"] = (_kid_of_halves(material, tools), "one half of the photos against the other")
    return found


def _same_person(chosen: Chosen, seed: int) -> float | None:
    """Colour drift between two photos of one person, the median over people's first pairs."""
    kept = chosen.plan[(chosen.plan["action"] == "keep") & (chosen.plan["pid"] > 0)]
    pairs = [
        pair
        for _, own in kept.groupby("pid")
        for paths in [sample(own["output"].tolist(), 8, seed, "report pairs")]
        for pair in zip(paths[::2], paths[1::2], strict=False)
    ][:COUNT]
    joints = chosen.keypoints.rows([path for pair in pairs for path in pair])
    if not len(joints):
        return None
    images = load_images(chosen.out, [path for pair in pairs for path in pair], chosen.size).transpose(0, 2, 3, 1)
    poses = [chosen.keypoints.xy[row] if row >= 0 else np.full((18, 2), np.nan, np.float32) for row in joints]
    colours = np.stack([part_colours(np.ascontiguousarray(i), xy) for i, xy in zip(images, poses, strict=True)])
    drift = colour_drift(colours[::2], colours[1::2])
    return float(np.nanmedian(drift)) if (~np.isnan(drift)).any() else None


def _kid_of_halves(material: Material, tools: Tools) -> float | None:
    halves = replace(material, generated=material.crowd[::2], crowd=material.crowd[1::2])
    try:
        return measure_quality(halves, tools, ["kid"]).results[0].value
    except (Unavailable, InputError):
        return None


def _sharpness(material: Material) -> float | None:
    size = (material.generated.shape[1], material.generated.shape[2])
    try:
        made = gradient(material.generated, joints_masks(material.poses, size))
        real = gradient(material.conditions, joints_masks(material.condition_poses, size))
    except Unavailable:
        return None
    ratio = made / real if real else float("nan")
    return ratio if np.isfinite(ratio) else None


def _sharp_figure(value: float, count: int) -> Figure:
    return Figure(
        "sharpness against the photos", value, None, "gradient inside people, over that of their photos", "near 1", 1.0,
        "the photos themselves", count, "own: mean absolute gradients of luma without periods 2, 4, 8, along the limbs",
    )  # fmt: skip


def coverage_rows(
    before: tuple[NDArray[np.float32], NDArray[np.int64]],
    after: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> dict[int, tuple[int, int]]:
    """Cells of pose space (of 108) that each identity shows, before and after, by pid."""
    from augment.quality.coverage import pose_space

    space = pose_space()
    counts: list[dict[int, int]] = []
    for xy, pids in (before, after):
        cells = space.cells(xy)
        shown: dict[int, set[int]] = {}
        for pid, cell in zip(pids.tolist(), cells.tolist(), strict=True):
            shown.setdefault(pid, set()).add(cell)
        counts.append({pid: len(own) for pid, own in shown.items()})
    return {pid: (counts[0].get(pid, 0), counts[1].get(pid, 0)) for pid in {*counts[0], *counts[1]}}


def light(state: str, title: str, text: str) -> dict[str, Any]:
    """One of the page's three lights: `good`, `look`, `bad` or `off`."""
    words = {"good": "fine", "look": "look closer", "bad": "trouble", "off": "not measured"}
    return {"state": state, "title": title, "word": words[state], "text": text}
