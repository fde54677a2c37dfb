"""Computes the metrics of `augment.quality.catalogue` for one set of generated images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augment.estimators.base import Estimator
from augment.quality.catalogue import ARITHMETIC, METRICS
from augment.quality.detection import DETECTORS, Detector
from augment.quality.extras import Unavailable
from augment.quality.inception import SPLITS, Inception, InceptionOutputs, frechet_distance, inception_score
from augment.quality.joints import pckh
from augment.quality.judged import Judge, kid
from augment.quality.likeness import ReidFeatures, colour_drift, cosine, part_colours
from augment.quality.perceptual import Lpips
from augment.quality.retrieval import Gallery, ranking_network, search
from augment.quality.similarity import joints_masks, l1, masked, ssim
from augment.quality.texture import Sharpness, grid, sharpness, surroundings
from reid_eval.alike import did_you_mean
from reid_eval.helping import helping_threads
from reid_eval.ranking import Ranking
from reid_eval.runtime import InputError

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Material:
    """What there is to measure; N images of one size.

    Attributes:
        generated: uint8 RGB `[N, H, W, 3]`.
        poses: `[N, 18, 2]`, the poses asked for, (x, y) pixels of `generated`.
        conditions: uint8 `[N, H, W, 3]`, the photos they were made from.
        condition_poses: `[N, 18, 2]`.
        crowd: uint8 `[M, H, W, 3]`, real images, for FID.
        real: uint8 `[N, H, W, 3]`, the real image in the target pose; None where nobody has it.
        people: bool `[N, H, W]`, the person in `real`, for sharpness; None takes a tube around the joints.
        gallery: the photos that the pairs are of, for retrieval; None where people and cameras are not known.
        masks: bool `[N, H, W]`, for mask-SSIM and mask-IS; None draws them from `poses` as the authors do.
        poses_before, pids_before: usable poses `[K, 18, 2]` and pids `[K]` of the real images, for pose space.
        poses_after, pids_after: the same of real and generated images.
    """

    generated: Images
    poses: NDArray[np.float32]
    conditions: Images
    condition_poses: NDArray[np.float32]
    crowd: Images
    real: Images | None = None
    people: NDArray[np.bool_] | None = None
    gallery: Gallery | None = None
    masks: NDArray[np.bool_] | None = None
    poses_before: NDArray[np.float32] | None = None
    pids_before: NDArray[np.int64] | None = None
    poses_after: NDArray[np.float32] | None = None
    pids_after: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Tools:
    """Files and choices of the metrics that need them; None downloads, or leaves a metric out."""

    inception: Path | None = None
    lpips: Path | None = None
    detector: Path | None = None
    detector_name: str = DETECTORS[0]
    reid: Path | None = None
    reid_backbone: str = "resnet50"
    estimator: Callable[[], Estimator] | None = None
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Result:
    """A metric's value.

    Attributes:
        name: key of `METRICS`.
        value: mean over images, or the one value of the set.
        spread: standard deviation over images (or over the parts of IS); None where there is none.
        count: images, or joints, it was taken of.
        before: of the real images alone, for pose space.
        photos: of the photos in the poses asked for, or of a folder's, where that is not known beforehand.
    """

    name: str
    value: float
    spread: float | None
    count: int
    before: float | None = None
    photos: float | None = None


@dataclass
class Report:
    """Values, and why the others are missing."""

    results: list[Result] = field(default_factory=list)
    left_out: dict[str, Unavailable] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """A metric's value by name.

        Raises:
            KeyError: it was not measured.
        """
        return next(result.value for result in self.results if result.name == name)


def measure_quality(material: Material, tools: Tools, names: Sequence[str] | None = None) -> Report:
    """Measure. What needs no network is computed beside the networks, by helping threads.

    Args:
        material: the images.
        tools: what the metrics need.
        names: keys of `METRICS`; default: all that apply. What cannot be had is left out with its reason, or is an
            error if it was named.

    Raises:
        InputError: an unknown name.
        Unavailable: a named metric that cannot be had.
    """
    unknown = [name for name in names or () if name not in METRICS]
    if unknown:
        raise InputError(
            f"no metric {unknown[0]!r}: {did_you_mean(unknown[0], METRICS)}choose from {', '.join(METRICS)}"
        )
    wanted = list(names or METRICS)
    report, run = Report(), _Run(material, tools)
    with helping_threads(torch.device(tools.device)) as pool:
        beside: dict[str, Future[dict[str, Result | Unavailable]]] = {}
        for group in ARITHMETIC:
            if asked := [name for name in group if name in wanted]:
                beside |= dict.fromkeys(asked, pool.submit(_found, run, asked))
        for name in wanted:
            found = (beside[name].result() if name in beside else _found(run, [name]))[name]
            if isinstance(found, Result):
                report.results.append(found)
            elif names:
                raise Unavailable(f"{name}: {found}", found.needs)
            else:
                report.left_out[name] = found
    return report


def _found(run: _Run, names: Sequence[str]) -> dict[str, Result | Unavailable]:
    """Metrics one after the other: what each is, or why it cannot be had."""
    found: dict[str, Result | Unavailable] = {}
    for name in names:
        try:
            if METRICS[name].pairs_only and run.m.real is None:
                told = "needs the real image in the target pose: measure a generator on test pairs"
                raise Unavailable(told, "material")
            found[name] = getattr(run, name + "_")()
        except Unavailable as error:
            found[name] = error
    return found


class _Run:
    """One method a metric, `NAME_`; what several of them need is computed once."""

    def __init__(self, material: Material, tools: Tools) -> None:
        self.m, self.tools = material, tools

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        if self.m.masks is not None:
            return self.m.masks
        return joints_masks(self.m.poses, (self.m.generated.shape[1], self.m.generated.shape[2]))

    @property
    def real(self) -> Images:
        assert self.m.real is not None  # measure_quality saw to it
        return self.m.real

    @cached_property
    def _inception(self) -> Inception | Unavailable:
        try:
            return Inception(self.tools.inception, self.tools.device)
        except Unavailable as error:  # asked for once, not once a metric
            return error

    @property
    def inception(self) -> Inception:
        if isinstance(self._inception, Unavailable):
            raise self._inception
        return self._inception

    @cached_property
    def looked_at(self) -> InceptionOutputs:
        return self.inception(self.m.generated)

    def l1_(self) -> Result:
        return _mean("l1", l1(self.m.generated, self.real))

    def ssim_(self) -> Result:
        return _mean("ssim", ssim(self.m.generated, self.real))

    def ssim_standard_(self) -> Result:
        return _mean("ssim_standard", ssim(self.m.generated, self.real, authors=False))

    def mask_ssim_(self) -> Result:
        return _mean("mask_ssim", ssim(masked(self.m.generated, self.masks), masked(self.real, self.masks)))

    def lpips_(self) -> Result:
        return _mean("lpips", Lpips(self.tools.lpips, self.tools.device)(self.m.generated, self.real))

    @cached_property
    def _sharpness(self) -> Sharpness:
        m = self.m
        if m.people is not None:
            return sharpness(m.generated, self.real, m.people, ~m.people)
        tubes = joints_masks(m.poses, (m.generated.shape[1], m.generated.shape[2]))
        return sharpness(m.generated, self.real, tubes, surroundings(tubes))

    def sharpness_(self) -> Result:
        return self._of_the_set("sharpness", self._sharpness.inside)

    def sharpness_outside_(self) -> Result:
        return self._of_the_set("sharpness_outside", self._sharpness.outside)

    def grid_(self) -> Result:
        photos = self.m.crowd if self.m.real is None else self.m.real
        return self._of_the_set("grid", grid(self.m.generated), photos=grid(photos) if len(photos) else None)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.tools.device)

    def kid_(self) -> Result:
        found = kid(self._judge.features(self.m.generated), self._judge.features(self.m.crowd))
        return self._of_the_set("kid", found.mean, found.spread)

    def imagenet_distance_(self) -> Result:
        return _mean("imagenet_distance", self._judge.distance(self.m.generated, self.real))

    @cached_property
    def _searches(self) -> tuple[Ranking, Ranking]:
        if self.m.gallery is None:
            raise Unavailable("needs pairs whose people and cameras are known", "material")
        file = self.tools.reid or ranking_network(self.m.gallery.training, self.tools.device)
        features = ReidFeatures(file, self.tools.reid_backbone, self.tools.device)
        photos = features(self.m.gallery.images)
        conditions, targets = self.m.gallery.conditions, self.m.gallery.targets
        made = search(features(self.m.generated), photos, self.m.gallery, conditions)
        return made, search(photos[targets], photos, self.m.gallery, targets)

    def retrieval_rank1_(self) -> Result:
        made, photos = (found.rank(1) for found in self._searches)
        return Result("retrieval_rank1", made, None, self._searched, photos=photos)

    def retrieval_map_(self) -> Result:
        made, photos = (found.mAP for found in self._searches)
        return Result("retrieval_map", made, None, self._searched, photos=photos)

    @property
    def _searched(self) -> int:
        return len(self.m.generated) - len(self._searches[0].skipped)

    def _of_the_set(self, name: str, value: float, spread: float | None = None, photos: float | None = None) -> Result:
        if value != value:
            raise Unavailable("no image has what it needs")
        return Result(name, value, spread, len(self.m.generated), photos=photos)

    def is_(self) -> Result:
        return self._score("is", self.looked_at.probabilities)

    def mask_is_(self) -> Result:
        return self._score("mask_is", self.inception(masked(self.m.generated, self.masks)).probabilities)

    def _score(self, name: str, probabilities: NDArray[np.float64]) -> Result:
        if len(probabilities) < SPLITS:
            raise Unavailable(f"needs at least {SPLITS} images")
        mean, spread = inception_score(probabilities)
        return Result(name, mean, spread, len(probabilities))

    def fid_(self) -> Result:
        distance = frechet_distance(self.looked_at.features, self.inception(self.m.crowd).features)
        return Result("fid", distance, None, len(self.m.generated))

    def pckh_(self) -> Result:
        if self.tools.estimator is None:
            raise Unavailable("needs an estimator", "estimator")
        try:
            estimator = self.tools.estimator()
        except InputError as error:
            raise Unavailable(str(error)) from None
        found = in_batches(estimator, self.m.generated)
        counts = pckh(found, self.m.poses)
        return Result("pckh", counts.share, None, counts.asked)

    def ds_(self) -> Result:
        detector = Detector(self.tools.detector, self.tools.device, self.tools.detector_name)
        return _mean("ds", detector(self.m.generated))

    def identity_(self) -> Result:
        if self.tools.reid is None:
            raise Unavailable("needs a re-ID network", "reid")
        features = ReidFeatures(self.tools.reid, self.tools.reid_backbone, self.tools.device)
        return _mean("identity", cosine(features(self.m.generated), features(self.m.conditions)))

    def colour_(self) -> Result:
        made = np.stack([part_colours(i, xy) for i, xy in zip(self.m.generated, self.m.poses, strict=True)])
        true = np.stack([part_colours(i, xy) for i, xy in zip(self.m.conditions, self.m.condition_poses, strict=True)])
        return _mean("colour", colour_drift(made, true))

    def diversity_(self) -> Result:
        from augment.quality.coverage import pose_diversity

        return self._poses("diversity", pose_diversity)

    def coverage_(self) -> Result:
        from augment.quality.coverage import pose_space

        return self._poses("coverage", pose_space().coverage)

    def _poses(self, name: str, function: Callable[[Any, Any], float]) -> Result:
        if self.m.poses_before is None or self.m.poses_after is None:
            raise Unavailable("is about a whole data set: measure an augmented folder")
        before = function(self.m.poses_before, self.m.pids_before)
        return Result(name, function(self.m.poses_after, self.m.pids_after), None, len(self.m.poses_after), before)


def in_batches(estimator: Estimator, images: Images, size: int = 64) -> NDArray[np.float32]:
    """Joints `[N, 18, 2]` of uint8 RGB `[N, H, W, 3]`, with progress."""
    from reid_eval.runtime import progress

    parts = []
    with progress("Finding joints", len(images)) as bar:
        for start in range(0, len(images), size):
            parts.append(estimator(list(images[start : start + size]))[0])
            bar.advance(len(parts[-1]))
    return np.concatenate(parts) if parts else np.empty((0, 18, 2), np.float32)


def _mean(name: str, values: NDArray[np.float64]) -> Result:
    """Mean and spread of the values that are there."""
    known = values[~np.isnan(values)]
    if not len(known):
        raise Unavailable("no image has what it needs")
    return Result(name, float(known.mean()), float(known.std()), len(known))
