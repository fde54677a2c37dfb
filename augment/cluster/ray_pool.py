"""Ray actors that load what they need once, then take item after item, a few of them waiting at each.

What Ray does: start actors on machines that have room, restart them when their process or their machine dies, and give
a restarted one its items again. What is done here: who gets which item, and what becomes of errors. An error of the
work itself comes back as a value and is raised once, with what it was about; Ray would try it again. Nothing is kept by
Ray: an item's outputs are files, so a driver that dies loses nothing, and whoever goes on sees what is there.
"""

from __future__ import annotations

import importlib
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from augment.runs import package_versions
from reid_eval.runtime import InputError, RunError, hide_progress
from reid_eval.stopping import check_stopped

LOCAL = "local"
MOST_RESTARTS = 8
"""Of one worker, by Ray."""
MOST_RETRIES = 3
"""Of an item on one worker, by Ray: where the process died, not where the work failed."""
MOST_LOSSES = 2
"""Of an item, by so many workers, until the run stops: it is the item that kills them."""
WAITING = 2
"""Items that a worker has: one in work, and the next."""
STORE_BYTES = 128 << 20
"""Ray's object store on this machine: items and results are small, images go through files."""
_POLL = 1.0  # seconds: how long Ctrl-C may take

Item = TypeVar("Item")
Value = TypeVar("Value")
Work = Callable[[Item], Value]


@dataclass(frozen=True)
class Cluster:
    """Where work is spread, and what a worker has.

    Attributes:
        address: of a Ray cluster, as `ray.init` takes it (`auto`, `HOST:PORT`, `ray://HOST:PORT`); `local`: one is
            started on this machine for this run.
        workers: how many; None: as many as there is room for.
        cpus: cores of each; their number of threads, too, unless OMP_NUM_THREADS says otherwise.
        gpus: GPUs of each; a part of one lets several share it.
    """

    address: str = LOCAL
    workers: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"{self.workers} workers: expected 1 or more", "ray_workers")
        if not (math.isfinite(self.cpus) and self.cpus > 0):
            raise InputError(f"{self.cpus} CPUs a worker: expected more than 0", "ray_cpus")
        if not (math.isfinite(self.gpus) and self.gpus >= 0):
            raise InputError(f"{self.gpus} GPUs a worker: expected 0 or more", "ray_gpus")

    @property
    def device(self) -> str:
        """What a worker works on: Ray shows it its own GPUs only."""
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True)
class _Answer:
    """What a worker gives back: a value, or an error of the work, in words."""

    worker: str
    value: Any = None
    error: str | None = None
    of_input: bool = False
    argument: str | None = None


class _Worker:
    """An actor. `build` makes what does the work; it is called once a process, and its errors are the work's. Relative
    names mean the same as where the run was started: `folder`."""

    def __init__(
        self, build: Callable[[], Work[Any, Any]], versions: dict[str, str], folder: str | None = None
    ) -> None:
        self.build, self.versions, self.folder = build, versions, folder
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.work: Work[Any, Any] | None = None
        hide_progress()

    def ready(self) -> _Answer:
        return self._answer(lambda: bool(self._open()))

    def do(self, item: Any) -> _Answer:
        return self._answer(lambda: self._open()(item))

    def _open(self) -> Work[Any, Any]:
        if self.work is None:
            here = package_versions()
            if here != self.versions:
                raise InputError(
                    f"versions on {socket.gethostname()} are {_listed(here)}, of this run {_listed(self.versions)}: "
                    "install the same, since bytes depend on them"
                )
            if self.folder is not None:
                with suppress(OSError):  # not on this machine: then only what was named from there is missed
                    os.chdir(self.folder)
            self.work = self.build()
        return self.work

    def _answer(self, call: Callable[[], Any]) -> _Answer:
        try:
            return _Answer(self.name, call())
        except InputError as error:
            return _Answer(self.name, None, str(error), True, error.argument)
        except RunError as error:
            return _Answer(self.name, None, str(error))
        except Exception as error:  # of code that is not ours, too; Ray would send it with pages of traceback
            first = (str(error).splitlines() or [""])[0]
            return _Answer(self.name, None, f"{type(error).__name__}: {first}")


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


@dataclass(eq=False)
class _Job(Generic[Item]):
    item: Item
    losses: int = 0


@dataclass(eq=False)
class _Hand:
    """A worker as the driver sees it."""

    actor: Any
    jobs: int = 0
    ready: bool = False
    name: str = ""


@dataclass
class RayPool:
    """The workers of a run.

    Attributes:
        ray: the module.
        hands: the workers.
        window: items that a worker has: those in work or waiting.
        restarts: processes that died and were started again, as far as they have answered.
    """

    ray: Any
    hands: list[_Hand]
    window: int = WAITING
    restarts: int = 0
    lost: int = 0
    _waiting: dict[Any, tuple[_Hand, _Job[Any] | None]] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """For a progress bar: how many workers there are, and how many failures there were."""
        there = sum(hand.ready for hand in self.hands)
        failed = f", {self.restarts} restarted" if self.restarts else ""
        gone = f", {self.lost} lost" if self.lost else ""
        return f"{there} workers{failed}{gone}" if there else "waiting for workers"

    def run(self, items: Iterable[Item], name: Callable[[Item], str]) -> Iterator[tuple[Item, Any]]:
        """Do all items; yields each with its value as it is done, in no order.

        Args:
            items: taken one after the other, as workers become free.
            name: what an item is about, for messages.

        Raises:
            InputError: the work said so; the message says about what.
            RunError: it failed otherwise; an item killed its workers; or no worker is left.
        """
        left, again = iter(items), deque[_Job[Item]]()
        for hand in self.hands:
            self._waiting[hand.actor.ready.remote()] = (hand, None)
        while True:
            self._give(left, again)
            if not any(job for _, job in self._waiting.values()) and self._nothing(left, again):
                return
            done, _ = self.ray.wait(list(self._waiting), num_returns=1, timeout=_POLL)
            check_stopped()
            for reference in done:
                hand, job = self._waiting.pop(reference)
                hand.jobs -= job is not None
                try:
                    answer = self.ray.get(reference)
                except self.ray.exceptions.RayActorError as error:
                    self._lose(hand, job, error, again, name)
                    continue
                self._heard(hand, answer, None if job is None else name(job.item))
                if job is not None:
                    yield job.item, answer.value

    def _nothing(self, left: Iterator[Any], again: deque[_Job[Any]]) -> bool:
        """Whether there is nothing to give; what was taken to see that goes back."""
        if again:
            return False
        for item in left:
            again.append(_Job(item))
            return False
        return True

    def _give(self, left: Iterator[Any], again: deque[_Job[Any]]) -> None:
        """Fill every ready worker's window, those with least to do first."""
        for room in range(self.window):
            for hand in self.hands:
                if not hand.ready or hand.jobs > room:
                    continue
                job = again.popleft() if again else next((_Job(item) for item in left), None)
                if job is None:
                    return
                self._waiting[hand.actor.do.remote(job.item)] = (hand, job)
                hand.jobs += 1

    def _heard(self, hand: _Hand, answer: _Answer, about: str | None) -> None:
        hand.ready = True
        self.restarts += bool(hand.name) and hand.name != answer.worker
        hand.name = answer.worker
        if answer.error is not None:
            text = answer.error if about is None or about in answer.error else f"{answer.error} (at {about})"
            if answer.of_input:
                raise InputError(text, answer.argument)
            raise RunError(text)

    def _lose(
        self, hand: _Hand, job: _Job[Any] | None, error: Exception, again: deque[_Job[Any]], name: Callable[[Any], str]
    ) -> None:
        """An item that Ray gave up, since the worker's process died again and again, or its machine is gone."""
        if hand in self.hands and (job is None or isinstance(error, self.ray.exceptions.ActorDiedError)):
            self.hands.remove(hand)
            self.lost += 1
        if job is not None:
            job.losses += 1
            if job.losses >= MOST_LOSSES:
                raise RunError(
                    f"workers died again and again over {name(job.item)}, maybe for want of memory: give each more of "
                    "the machine, or fewer images at a time, then give the same command again"
                )
            again.append(job)
        if not self.hands:
            raise RunError(f"no worker is left ({first_line(error)}): give the same command again, and it goes on")


def first_line(error: Exception) -> str:
    """Of what an error says; its kind where it says nothing."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def ray_pool(
    cluster: Cluster, build: Callable[[], Work[Any, Any]], *, window: int = WAITING, most: int | None = None
) -> Iterator[RayPool]:
    """Workers, while the block lasts.

    Args:
        cluster: where, and how many.
        build: makes, in a worker, what does one item; has to pickle.
        window: items that a worker has; 1 where an item takes so long that none may wait at one worker while another
            is idle.
        most: workers at most, whatever there is room for: as many as there are items.

    Raises:
        InputError: Ray is not installed, there is no cluster at the address, or no room for a worker.
    """
    ray = _import_ray()
    with _connected(ray, cluster):
        count = cluster.workers or _room(ray, cluster)
        count = count if most is None else min(count, max(1, most))
        remote = ray.remote(_Worker).options(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=MOST_RESTARTS, max_task_retries=MOST_RETRIES
        )
        hands = [_Hand(remote.remote(build, package_versions(), str(Path.cwd()))) for _ in range(count)]
        try:
            yield RayPool(ray, hands, window)
        finally:
            for hand in hands:
                with suppress(Exception):  # gone already, or the cluster is
                    ray.kill(hand.actor, no_restart=True)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError("ray is not installed: pip install 'patn-augment[ray]'", "ray") from None


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Within a cluster; a connection that the caller has is used and left as it is."""
    if ray.is_initialized():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if cluster.address == LOCAL:
            cores = max(os.cpu_count() or 1, math.ceil((cluster.workers or 1) * cluster.cpus))
            ray.init(LOCAL, num_cpus=cores, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        else:
            ray.init(cluster.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster at {cluster.address}: {first_line(error)}", "ray") from None
    finally:
        for number, handler in before.items():  # Ray puts its own in place, which end the process at once
            with suppress(ValueError):  # not the main thread
                signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _room(ray: Any, cluster: Cluster) -> int:
    """How many workers the cluster has room for.

    Raises:
        InputError: for none.
    """
    there = ray.cluster_resources()
    room = int(there.get("CPU", 0) / cluster.cpus)
    if cluster.gpus:
        room = min(room, int(there.get("GPU", 0) / cluster.gpus))
    if room < 1:
        has = f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
        raise InputError(
            f"the cluster has {has}, a worker asks for {cluster.cpus:g} and {cluster.gpus:g}: ask for less, or name "
            "the number of workers and let the cluster grow"
        )
    return room
