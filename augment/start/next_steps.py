"""Commands that are printed as suggestions: all of them come from here, with what matters of the command before."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping
from pathlib import Path

from augment.estimators.build import ESTIMATORS
from augment.estimators.folder_images import folder_images
from augment.pose.keypoints import find_annotations

PROGRAM = "patn-augment"
RATIO = 0.5
_NEEDS = {"rtmpose": "rtmlib", "mediapipe": "mediapipe"}
_FETCHES = ("keypointrcnn", "rtmpose")  # their weights are a download


def command_line(name: str, *arguments: object, **options: object) -> str:
    """A command to paste; options that are None, False or empty are left out, True stands alone.

    >>> command_line("poses", "my photos", estimator="synth", resume=False)
    "patn-augment poses 'my photos' --estimator synth"
    """
    words = [PROGRAM, name, *(_argument(argument) for argument in arguments if argument is not None)]
    for option, value in options.items():
        if value is None or value is False or value == "" or value == ():
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words.append(f"--{option.replace('_', '-')}")
            if one is not True:
                words.append(str(one))
    return shlex.join(words)


def _argument(value: object) -> str:
    return f"./{value}" if str(value).startswith("-") else str(value)  # else it would be taken for an option


def said(layout: str = "auto", keypoints: Path | None = None) -> dict[str, object]:
    """What has to be repeated in a next command about the same folder."""
    return {"layout": None if layout == "auto" else layout, "keypoints": keypoints}


def generate_command(root: Path | None, weights: str | Path | None, about: Mapping[str, object]) -> str:
    """The augmented folder of a data set; the embedded one without `root`."""
    return command_line("generate", root, ratio=RATIO, **about, weights=weights)


def after_preview(root: Path | None, layout: str, keypoints: Path | None) -> list[str]:
    """What to do with what one has seen."""
    about = said(layout, keypoints)
    if root is None:
        return [f"Next: {generate_command(None, None, about)}"]
    if layout == "auto" and folder_images(root).layout is None:
        return [f"Training and generating need to know who is who: {command_line('doctor', root)} says how"]
    if keypoints is None and not find_annotations(root):
        return [f"Next: {command_line('poses', root, estimator=best_estimator())}"]
    return [
        f"If not good enough, teach them your photos: {command_line('finetune', root, **about)}",
        f"Else: {generate_command(root, None, about)}",
    ]


def after_finetune(
    root: Path, out: Path, weights: Path, finished: bool, minutes: float, layout: str, keypoints: Path | None
) -> list[str]:
    """What to do with weights of one's own."""
    about = said(layout, keypoints)
    lines = [f"Next: {generate_command(root, weights, about)}"]
    if not finished:
        more = command_line("finetune", root, minutes=f"{minutes:g}", out=out, resume=True, **about)
        lines.append(f"The time was up before the last step; to go on: {more}")
    return lines


def estimators_here() -> dict[str, str]:
    """Each pose estimator, and what it lacks here: nothing, a package, or a file that it would fetch."""
    found = {}
    for name in ESTIMATORS:
        package = _NEEDS.get(name)
        if package and importlib.util.find_spec(package) is None:
            found[name] = "not installed"
        elif name == "openpose":
            found[name] = "needs its caffemodel"
        else:
            found[name] = "fetches its weights on first use" if name in _FETCHES else "ready"
    return found


def best_estimator() -> str:
    """The best that runs here without fetching anything: MediaPipe where it is installed, else the one that ships."""
    return "mediapipe" if estimators_here()["mediapipe"] == "ready" else "synth"
