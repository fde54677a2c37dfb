"""A generator's images of test pairs by the workers of a Ray cluster: the `Making` of `quality --weights` with one.

The driver draws the pairs and measures; a worker gets a batch of photos with two poses each, and gives the images back.
Batches are those of one process, and so are the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch

from augment.cluster.ray_pool import Cluster, first_line, ray_pool
from augment.generators.base import PoseGenerator
from augment.generators.open import generator_sha256, open_generator
from augment.generators.patn.batch import PairBatch
from augment.quality.material import made_of
from augment.quality.metrics import Images
from reid_eval.runtime import InputError, RunError

Item = tuple[int, PairBatch]


@dataclass(frozen=True)
class RayMaking:
    """Makes images of pairs on the workers of a cluster.

    Attributes:
        cluster: where.
        weights: what the generator is opened from, in every worker; see `augment.generators.open.open_generator`.
        precision: of its computation, `float32` or `bf16`.
        generator: where the run was started; the workers' have to be the same.
    """

    cluster: Cluster
    weights: str
    precision: str
    generator: PoseGenerator

    def __call__(self, batches: Iterator[Item]) -> Iterator[tuple[int, Images, str]]:
        """As `augment.quality.material.Making` says."""
        sha256 = generator_sha256(self.generator)
        build = partial(build_worker, self.weights, self.cluster.device, sha256, self.precision)
        items = ((first, _on(batch, "cpu")) for first, batch in batches)
        with ray_pool(self.cluster, build) as pool:
            for (first, _), made in pool.run(items, _name):
                yield first, made, pool.note


def _name(item: Item) -> str:
    return f"pair {item[0]} and those after it"


def _on(batch: PairBatch, device: torch.device | str) -> PairBatch:
    """A batch on a device."""
    values = {one.name: getattr(batch, one.name) for one in fields(batch)}
    moved: dict[str, Any] = {name: one.to(device) for name, one in values.items() if isinstance(one, torch.Tensor)}
    return replace(batch, **moved)


def build_worker(weights: str, device: str, sha256: str, precision: str) -> Callable[[Item], Images]:
    """In a worker: load the generator once.

    Raises:
        InputError: it is not the generator that the driver has.
    """
    generator = open_generator(weights, device)
    if generator_sha256(generator) != sha256:
        raise InputError(f"{weights} is another generator in this worker than where the run was started", "weights")
    return partial(_make, generator, precision)


def _make(generator: PoseGenerator, precision: str, item: Item) -> Images:
    first, batch = item
    try:
        return made_of(generator, _on(batch, generator.device), first, precision)
    except InputError:
        raise
    except Exception as error:
        raise RunError(f"pairs {first} to {first + len(batch.image) - 1}: {first_line(error)}") from error
