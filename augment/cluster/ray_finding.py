"""The joints of a folder's images by the workers of a Ray cluster: the `Finding` of `poses` with one.

The driver cuts the batches, as it does for itself, and a worker gets one at a time: an estimator sees the batches that
it would see in one process. What is found comes back to the driver, which keeps it beside the output as ever; so a run
on a cluster goes on with what one without has left, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.cluster.ray_pool import Cluster, first_line, ray_pool
from augment.estimators.base import Estimator
from augment.estimators.build import build_estimator
from augment.estimators.estimate import Batch
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError, RunError, sha256_file

Item = tuple[Path, Batch]
Joints = NDArray[np.float32]


@dataclass(frozen=True)
class RayFinding:
    """Finds joints on the workers of a cluster.

    Attributes:
        cluster: where.
        name: of the estimator, see `augment.estimators.build.build_estimator`.
        files: its arguments that are files, or None.
        asked: its other arguments, but for the device.
    """

    cluster: Cluster
    name: str
    files: Mapping[str, Path | None]
    asked: Mapping[str, Any]

    def __call__(self, root: Path, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Joints, str]]:
        """As `augment.estimators.estimate.Finding` says."""
        items = ((root.absolute(), batch) for batch in batches)
        with ray_pool(self.cluster, self._build()) as pool:
            for (_, batch), xy in pool.run(items, lambda item: f"{item[1][0][0]} and those after it"):
                yield batch, xy, pool.note

    def _build(self) -> Callable[[], Callable[[Item], Joints]]:
        files = {what: None if path is None else path.absolute() for what, path in self.files.items()}
        hashes = {str(path): sha256_file(path) for path in files.values() if path is not None}
        named = {**files, **self.asked, "device": self.cluster.device}
        return partial(build_worker, self.name, named, hashes)


def build_worker(name: str, named: Mapping[str, Any], hashes: Mapping[str, str]) -> Callable[[Item], Joints]:
    """In a worker: open the estimator once.

    Args:
        name: see `RayFinding`.
        named: the other arguments of `build_estimator`.
        hashes: SHA-256 of its files, where the run was started.

    Raises:
        InputError: a file is another one here, or as `build_estimator`.
    """
    for path, sha256 in hashes.items():
        if sha256_file(path) != sha256:
            raise InputError(f"{path} is another file at this worker than where the run was started")
    return partial(_find, build_estimator(name, **named))


def _find(estimator: Estimator, item: Item) -> Joints:
    """The joints of a batch of a folder, `[N, 18, 2]`.

    Raises:
        InputError, RunError: the image that could not be looked at is named.
    """
    root, batch = item
    images = [read_image(root / path) for path, _ in batch]
    try:
        return estimator(images)[0]
    except Exception as error:
        for (path, _), image in zip(batch, images, strict=True):
            try:
                estimator([image])
            except Exception as alone:  # the same one, as a rule
                kind = InputError if isinstance(alone, InputError) else RunError
                raise kind(f"{path}: {first_line(alone)}") from error
        raise
