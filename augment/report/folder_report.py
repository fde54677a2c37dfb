"""The page of an augmented folder: can its images be used, what are they, and how does one go on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.api import run_file
from augment.estimators.base import Estimator
from augment.folder.layout import TEST_FOLDERS
from augment.folder.manifest import Manifest, read_manifest
from augment.gate.judge import Verdict, reason_counts
from augment.gate.thresholds import open_estimator
from augment.gate.verdicts import folder_gate
from augment.generators.weights import available_weights, read_weights
from augment.pose.keypoints import Keypoints, load_annotations
from augment.pose.skeleton import usable
from augment.quality.coverage import plan_poses
from augment.report.folder_figures import Figures, coverage_rows, folder_figures, light, no_figures
from augment.report.folder_items import (
    Chosen,
    choose,
    gallery_items,
    judge_chosen,
    logged_verdicts,
    plan_rows,
    refuse_none,
)
from augment.report.page_settings import Settings
from augment.report.run_facts import RunFacts, read_run
from augment.report.thumbnails import Thumbnails
from augment.runs import Say
from augment.table.leaks import Leak, find_leak, weights_history
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError

_GOOD_JOINTS, _FAIR_JOINTS = 0.95, 0.8
_GOOD_SHARP, _FAIR_SHARP = (0.75, 1.15), (0.5, 1.4)
_GOOD_GRID = 3.0
_GOOD_GATE, _FAIR_GATE = 0.05, 0.2
_SHORT = 0.25
"""Of the image's height: skeletons below that are too short to say much."""


@dataclass(frozen=True, eq=False)
class _Opened:
    """A folder with what it was made of, as far as that is there."""

    manifest: Manifest
    run: RunFacts
    data: ReidData
    original: ReidData | None
    joints: Keypoints | None
    """Of the original."""


def folder_page(out: Path, settings: Settings, say: Say) -> tuple[dict[str, Any], dict[str, Any], Thumbnails]:
    """What the page of an augmented folder shows: context of the template, data of the script, pictures.

    Raises:
        InputError: unfinished, no augmented folder, without generated images, or with files that cannot be read.
    """
    opened = _open(out)
    chosen = choose(out, opened.manifest, settings.images, settings.seed)
    refuse_none(chosen)
    thumbs = Thumbnails()
    verdicts, gate = _verdicts(out, opened, chosen, settings, say)
    figures = _figures(opened, chosen, settings)
    leak = _leak(opened, chosen.plan)
    context = {
        "title": out.resolve().name,
        "facts": _facts(opened, chosen),
        "lights": [_joint_light(opened, chosen), _image_light(figures), gate],
        "about": _about(opened),
        "leak": leak,
        "figures": figures,
        "sampled": None if len(chosen.made) == chosen.total else (len(chosen.made), chosen.total),
        "seed": settings.seed,
        "judged": bool(verdicts),
        "cameras": sorted({int(camid) for camid in chosen.made["camid"]}),
        "has_cameras": opened.data.has_cameras,
        "command": opened.run.command,
        "again": _again(out, opened),
        "snippets": _snippets(out, opened),
    }
    data = {
        "kind": "folder",
        "seed": settings.seed,
        "items": gallery_items(chosen, verdicts, thumbs, opened.data.identities),
        "people": _people(opened, chosen),
        "plan": plan_rows(chosen.plan, opened.manifest.job.layout),
        "layout": opened.manifest.job.layout,
    }
    return context, data, thumbs


def _open(out: Path) -> _Opened:
    manifest, run = read_manifest(out), read_run(run_file(out))
    data = read_dataset(out, manifest.job.layout)
    original, joints = None, None
    if root := run.text("data"):
        try:
            original = read_dataset(root, manifest.job.layout)
            options = dict(zip(run.options()[::2], run.options()[1::2], strict=False))
            joints = load_annotations(original.root, options.get("--keypoints"))
        except (InputError, OSError):
            joints = None
    return _Opened(manifest, run, data, original, joints)


def _facts(opened: _Opened, chosen: Chosen) -> list[tuple[str, str, str]]:
    """Tiles: a figure, what it is, and a word more."""
    counts = opened.manifest.counts
    real = counts["train"] - counts["train_generated"]
    cameras = len(set(opened.data.train["camid"])) if opened.data.has_cameras else None
    tests = " and ".join(f"{counts[split]:,} {split}" for split in TEST_FOLDERS)
    return [
        (f"{counts['train_generated']:,}", "generated images", f"of {counts['train']:,} for training"),
        (f"{real:,}", "real images kept", f"{counts['train_dropped']:,} left out"),
        (f"{counts['identities']:,}", "identities", f"{cameras} cameras" if cameras else "cameras not known"),
        (f"{chosen.size[0]}×{chosen.size[1]}", "pixels", f"the generator's size; {tests}, as they were"),
    ]


def _joint_light(opened: _Opened, chosen: Chosen) -> dict[str, Any]:
    """Are the keypoints good enough to generate from?"""
    counts = opened.manifest.counts
    images = counts["train"] - counts["train_generated"] + counts["train_dropped"]
    lacking = len(opened.manifest.reports.get("train_without_usable_keypoints", []))
    share = 1 - lacking / max(1, images)
    xy = chosen.poses()
    heights = np.nanmax(xy[..., 1], axis=1) - np.nanmin(xy[..., 1], axis=1)
    short = float((heights < _SHORT * chosen.size[0]).mean())
    state = "good" if share >= _GOOD_JOINTS else "look" if share >= _FAIR_JOINTS else "bad"
    if short > 0.02 and state == "good":
        state = "look"
    text = (
        f"{images - lacking:,} of {images:,} real training images ({100 * share:.1f}%) have usable keypoints: both "
        f"shoulders and both hips. {100 * short:.1f}% of the poses asked for are shorter than a quarter of the image. "
        f"Fine from {100 * _GOOD_JOINTS:.0f}% usable with at most 2% short, trouble below {100 * _FAIR_JOINTS:.0f}%."
    )
    return light(state, "Keypoints", text)


def _image_light(figures: Figures) -> dict[str, Any]:
    """Do the images look like photographs, as far as a number can say?"""
    sharp = figures.sharpness
    if sharp is None:
        return light("off", "Images", "Sharpness was not measured; look at the images below.")
    inside = _GOOD_SHARP[0] <= sharp <= _GOOD_SHARP[1]
    state = "good" if inside else "look" if _FAIR_SHARP[0] <= sharp <= _FAIR_SHARP[1] else "bad"
    printed = ""
    if figures.grid is not None and figures.grid > _GOOD_GRID:
        state = "look" if state == "good" else state
        printed = f" A pattern that the decoder prints is {figures.grid:.1f} times as strong as in photos."
    how = "smooth: detail is lost" if sharp < _GOOD_SHARP[0] else "about as sharp as photos" if inside else "noisier"
    low, high, bad = (f"{100 * share:.0f}" for share in (*_GOOD_SHARP, _FAIR_SHARP[0]))
    text = (
        f"Inside the person they have {100 * sharp:.0f}% of the gradients of the photos they were made from: {how}."
        f"{printed} Fine from {low} to {high}% with a pattern of at most {_GOOD_GRID:g} times photos', trouble below "
        f"{bad}%. A number sees blur, not whether a face is a face: look below."
    )
    return light(state, "Images", text)


def _verdicts(
    out: Path, opened: _Opened, chosen: Chosen, settings: Settings, say: Say
) -> tuple[Mapping[str, Verdict], dict[str, Any]]:
    """Each shown image's verdict, and the light of the gate."""
    logged = logged_verdicts(out)
    if logged is not None and opened.manifest.gate is not None:
        facts = opened.manifest.gate
        share = facts["given_up"] / max(1, facts["asked"])
        text = (
            f"Made through the gate: {facts['accepted_at_once']:,} of {facts['asked']:,} were accepted at once, "
            f"{facts['accepted_after_retry']:,} in another pose, {facts['given_up']:,} given up, for which a real "
            f"image stays. Of the rejected, {_reasons(facts['reasons'])}."
        )
        return logged, light(_gate_state(share), "Gate", text)
    if not settings.measure:
        return {}, light("off", "Gate", "The images were not judged.")
    try:
        found = judge_chosen(chosen, folder_gate(out, None, None, settings.device, say))
    except InputError as error:
        return {}, light("off", "Gate", f"The images could not be judged: {error}")
    bad = sum(not verdict.ok for verdict in found.values())
    of = "of the images shown" if len(found) < chosen.total else "of them"
    text = (
        f"Made without the gate. Judged for this page, with thresholds set on the real photos of this folder: {bad:,} "
        f"{of} ({100 * bad / len(found):.1f}%) would be rejected ({_reasons(reason_counts(list(found.values())))}). "
        "patn-augment generate --gate makes such images again in another pose."
    )
    return found, light(_gate_state(bad / len(found)), "Gate", text)


def _gate_state(share: float) -> str:
    return "good" if share <= _GOOD_GATE else "look" if share <= _FAIR_GATE else "bad"


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} for {reason}" for reason, count in counts.items())


def _figures(opened: _Opened, chosen: Chosen, settings: Settings) -> Figures:
    if not settings.measure:
        return no_figures("was left out of this page, as asked")

    @lru_cache
    def estimator() -> Estimator:
        return open_estimator("synth", None, settings.device)[0]

    root = None if opened.original is None or opened.joints is None else opened.original.root
    return folder_figures(chosen, root, estimator, settings.device, settings.seed)


def _leak(opened: _Opened, plan: pd.DataFrame) -> Leak:
    """Whether the generator had seen what this folder drops or is tested on."""
    job = opened.manifest.job
    name, path = job.weights, None
    given = opened.run.text("weights") or name
    if name not in available_weights() and Path(given).suffix == ".safetensors" and Path(given).is_file():
        name, path = given, Path(given)
    elif name not in available_weights():
        return Leak("unknown", f"the weights {job.weights} are not where they were, so nothing says what they had seen")
    try:
        file = read_weights(name)
        if file.sha256 != job.weights_sha256:
            return Leak("unknown", f"the weights {job.weights} that are here are others than those used")
        root = Path(opened.run.text("data") or opened.data.root.name)
        return find_leak(weights_history(file, Path(name).name, path), plan, replace(opened.data, root=root))
    except (InputError, OSError) as error:
        return Leak("unknown", str(error))


def _about(opened: _Opened) -> list[tuple[str, str]]:
    """What made the folder, line by line."""
    job, arguments = opened.manifest.job, opened.manifest.job.arguments
    told = ", ".join(
        f"{name} {value}" for name, value in arguments.items()
        if value not in (None, False, "") and not isinstance(value, dict | list)
    )  # fmt: skip
    terms = getattr(opened.manifest, "terms", None) or getattr(job, "terms", None) or arguments.get("terms")
    return [
        ("Data set", opened.run.text("data") or "not recorded beside this folder"),
        ("Layout", job.layout),
        ("Plan", told or "from a file"),
        ("Weights", f"{job.weights}, sha256 {job.weights_sha256[:16]}…"),
        ("Generated", f"on {job.device}, {job.precision}, JPEG quality {job.jpeg_quality}"),
        ("Terms of the data", str(terms) if terms else "not stated: generated images are derived from the photographs"),
        ("Versions", ", ".join(f"{name} {value}" for name, value in opened.manifest.versions.items())),
    ]


def _people(opened: _Opened, chosen: Chosen) -> list[list[Any]]:
    """A row an identity: name, real images before, kept, generated, after, and cells of pose space before and after."""
    plan = chosen.plan[chosen.plan["pid"] > 0]
    counts = plan.groupby(["pid", "action"]).size().unstack(fill_value=0)
    before, after = _pose_sets(opened, chosen)
    covered = coverage_rows(before, after)
    rows = []
    for pid in counts.index.tolist():
        keep, drop, made = (int(counts[a][pid]) if a in counts else 0 for a in ("keep", "drop", "generate"))
        own = covered.get(pid, (0, 0))
        rows.append([opened.data.identities.get(pid, pid), keep + drop, keep, made, keep + made, *own])
    return rows


def _pose_sets(opened: _Opened, chosen: Chosen) -> tuple[Any, Any]:
    """Usable poses and pids of real images, before, and of what is in the folder, after."""
    table = chosen.plan[(chosen.plan["action"] != "drop") & (chosen.plan["pid"] > 0)]
    rows = chosen.keypoints.rows(table["output"].tolist())
    xy = np.where((rows >= 0)[:, None, None], chosen.keypoints.xy[np.maximum(rows, 0)], np.nan).astype(np.float32)
    good, pids = usable(xy), table["pid"].to_numpy(np.int64)
    real = good & (table["action"] == "keep").to_numpy()
    before = (xy[real], pids[real])
    if opened.joints is not None:
        known = chosen.plan[chosen.plan["action"] != "generate"]
        before = plan_poses(known, opened.joints)[0]
    return before, (xy[good], pids[good])


def _again(out: Path, opened: _Opened) -> str:
    """The command that makes a folder of the edited plan."""
    data = opened.run.text("data") or "DATA"
    options = opened.run.options()
    if "--weights" not in options:
        options = ["--weights", opened.run.text("weights") or opened.manifest.job.weights, *options]
    words = ["patn-augment", "generate", data, "--plan", "plan.csv", *options]
    return shlex.join([*words, "--out", f"{out.resolve().name}-edited"])


def _snippets(out: Path, opened: _Opened) -> list[tuple[str, str, str]]:
    """(title, language, text): ready to paste."""
    folder, data = str(out.resolve()), opened.run.text("data") or "DATA"
    quoted, original = shlex.quote(folder), shlex.quote(data)
    mixed = (
        "from augment import AugmentedDataset\n\n"
        f"# yours: any data set of (image, label, ...); {out.resolve().name}: this folder\n"
        f"mixed = AugmentedDataset(yours, {folder!r}, rate=0.3,\n"
        "                         transform=yours.transform, label=yours.label_of.get)\n"
        "loader = torch.utils.data.DataLoader(mixed, batch_size=64, shuffle=True)\n"
        "for epoch in range(60):\n"
        "    mixed.set_epoch(epoch)  # another draw each epoch\n"
        "    for *batch, generated in loader: ..."
    )
    tables = (
        "from reid_eval.datasets import read_dataset\n\n"
        f"data = read_dataset({folder!r})\n"
        'real = data.train[data.train["source"] == "real"]\n'
        'made = data.train[data.train["source"] == "generated"]'
    )
    return [
        ("Is it worth it? Train with and without", "shell",
         f"patn-augment reid-eval {original} --augmented {quoted} --preset ide --seeds 3 \\\n"
         "    --save runs/networks --rankings 20"),
        ("In your own PyTorch training", "python", mixed),
        ("The images as tables", "python", tables),
        ("All figures, and whether the folder is as it was written", "shell",
         f"patn-augment quality {quoted}\npatn-augment verify {quoted}"),
    ]  # fmt: skip
