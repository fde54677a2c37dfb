"""Commands that make and check an augmented folder. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from augment.commands.options import DEVICE, EXISTING, FOLDER, LAYOUT, SEED, WEIGHTS_HELP, parse_shard
from augment.runs import Say, describe_run, new_run_dir
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import pandas as pd

    from augment.generators.base import PoseGenerator
    from augment.pose.keypoints import Keypoints
    from reid_eval.datasets import ReidData


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
@click.option("--plan", type=EXISTING, help="Carry out this plan (see `patn-augment plan`) instead of drawing one.")
@click.option("--out", type=FOLDER, help="Folder to write. Default: a new one under ./runs.")
@click.option("--weights", "--generator", "weights", help=WEIGHTS_HELP + " Default: the best for the device.")
@DEVICE
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Never changes a byte.")
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
def generate(shard: str, **options: Any) -> None:
    """Replace or add training images by generated ones in new poses; write a Market-1501 folder.

    \b
    patn-augment generate --ratio 0.5
    patn-augment generate --data Market-1501 --ratio 0.5 --out Market-1501-p0.5
    """

    generate_folder(GenerateOptions(shard=parse_shard(shard), **options), click.echo)


@click.command()
@click.argument("out", type=FOLDER)
@_plan_options
@click.option("--pose-space", type=FOLDER, help="Also a PNG: which poses identities have, before and after.")
def plan(out: Path, pose_space: Path | None, **options: Any) -> None:
    """Write the plan that `generate` would carry out, as CSV, to look at or edit: OUT."""

    write_plan_file(GenerateOptions(**options), out, click.echo, pose_space)


@click.command()
@click.argument("folder", type=EXISTING)
def verify(folder: Path) -> None:
    """Check an augmented folder against its manifest; exit code 1 if files are missing, changed or extra."""
    from augment.folder.generate import verify as check

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


@dataclass(frozen=True)
class GenerateOptions:
    """Options of `patn-augment generate`; None where the user named nothing."""

    ratio: float | None
    data: Path | None = None
    out: Path | None = None
    layout: str = "auto"
    keypoints: Path | None = None
    plan: Path | None = None
    mode: str = "replace"
    pose_source: str = "dataset"
    library: Path | None = None
    exclude_same_image: bool = False
    weights: str | None = None
    seed: int = 0
    device: str = "auto"
    batch_size: int = 64
    precision: str = "float32"
    blocks: int | None = None
    quality: int = 95
    link: str = "copy"
    resume: bool = False
    shard: tuple[int, int] = (0, 1)
    gate: bool = False
    gate_thresholds: Path | None = None
    gate_retries: int = 2
    gate_weights: Path | None = None

    def __post_init__(self) -> None:
        if self.ratio is None and self.plan is None:
            raise InputError("give --ratio, such as --ratio 0.5, or --plan FILE")
        if self.ratio is not None and self.mode == "replace" and self.ratio > 1:
            raise InputError(f"--ratio {self.ratio:g}: expected 0 to 1 with --mode replace; --mode add takes more")
        if self.gate_thresholds and not self.gate:
            raise InputError("--gate-thresholds are for --gate: give both")
        if self.out is None and (self.resume or self.shard[1] > 1):
            raise InputError("--resume and --shard need --out: name the folder that is being made")

    def recorded(self) -> dict[str, Any]:
        """What goes into the manifest: what bears on the bytes, and no path of this machine."""
        return {
            "plan": self.plan.name if self.plan else None,
            "ratio": self.ratio,
            "mode": self.mode,
            "pose_source": self.pose_source,
            "library": self.library.name if self.library else None,
            "exclude_same_image": self.exclude_same_image,
            "seed": self.seed,
            **({"blocks": self.blocks} if self.blocks else {}),
        }


def run_file(out: Path) -> Path:
    """The description of the run that made `out`, beside the folder and not in it: the folder's bytes must not
    depend on where or when it was made."""
    out = out.absolute()
    return out.parent / f"{out.name}.run.json"


@dataclass(frozen=True)
class Inputs:
    """What a generation starts from."""

    root: Path
    data: ReidData
    keypoints: Keypoints
    library: Keypoints | None
    plan: pd.DataFrame


def draw_plan(options: GenerateOptions, say: Say) -> Inputs:
    """Read data set and keypoints, check that they fit, and draw the plan (or read `--plan`)."""
    from augment.plan.file import LIBRARY
    from augment.plan.sampler import plan_dataset, read_plan
    from augment.pose.check import check_keypoints
    from augment.pose.keypoints import load_annotations
    from augment.pose.library import shipped_library
    from augment.synth.dataset import source_data
    from reid_eval.datasets import check_images, read_dataset

    root = source_data(options.data, say)
    data = read_dataset(root, options.layout)
    check_images(data)
    keypoints = load_annotations(root, options.keypoints)
    if message := check_keypoints(data, keypoints).message:
        say(f"Note: {message}")
    library = _library(options)
    if options.plan is not None:
        plan = read_plan(options.plan)
        if library is None and plan["pose"].str.startswith(LIBRARY).any():
            library = shipped_library()
        say(f"Plan: {options.plan}, {int((plan['action'] == 'generate').sum())} images to generate")
        return Inputs(root, data, keypoints, library, plan)
    plan, summary = plan_dataset(
        data,
        keypoints,
        ratio=options.ratio,
        mode=options.mode,
        pose_source=options.pose_source,
        library=library,
        exclude_same_image=options.exclude_same_image,
        seed=options.seed,
    )
    say(summary.message)
    return Inputs(root, data, keypoints, library, plan)


def _library(options: GenerateOptions) -> Keypoints | None:
    """The user's pose library, or the one that ships if poses are to come from a library."""
    from augment.pose.keypoints import read_keypoints
    from augment.pose.library import shipped_library

    if options.library:
        return read_keypoints(options.library)
    return shipped_library() if options.pose_source == "library" else None


def write_plan_file(options: GenerateOptions, target: Path, say: Say, pose_space: Path | None = None) -> None:
    """`patn-augment plan`: write the plan that `generate` would carry out, and what it does to pose space."""
    from augment.plan.sampler import write_plan

    inputs = draw_plan(options, say)
    write_plan(target, inputs.plan)
    if pose_space:
        from augment.quality.coverage import plan_poses, save_pose_space

        before, after = save_pose_space(*plan_poses(inputs.plan, inputs.keypoints, inputs.library), pose_space)
        say(f"Pose coverage: an identity shows {100 * before:.1f}% of 108 poses now, {100 * after:.1f}% by this plan.")
        say(f"Wrote {pose_space}: before left, after right, brighter where more identities have the pose")
    where = f" --data {options.data}" if options.data else ""
    say(f"Wrote {target}; carry it out with patn-augment generate{where} --plan {target}")


def generate_folder(options: GenerateOptions, say: Say) -> Path:
    """`patn-augment generate`: plan, generate, describe. Returns the augmented folder."""
    from augment.folder.generate import generate
    from augment.gate.workflow import gate_message, gate_run
    from augment.generators.open import open_generator, pick_weights
    from reid_eval.runtime import resolve_device

    device = resolve_device(options.device)
    name = pick_weights(options.weights, options.device)
    generator = open_generator(name, device, options.blocks)
    inputs = draw_plan(options, say)
    say(f"Weights: {name}{_about(generator)}; device: {device}; precision: {options.precision}")
    out = (options.out or new_run_dir("augmented")).absolute()
    shown = options.out or out.relative_to(Path.cwd())
    manifest = generate(
        inputs.data,
        inputs.keypoints,
        inputs.plan,
        generator,
        out=out,
        device=device,
        batch_size=options.batch_size,
        link=options.link,
        resume=options.resume,
        jpeg_quality=options.quality,
        precision=options.precision,
        library=inputs.library,
        gate=gate_run(options, inputs, generator.size, say) if options.gate else None,
        arguments=options.recorded(),
        shard=options.shard,
    )
    if manifest is None:
        say(f"This shard is done; {shown} is complete when the others are.")
        return out
    describe_run(run_file(out), {"data": str(inputs.root.resolve()), "weights": name, "augmented": str(out)})
    made = manifest.counts["train_generated"]
    say(f"Wrote {shown}: {manifest.counts['train'] - made} real and {made} generated training images.")
    if manifest.gate is not None:
        say(gate_message(manifest.gate))
    evaluate = "" if options.out is None else f" --augmented {shown}"
    say(f"Next: patn-augment sheet {shown}   and   patn-augment reid-eval --backbone resnet50{evaluate}")
    return out


def _about(generator: PoseGenerator) -> str:
    data = getattr(generator, "info", {}).get("data")
    return f" (trained on {data})" if data else ""
