"""How the images of a plan come about: `RenderStrategy`, and the plain way, which takes each as it comes.

A strategy works on numbered chunks of the plan, `Work.chunks`; a shard does every count-th of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from augment.folder.render import Task, render
from augment.folder.settings import RenderSettings
from augment.folder.source import Source
from augment.generators.base import PoseGenerator
from reid_eval.runtime import progress


@dataclass(frozen=True, eq=False)
class Work:
    """A plan on its way into a folder.

    Attributes:
        source: what the plan is about.
        plan: as it was asked for.
        out: the augmented folder.
        generator: makes the images.
        settings: how.
        shard: (index, count): only the index-th of count parts is this process's.
    """

    source: Source
    plan: pd.DataFrame
    out: Path
    generator: PoseGenerator
    settings: RenderSettings
    shard: tuple[int, int] = (0, 1)

    @cached_property
    def tasks(self) -> list[Task]:
        """All images of the plan, in its order."""
        return self.source.tasks(self.plan, self.out)

    @property
    def chunk(self) -> int:
        """Images that the network sees at once."""
        return self.settings.chunk(self.generator.device.type)

    @property
    def chunk_count(self) -> int:
        """Chunks of the whole plan."""
        return -(-len(self.tasks) // self.chunk)

    def mine(self) -> list[int]:
        """Numbers of this shard's chunks."""
        return list(range(self.chunk_count))[self.shard[0] :: self.shard[1]]

    def places(self, number: int) -> range:
        """Where the images of a chunk are in `tasks`."""
        return range(number * self.chunk, min((number + 1) * self.chunk, len(self.tasks)))


@dataclass(frozen=True, eq=False)
class CarriedOut:
    """What came of a whole plan.

    Attributes:
        plan: as it was carried out in the end: what the folder's `plan.csv` says.
        reports: images that need a word, for the manifest.
        gate: counts of a gate, for the manifest; None without one.
        logs: texts to write into the folder, by their path in it.
    """

    plan: pd.DataFrame
    reports: Mapping[str, list[str]] = field(default_factory=dict)
    gate: dict[str, Any] | None = None
    logs: Mapping[str, str] = field(default_factory=dict)


class RenderStrategy(Protocol):
    """Makes the images of a plan.

    Whatever it leaves in the folder for later (records, images) must be enough for another process to go on, and must
    depend on the plan alone, not on shards or interruptions.
    """

    def described(self) -> dict[str, Any]:
        """For the manifest's arguments: all of it that bears on the bytes, and no path of this machine."""
        ...

    def render(self, work: Work) -> None:
        """Make what is missing of this shard's images."""
        ...

    def gather(self, work: Work) -> CarriedOut | None:
        """What came of the whole plan; None while parts of it are not made, or once their records are gone.

        That all generated images of the plan are there in full is looked after by the caller.
        """
        ...


class Plain:
    """Each image as the generator gives it."""

    def described(self) -> dict[str, Any]:
        """Nothing but the plan matters."""
        return {}

    def render(self, work: Work) -> None:
        """Make this shard's images, a chunk at a time."""
        chunks: list[Sequence[Task]] = [[work.tasks[place] for place in work.places(number)] for number in work.mine()]
        with progress("Generating", sum(map(len, chunks))) as bar:
            render(chunks, work.generator, work.settings, bar)

    def gather(self, work: Work) -> CarriedOut:
        """The plan, as it was asked for."""
        return CarriedOut(work.plan)
