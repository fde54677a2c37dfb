"""What a folder and a machine are fit for, in seconds, and the next command. Plain values, and lines of them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from augment.generators.open import pick_weights
from augment.generators.weights import available_weights
from augment.runs import ALWAYS, package_version, required_packages
from augment.start.looks import LAYOUTS_DRAWN, SPLITS, look_at
from augment.start.next_steps import best_estimator, command_line, estimators_here, said
from augment.start.rates import duration, measured_speeds
from augment.synth.dataset import SynthSettings, embedded_path
from reid_eval.machine import busy_note, describe_cpu, describe_gpus, describe_memory, usable_cores
from reid_eval.runtime import first_five, resolve_device

SECONDS = 6.0
"""Of measuring speeds, about; the rest is Python's start, the folder, and the engines of the weights."""
_GB = 1e9
_BACKENDS = ("openvino", "onnxruntime")
_FAULTS = {
    "outside": "joints outside of the image",
    "not_upright": "not upright, as no pedestrian is",
    "small": "a trunk below a tenth of the image's height",
    "same_as_another": "the very pose of another image",
}


def diagnose(
    root: Path | None = None,
    *,
    layout: str = "auto",
    keypoints: Path | None = None,
    device: str = "auto",
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Look at a folder and a machine.

    Args:
        root: a folder of images; None: the embedded data set.
        layout, keypoints: as for `augment.start.looks.look_at`.
        device: where weights would run.
        seconds: to measure speeds in.

    Returns:
        Plain values: `folder`, `machine`, `extras`, `estimators`, `weights`, `speeds`, `disk`, `next`.

    Raises:
        InputError: no such folder, or no such device.
    """
    where = resolve_device(device)
    folder = _embedded() if root is None else {"root": str(root), **look_at(root, layout, keypoints)}
    note = busy_note(torch.get_num_threads()) if where.type == "cpu" else None
    shipped = available_weights()
    default = pick_weights(None, where, engine=True) if shipped else None
    order = sorted(shipped, key=lambda name: (name != default, name))
    speeds = [one.to_dict() for one in measured_speeds(order, where, seconds)]
    facts = {
        "folder": folder,
        "machine": _machine(where, note),
        "extras": _extras(),
        "estimators": estimators_here(),
        "weights": {"shipped": shipped, "default": default},
        "speeds": speeds,
        "disk": _disk(folder),
    }
    return {**facts, "next": next_command(facts, root, layout, keypoints)}


def _embedded() -> dict[str, Any]:
    """The data set that commands take where none is named: drawn on first use."""
    settings = SynthSettings()
    place = embedded_path(settings)
    people = settings.train_ids + settings.test_ids
    drawn = {"people": people, "images": people * settings.images_per_id, "cameras": settings.cameras}
    return {"root": None, "layout": "market1501", "embedded": {**drawn, "there": place.is_dir()}}


def _machine(where: torch.device, note: str | None) -> dict[str, Any]:
    cpu, memory, gpus = describe_cpu(), describe_memory(), describe_gpus()
    return {
        "device": str(where),
        "processor": cpu["model"],
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory": memory["limit"] or memory["total"],
        "gpus": [one["name"] for one in gpus["devices"]],
        "busy": note,
        "backends": {"torch": torch.__version__, **{
            name: package_version(name) for name in _BACKENDS if importlib.util.find_spec(name)}},
    }  # fmt: skip


def _extras() -> dict[str, list[str]]:
    """Packages that each extra lacks; an empty list: it is installed."""
    return {
        extra: [name for name in packages if package_version(name) == "unknown"]
        for extra, packages in required_packages().items()
        if extra not in (ALWAYS, "dev")
    }


def _disk(folder: dict[str, Any]) -> dict[str, int]:
    """Bytes free where runs are written, and what an augmented copy of the data set takes."""
    count = sum(split["images"] for split in folder.get("splits", {}).values())
    copy = count * folder.get("images", {}).get("mean_bytes", 0)
    return {"free": shutil.disk_usage(Path.cwd()).free, "augmented_copy": copy}


def next_command(facts: dict[str, Any], root: Path | None, layout: str, keypoints: Path | None) -> str:
    """The command that brings one on from here; it works when pasted."""
    folder, about = facts["folder"], said(layout, keypoints)
    if root is None:
        return command_line("preview")
    if folder["layout"] is None:
        return command_line("doctor", folder["inside"] or root)
    joints = folder["keypoints"]
    if not joints["files"]:
        return command_line("poses", root, estimator=best_estimator())
    if "problem" in joints or not joints["train_usable"] or folder["images"]["unreadable"]:
        return command_line("doctor", root, **about)
    return command_line("preview", root, **about)


def doctor_lines(facts: dict[str, Any]) -> Iterator[str]:
    """It as text."""
    folder = facts["folder"]
    if "embedded" in folder:
        drawn = folder["embedded"]
        state = "" if drawn["there"] else ", drawn on first use"
        yield f"Data: the embedded one, {drawn['people']} drawn people, {drawn['images']} images{state}, with keypoints"
    elif folder["layout"] is None:
        yield from _unknown_lines(folder)
    else:
        yield from _folder_lines(folder)
    yield from _machine_lines(facts)
    if folder["layout"] is None and not folder["inside"]:
        yield f"Next: arrange the images in one of these ways, then {facts['next']}"
    elif _at_fault(folder):
        yield f"Next: mend that, then {facts['next']}"
    else:
        yield f"Next: {facts['next']}"


def _at_fault(folder: dict[str, Any]) -> bool:
    joints = folder.get("keypoints", {})
    faulty = bool(joints.get("files")) and ("problem" in joints or not joints["train_usable"])
    return faulty or bool(folder.get("images", {}).get("unreadable") and joints.get("files"))


def _unknown_lines(folder: dict[str, Any]) -> Iterator[str]:
    yield f"Data: {folder['root']} is no data set that can be read: {folder['problem']}"
    yield f"Found: {folder['images_found']:,} images; folders with images: {folder['folders_with_images']:,}"
    for one in folder["found"]:
        yield f"  {one['folder']}/: {one['images']:,} images, such as {one['example']}"
    if folder["inside"]:
        yield f"  {folder['inside']} looks like a data set"
        return
    yield "What data sets look like:"
    for line in LAYOUTS_DRAWN:
        yield f"  {line}"


def _folder_lines(folder: dict[str, Any]) -> Iterator[str]:
    cameras = "" if folder["has_cameras"] else "; no camera numbers in it"
    yield f"Data: {folder['root']}, layout {folder['layout']}{cameras}"
    for split in SPLITS:
        one = folder["splits"][split]
        more = [f"{one['generated']:,} of them generated"] if one["generated"] else []
        more += [f"{one['people_with_one_image']} people with one image alone"] if (
            split == "train" and one["people_with_one_image"]) else []  # fmt: skip
        more += [f"{one['without_person']:,} distractors or junk"] if one["without_person"] else []
        seen_by = f", {one['cameras']} cameras" if folder["has_cameras"] else ""
        yield "; ".join([f"  {split}: {one['images']:,} images of {one['people']:,} people{seen_by}", *more])
    images = folder["images"]
    sizes = ", ".join(f"{s['height']}x{s['width']} ({s['images']})" for s in images["sizes"])
    others = f" and {images['other_sizes']} other sizes" if images["other_sizes"] else ""
    yield f"Images: height x width {sizes}{others}, of {images['looked_at']:,} looked at; {images['decoded']} decoded"
    if images["wider_than_high"]:
        yield f"  {images['wider_than_high']} are wider than high: crops of standing people are not"
    if images["unreadable"]:
        yield f"  {len(images['unreadable'])} cannot be read: {first_five(images['unreadable'])}"
    yield from _joint_lines(folder)


def _joint_lines(folder: dict[str, Any]) -> Iterator[str]:
    joints = folder["keypoints"]
    if not joints["files"]:
        yield "Keypoints: none; `patn-augment poses` finds them, and `preview` works without"
        return
    names = ", ".join(Path(path).name for path in joints["files"])
    if "problem" in joints:
        yield f"Keypoints: {names}: {joints['problem']}"
        return
    total = joints["train_usable"] + joints["train_unusable"]
    yield (
        f"Keypoints: {names}, {joints['rows']:,} rows; {joints['train_usable']:,} of {total:,} training images usable "
        f"(both shoulders and hips), {joints['people_with_two_usable']:,} people have two such"
    )
    if joints["images_without_row"] or joints["rows_without_image"]:
        lacking, idle = joints["images_without_row"], joints["rows_without_image"]
        yield f"  {lacking:,} images without a row, {idle:,} rows without an image"
    for fault, words in _FAULTS.items():
        if found := joints["suspicious"][fault]:
            yield f"  suspicious: {len(found)} of {joints['suspicious']['looked_at']:,}: {words}: {first_five(found)}"


def _machine_lines(facts: dict[str, Any]) -> Iterator[str]:
    machine = facts["machine"]
    gpus = f"; GPU {', '.join(machine['gpus'])}" if machine["gpus"] else "; no GPU"
    memory = f", {machine['memory'] / _GB:.0f} GB" if machine["memory"] else ""
    yield (
        f"Device: {machine['device']}: {machine['processor'] or 'unknown processor'}, {machine['cores']:g} cores, "
        f"{machine['threads']} threads{memory}{gpus}"
    )
    if machine["busy"]:
        yield f"  {machine['busy']}"
    yield "Backends: " + ", ".join(f"{name} {version}" for name, version in machine["backends"].items())
    ready = [extra for extra, lacking in facts["extras"].items() if not lacking]
    absent = [extra for extra, lacking in facts["extras"].items() if lacking]
    yield f"Extras: {', '.join(ready) or 'none'} installed" + (f"; not {', '.join(absent)}" if absent else "")
    yield "Pose estimators: " + ", ".join(f"{name} ({state})" for name, state in facts["estimators"].items())
    yield from _speed_lines(facts)
    disk = facts["disk"]
    size = disk["augmented_copy"]
    copy = f"; an augmented copy of the data takes about {size / 1e6:,.0f} MB" if size else ""
    yield f"Disk: {disk['free'] / _GB:,.1f} GB free here{copy}"


def _speed_lines(facts: dict[str, Any]) -> Iterator[str]:
    default = facts["weights"]["default"]
    for one in facts["speeds"]:
        name = f"{one['weights']}{' (default of generate)' if one['weights'] == default else ''}"
        name += f", {one['engine']}" if one["engine"] else ""
        rate = one["images_per_second"]
        if rate:
            yield f"Weights: {name}: {rate:.2g} images/s now, 1,000 images in {duration(1000 / rate)}"
        else:
            yield f"Weights: {name}: not measured, {one['why']}"
    if not facts["speeds"]:
        yield "Weights: none ship with this installation"
