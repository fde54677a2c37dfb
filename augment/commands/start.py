"""Commands of the first hour: what is in a folder, what the weights make of it, weights of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, EXISTING, FOLDER, LAYOUT, SEED, WEIGHTS_HELP
from augment.runs import new_run_dir
from reid_eval.limits import LARGEST_INTEGER
from reid_eval.runtime import InputError

_KEYPOINTS = click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own.")


@command("First hour")
@click.argument("folder", type=EXISTING, required=False)
@LAYOUT
@_KEYPOINTS
@DEVICE
def doctor(folder: Path | None, layout: str, keypoints: Path | None, device: str) -> None:
    """Say what FOLDER and this machine are fit for, and what comes next: 15 seconds.

    Layout, people, cameras, images, keypoints and what is suspicious about them; device, extras, weights with the
    images a second that they do now, disk. Default of FOLDER: the embedded data set.

    \b
    patn-augment doctor photos
    """
    from augment.start.doctor import diagnose, doctor_lines

    facts = diagnose(folder, layout=layout, keypoints=keypoints, device=device)
    echo("\n".join(doctor_lines(facts)))
    figures(facts)


@command("First hour")
@click.argument("folder", type=EXISTING, required=False)
@click.option("--weights", multiple=True, help="Beside those that ship; may be given several "
              "times. " + WEIGHTS_HELP)  # fmt: skip
@click.option("--out", type=FOLDER, help="PNG to write, outside FOLDER. Default: in a new folder under ./runs.")
@LAYOUT
@_KEYPOINTS
@SEED
@DEVICE
def preview(
    folder: Path | None,
    weights: tuple[str, ...],
    out: Path | None,
    layout: str,
    keypoints: Path | None,
    seed: int,
    device: str,
) -> None:
    """Picture of eight people of FOLDER in other poses, by every weights at hand: would you use these?

    Works on any folder of crops; without keypoints the shipped estimator finds those of the few images. Half a minute
    on a CPU. Default of FOLDER: the embedded data set.

    \b
    patn-augment preview photos --weights runs/ft/generator.safetensors
    """
    from augment.pictures import save_sheet
    from augment.start.next_steps import after_preview
    from augment.start.preview import preview as draw
    from augment.start.preview import preview_place
    from augment.synth.dataset import source_data

    out = preview_place(folder, out)
    found = draw(
        source_data(folder, echo), weights, layout=layout, keypoints=keypoints, device=device, seed=seed, say=echo
    )
    save_sheet(found.sheet, out)
    figures(found.to_dict())
    echo("\n".join(found.lines()))
    echo(f"Wrote {out}: {len(found.people)} photos by row, weights by column; look whether you would use these.")
    echo("\n".join(after_preview(folder, layout, keypoints)))


@command("First hour")
@click.argument("folder", type=EXISTING)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="For all of it, about.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Run directory. Default: a new one under ./runs.")
@click.option("--weights", help="PATN weights to start from. Default: the largest that learn enough in the time.")
@click.option("--resume", is_flag=True, help="Go on with --out, for --minutes more at most.")
@LAYOUT
@_KEYPOINTS
@click.option("--seed", type=click.IntRange(0, LARGEST_INTEGER), help="Of the people held out and of the training. "
              "Default: 0, or that of the run that goes on.")  # fmt: skip
@DEVICE
def finetune(
    folder: Path, minutes: float, out: Path | None, resume: bool, layout: str, keypoints: Path | None, **options: Any
) -> None:
    """Teach the weights your photographs, in so many minutes.

    `train --recipe patn_finetune` with one knob: weights, batch and steps follow from a short measurement on this
    machine. Some of the training people are held out: figures and a sheet show what they look like before and after.

    \b
    patn-augment finetune photos --minutes 10
    """
    from augment.start.finetune import SHEET
    from augment.start.finetune import finetune as run
    from augment.start.next_steps import after_finetune

    if resume and out is None:
        raise InputError("--resume needs --out: name the run that goes on")
    out = out or new_run_dir("finetune")
    found = run(folder, out, minutes=minutes, layout=layout, keypoints=keypoints, resume=resume, say=echo, **options)
    figures(found.to_dict())
    echo("\n".join(found.lines()))
    echo(f"Wrote {found.weights} and {out / SHEET}")
    echo("\n".join(after_finetune(folder, out, found.weights, found.finished, minutes, layout, keypoints)))
