"""The gate's verdicts on a whole augmented folder: judged, written as CSV, and shown."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augment.folder.layout import folder_plan
from augment.folder.manifest import read_manifest
from augment.gate.finds_person import LEAST, PersonTest, open_person_test, recorded_person_test
from augment.gate.judge import MARGIN, NUMBERS, Gate, Verdict, reason_counts
from augment.gate.kept_network import folder_photos
from augment.gate.thresholds import folder_person, folder_thresholds, open_gate
from augment.plan.donors import stable_hash
from augment.pose.keypoints import load_annotations
from augment.quality.material import folder_material, generated_outputs
from augment.quality.metrics import Material
from augment.quality.sheet import who_and_where
from augment.runs import Say
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError, progress, write_text

_BATCH = 32
_WORDS = {
    "pose": "another pose",
    "identity": "other colours",
    "statistics": "broken",
    "person": "found as another person",
}
"""What an image that fails a test of `REASONS` shows, for people."""


def folder_gate(
    out: Path,
    thresholds: Path | None,
    weights: Path | None,
    device: str,
    say: Say,
    estimator: str | None = None,
    reid_weights: Path | None = None,
    least: float | None = None,
) -> Gate:
    """A gate for an augmented folder: thresholds from a file, those it was made with, or set on its real images.

    It tests the person where a network is given, or where the folder was made so and its network is in the cache.

    Args:
        out: the folder, finished.
        thresholds, weights, device, say, estimator: see `augment.gate.thresholds.open_gate`.
        reid_weights: of the network of the test of the person, a file of `reid-eval --save`.
        least: the margin of that test; None: as the folder was made with, else `LEAST`.
    """
    size = read_manifest(out).job.generator_size
    data, keypoints = read_dataset(out), load_annotations(out)
    real = data.train["source"].to_numpy() != "generated"
    kept = replace(data, train=data.train[real].reset_index(drop=True))
    own = folder_thresholds(out) if thresholds is None else None
    if own is not None:
        say("Gate: with the thresholds that the folder was made with.")
    gate = open_gate(kept, keypoints, thresholds or own, size, device, say, weights, estimator)
    return Gate(gate.estimator, gate.thresholds, _person_test(out, reid_weights, least, size, device, say))


def _person_test(
    out: Path, reid_weights: Path | None, least: float | None, size: tuple[int, int], device: str, say: Say
) -> PersonTest | None:
    made = folder_person(out)
    if made is None and reid_weights is None:
        if least is not None:
            raise InputError(f"{out} was made without a test of the person: name a network for it", "reid_weights")
        return None
    used = LEAST if made is None else made.margin
    used, photos = used if least is None else least, folder_photos(out)
    if reid_weights is None:
        assert made is not None
        return recorded_person_test(photos, made.network_sha256, size, used, device, say)
    test = open_person_test(photos, reid_weights, size, used, device, say)
    if made is not None and made.network_sha256 != test.sha256:
        say("Note: the folder was made with another network than this")
    return test


def judge_folder(out: Path, gate: Gate) -> dict[str, Verdict]:
    """The gate's verdict on every generated image of an augmented folder, by its path there."""
    material, plan = folder_material(out, crowd=False), folder_plan(out)
    pids = plan.loc[plan["action"] == "generate", "pid"].to_numpy(np.int64)
    return dict(zip(generated_outputs(out), judge_material(gate, material, pids), strict=True))


def judge_material(gate: Gate, material: Material, pids: NDArray[np.int64] | None = None) -> list[Verdict]:
    """The gate's verdict on each generated image; a test of the person needs their `pids`, int64 `[N]`."""
    verdicts: list[Verdict] = []
    with progress("Judging", len(material.generated)) as bar:
        for start in range(0, len(material.generated), _BATCH):
            part = slice(start, start + _BATCH)
            verdicts += gate.judge(
                material.generated[part], material.poses[part], material.conditions[part],
                material.condition_poses[part], None if pids is None else pids[part],
            )  # fmt: skip
            bar.advance(len(verdicts) - start)
    return verdicts


def verdicts_message(verdicts: dict[str, Verdict], most: int = 20) -> str:
    """What was rejected and why, a line an image, for people."""
    bad = {name: verdict for name, verdict in verdicts.items() if not verdict.ok}
    counts = ", ".join(f"{reason} {count}" for reason, count in reason_counts(list(verdicts.values())).items())
    lines = [f"{len(bad)} of {len(verdicts)} generated images rejected ({counts})"]
    lines += [f"  {name}: {', '.join(verdict.reasons)}" for name, verdict in list(bad.items())[:most]]
    if len(bad) > most:
        lines.append(f"  and {len(bad) - most} more")
    return "\n".join(lines)


def write_verdicts(path: Path, verdicts: dict[str, Verdict]) -> None:
    """Write a CSV line an image: its numbers, and what it failed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    of_person = any(verdict.margin is not None for verdict in verdicts.values())
    writer.writerow(["output", "accepted", "reasons", *NUMBERS, *([MARGIN] if of_person else [])])
    for name, verdict in verdicts.items():
        writer.writerow([name, int(verdict.ok), "+".join(verdict.reasons), *verdict.numbers().values()])
    write_text(path, buffer.getvalue())


def verdict_sheet(out: Path, verdicts: dict[str, Verdict], target: Path, count: int = 48, columns: int = 6) -> None:
    """PNG: rejected images above, accepted ones below, a tile an image: photo, generated, with the pose asked for.

    Under it stand who it is, the camera, and what it failed, in words. People take turns, so that nobody fills it.
    """
    from augment.pictures import grid, save_sheet
    from augment.pose.draw import draw_skeleton

    material, outputs = folder_material(out, crowd=False), generated_outputs(out)
    plan, layout = folder_plan(out), read_manifest(out).job.layout
    made = plan[plan["action"] == "generate"].reset_index(drop=True)
    fine = np.array([verdicts[output].ok for output in outputs])
    bad = _mixed(made[~fine])[: count // 2]
    chosen = bad + _mixed(made[fine])[: count - len(bad)]
    rows, captions = [], []
    for start in range(0, len(chosen), columns):
        part = chosen[start : start + columns]
        cells, texts = [], []
        for i in part:
            verdict, row = verdicts[outputs[i]], made.iloc[i]
            frame = (40, 160, 60) if verdict.ok else (210, 40, 40)
            pair = [material.conditions[i], material.generated[i]]
            pair.append(draw_skeleton(material.generated[i], material.poses[i]))
            cells.append(_framed(np.hstack(pair), frame))
            who = who_and_where(row["condition"], row["pid"], row["camid"], layout)
            texts.append(f"{who}\n{', '.join(_WORDS[reason] for reason in verdict.reasons) or 'accepted'}")
        rows.append(cells)
        captions.append(texts)
    save_sheet(grid(rows, captions=captions, scale=1), target)


def _mixed(made: pd.DataFrame) -> list[int]:
    """Rows of generated images, the first of each person, then the second of each, in the order of hashes."""
    keys = [stable_hash("verdicts", output) for output in made["output"]]
    turns = made.assign(key=keys).sort_values("key")
    turns = turns.assign(turn=turns.groupby("pid").cumcount()).sort_values(["turn", "key"])
    mixed: list[int] = turns.index.tolist()
    return mixed


def _framed(image: np.ndarray, colour: tuple[int, int, int], width: int = 3) -> np.ndarray:
    framed = np.full((image.shape[0] + 2 * width, image.shape[1] + 2 * width, 3), colour, np.uint8)
    framed[width:-width, width:-width] = image
    return framed


def gate_message(facts: dict[str, Any]) -> str:
    """A line about what the gate did, from a manifest."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in facts["reasons"].items())
    return (
        f"Gate: {facts['accepted_at_once']} of {facts['asked']} accepted at once, {facts['accepted_after_retry']} "
        f"after another try, {facts['given_up']} given up; {facts['rejections']} rejections ({reasons})"
    )
