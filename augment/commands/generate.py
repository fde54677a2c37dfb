"""Commands that make and check an augmented folder. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import (
    DATA,
    DEVICE,
    EXISTING,
    FOLDER,
    LAYOUT,
    OUT,
    SEED,
    WEIGHTS_HELP,
    check_new,
    check_outside,
    parse_shard,
    ray_options,
    take_cluster,
    worker_device,
)
from augment.commands.suggest import command_line, layout_option, suggest
from augment.runs import new_run_dir
from reid_eval.runtime import InputError, check_target

if TYPE_CHECKING:
    from augment.api import Planned
    from augment.cluster.ray_pool import Cluster
    from augment.folder.secret_key import SecretKey
    from augment.gate.finds_person import PersonTest
    from augment.gate.redraw import GateRun
    from augment.generators.base import PoseGenerator
    from augment.generators.patn.engines import How

F = TypeVar("F", bound=Callable[..., Any])


def _plan_options(command: F) -> F:
    """The argument and the options that determine a plan, shared by `plan` and `generate`."""
    sources = ["dataset", "identity", "camera", "diverse", "library"]
    options = [
        DATA,
        click.option("--ratio", type=click.FloatRange(min=0), help="Share of each identity's training images that is "
                     "replaced (--mode replace, 0 to 1) or added (--mode add, 1.0 doubles)."),
        LAYOUT,
        click.option("--as-market", is_flag=True, help="Write Market-1501's layout and names, whatever the data set "
                     "has; see docs/layouts.md."),
        click.option("--camera-regex", metavar="PATTERN", help="With --as-market, of one folder an identity: finds the "
                     "camera in PERSON/FILE, such as 'cam([0-9]+)'. Default: a camera a split folder."),
        click.option("--keypoints", type=EXISTING, help="Annotation file. Default: the data set's own."),
        click.option("--mode", type=click.Choice(["replace", "add"]), default="replace", show_default=True),
        click.option("--pose-source", type=click.Choice(sources), default="dataset", show_default=True,
                     help="Where the new poses come from."),
        click.option("--library", type=EXISTING, help="Keypoints file of poses, for --pose-source library. Default: "
                     "a gait cycle from all sides, which ships."),
        click.option("--exclude-same-image", is_flag=True, help="Never take a pose from the condition image itself."),
        SEED,
        click.option("--anonymous", is_flag=True, help="Names of images become keyed hashes, people and cameras are "
                     "numbered anew; the key is drawn, and thrown away when all is made."),
        click.option("--key", type=EXISTING, help="With --anonymous: a file of random bytes to hash with, with which "
                     "you (and whoever has it) can map names back; see `patn-augment names`."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _engine_options(command: F) -> F:
    """How the generator is carried out: `augment.generators.patn.engines.How`."""
    ways = {"backend": ["torch", "openvino"], "form": ["whole", "slim"], "precision": ["float32", "bf16", "int8"]}
    texts = {
        "backend": "What computes the images on a CPU; openvino is an extra. auto: the faster one here, measured once "
        "in a few seconds.",
        "form": "slim: all blocks, but with cheaper convolutions that give nearly the same image, see docs/speed.md. "
        "auto: slim on a CPU for shipped weights whose loss is known.",
        "precision": "Of the computation. auto: bf16 on a CPU with fast instructions for it, else float32; int8 needs "
        "openvino. How weights are stored in their file is another matter.",
    }
    for name in reversed(ways):
        kinds = click.Choice(["auto", *ways[name]])
        command = click.option(f"--{name}", type=kinds, default="auto", show_default=True, help=texts[name])(command)
    return command


_OF_GATE = (
    "gate_thresholds", "estimator", "estimator_weights", "gate_retries", "gate_person", "gate_margin", "reid_weights"
)  # fmt: skip


@command("Augment")
@_plan_options
@click.option("--plan", type=EXISTING, help="Carry out this plan (see `patn-augment plan`) instead of drawing one.")
@click.option("--out", type=FOLDER, help="Folder to write. Default: a new one under ./runs.")
@click.option("--weights", help=WEIGHTS_HELP + " Default: the best for the device.")
@DEVICE
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="What a GPU sees at "
              "once; on a CPU it never changes a byte.")  # fmt: skip
@_engine_options
@click.option("--blocks", type=click.IntRange(min=1), help="Leave after so many blocks: faster (any-depth weights).")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    show_default=True,
    help="How real images get into the new folder.",
)
@click.option("--format", "kind", type=click.Choice(["folder", "tar"]), default="folder", show_default=True,
              help="A file an image, or WebDataset tars for very many. Extra: webdataset.")  # fmt: skip
@click.option("--images-per-shard", type=click.IntRange(min=1), default=10_000, show_default=True, help="Of a tar.")
@click.option("--gate", is_flag=True, help="Reject images in a wrong pose, of another person or broken; try "
              "other poses, else keep the real image.")  # fmt: skip
@click.option("--gate-thresholds", type=EXISTING, help="Of patn-augment calibrate-gate. Default: set on this data set.")
@click.option("--estimator", help="With --gate, of thresholds that were set with a program: command:PROGRAM ARGUMENTS, "
              "as to calibrate-gate. No file starts a program.")  # fmt: skip
@click.option("--estimator-weights", type=EXISTING, help="Of the estimator that the thresholds were set with.")
@click.option("--gate-retries", type=click.IntRange(min=0), default=2, show_default=True, help="Other poses to try.")
@click.option("--gate-person", is_flag=True, help="With --gate: also reject images by which a search among the kept "
              "photos does not find their person.")  # fmt: skip
@click.option("--reid-weights", type=EXISTING, help="With --gate-person: the re-ID network that searches, of reid-eval "
              "--save. It must have been trained on kept real images only. Default: one trained on them now, and "
              "kept in the cache.")  # fmt: skip
@click.option("--gate-margin", type=click.FloatRange(-2, 2), default=0.0, show_default=True, help="With --gate-person: "
              "how much nearer, by cosine, an image must be to its person's photos than to others'.")  # fmt: skip
@click.option("--terms", metavar="TEXT", help="Terms of the photographs (licence, attribution, limits of use), for the "
              "manifest; see docs/terms.md.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an unfinished --out.")
@click.option("--shard", default="0/1", show_default=True, help="I/N: do the I-th of N parts (I from 0).")
@ray_options
@click.pass_context
def generate(
    context: click.Context, out: Path | None, weights: str | None, device: str, blocks: int | None, **options: Any
) -> None:
    """Replace or add training images by generated ones in new poses; write a folder of the data set's layout.

    DATA is a data set folder; default: the embedded synthetic data set.

    \b
    patn-augment generate --ratio 0.5
    patn-augment generate Market-1501 --ratio 0.5 --out Market-1501-p0.5
    patn-augment generate people --as-market --camera-regex 'cam([0-9]+)' --ratio 0.5 --out people-p0.5
    """
    from augment.folder.generate import RenderSettings
    from augment.generators.open import DEFAULT_GPU_WEIGHTS, open_generator, pick_weights, use_engine
    from augment.generators.patn.engines import How
    from reid_eval.runtime import resolve_device

    shard, cluster = parse_shard(options.pop("shard")), take_cluster(options)
    _check(context, out, shard, options)
    gate = {name: options.pop(name) for name in ("gate", *_OF_GATE)}
    how = {name: options.pop(name) for name in ("link", "resume", "terms")}
    kind, per_tar = options.pop("kind"), options.pop("images_per_shard")
    how["tars"] = per_tar if kind == "tar" else None
    where = _device(device, cluster, bool(gate["gate"]))
    asked = How(*(options.pop(name) for name in ("backend", "form", "precision")))
    jpeg_quality, batch_size = options.pop("quality"), options.pop("batch_size")
    name = pick_weights(
        weights or (DEFAULT_GPU_WEIGHTS if where == "cuda" else None), "cpu" if where else device, engine=True
    )
    generator = open_generator(name, resolve_device("cpu" if where else device), blocks)
    planned = _planned(context, options, out, shard[1] > 1)
    asked = _begun(out, asked)
    used = use_engine(generator, _on_gpus(asked) if where == "cuda" else asked, echo)
    settings = RenderSettings(used.precision, jpeg_quality, batch_size, where)
    trained = getattr(generator, "info", {}).get("data")
    about = f" (trained on {trained})" if trained else ""
    echo(f"Weights: {name}{about}; device: {where or generator.device}; precision: {settings.precision}")
    if weights is None and cluster is None:
        _tell_alternatives(planned, name, generator)
    if cluster is not None:
        from augment.cluster.ray_rendering import RayRendering

        how["rendering"] = RayRendering(cluster, name, {"blocks": blocks}, used)
    run = _gate(planned, generator, device, **gate) if gate["gate"] else None
    made = write_folder(planned, out, generator, settings=settings, gate=run, shard=shard, **how)
    figures({"complete": made is not None, **({} if made is None else _counts(made))})
    if made is not None:
        _suggest(planned, out, made, context.params)


def _counts(folder: Path) -> dict[str, Any]:
    from augment.folder.manifest import read_manifest

    manifest = read_manifest(folder)
    return {"folder": str(folder), "counts": manifest.counts, "gate": manifest.gate}


def _tell_alternatives(planned: Planned, used: str, generator: PoseGenerator) -> None:
    """On a CPU the default is the small weights: say what others there are, and what they would take."""
    from augment.generators.weights import available_weights
    from augment.start.rates import alternatives

    count = int((planned.table["action"] == "generate").sum())
    if generator.device.type == "cpu" and (line := alternatives(count, used, generator.device, available_weights())):
        echo(line)


def _device(device: str, cluster: Cluster | None, gated: bool) -> str | None:
    """The kind of device of a cluster's workers; None without a cluster."""
    if cluster is None:
        return None
    if gated:
        raise InputError("--gate works in one process a shard: give --shard instead of --ray")
    return worker_device(device, cluster)


def _begun(out: Path | None, asked: How) -> How:
    """What a folder was begun with, for all that was left `auto`: a resumed folder keeps its engine, and so do shards
    on machines that differ."""
    from augment.folder.manifest import read_job
    from augment.generators.patn.engines import AUTO, PLAIN, How

    job = read_job(out) if out is not None and out.is_dir() else None
    if job is None:
        return asked
    made = {"backend": job.backend, "form": job.arguments.get("form", PLAIN.form), "precision": job.precision}
    return How(
        **{name: value if getattr(asked, name) == AUTO else getattr(asked, name) for name, value in made.items()}
    )


def _on_gpus(asked: How) -> How:
    """What workers with a GPU do of what was left `auto`: it is not this machine's processor that decides."""
    from augment.generators.patn.engines import AUTO, PLAIN, How

    names = ("backend", "form", "precision")
    return How(*(getattr(PLAIN if getattr(asked, name) == AUTO else asked, name) for name in names))


def write_folder(planned: Planned, out: Path | None, generator: PoseGenerator | None = None, **how: Any) -> Path | None:
    """Carry out a plan as `patn-augment generate` does, and say what became of it. Returns the folder;
    None while other shards are at work.

    Args:
        planned: the plan.
        out: folder to write; None: a new one under ./runs.
        generator: as for `augment.api.augment_folder`.
        how: its other arguments.
    """
    from augment.api import augment_folder
    from augment.folder.manifest import MANIFEST
    from augment.gate.verdicts import gate_message
    from augment.start.terms import photographs_note

    target = (out or new_run_dir("augmented")).absolute()
    shown = _shown(out, target)
    did = "Was complete already:" if (target / MANIFEST).is_file() else "Wrote"
    manifest = augment_folder(planned, target, generator, **how)
    if manifest is None:
        echo(f"This shard is done; {shown} is complete when the others are.")
        return None
    made = manifest.counts["train_generated"]
    echo(f"{did} {shown}: {manifest.counts['train'] - made} real and {made} generated training images.")
    if manifest.gate is not None:
        echo(gate_message(manifest.gate))
    if note := photographs_note(planned.source.data, manifest.terms):
        echo(note)
    return target


def _shown(out: Path | None, target: Path) -> Path:
    return out or target.relative_to(Path.cwd())


def _suggest(planned: Planned, out: Path | None, target: Path, given: dict[str, Any]) -> None:
    """What to do with a new folder: look at it, evaluate it if there is a test split."""
    from augment.synth.dataset import FACTS

    data, look = planned.source.data, command_line("sheet", _shown(out, target))
    if data.query.empty or data.gallery.empty:
        suggest(look)
        echo("The data set has no query and gallery, so nothing here can evaluate it: see docs/layouts.md for splits.")
        return
    drawn = (data.root / FACTS).is_file()  # which reid-eval also searches with views, and these need joints
    evaluate = command_line(
        "reid-eval", backbone="resnet50", augmented=out, keypoints=given["keypoints"] if drawn else None
    )
    suggest(look, evaluate)


def _check(context: click.Context, out: Path | None, shard: tuple[int, int], options: dict[str, Any]) -> None:
    """Refuse options that do not go together; whatever is ignored in silence is a trap."""
    given = _given(context)
    if "gate" not in given and (idle := sorted(given & {*_OF_GATE})):
        raise InputError(f"{_option(idle[0])} is for --gate: give both, or neither")
    if "gate_person" not in given and (idle := sorted(given & {"gate_margin", "reid_weights"})):
        raise InputError(f"{_option(idle[0])} is for --gate-person: give both, or neither")
    if "images_per_shard" in given and context.params["kind"] != "tar":
        raise InputError("--images-per-shard is for --format tar: give both, or neither")
    if context.params["kind"] == "tar" and (idle := sorted(given & {"gate", "link"})):
        raise InputError(f"--format tar goes without {_option(idle[0])}: leave one of them out")
    if out is None and ("resume" in given or shard[1] > 1):
        raise InputError("--resume and --shard need --out: name the folder that is being made")
    if out is not None:
        from augment.folder.place import check_place

        check_place(out, options["data"], options["resume"] or shard[1] > 1)


def _key(options: dict[str, Any], out: Path | None, shared: bool) -> SecretKey | None:
    """The key that --anonymous and --key ask for."""
    from augment.folder.secret_key import draw_key, read_key

    anonymous, file = options.pop("anonymous"), options.pop("key")
    if file is not None and not anonymous:
        raise InputError("--key is for --anonymous: give both, or neither")
    if not anonymous:
        return None
    return draw_key(out, shared) if file is None else read_key(file, out)


def _planned(context: click.Context, options: dict[str, Any], out: Path | None, shared: bool) -> Planned:
    """The plan that the options ask for: drawn, or read from --plan; `out` is the folder that is to be made, if one is,
    and `shared` says whether several processes make it."""
    from augment.api import Market, plan_folder, read_planned

    given, plan = _given(context), options.pop("plan", None)
    as_market, pattern = options.pop("as_market"), options.pop("camera_regex")
    if pattern is not None and not as_market:
        raise InputError("--camera-regex is for --as-market: give both, or neither")
    options["market"] = Market(pattern) if as_market else None
    options["anonymous"] = _key(options, out, shared)
    if plan is None:
        ratio = options["ratio"]
        if ratio is None:
            other = ", or --plan FILE" if "plan" in context.params else ""
            raise InputError(f"give --ratio, such as --ratio 0.5{other}")
        if ratio > 1 and options["mode"] == "replace":
            raise InputError(f"--ratio {ratio:g}: expected 0 to 1 with --mode replace; --mode add takes more")
        return plan_folder(say=echo, **options)
    settled = {"ratio", "mode"} | (set() if "gate" in given else {"pose_source", "exclude_same_image", "seed"})
    if said := sorted(given & settled):
        raise InputError(f"--plan says already what {_option(said[0])} would: leave one of them out")
    options = {key: value for key, value in options.items() if key not in ("ratio", "mode")}
    for name in ("pose_source", "exclude_same_image"):
        if name not in given:
            options[name] = None
    planned = read_planned(plan, say=echo, **options)
    if "gate" in given:
        echo(f"Other poses for rejected images come from: {planned.pose_source}")
    return planned


def _given(context: click.Context) -> set[str]:
    """The options that the user wrote."""
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) != default}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _gate(
    planned: Planned,
    generator: PoseGenerator,
    device: str,
    gate_thresholds: Path | None,
    estimator: str | None,
    estimator_weights: Path | None,
    gate_retries: int,
    gate_person: bool,
    gate_margin: float,
    reid_weights: Path | None,
    **_: Any,
) -> GateRun:
    from augment.gate.finds_person import open_person_test
    from augment.gate.judge import Gate
    from augment.gate.kept_network import planned_photos
    from augment.gate.redraw import GateRun
    from augment.gate.thresholds import open_gate

    def find_person() -> PersonTest:
        kept = planned_photos(planned.source, planned.table)
        return open_person_test(kept, reid_weights, generator.size, gate_margin, device, echo)

    named = find_person() if reid_weights else None  # before any work; a training comes after it
    source = planned.read or planned.source  # thresholds are set on the files there are
    gate = open_gate(
        source.data, source.keypoints, gate_thresholds, generator.size, device, echo, estimator_weights, estimator
    )
    if gate_person:
        gate = Gate(gate.estimator, gate.thresholds, named or find_person())
    return GateRun(gate, gate_retries, planned.pose_source, planned.exclude_same_image, planned.seed)


@command("Augment")
@_plan_options
@OUT
@click.option("--pose-space", type=FOLDER, help="Also a PNG: which poses identities have, before and after.")
@click.pass_context
def plan(context: click.Context, out: Path, pose_space: Path | None, **options: Any) -> None:
    """Write the plan that `generate` would carry out, as CSV, to look at or edit.

    DATA is a data set folder; default: the embedded synthetic data set.

    \b
    patn-augment plan Market-1501 --ratio 0.5 --out plan.csv
    """
    given = dict(context.params)
    from augment.plan.file import write_plan
    from augment.quality.coverage import plan_poses, save_pose_space

    check_new(out)
    check_outside(options["data"], pose_space)
    planned = _planned(context, options, None, False)
    write_plan(out, planned.table)
    figures({"actions": {str(name): int(count) for name, count in planned.table["action"].value_counts().items()}})
    if pose_space:
        poses = plan_poses(planned.table, planned.source.keypoints, planned.source.library)
        before, after = save_pose_space(*poses, pose_space)
        figures({"pose_coverage": {"before": float(before), "after": float(after)}})
        echo(f"Pose coverage: an identity shows {100 * before:.1f}% of 108 poses now, {100 * after:.1f}% by this plan.")
        echo(f"Wrote {pose_space}: before left, after right, brighter where more identities have the pose")
    if planned.source.key is not None and planned.source.key.drawn:
        echo(f"Wrote {out}, to show: its key is thrown away, nobody can carry it out. Give --key FILE for one that can")
        return
    echo(f"Wrote {out}: a row an image, to read or edit.")
    told = {name: given[name] for name in ("keypoints", "library", "as_market", "camera_regex", "anonymous", "key")}
    suggest(command_line("generate", given["data"], plan=out, layout=layout_option(given["layout"]), **told))


@command("Augment")
@click.argument("data", type=EXISTING)
@OUT
@LAYOUT
@click.option("--key", type=EXISTING, required=True, help="The file that was given as --key.")
def names(data: Path, out: Path, layout: str, key: Path) -> None:
    """Write which image has which name in a folder that `generate --anonymous --key` made, as CSV.

    DATA is the data set folder that the anonymous one was made of.

    \b
    patn-augment names Market-1501 --key secret.key --out names.csv
    """
    from augment.folder.anonymous import write_names
    from augment.folder.secret_key import read_key
    from reid_eval.datasets import read_dataset

    found = write_names(out, read_dataset(data, layout), read_key(key))
    figures({"images": found})
    echo(f"Wrote {out}: {found} images, and whom they show. Whoever has it needs no key")


@command("Augment")
@click.argument("folder", type=EXISTING)
def verify(folder: Path) -> None:
    """Check an augmented folder against its manifest; exit code 1 if files are missing, changed or extra.

    \b
    patn-augment verify Market-1501-p0.5
    """
    from dataclasses import asdict

    from augment.folder.generate import verify as check

    report = check(folder)
    figures({"ok": report.ok, **asdict(report)})
    echo(report.message)
    if not report.ok:
        sys.exit(1)


@command("Augment", figures=False)
@click.argument("folder", type=EXISTING)
@click.option("--out", "png", type=FOLDER, metavar="PNG", help="Picture to write. Default: FOLDER.sheet.png, beside "
              "FOLDER.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="Generated images to show.")
@SEED
def sheet(folder: Path, png: Path | None, count: int, seed: int) -> None:
    """Picture of an augmented folder: condition, target pose, generated, and the image that lent the pose.

    \b
    patn-augment sheet Market-1501-p0.5 --out sheet.png
    """
    from augment.quality.sheet import folder_sheet

    folder = folder.resolve()
    png = png or folder.parent / f"{folder.name}.sheet.png"
    check_outside(folder, png)
    check_target(png, "png")
    folder_sheet(folder, png, count=count, seed=seed)
    echo(f"Wrote {png}")
