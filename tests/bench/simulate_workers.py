"""A run of a thousand workers, simulated: the driver is the real one, the workers only seem to sleep.

    python tests/bench/simulate_workers.py --workers 1000 --items 20000

`RayPool.run` of `augment.cluster.ray_pool` is run as it is, over a stand-in for Ray in which a worker takes a given
time for an item, on a clock that jumps. What is real is the driver's own work, an item's way through it; what is not is
Ray (its scheduler, its network), the file system and the network that generates. So it tells when the driver would be
the bottleneck, and what dying workers cost, and no more.
"""

from __future__ import annotations

import heapq
import json
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from augment.cluster.ray_pool import RayPool, _Answer, _Hand
from reid_eval.runtime import hide_progress


class ActorDiedError(Exception):
    """Stands in for Ray's."""


class Clock:
    """Stands in for the module `ray`: results come at their time, and the clock jumps to it."""

    exceptions = SimpleNamespace(RayActorError=ActorDiedError, ActorDiedError=ActorDiedError)

    def __init__(self, seconds: float, death: float) -> None:
        self.now, self.seconds, self.death, self.count = 0.0, seconds, death, 0
        self.random, self.coming, self.busy = random.Random(0), [], 0.0

    def submit(self, actor: Actor, item: Any) -> int:
        """An item for a worker, after those it has."""
        took = self.seconds * self.random.uniform(0.8, 1.2) if item is not None else 5.0
        dies = item is not None and self.random.random() < self.death
        start = max(self.now, actor.free)
        if dies:  # and is started again, and does it again
            actor.name, took = f"{actor.name}'", took * 1.5 + 5.0
        actor.free = start + took
        self.busy += took
        self.count += 1
        heapq.heappush(self.coming, (actor.free, self.count, actor.name))
        return self.count

    def wait(self, waiting: list[int], **_: Any) -> tuple[list[int], list[int]]:
        """The next one that is done."""
        self.now, number, self.by = heapq.heappop(self.coming)
        return [number], []

    def get(self, number: int) -> _Answer:
        """Its answer."""
        return _Answer(self.by, number)


class Actor:
    """A worker that sleeps."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.name, self.free = name, 0.0
        self.ready = SimpleNamespace(remote=lambda: clock.submit(self, None))
        self.do = SimpleNamespace(remote=lambda item: clock.submit(self, item))


@click.command()
@click.option("--workers", default=1000)
@click.option("--items", default=20_000, help="Of 64 images each.")
@click.option("--seconds", default=1.0, help="That a worker takes for an item.")
@click.option("--death", default=0.0, help="Probability that a worker dies over an item.")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(workers: int, items: int, seconds: float, death: float, target: Path | None) -> None:
    """Simulate a run."""
    hide_progress()
    clock = Clock(seconds, death)
    pool = RayPool(clock, [_Hand(Actor(clock, f"w{number}")) for number in range(workers)])
    core = time.process_time()
    done = sum(1 for _ in pool.run(range(items), str))
    driver = time.process_time() - core
    assert done == items
    found = {
        "workers": workers,
        "items": items,
        "seconds_an_item": seconds,
        "death": death,
        "restarts": pool.restarts,
        "simulated_seconds": round(clock.now, 1),
        "busy_share": round(items * seconds / (clock.now * workers), 3),
        "driver_core_seconds": round(driver, 2),
        "driver_items_a_second": round(items / driver),
        "driver_share": round(driver / clock.now, 3),
    }
    print(json.dumps(found))
    if target:
        target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
