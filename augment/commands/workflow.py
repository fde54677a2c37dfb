"""What the commands do, between reading options and printing: defaults, and who calls whom."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.folder.manifest import newest_augmented
from augment.generators.weights import pick_weights, trained_for
from augment.runs import Say, describe_run, new_run_dir, recipes_folder
from augment.synth.dataset import source_data
from reid_eval.runtime import InputError, write_json

if TYPE_CHECKING:
    import pandas as pd

    from augment.pose.keypoints import Keypoints
    from reid_eval.datasets import ReidData
    from reid_eval.settings import TrainSettings


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
    from augment.generators.weights import load_generator, read_weights
    from reid_eval.runtime import resolve_device

    device = resolve_device(options.device)
    name = pick_weights(options.weights, options.device)
    weights = read_weights(name)
    generator = load_generator(weights, device)
    if options.blocks:
        generator.use_blocks(options.blocks)
    inputs = draw_plan(options, say)
    size, sigma = trained_for(weights.metadata)
    say(f"Weights: {name}{_about(weights.metadata)}; device: {device}; precision: {options.precision}")
    out = (options.out or new_run_dir("augmented")).absolute()
    shown = options.out or out.relative_to(Path.cwd())
    manifest = generate(
        inputs.data,
        inputs.keypoints,
        inputs.plan,
        generator,
        out=out,
        weights_name=Path(name).name,
        weights_sha=weights.sha256,
        device=device,
        batch_size=options.batch_size,
        link=options.link,
        resume=options.resume,
        jpeg_quality=options.quality,
        precision=options.precision,
        library=inputs.library,
        gate=gate_run(options, inputs, size, say) if options.gate else None,
        size=size,
        sigma=sigma,
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


def explain_transfer(
    image: Path,
    pose: Path,
    png: Path,
    keypoints: Path | None,
    weights: str | None,
    blocks: int | None,
    device: str,
    say: Say,
) -> None:
    """`patn-augment explain`: one transfer, mask by mask."""
    from augment.generators.weights import load_generator, read_weights
    from augment.quality.explain import explain_sheet
    from reid_eval.runtime import resolve_device

    file = read_weights(pick_weights(weights, device))
    size, sigma = trained_for(file.metadata)
    generator = load_generator(file, resolve_device(device))
    if blocks:
        generator.use_blocks(blocks)
    masks = explain_sheet(generator, image, pose, png, size=size, sigma=sigma, keypoints=keypoints)
    for number, mask in enumerate(masks, 1):
        say(f"Block {number}: mask {mask.min():.2f} to {mask.max():.2f}, mean {mask.mean():.2f}")
    say(f"Wrote {png}")


def _about(metadata: dict[str, Any]) -> str:
    data = metadata.get("info", {}).get("data")
    return f" (trained on {data})" if data else ""


def _origin(augmented: Path) -> Path | None:
    """The data set that an augmented folder was made of, as its run file says."""
    try:
        return Path(json.loads(run_file(augmented).read_text())["data"])
    except (OSError, ValueError, KeyError):
        return None


def find_pair(data: Path | None, augmented: Path | None, say: Say) -> tuple[Path, Path]:
    """(original, augmented) for an evaluation, from what the user named and the newest of ./runs.

    Raises:
        InputError: the original of a named folder is not known, or no augmented folder of the named data set is.
    """
    if augmented is not None:
        original = data or _origin(augmented)
        if original is None:
            raise InputError(f"{augmented} does not say what it was made of: give --data, the original data set")
        return original, augmented
    newest = newest_augmented()
    if data is not None:
        if newest is None or _origin(newest) != data.resolve():
            raise InputError(
                f"the newest folder under ./runs was not made of {data}: "
                f"run `patn-augment generate --data {data} --ratio 0.5` first, or give --augmented FOLDER"
            )
        return data, newest
    original = _origin(newest) if newest else None
    if newest is not None and original is not None and original.is_dir():
        say(f"No --augmented given: using the newest augmented folder, {newest}, made of {original}.")
        return original, newest
    why = (
        "No augmented folder under ./runs yet" if newest is None else f"The data set that {newest} was made of is gone"
    )
    say(f"{why}: making a new one (patn-augment generate --ratio 0.5).")
    made = generate_folder(GenerateOptions(ratio=0.5), say)
    return _origin(made) or source_data(None, say), made


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of `patn-augment reid-eval`."""

    preset: str = "quick"
    recipe: str | None = None
    """Of `reid_eval.recipe`, in place of the preset."""
    changes: tuple[str, ...] = ()
    """`KEY=VALUE`s on top of either."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Settings with an option of their own; None where it was not given."""
    seeds: list[int] = field(default_factory=lambda: [0])
    layout: str = "auto"
    breakdown: bool = False

    def settings(self) -> TrainSettings:
        """The training settings.

        Raises:
            InputError: unknown or unusable settings.
        """
        from reid_eval.recipe import load_settings, parse_overrides, settings_of

        given = {key: value for key, value in self.overrides.items() if value is not None}
        if "epochs" in given:
            given["max_steps"] = 0
        if self.recipe is None:
            start = settings_of({"preset": self.preset, **parse_overrides(self.changes)}, "--set")
        else:
            start = load_settings(self.recipe, self.changes, recipes_folder())
        return replace(start, **given)


def evaluate_pair(data: Path | None, augmented: Path | None, options: EvaluationOptions, say: Say) -> Path:
    """`patn-augment reid-eval`: compare, print, keep the numbers. Returns the file with the numbers."""
    from augment.folder.manifest import MANIFEST, read_manifest
    from augment.pose.bins import query_bins
    from reid_eval.backbones import check_backbone
    from reid_eval.datasets import read_dataset
    from reid_eval.harness import check_test, compare, format_breakdown, format_comparison, preset_name

    settings = options.settings()
    check_backbone(settings.backbone)
    original, folder = find_pair(data, augmented, say)
    made_as = read_manifest(folder).job.layout if (folder / MANIFEST).is_file() else options.layout
    first = read_dataset(original, made_as if options.layout == "auto" else options.layout)
    check_test(first)
    if preset_name(settings) == "quick":
        say("Preset quick: small images, few steps, a look within minutes. For figures use --preset ide or bot.")
    groups = query_bins(first)
    comparison = compare(first, read_dataset(folder, made_as), settings, options.seeds, groups)
    say(format_comparison(comparison))
    if options.breakdown:
        say(format_breakdown(comparison))
    target = new_run_dir("reid-eval") / "result.json"
    write_json(target, comparison.to_dict())
    describe_run(target.with_name("run.json"), {"data": str(original.resolve()), "augmented": str(folder.resolve())})
    say(f"Numbers: {target}")
    return target
