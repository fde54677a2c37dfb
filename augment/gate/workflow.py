"""What `calibrate-gate`, `gate` and `generate --gate` do between reading options and calling the gate."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augment.estimators.base import Estimator
from augment.estimators.build import build_estimator
from augment.gate.calibrate import calibrate, read_thresholds, write_thresholds
from augment.gate.judge import NUMBERS, REASONS, Gate, GateThresholds, Verdict, reason_counts
from augment.pose.keypoints import Keypoints, load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError, progress, resolve_device, sha256_file, write_text

if TYPE_CHECKING:
    from augment.commands.generate import GenerateOptions, Inputs
    from augment.gate.redraw import GateRun
    from augment.quality.metrics import Material

Say = Callable[[str], None]
_BATCH = 32


def open_estimator(name: str, weights: Path | None, device: str) -> tuple[Estimator, str | None]:
    """An estimator and the hash of its weights, where they are a file."""
    from augment.estimators.posenet.weights_file import shipped_weights

    file = weights or (shipped_weights() if name == "synth" else None)
    estimator = build_estimator(name, weights=weights, device=resolve_device(device))
    return estimator, sha256_file(file) if file else None


def open_gate(
    data: ReidData,
    keypoints: Keypoints,
    thresholds: Path | None,
    size: tuple[int, int],
    device: str,
    say: Say,
    weights: Path | None = None,
) -> Gate:
    """A gate with the thresholds of a file, or of this data set's real images by `synth`.

    Raises:
        InputError: thresholds of other weights of the estimator than are here.
    """
    if thresholds is not None:
        limits = read_thresholds(thresholds)
        estimator, sha256 = open_estimator(limits.estimator, weights, device)
        if limits.estimator_sha256 not in (None, sha256):
            raise InputError(f"{thresholds} was set with other weights of {limits.estimator}: set it anew")
        return Gate(estimator, limits)
    estimator, sha256 = open_estimator("synth", weights, device)
    limits = calibrate(data, keypoints, estimator, size=size, sha256=sha256)
    say(describe(limits))
    return Gate(estimator, limits)


def gate_run(options: GenerateOptions, inputs: Inputs, size: tuple[int, int], say: Say) -> GateRun:
    """The gate of `--gate`: thresholds from a file, or set on this data set's real images."""
    from augment.gate.redraw import GateRun

    limits, weights = options.gate_thresholds, options.gate_weights
    gate = open_gate(inputs.data, inputs.keypoints, limits, size, options.device, say, weights)
    return GateRun(gate, options.gate_retries, options.pose_source, options.exclude_same_image, options.seed)


def gate_message(facts: dict[str, Any]) -> str:
    """A line about what the gate did, from a manifest."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in facts["reasons"].items())
    return (
        f"Gate: {facts['accepted_at_once']} of {facts['asked']} accepted at once, {facts['accepted_after_retry']} "
        f"after another try, {facts['given_up']} given up; {facts['rejections']} rejections ({reasons})"
    )


def describe(limits: GateThresholds) -> str:
    """A line for the user, with what the thresholds do to real images."""
    rates = limits.rates or {}
    told = {name: f"{100 * share:.0f}%" for name, share in rates.items()}
    text = (
        f"Gate, set on {limits.images} real images with {limits.estimator}: pose error at most "
        f"{limits.pose:.2f}, colour drift at most {limits.colour:.1f}"
    )
    if not told:
        return text
    return (
        f"{text}; it rejects {told['pose_wrong']} of wrong poses and {told['pose_right']} of right ones, "
        f"{told['colour_other']} of other people and {told['colour_same']} of the same"
    )


def calibrate_gate(
    root: Path,
    out: Path,
    keypoints: Path | None,
    name: str,
    weights: Path | None,
    count: int,
    false_alarms: float,
    device: str,
    say: Say,
) -> None:
    """`patn-augment calibrate-gate`: set the thresholds on real images and write them."""
    data = read_dataset(root)
    estimator, sha256 = open_estimator(name, weights, device)
    joints = load_annotations(root, keypoints)
    limits = calibrate(data, joints, estimator, count=count, sha256=sha256, name=name, false_alarms=false_alarms)
    write_thresholds(out, limits)
    say(describe(limits))
    say(f"Wrote {out}; use it with patn-augment generate --gate --gate-thresholds {out}")


def judge_folder(out: Path, gate: Gate) -> dict[str, Verdict]:
    """The gate's verdict on every generated image of an augmented folder, by its path there."""
    from augment.quality.material import folder_material, generated_outputs

    material = folder_material(out, crowd=False)
    return dict(zip(generated_outputs(out), _judge_all(gate, material), strict=True))


def run_gate(
    out: Path,
    thresholds: Path | None,
    weights: Path | None,
    target: Path | None,
    png: Path | None,
    device: str,
    say: Say,
) -> bool:
    """`patn-augment gate`: judge an augmented folder; whether all its generated images pass."""
    from augment.folder.manifest import read_manifest

    size = read_manifest(out).job.generator_size
    data, keypoints = read_dataset(out), load_annotations(out)
    real = data.train["source"].to_numpy() != "generated"
    kept = replace(data, train=data.train[real].reset_index(drop=True))
    gate = open_gate(kept, keypoints, thresholds, size, device, say, weights)
    verdicts = judge_folder(out, gate)
    bad = {name: verdict for name, verdict in verdicts.items() if not verdict.ok}
    counts = ", ".join(f"{reason} {count}" for reason, count in reason_counts(list(verdicts.values())).items())
    say(f"{len(bad)} of {len(verdicts)} generated images rejected ({counts})")
    for name, verdict in list(bad.items())[:20]:
        say(f"  {name}: {', '.join(verdict.reasons)}")
    if len(bad) > 20:
        say(f"  and {len(bad) - 20} more")
    if target:
        write_verdicts(target, verdicts)
    if png:
        verdict_sheet(out, verdicts, png)
        say(f"Wrote {png}")
    return not bad


def judge_pairs(
    weights: str,
    data: Path | None,
    thresholds: Path | None,
    estimator_weights: Path | None,
    count: int,
    exchange: float,
    device: str,
    say: Say,
) -> None:
    """`patn-augment gate --pairs`: judge a generator's images of test pairs, whose truth is known, and say whether
    those that are rejected are farther from it: mean absolute difference under the limbs of the pose, grey levels.

    A share `exchange` of the images first change places: each then is what was made for another pair, in another pose
    and, but for chance, of another person.

    Raises:
        InputError: fewer than two images to exchange.
    """
    from augment.quality.similarity import joints_masks
    from augment.quality.workflow import generated_pairs
    from augment.synth.dataset import source_data

    wrong = np.sort(np.random.default_rng(0).permutation(count)[: round(exchange * count)])
    if exchange and len(wrong) < 2:
        raise InputError(f"--exchange {exchange:g} of {count} pairs is fewer than two images: give more --count")
    material, _ = generated_pairs(weights, data, count, device, say)
    material.generated[wrong] = material.generated[np.roll(wrong, 1)]
    root = source_data(data, say)
    size = (material.generated.shape[1], material.generated.shape[2])
    gate = open_gate(read_dataset(root), load_annotations(root), thresholds, size, device, say, estimator_weights)
    assert material.real is not None
    masks = joints_masks(material.poses, size)
    apart = np.abs(material.generated.astype(np.float64) - material.real).mean(-1)
    errors = (apart * masks).sum((1, 2)) / np.maximum(masks.sum((1, 2)), 1)
    verdicts = _judge_all(gate, material)
    good = np.array([verdict.ok for verdict in verdicts])
    if len(wrong):
        among = np.isin(np.arange(count), wrong)
        found, false = int((~good & among).sum()), int((~good & ~among).sum())
        say(
            f"Of {len(wrong)} exchanged images it finds {found}; of the {count - len(wrong)} others it rejects {false}."
        )
    say(f"{int((~good).sum())} of {len(good)} images rejected. L1 under the limbs, grey levels ± standard error:")
    groups = {"all": np.ones_like(good), "accepted": good, "rejected": ~good}
    for reason in REASONS:
        groups[f"for {reason}"] = np.array([reason in verdict.reasons for verdict in verdicts])
    for name, chosen in groups.items():
        number = int(chosen.sum())
        spread = f" ± {errors[chosen].std(ddof=1) / np.sqrt(number):.1f}" if number > 1 else ""
        say(f"  {name:14s} {number:5d} images  {f'{errors[chosen].mean():.1f}' if number else '-'}{spread}")


def _judge_all(gate: Gate, material: Material) -> list[Verdict]:
    verdicts: list[Verdict] = []
    with progress("Judging", len(material.generated)) as bar:
        for start in range(0, len(material.generated), _BATCH):
            part = slice(start, start + _BATCH)
            verdicts += gate.judge(
                material.generated[part], material.poses[part], material.conditions[part],
                material.condition_poses[part],
            )  # fmt: skip
            bar.advance(len(verdicts) - start)
    return verdicts


def write_verdicts(path: Path, verdicts: dict[str, Verdict]) -> None:
    """Write a CSV line an image: its numbers, and what it failed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["output", "accepted", "reasons", *NUMBERS])
    for name, verdict in verdicts.items():
        writer.writerow([name, int(verdict.ok), "+".join(verdict.reasons), *verdict.numbers().values()])
    write_text(path, buffer.getvalue())


def verdict_sheet(out: Path, verdicts: dict[str, Verdict], target: Path, count: int = 48, columns: int = 8) -> None:
    """PNG: rejected images above, accepted ones below, each beside its pose, with what it failed."""
    from augment.pictures import grid, save_sheet
    from augment.pose.draw import draw_skeleton
    from augment.quality.material import folder_material, generated_outputs

    material, outputs = folder_material(out, crowd=False), generated_outputs(out)
    order = sorted(range(len(outputs)), key=lambda i: (verdicts[outputs[i]].ok, i))
    bad = sum(not verdict.ok for verdict in verdicts.values())
    chosen = order[:bad][: count // 2] + order[bad:][: count - min(bad, count // 2)]
    rows, captions = [], []
    for start in range(0, len(chosen), columns):
        part = chosen[start : start + columns]
        cells = []
        for i in part:
            frame = (40, 160, 60) if verdicts[outputs[i]].ok else (210, 40, 40)
            pair = [material.conditions[i], material.generated[i]]
            pair.append(draw_skeleton(material.generated[i], material.poses[i]))
            cells.append(_framed(np.hstack(pair), frame))
        rows.append(cells)
        captions.append(" ".join("".join(r[0] for r in verdicts[outputs[i]].reasons) or "-" for i in part))
    save_sheet(grid(rows, row_captions=captions, scale=1), target)


def _framed(image: np.ndarray, colour: tuple[int, int, int], width: int = 3) -> np.ndarray:
    framed = np.full((image.shape[0] + 2 * width, image.shape[1] + 2 * width, 3), colour, np.uint8)
    framed[width:-width, width:-width] = image
    return framed
