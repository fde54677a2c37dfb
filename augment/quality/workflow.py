"""What `patn-augment quality` does between reading options and printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.quality.material import folder_material, pairs_material
from augment.quality.metrics import Material, Tools, measure_quality
from augment.quality.output import print_quality, write_quality_csv, write_quality_json
from reid_eval.runtime import InputError, resolve_device

Say = Callable[[str], None]


@dataclass(frozen=True)
class QualityOptions:
    """Options of `patn-augment quality`."""

    out: Path | None
    pairs: str | None
    data: Path | None = None
    count: int | None = None
    metrics: tuple[str, ...] = ()
    estimator: str = "synth"
    estimator_weights: Path | None = None
    inception: Path | None = None
    lpips: Path | None = None
    detector: Path | None = None
    detector_name: str = "ssd300_vgg16"
    reid: Path | None = None
    reid_backbone: str = "resnet50"
    target: Path | None = None
    csv: Path | None = None
    pose_space: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if (self.out is None) == (self.pairs is None):
            raise InputError("give an augmented folder, or --pairs WEIGHTS to measure a generator on test pairs")
        if self.pose_space and self.out is None:
            raise InputError("--pose-space shows a data set: give an augmented folder")

    def tools(self) -> Tools:
        """What the metrics need."""
        from augment.estimators.build import build_estimator

        device = resolve_device(self.device)
        return Tools(
            self.inception,
            self.lpips,
            self.detector,
            self.detector_name,
            self.reid,
            self.reid_backbone,
            lambda: build_estimator(self.estimator, weights=self.estimator_weights, device=device),
            device,
        )


def run_quality(options: QualityOptions, say: Say) -> None:
    """Measure a folder or a generator; print, and write what was asked for."""
    if options.out is not None:
        material = folder_material(options.out, options.data, options.count)
        facts: dict[str, Any] = {"folder": options.out.name}
    else:
        assert options.pairs is not None
        material, facts = generated_pairs(options.pairs, options.data, options.count or 512, options.device, say)
    report = measure_quality(material, options.tools(), options.metrics or None)
    say(f"{len(material.generated)} generated images:")
    print_quality(report)
    facts |= {"images": len(material.generated), "estimator": options.estimator}
    if options.target:
        write_quality_json(options.target, report, facts)
    if options.csv:
        write_quality_csv(options.csv, report)
    if options.pose_space:
        _draw_pose_space(material, options.pose_space)
        say(f"Wrote {options.pose_space}: before left, after right, brighter where more identities have it")


def generated_pairs(
    weights: str, data: Path | None, count: int, name: str, say: Say
) -> tuple[Material, dict[str, Any]]:
    """A generator's images of test pairs, and facts about them; arguments as `QualityOptions` has them."""
    from augment.generators.weights import load_generator, read_weights, trained_for
    from augment.pairs.photos import folder_pairs
    from augment.quality.errors import unseen_pairs

    device = resolve_device(name)
    file = read_weights(weights)
    size, sigma = trained_for(file.metadata)
    if data is None:
        say("Pairs of synthetic people in a world that no shipped weights were trained in.")
        pairs = unseen_pairs(size=size, device=device)
    else:
        pairs = folder_pairs(data, split="gallery", size=size, device=device)
    material = pairs_material(load_generator(file, device), pairs, count, sigma)
    shown = data.name if data else "unseen synthetic people"
    return material, {"weights": Path(weights).name, "weights_sha256": file.sha256, "data": shown}


def _draw_pose_space(material: Material, target: Path) -> None:
    from augment.quality.coverage import save_pose_space

    m = material
    assert m.poses_before is not None
    assert m.pids_before is not None
    assert m.poses_after is not None
    assert m.pids_after is not None
    save_pose_space((m.poses_before, m.pids_before), (m.poses_after, m.pids_after), target)
