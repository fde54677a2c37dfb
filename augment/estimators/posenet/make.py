"""Makes an estimator from nothing but a seed: training, thresholds, figures, the file that ships."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from augment.estimators.accuracy import best_thresholds, joint_accuracy, summary, synthetic_people
from augment.estimators.posenet.estimator import locate_all
from augment.estimators.posenet.training import train_poses
from augment.estimators.posenet.training_settings import CALIBRATION_WORLD, PoseTrainSettings
from augment.estimators.posenet.weights_file import save_weights
from augment.pose.skeleton import seen
from augment.runs import package_versions
from augment.synth.stream import UNSEEN_WORLD
from reid_eval.runtime import resolve_device, write_json

WEIGHTS, FIGURES = "weights.safetensors", "figures.json"
Say = Callable[[str], None]


def make_estimator(
    settings: PoseTrainSettings,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    test_identities: int = 512,
    command: str = "",
    say: Say = print,
) -> Path:
    """Train, set thresholds in one unseen world, measure in another, write `weights.safetensors` and `figures.json`.

    Args:
        settings: of the training.
        out: the run directory.
        device: where to.
        resume: go on with an unfinished training in `out`.
        test_identities: people of each unseen world, 4 images each.
        command: the command line, for the record.
        say: where figures are told.

    Returns:
        The weights file.
    """
    where = resolve_device(device)
    result = train_poses(settings, out, where, resume)
    start = time.monotonic()
    held_out = synthetic_people(CALIBRATION_WORLD, test_identities, size=settings.size, device=where)
    _, score = locate_all(result.network, held_out.images)
    thresholds = best_thresholds(score, seen(held_out.xy)).round(4)
    test = synthetic_people(UNSEEN_WORLD, test_identities, size=settings.size, device=where)
    xy, score = locate_all(result.network, test.images)
    measured = joint_accuracy(xy, score >= thresholds, test.xy, test.images.shape[2])
    facts = {
        **result.facts,
        "data": f"synthetic pedestrians, augment.synth, world {settings.world} (endless stream)",
        "thresholds": f"highest F1 on synthetic world {CALIBRATION_WORLD}",
        "figures": {**measured, "data": f"synthetic world {UNSEEN_WORLD}"},
        "command": command,
        "licence": "MIT",
        "versions": package_versions(),
        "measuring_seconds": round(time.monotonic() - start, 1),
    }
    sha = save_weights(out / WEIGHTS, result.network, settings.size, thresholds.tolist(), facts)
    write_json(out / FIGURES, {**facts, "sha256": sha})
    say(summary(measured))
    say(f"{result.facts['steps']} steps, {result.facts['images_seen']} images: {out / WEIGHTS}")
    return out / WEIGHTS
