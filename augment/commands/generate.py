"""Commands that make and check an augmented folder. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from augment.commands.options import DEVICE, EXISTING, FOLDER, LAYOUT, SEED, WEIGHTS_HELP, parse_shard
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    from augment.api import AugmentedFolder


F = TypeVar("F", bound=Callable[..., Any])


def _plan_options(command: F) -> F:
    """The options that determine a plan, shared by `plan` and `generate`."""
    sources = ["dataset", "identity", "camera", "diverse", "library"]
    options = [
        click.option("--ratio", type=click.FloatRange(min=0), help="Share of each identity's training images that is "
                     "replaced (--mode replace, 0 to 1) or added (--mode add, 1.0 doubles)."),
        click.option("--data", type=EXISTING, help="Data set folder. Default: the embedded synthetic data set."),
        LAYOUT,
        click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own."),
        click.option("--mode", type=click.Choice(["replace", "add"]), default="replace", show_default=True),
        click.option("--pose-source", type=click.Choice(sources), default="dataset", show_default=True,
                     help="Where the new poses come from."),
        click.option("--library", type=EXISTING, help="Keypoints file of poses, for --pose-source library. Default: "
                     "a gait cycle from all sides, which ships."),
        click.option("--exclude-same-image", is_flag=True, help="Never take a pose from the condition image itself."),
        SEED,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_plan_options
@click.option("--plan", type=EXISTING, help="Carry out this plan (see `patn-augment plan`) instead of drawing one. "
              "With --gate, other poses come from where the plan's come from.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Folder to write. Default: a new one under ./runs.")
@click.option("--weights", "--generator", "weights", help=WEIGHTS_HELP + " Default: the best for the device.")
@DEVICE
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Images a step. On a CPU "
              "it never changes a byte; on a GPU the network sees so many at once.")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--blocks", type=click.IntRange(min=1), help="Leave after so many blocks: faster (any-depth weights).")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    show_default=True,
    help="How real images get into the new folder.",
)
@click.option("--gate", is_flag=True, help="Reject images in a wrong pose, of another person or broken; try "
              "other poses, else keep the real image.")  # fmt: skip
@click.option("--gate-thresholds", type=EXISTING, help="Of patn-augment calibrate-gate. Default: set on this data set.")
@click.option("--gate-weights", type=EXISTING, help="Of the estimator that the thresholds were set with.")
@click.option("--gate-retries", type=click.IntRange(min=0), default=2, show_default=True, help="Other poses to try.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished --out.")
@click.option("--shard", default="0/1", show_default=True, help="I/N: do the I-th of N parts (I from 0).")
def generate(
    data: Path | None,
    out: Path | None,
    weights: str | None,
    device: str,
    blocks: int | None,
    gate: bool,
    link: str,
    resume: bool,
    shard: str,
    **more: Any,
) -> None:
    """Replace or add training images by generated ones in new poses; write a Market-1501 folder.

    \b
    patn-augment generate --ratio 0.5
    patn-augment generate --data Market-1501 --ratio 0.5 --out Market-1501-p0.5
    """
    part = parse_shard(shard)
    _refuse_unread(gate)
    if out is None and (resume or part[1] > 1):
        raise InputError("--resume and --shard need --out: name the folder that is being made")
    _check_ratio(more["ratio"], more["plan"], more["mode"])
    from augment.api import GateSettings, augment_folder
    from augment.folder.settings import RenderSettings

    tests = GateSettings(more.pop("gate_thresholds"), more.pop("gate_weights"), more.pop("gate_retries"))
    settings = RenderSettings(more.pop("precision"), more.pop("quality"), more.pop("batch_size"))
    made = augment_folder(
        data,
        out,
        weights=weights,
        device=device,
        blocks=blocks,
        settings=settings,
        gate=tests if gate else None,
        link=link,
        resume=resume,
        shard=part,
        say=click.echo,
        **_given(more),
    )
    say_made(made, out)


def say_made(made: AugmentedFolder, named: Path | None) -> None:
    """Tell the user what was written, and what to do with it; `named` is --out."""
    from augment.gate.redraw import gate_message

    shown = named or made.path.relative_to(Path.cwd())
    if made.manifest is None:
        click.echo(f"This shard is done; {shown} is complete when the others are.")
        return
    counts = made.manifest.counts
    generated = counts["train_generated"]
    click.echo(f"Wrote {shown}: {counts['train'] - generated} real and {generated} generated training images.")
    if made.manifest.gate is not None:
        click.echo(gate_message(made.manifest.gate))
    evaluate = "" if named is None else f" --augmented {shown}"
    click.echo(f"Next: patn-augment sheet {shown}   and   patn-augment reid-eval --backbone resnet50{evaluate}")


@click.command()
@click.argument("out", type=FOLDER)
@_plan_options
@click.option("--pose-space", type=FOLDER, help="Also a PNG: which poses identities have, before and after.")
def plan(out: Path, pose_space: Path | None, data: Path | None, **options: Any) -> None:
    """Write the plan that `generate` would carry out, as CSV, to look at or edit: OUT."""
    _check_ratio(options["ratio"], None, options["mode"])
    from augment.api import plan_folder
    from augment.plan.file import write_plan

    planned = plan_folder(data, say=click.echo, **_given(options))
    write_plan(out, planned.plan)
    if pose_space:
        from augment.quality.coverage import plan_poses, save_pose_space

        poses = plan_poses(planned.plan, planned.source.keypoints, planned.source.library)
        before, after = save_pose_space(*poses, pose_space)
        click.echo(
            f"Pose coverage: an identity shows {100 * before:.1f}% of 108 poses now, {100 * after:.1f}% by this plan."
        )
        click.echo(f"Wrote {pose_space}: before left, after right, brighter where more identities have the pose")
    where = f" --data {data}" if data else ""
    click.echo(f"Wrote {out}; carry it out with patn-augment generate{where} --plan {out}")


def _check_ratio(ratio: float | None, plan: Path | None, mode: str) -> None:
    if ratio is None and plan is None:
        raise InputError("give --ratio, such as --ratio 0.5, or --plan FILE")
    if ratio is not None and mode == "replace" and ratio > 1:
        raise InputError(f"--ratio {ratio:g}: expected 0 to 1 with --mode replace; --mode add takes more")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave, defaults left out: beside a plan they mean something else."""
    context = click.get_current_context()
    return {k: v for k, v in options.items() if context.get_parameter_source(k) == ParameterSource.COMMANDLINE}


def _refuse_unread(gate: bool) -> None:
    """Options that nothing would read are errors.

    Raises:
        InputError: an option of --gate without it, or one that --plan settles.
    """
    if not gate and (lost := _on_line("gate_thresholds", "gate_weights", "gate_retries")):
        raise InputError(f"{', '.join(lost)} are for --gate: give that, too")
    if not _on_line("plan"):
        return
    settled = _on_line("ratio", "mode", *(() if gate else ("pose_source", "exclude_same_image", "seed")))
    if settled:
        verb, what = ("do", "them") if settled[1:] else ("does", "it")
        raise InputError(
            f"{', '.join(settled)} {verb} nothing beside --plan, which settles what is made: leave {what} out"
        )


def _on_line(*names: str) -> list[str]:
    """Those of the current command's options that stand on the command line, as they are written there."""
    context = click.get_current_context()
    given = {name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    return [option.opts[0] for option in context.command.params if option.name in given]


@click.command()
@click.argument("folder", type=EXISTING)
def verify(folder: Path) -> None:
    """Check an augmented folder against its manifest; exit code 1 if files are missing, changed or extra."""
    from augment.folder.manifest import verify as check

    report = check(folder)
    click.echo(report.message)
    if not report.ok:
        sys.exit(1)


@click.command()
@click.argument("folder", type=EXISTING)
@click.argument("png", type=FOLDER, required=False)
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="Generated images to show.")
@SEED
def sheet(folder: Path, png: Path | None, count: int, seed: int) -> None:
    """Picture of an augmented folder: condition, target pose, generated, real image in that pose."""
    from augment.quality.sheet import folder_sheet

    folder = folder.resolve()
    png = png or folder.parent / f"{folder.name}.sheet.png"
    folder_sheet(folder, png, count=count, seed=seed)
    click.echo(f"Wrote {png}")
