"""Joints of every image of a folder, in the one annotation format, with progress and resuming."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from augment.estimators.base import Estimator
from augment.estimators.folder_images import FolderImages, row_names
from augment.pose.keypoints import Keypoints, empty_keypoints, read_keypoints, write_keypoints
from augment.pose.skeleton import JOINTS, seen
from reid_eval.datasets.images import held_at_once, read_image
from reid_eval.foreign import read_json
from reid_eval.helping import helping_threads
from reid_eval.runtime import InputError, first_five, progress, sha256_file, write_json

_SAVE_EVERY = 20.0  # seconds between two writings of what is done so far
_SAVE_PAUSE = 9.0  # times what the last one took, at least: the table of a million images takes longer than that

Batch = Sequence[tuple[str, str]]
"""Images that an estimator gets at a time: of each its path, relative to the folder, and the name of its row."""


class Finding(Protocol):
    """Who finds the joints of batches: this process, if nobody else."""

    def __call__(self, root: Path, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32], str]]:
        """Each batch as it is done, in any order: its joints `[N, 18, 2]`, and a note for the progress bar.

        Args:
            root: the folder of the images.
            batches: to be asked for as they are needed.

        Raises:
            InputError: an image cannot be read.
        """
        ...


class Share(NamedTuple):
    """What an estimator found: shares of all images.

    Attributes:
        images: how many were looked at.
        found: with at least one joint.
        usable: with both shoulders and both hips, which generating needs.
        joints: of each joint, by its name.
        empty: names of the images without any.
    """

    images: int
    found: float
    usable: float
    joints: dict[str, float]
    empty: tuple[str, ...]

    @property
    def message(self) -> str:
        """Two lines for the user."""
        shares = " ".join(f"{name} {100 * share:.0f}%" for name, share in self.joints.items())
        return (
            f"{self.images} images: somebody found in {100 * self.found:.1f}%, usable (both shoulders and hips) "
            f"{100 * self.usable:.1f}%\n{shares}"
        )


def share_found(keypoints: Keypoints) -> Share:
    """Count what a table holds."""
    there: NDArray[np.bool_] = seen(keypoints.xy)
    count = max(1, len(keypoints))
    some = there.any(1)
    return Share(
        len(keypoints),
        float(some.sum() / count),
        float(keypoints.usable.sum() / count),
        {name: round(float(there[:, j].sum() / count), 4) for j, name in enumerate(JOINTS)},
        tuple(keypoints.names[row] for row in np.flatnonzero(~some).tolist()),
    )


def describe_estimator(name: str, weights: Path | None, threshold: float | None, height: int) -> dict[str, Any]:
    """What determines an estimator's answers, for `estimate_folder` and for the record."""
    return {
        "estimator": name,
        "weights_sha256": sha256_file(weights) if weights else None,
        "threshold": threshold,
        "height": height,
    }


def estimate_folder(
    folder: FolderImages,
    out: Path,
    estimator: Estimator,
    facts: Mapping[str, Any],
    *,
    batch_size: int = 32,
    resume: bool = False,
    finding: Finding | None = None,
) -> Keypoints:
    """Find the joints of all images of a folder.

    What is done is kept beside `out` every few seconds; a killed run goes on with `resume`. `out` itself is written at
    the end, and only if somebody was found in at least half of the images.

    Args:
        folder: the images, see `folder_images`.
        out: annotation file to write.
        estimator: see there.
        facts: all that determines its answers; a run goes on only with the same.
        batch_size: images given to it at a time, fewer large ones.
        resume: go on with what an earlier run left.
        finding: who asks such an estimator; None: this process does.

    Returns:
        The table, in the order of the paths; that of `out` if it is there already.

    Raises:
        InputError: an unfinished run of other facts, or one and not `resume`; an image that cannot be read; nothing
            found in more than half of the images.
    """
    part = _Part(out, dict(facts))
    if out.exists():
        part.sweep()
        return read_keypoints(out)
    paths, names = folder.paths, row_names(folder.paths)
    done = part.open(resume)
    todo = [(path, name) for path, name in zip(paths, names, strict=True) if name not in done]
    height = getattr(estimator, "height", 0)  # that it enlarges images to, if it does
    batches = _cut(folder.root, todo, batch_size, height)
    save_at = time.monotonic() + _SAVE_EVERY
    with progress("Finding joints", len(paths)) as bar:
        bar.skip(len(paths) - len(todo))
        for batch, xy, note in (finding or _Here(estimator))(folder.root, batches):
            done.update(zip((name for _, name in batch), xy, strict=True))
            bar.advance(len(batch), note)
            if (start := time.monotonic()) > save_at:
                part.save(done)
                taken = time.monotonic() - start
                save_at = time.monotonic() + max(_SAVE_EVERY, _SAVE_PAUSE * taken)
    part.save(done)
    table = Keypoints(tuple(names), np.stack([done[name] for name in names]).astype(np.float32))
    check_found(share_found(table), estimator.name)
    write_keypoints(out, table)
    part.remove()
    return table


def check_found(share: Share, name: str) -> None:
    """Raise if the estimator failed in silence.

    Raises:
        InputError: nothing found in more than half of the images.
    """
    if len(share.empty) * 2 > share.images:
        raise InputError(
            f"{name} found nobody in {len(share.empty)} of {share.images} images, such as {first_five(share.empty)}: "
            "no file was written; look at the images, try another estimator, a larger height or a lower threshold"
        )


class _Part:
    """What an unfinished run leaves beside its output: rows so far, and what they were found with."""

    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self.rows = out.with_name(f".{out.name}.part.csv")
        self.about = out.with_name(f".{out.name}.part.json")
        self.out, self.facts = out, facts

    def open(self, resume: bool) -> dict[str, NDArray[np.float32]]:
        if not self.rows.is_file():
            return {}
        try:
            earlier = read_json(self.about)
        except (OSError, ValueError):
            earlier = None
        if not resume:
            raise InputError(
                f"{self.out} is unfinished from an earlier run: resume it, or remove {self.rows}", "resume"
            )
        if earlier != self.facts:
            raise InputError(f"{self.rows} is of another estimator or other options: remove it to begin anew")
        table = read_keypoints(self.rows)
        return dict(zip(table.names, table.xy, strict=True))

    def save(self, done: Mapping[str, NDArray[np.float32]]) -> None:
        write_json(self.about, self.facts)
        table = Keypoints(tuple(done), np.stack(list(done.values()))) if done else empty_keypoints()
        write_keypoints(self.rows, table)

    def sweep(self) -> None:
        """Remove what the same job left, which was killed when its output was there already."""
        with suppress(OSError, ValueError):
            if read_json(self.about) == self.facts:
                self.remove()

    def remove(self) -> None:
        self.rows.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)  # last: by it a killed run is known


def _cut(root: Path, todo: Batch, size: int, height: int) -> Iterator[Batch]:
    """Batches of at most `size` images, and no more pixels than `held_at_once` allows."""
    for part in held_at_once([root / path for path, _ in todo], size, height):
        yield todo[part]


class _Here:
    """This process; the next batch is read while the estimator looks at one, so that two are held."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator

    def __call__(self, root: Path, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32], str]]:
        device = torch.device(getattr(self.estimator, "device", "cpu"))
        with helping_threads(device) as pool:
            batch = next(batches, None)
            ahead = [pool.submit(read_image, root / path) for path, _ in batch or ()]
            while batch is not None:
                now, following = ahead, next(batches, None)
                ahead = [pool.submit(read_image, root / path) for path, _ in following or ()]
                xy, _ = self.estimator([future.result() for future in now])
                yield batch, xy, ""
                batch = following
