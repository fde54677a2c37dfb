"""Commands that are printed as suggestions: all of them come from here, with what matters of the command before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from augment.pose.keypoints import find_annotations

PROGRAM = "patn-augment"
RATIO = 0.5


def command_line(name: str, *arguments: object, **options: object) -> str:
    """A command to paste; options that are None, False or empty are left out, True stands alone.

    >>> command_line("poses", "my photos", estimator="synth", resume=False)
    "patn-augment poses 'my photos' --estimator synth"
    """
    words = [PROGRAM, name, *(str(argument) for argument in arguments if argument is not None)]
    for option, value in options.items():
        if value is None or value is False or value == "" or value == ():
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words.append(f"--{option.replace('_', '-')}")
            if one is not True:
                words.append(str(one))
    return shlex.join(words)


def said(layout: str = "auto", keypoints: Path | None = None) -> dict[str, object]:
    """What has to be repeated in a next command about the same folder."""
    return {"layout": None if layout == "auto" else layout, "keypoints": keypoints}


def generate_command(root: Path | None, weights: str | Path | None, about: Mapping[str, object]) -> str:
    """The augmented folder of a data set; the embedded one without `root`."""
    return command_line("generate", ratio=RATIO, data=root, **about, weights=weights)


def after_preview(root: Path | None, layout: str, keypoints: Path | None) -> list[str]:
    """What to do with what one has seen."""
    about = said(layout, keypoints)
    if root is None:
        return [f"Next: {generate_command(None, None, about)}"]
    if keypoints is None and not find_annotations(root):
        return [f"Next: {command_line('poses', root, estimator='synth')}   (then finetune and generate)"]
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
