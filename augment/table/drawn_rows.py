"""Draws the images of a table's rows that only the renderer can make: the true looks of a pose, and further photos.

Every file appears whole; what is there already is not drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from augment.folder.render import is_complete, save_image
from augment.synth.again import drawn_in_pose_of, photos_of_shots
from augment.synth.dataset import Shot, SynthSettings
from reid_eval.runtime import progress

_BATCH = 64
Pictures = tuple[NDArray[np.uint8], Sequence[int]]
"""uint8 `[N, 3, H, W]`, and what to compress each with."""


def draw_in_poses(
    settings: SynthSettings,
    conditions: Sequence[str],
    poses: Sequence[str],
    outputs: Sequence[str],
    out: Path,
    quality: int,
    device: str,
) -> None:
    """Write each person of `conditions` as it truly looks in the pose of `poses[i]`, as `out/outputs[i]`.

    Args:
        settings: of the data set that all these images are of.
        conditions: paths of images in it: person, clothes, place, light and camera.
        poses: paths of images in it: motion, view and box.
        outputs: paths below `out`.
        out: folder.
        quality: of the JPEGs, 1 to 100: that of generated images.
        device: where to draw.
    """

    def draw(rows: Sequence[int]) -> Pictures:
        names, others = ([PurePosixPath(of[i]).name for i in rows] for of in (conditions, poses))
        return drawn_in_pose_of(settings, names, others, device).numpy(), [quality] * len(rows)

    _write(draw, [out / name for name in outputs])


def draw_photos(settings: SynthSettings, shots: Sequence[Shot], out: Path, device: str) -> None:
    """Write photos of the data set's world, as the data set's own are written, as `out/SPLIT/NAME`."""

    def draw(rows: Sequence[int]) -> Pictures:
        return photos_of_shots(settings, [shots[i] for i in rows], device)

    _write(draw, [out / shot.split / shot.name for shot in shots])


def _write(draw: Callable[[Sequence[int]], Pictures], paths: Sequence[Path]) -> None:
    """Draw and write what is not there yet."""
    todo = [i for i, path in enumerate(paths) if not is_complete(path)]
    for folder in {paths[i].parent for i in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    with progress("Drawing", len(todo)) as bar, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(todo), _BATCH):
            rows = todo[start : start + _BATCH]
            images, qualities = draw(rows)

            def save(at: int, rows: Sequence[int] = rows, images: NDArray[np.uint8] = images,
                     qualities: Sequence[int] = qualities) -> None:  # fmt: skip
                image = images[at]
                save_image(image.transpose(1, 2, 0).copy(), paths[rows[at]], image.shape[1:], qualities[at])

            list(pool.map(save, range(len(rows))))
            bar.advance(len(rows))
