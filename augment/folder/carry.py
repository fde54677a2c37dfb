"""How a plan's images come about: the plain way, and what another way, such as one through a gate, has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from augment.folder.secret_key import SecretKey
from augment.pose.keypoints import Keypoints
from reid_eval.datasets import ReidData
from reid_eval.runtime import progress

if TYPE_CHECKING:
    from augment.folder.render import Settings, Task
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

        chunks = self._chunks(work)
        with progress("Generating", sum(map(len, chunks))) as bar:
            render(chunks, work.generator, work.settings, bar)

    def carried(self, work: Work) -> Carried:
        """The plan itself; whether all files are there is seen by looking."""
        return Carried(work.plan)

    def lacking(self, work: Work) -> list[str]:
        """Images of this part that are not there, or have no end."""
        from augment.folder.render import is_complete

        outputs = [task.output for chunk in self._chunks(work) for task in chunk]
        return [path.relative_to(work.out).as_posix() for path in outputs if not is_complete(path)]

    @staticmethod
    def _chunks(work: Work) -> list[Sequence[Task]]:
        from augment.folder.render import chunks_of

        return chunks_of(tasks_of(work.source, work.plan, work.out), work.settings.chunk, work.shard)


def generated_names(plan: pd.DataFrame) -> list[str]:
    """Paths of the images that a plan generates, in its order."""
    names: list[str] = plan.loc[plan["action"] == "generate", "output"].tolist()
    return names


def tasks_of(source: Source, plan: pd.DataFrame, out: Path) -> list[Task]:
    """The images that a plan generates, in its order."""
    from augment.folder.render import Task
    from augment.plan.file import LIBRARY
    from augment.pose.library import frame_of

    keypoints, library = source.keypoints, source.library
    paths = source.data.train["path"].tolist()
    pose = dict(zip(paths, keypoints.xy[keypoints.rows(paths)], strict=True)) if len(keypoints) else {}
    if library is not None:
        pose.update({LIBRARY + name: xy for name, xy in zip(library.names, library.xy, strict=True)})
    made = plan[plan["action"] == "generate"]
    return [
        Task(
            source.file(condition),
            pose[condition],
            None if donor.startswith(LIBRARY) else source.file(donor),
            pose[donor],
            out / output,
            frame_of(donor) if donor.startswith(LIBRARY) else None,
        )
        for condition, donor, output in zip(made["condition"], made["pose"], made["output"], strict=True)
    ]
