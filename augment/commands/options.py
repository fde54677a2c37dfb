"""What the commands' options share. Light: nothing here imports more than click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reid_eval.limits import LARGEST_INTEGER

if TYPE_CHECKING:
    from augment.cluster.ray_pool import Cluster

F = TypeVar("F", bound=Callable[..., Any])


class _Target(click.Path):
    """A file or folder to write, whose name no file system refuses in the end."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Path:
        """The path."""
        from reid_eval.runtime import InputError, check_target

        path = Path(str(super().convert(value, param, context)))
        try:
            check_target(path)
        except InputError as error:
            self.fail(str(error), param, context)
        return path


FOLDER = _Target(path_type=Path)


def check_new(path: Path, argument: str | None = None) -> None:
    """Refuse to write over a file that is there: what somebody made or edited is not ours to lose.

    Raises:
        InputError: it is there.
    """
    from reid_eval.runtime import InputError

    if path.exists():
        raise InputError(f"{path} is there already: name another file, or remove it", argument)


EXISTING = click.Path(exists=True, path_type=Path)


def check_outside(folder: Path | None, *targets: Path | None) -> None:
    """Refuse to write into a data set or an augmented folder: a picture would be taken for one of its images, and any
    file is one too many for `verify`.

    Raises:
        InputError: a target lies in the folder.
    """
    from reid_eval.runtime import InputError

    for target in targets:
        if folder is not None and target is not None and target.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{target} would lie in {folder} and be taken for a part of it: name a place outside")


DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")


WEIGHTS_HELP = (
    "Name of shipped weights, a .safetensors file, entry:NAME (entry:copy and entry:warp ship) or "
    "package.module:factory of your own code."
)


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` as numbers.

    Raises:
        click.BadParameter: written otherwise.
    """
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        raise click.BadParameter(f"{text!r}: write I/N, such as 0/4", param_hint="--shard") from None
    return index, count


def parse_size(text: str) -> tuple[int, int]:
    """`HxW` as numbers (height, width).

    Raises:
        click.BadParameter: written otherwise, or not above 0.
    """
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{text!r}: write HxW, such as 128x64", param_hint="--size") from None
    if min(height, width) < 1:
        raise click.BadParameter(f"{text!r}: height and width are above 0", param_hint="--size")
    return height, width


SEED = click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_INTEGER),
    default=0,
    show_default=True,
    help="The same seed, the same bytes.",
)


DATA = click.argument("data", type=EXISTING, required=False)
"""A data set that may be left out."""

OUT = click.option("--out", type=FOLDER, required=True, metavar="FILE", help="File to write.")


LAYOUT = click.option(
    "--layout",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "market1501", "dukemtmc", "msmt17", "cuhk03-np", "folders"]),
)


_RAY = [
    click.option("--ray", is_flag=False, flag_value="local", metavar="[ADDRESS]", help="Spread the work over a Ray "
                 "cluster (auto, HOST:PORT); without ADDRESS over this machine. Extra: ray."),
    click.option("--ray-workers", type=click.IntRange(min=1), help="Default: as many as there is room for."),
    click.option("--ray-cpus", type=click.FloatRange(min=0, min_open=True), default=1, show_default=True,
                 help="Cores a worker."),
    click.option("--ray-gpus", type=click.FloatRange(min=0), default=0, show_default=True,
                 help="GPUs a worker, such as 1 or 0.5."),
]  # fmt: skip


def ray_options(command: F) -> F:
    """The options that spread a command's work over a Ray cluster; `take_cluster` reads them."""
    for option in reversed(_RAY):
        command = option(command)
    return command


def take_cluster(options: dict[str, Any]) -> Cluster | None:
    """Take those options out of a command's; None: the work is this process's.

    Raises:
        InputError: some are given without the first.
    """
    from augment.cluster.ray_pool import Cluster
    from reid_eval.runtime import InputError

    address, workers, cpus, gpus = (options.pop(name) for name in ("ray", "ray_workers", "ray_cpus", "ray_gpus"))
    if address is None:
        if workers is not None or cpus != 1 or gpus:
            raise InputError("--ray-workers, --ray-cpus and --ray-gpus are for --ray: give that, too")
        return None
    return Cluster(address, workers, cpus, gpus)


def worker_device(device: str, cluster: Cluster | None) -> str:
    """The device of those who do the work: what was asked for, or what a cluster's workers have.

    Raises:
        InputError: the two contradict each other.
    """
    from reid_eval.runtime import InputError

    if cluster is None:
        return device
    if device not in ("auto", cluster.device):
        raise InputError(f"--device {device} is not what --ray-gpus {cluster.gpus:g} gives a worker: leave one out")
    return cluster.device
