"""A plan over the workers of a Ray cluster: the `Rendering` of `generate` with one.

The driver cuts the plan into the chunks that every run of it has, and sends a few of them at a time; a worker makes
those whose images are not there. So a run on a cluster goes on with what one without has left, and the other way round.
The data set and the folder have to be where all machines see them under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from augment.cluster.ray_pool import Cluster, first_line, ray_pool
from augment.folder.carry import PlainRendering, Work
from augment.folder.render import Settings, Task, compute, is_complete, load_task, render
from augment.folder.tar_shards import TarJob, write_tar
from augment.generators.base import PoseGenerator
from augment.generators.open import generator_sha256, open_generator, use_engine
from augment.generators.patn.engines import PLAIN, How
from reid_eval.runtime import InputError, ProgressBar, RunError, progress

CHUNKS = 8
"""That are sent at a time: a second's work or so, long enough that the way does not matter."""
Piece = Sequence[Sequence[Task]]


@dataclass(frozen=True)
class RayRendering(PlainRendering):
    """Makes a plan's images on the workers of a cluster.

    Attributes:
        cluster: where.
        weights: what the generator is opened from, in every worker; see `augment.generators.open.open_generator`.
        opening: its other arguments, but for the device.
        how: how the network is carried out there; nothing in it is `auto`.
    """

    cluster: Cluster
    weights: str
    opening: dict[str, Any] = field(default_factory=dict)
    how: How = PLAIN

    def render(self, work: Work) -> None:
        """Make this part's images."""
        chunks, build = self.chunks(work), self._build(work, _render)
        with progress("Generating", chunks.images) as bar, ray_pool(self.cluster, build) as pool:
            for _, (made, skipped) in pool.run(pieces(chunks), _first):
                bar.skip(skipped)
                bar.advance(made, pool.note)

    def make_tars(self, jobs: Sequence[TarJob], work: Work) -> Iterator[int]:
        """Make tars, one a worker at a time; yields how many images are in each as it is done."""
        with ray_pool(self.cluster, self._build(work, _make_tar)) as pool:
            for _, count in pool.run((absolute_tar(job) for job in jobs), lambda job: job.name):
                yield count

    def _build(self, work: Work, do: Callable[..., Any]) -> Callable[[], Any]:
        opening = {**self.opening, "device": self.cluster.device}
        return partial(
            build_worker, do, self.weights, opening, self.how, generator_sha256(work.generator), work.settings
        )


def absolute_tar(job: TarJob) -> TarJob:
    """A tar's job, its paths such that a process in another folder finds them."""
    rows = [replace(row, photo=row.photo and row.photo.absolute()) for row in job.rows]
    chunks = [[_absolute(task) for task in chunk] for chunk in job.chunks]
    return replace(job, out=job.out.absolute(), rows=rows, chunks=chunks)


def pieces(chunks: Sequence[Sequence[Task]]) -> Iterator[Piece]:
    """A few chunks at a time, their paths such that a process in another folder finds them."""
    left = iter(chunks)
    while some := [[_absolute(task) for task in chunk] for chunk in islice(left, CHUNKS)]:
        yield some


def _absolute(task: Task) -> Task:
    photo, donor = Path(task.photo).absolute(), task.donor and task.donor.absolute()
    return replace(task, photo=photo, donor=donor, output=task.output.absolute())


def _first(piece: Piece) -> str:
    return f"{_name(piece[0][0])} and those after it"


def _name(task: Task) -> str:
    return "/".join(task.output.parts[-2:])


def build_worker(
    do: Callable[..., Any], weights: str, opening: dict[str, Any], how: How, sha256: str, settings: Settings
) -> Callable[[Any], Any]:
    """In a worker: load the generator once, for `do(generator, settings, item)`.

    Raises:
        InputError: it is not the generator that the driver has.
    """
    generator = open_generator(weights, **opening)
    if generator_sha256(generator) != sha256:
        raise InputError(f"{weights} is another generator in this worker than where the run was started", "weights")
    use_engine(generator, how)
    return partial(do, generator, replace(settings, device=generator.device))


def _render(generator: PoseGenerator, settings: Settings, piece: Piece) -> tuple[int, int]:
    """Make what is not there of a piece; (images made, images that were there).

    Raises:
        InputError, RunError: the image that could not be made is named.
    """
    bar = ProgressBar("Generating", sum(map(len, piece)), "images")
    try:
        render(piece, generator, settings, bar)
    except Exception as error:
        if name := _culprit(generator, settings, piece):
            kind = InputError if isinstance(error, InputError) else RunError
            raise kind(f"{name}: {first_line(error)}") from error
        raise
    return bar.made, bar.done - bar.made


def _make_tar(generator: PoseGenerator, settings: Settings, job: TarJob) -> int:
    try:
        return len(write_tar(job, generator, settings).samples)
    except InputError:
        raise
    except Exception as error:
        if name := _culprit(generator, settings, job.chunks):
            raise RunError(f"{name}: {first_line(error)}") from error
        raise


def _culprit(generator: PoseGenerator, settings: Settings, piece: Piece) -> str | None:
    """The first image of a piece that cannot be made by itself, either."""
    for task in (task for chunk in piece for task in chunk if not is_complete(task.output)):
        try:
            compute(generator, [load_task(task, settings.size)], settings)
        except Exception:  # the same one, as a rule; the first is what is told
            return _name(task)
    return None
