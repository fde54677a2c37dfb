"""How a plan's images come about: the plain way, and what another way, such as one through a gate, has to offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import pandas as pd

from augment.folder.secret_key import SecretKey
from augment.pose.keypoints import Keypoints
from reid_eval.datasets import ReidData
from reid_eval.runtime import progress

if TYPE_CHECKING:
    from augment.folder.render import Chunks, Settings, Task
    from augment.folder.tar_shards import TarJob
    from augment.generators.base import PoseGenerator


@dataclass(frozen=True, eq=False)
class Source:
    """What a folder is made of: a data set, its joints, and a pose library where the plan uses one.

    Joints are (x, y) pixels of each image; those of the library in the frames that its names tell.
    """

    data: ReidData
    keypoints: Keypoints
    library: Keypoints | None = None
    originals: Mapping[str, str] | None = None
    """Of an anonymous one: the path in the data set of each image's new path; see `augment.folder.anonymous`."""
    key: SecretKey | None = None
    """Of an anonymous one: what its names were hashed with."""

    def original(self, path: str) -> str:
        """The path in the data set of an image."""
        return path if self.originals is None else self.originals[path]

    def file(self, path: str) -> Path:
        """The file of an image."""
        return self.data.root / self.original(path)


@dataclass(frozen=True, eq=False)
class Work:
    """One process's part of a generation."""

    source: Source
    plan: pd.DataFrame
    generator: PoseGenerator
    out: Path
    settings: Settings
    shard: tuple[int, int]
    """(index, count): do the index-th of count equal parts."""


@dataclass(frozen=True, eq=False)
class Carried:
    """A plan as it was carried out in the end, by all parts together."""

    plan: pd.DataFrame
    reports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Images that need a word, for the manifest."""
    gate: dict[str, Any] | None = None
    """What a gate did, for the manifest."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Texts to write beside the plan, by their path in the folder."""


class Rendering(Protocol):
    """A way to make a plan's images."""

    def facts(self) -> dict[str, Any]:
        """What of it bears on the bytes, for the manifest; JSON-able."""
        ...

    def render(self, work: Work) -> None:
        """Make this part's images; what is there already stays."""
        ...

    def carried(self, work: Work) -> Carried | None:
        """What all parts came to; None while another is not yet rendered. Asked after `render`, maybe often."""
        ...

    def lacking(self, work: Work) -> list[str]:
        """Files of this part that are not there, by their path in the folder. Asked after `render`."""
        ...


class PlainRendering:
    """Every image as the plan asks for it."""

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def render(self, work: Work) -> None:
        """Make this part's images."""
        from augment.folder.render import render

        chunks = self.chunks(work)
        with progress("Generating", chunks.images) as bar:
            render(chunks, work.generator, work.settings, bar)

    def carried(self, work: Work) -> Carried:
        """The plan itself; whether all files are there is seen by looking."""
        return Carried(work.plan)

    def lacking(self, work: Work) -> list[str]:
        """Images of this part that are not there, or have no end."""
        from augment.folder.render import is_complete

        outputs = (task.output for chunk in self.chunks(work) for task in chunk)
        return [path.relative_to(work.out).as_posix() for path in outputs if not is_complete(path)]

    def make_tars(self, jobs: Sequence[TarJob], work: Work) -> Iterator[int]:
        """Make tars; yields how many images are in each as it is done."""
        from augment.folder.tar_shards import write_tar

        for job in jobs:
            yield len(write_tar(job, work.generator, work.settings).samples)

    @staticmethod
    def chunks(work: Work) -> Chunks:
        """This part's chunks, made as they are asked for."""
        from augment.folder.render import chunks_of

        return chunks_of(tasks_of(work.source, work.plan, work.out), work.settings.chunk, work.shard)


def generated_names(plan: pd.DataFrame) -> list[str]:
    """Paths of the images that a plan generates, in its order."""
    names: list[str] = plan.loc[plan["action"] == "generate", "output"].tolist()
    return names


def tasks_of(source: Source, plan: pd.DataFrame, out: Path) -> Tasks:
    """The images that a plan generates, in its order."""
    return Tasks(source, plan, out)


class Tasks(Sequence["Task"]):
    """The images that a plan generates, in its order; each is made when it is asked for, since a million would not fit.

    Args:
        source: of the photos, joints and library poses.
        plan: the plan.
        out: the augmented folder.
    """

    def __init__(self, source: Source, plan: pd.DataFrame, out: Path) -> None:
        from augment.plan.file import LIBRARY

        self.source, self.out = source, out
        made = plan[plan["action"] == "generate"]
        self._photos, self._donors, self._outputs = (made[name].tolist() for name in ("condition", "pose", "output"))
        # Of all training images, not of those used alone: only so is it seen that two of them claim one row.
        paths = source.data.train["path"].tolist()
        row = dict(zip(paths, source.keypoints.rows(paths).tolist(), strict=True))
        if source.library is not None:
            row.update({LIBRARY + name: place for place, name in enumerate(source.library.names)})
        self._rows = np.array([(row[a], row[b]) for a, b in zip(self._photos, self._donors, strict=True)], np.int32)

    def __len__(self) -> int:
        return len(self._photos)

    @overload
    def __getitem__(self, place: int) -> Task: ...
    @overload
    def __getitem__(self, place: slice) -> list[Task]: ...
    def __getitem__(self, place: int | slice) -> Task | list[Task]:
        if isinstance(place, slice):
            return [self._task(one) for one in range(*place.indices(len(self)))]
        return self._task(range(len(self))[place])

    def _task(self, place: int) -> Task:
        from augment.folder.render import Task
        from augment.plan.file import LIBRARY
        from augment.pose.library import frame_of

        source, library, donor = self.source, self.source.library, self._donors[place]
        own, lent = self._rows[place].tolist()
        photo, output = source.file(self._photos[place]), self.out / self._outputs[place]
        if library is not None and donor.startswith(LIBRARY):
            return Task(photo, source.keypoints.xy[own], None, library.xy[lent], output, frame_of(donor))
        return Task(photo, source.keypoints.xy[own], source.file(donor), source.keypoints.xy[lent], output)
