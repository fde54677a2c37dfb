"""`patn-augment poses`: joints of every image of a folder, in the one annotation format, with progress and resuming."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment.estimators.base import Estimator
from augment.pose.draw import draw_skeleton
from augment.pose.keypoints import Keypoints, empty_keypoints, read_keypoints, write_keypoints
from augment.pose.skeleton import JOINTS, seen
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError, first_five, progress, write_json

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_SAVE_EVERY = 20.0  # seconds between two writings of what is done so far


@dataclass(frozen=True)
class Share:
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


def folder_images(root: Path) -> list[str]:
    """POSIX paths of a data set's images, or of all images below a folder that is none; sorted.

    Raises:
        InputError: no image.
    """
    try:
        data = read_dataset(root)
        paths = sorted({path for split in ("train", "query", "gallery") for path in data.split(split)["path"]})
        return [(data.root / path).relative_to(root).as_posix() for path in paths]
    except (InputError, ValueError):
        found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        paths = sorted(path.relative_to(root).as_posix() for path in found)
    if not paths:
        raise InputError(f"{root} holds no images ({', '.join(SUFFIXES)})")
    return paths


def row_names(paths: Sequence[str]) -> list[str]:
    """What the rows of images are called: the file name where it is the only one of that name, else the path."""
    uses = Counter(path.rpartition("/")[2] for path in paths)
    return [name if uses[name := path.rpartition("/")[2]] == 1 else path for path in paths]


def estimate_folder(
    root: Path,
    out: Path,
    estimator: Estimator,
    facts: Mapping[str, Any],
    *,
    batch_size: int = 32,
    resume: bool = False,
) -> Keypoints:
    """Find the joints of all images of a folder.

    What is done is kept beside `out` every few seconds; a killed run goes on with `resume`. `out` itself is written at
    the end, and only if somebody was found in at least half of the images.

    Args:
        root: the folder; see `folder_images`.
        out: annotation file to write.
        estimator: see there.
        facts: all that determines its answers; a run goes on only with the same.
        batch_size: images given to it at a time.
        resume: go on with what an earlier run left.

    Returns:
        The table, in the order of the paths.

    Raises:
        InputError: an unfinished run of other facts, or one and not `resume`; an image that cannot be read; nothing
            found in more than half of the images.
    """
    paths = folder_images(root)
    names = row_names(paths)
    part = _Part(out, dict(facts))
    done = part.open(resume)
    todo = [(path, name) for path, name in zip(paths, names, strict=True) if name not in done]
    last = time.monotonic()
    with progress("Finding joints", len(paths)) as bar:
        bar.skip(len(paths) - len(todo))
        for batch, images in _batches(root, todo, batch_size):
            xy, _ = estimator(images)
            done.update(zip((name for _, name in batch), xy, strict=True))
            bar.advance(len(batch))
            if time.monotonic() - last > _SAVE_EVERY:
                part.save(done)
                last = time.monotonic()
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
            "no file was written; look at the images, try another --estimator, a larger --height or a lower --threshold"
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
            earlier = json.loads(self.about.read_text())
        except (OSError, ValueError):
            earlier = None
        if not resume:
            raise InputError(f"{self.out} is unfinished from an earlier run: add --resume, or remove {self.rows}")
        if earlier != self.facts:
            raise InputError(f"{self.rows} is of another estimator or other options: remove it to begin anew")
        table = read_keypoints(self.rows)
        return dict(zip(table.names, table.xy, strict=True))

    def save(self, done: Mapping[str, NDArray[np.float32]]) -> None:
        write_json(self.about, self.facts)
        table = Keypoints(tuple(done), np.stack(list(done.values()))) if done else empty_keypoints()
        write_keypoints(self.rows, table)

    def remove(self) -> None:
        self.rows.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def _batches(
    root: Path, todo: Sequence[tuple[str, str]], size: int
) -> Iterator[tuple[Sequence[tuple[str, str]], list[NDArray[np.uint8]]]]:
    """Batches with their images; the next one is read while the caller works on this one."""
    parts = [todo[start : start + size] for start in range(0, len(todo), size)]
    with ThreadPoolExecutor(4) as pool:
        ahead = [pool.submit(read_image, root / path) for path, _ in parts[0]] if parts else []
        for number, part in enumerate(parts):
            now = ahead
            following = parts[number + 1] if number + 1 < len(parts) else []
            ahead = [pool.submit(read_image, root / path) for path, _ in following]
            yield part, [future.result() for future in now]


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 RGB `[H, W, 3]`.

    Raises:
        InputError: it is no image.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error}; remove or replace it") from None


def skeleton_sheet(root: Path, table: Keypoints, target: Path, count: int = 40, columns: int = 10) -> None:
    """PNG of images spread over a folder, with their skeletons, the poorest ones included as they come."""
    from augment.pictures import grid, save_sheet

    paths = folder_images(root)
    rows = table.rows(paths)
    known = [(path, row) for path, row in zip(paths, rows.tolist(), strict=True) if row >= 0]
    which = np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int)
    cells = []
    for index in which:
        path, row = known[int(index)]
        cells.append(_fitted(read_image(root / path), table.xy[row]))
    save_sheet(grid([cells[i : i + columns] for i in range(0, len(cells), columns)], scale=1), target)


def _fitted(image: NDArray[np.uint8], xy: NDArray[np.float32], height: int = 256) -> NDArray[np.uint8]:
    """An image with its skeleton, enlarged by a whole number to about `height` (or reduced to it)."""
    if image.shape[0] > height:
        factor = height / image.shape[0]
        size = (max(1, round(image.shape[1] * factor)), height)
        image, xy = np.asarray(Image.fromarray(image).resize(size)), (xy + 0.5) * factor - 0.5
    return draw_skeleton(image, xy, scale=max(1, height // image.shape[0]))
