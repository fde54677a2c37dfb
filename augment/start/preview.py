"""Would I use these images? Some people in some poses by every weights at hand, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from augment.generators.base import PoseGenerator, output_seed, run_generator
from augment.generators.open import open_to_look
from augment.generators.patn.engines import How
from augment.generators.weights import available_weights
from augment.pictures import Picture, grid
from augment.pose.draw import draw_skeleton
from augment.pose.geometry import scale_joints
from augment.runs import Say
from augment.start.people import SIZE, Person, photos_of, some_people, varied_poses
from augment.start.rates import duration
from reid_eval.runtime import InputError, progress, resolve_device
from reid_eval.transforms import to_float, to_pictures

PEOPLE, POSES = 8, 2
_BATCH = 4
SECONDS = 24.0
"""Of generating, all weights together, about; opening them takes some more."""
_SCALE = 2


@dataclass(frozen=True, eq=False)
class Shown:
    """What weights made.

    Attributes:
        name: of the weights.
        pictures: to each person one a pose, their own other pose first; None: not asked for, or no time.
        seconds: an image took, but for the first batch where there are others: it prepares; None: none was made.
        engine: backend, form and precision: those that `generate` takes for them here where nothing is asked for.
    """

    name: str
    pictures: list[list[Picture | None]]
    seconds: float | None
    engine: str

    @property
    def made(self) -> int:
        """How many."""
        return sum(picture is not None for row in self.pictures for picture in row)


@dataclass(frozen=True, eq=False)
class Preview:
    """The sheet, what it shows, of whom, and how many images each weights were asked for."""

    sheet: Image.Image
    shown: list[Shown]
    people: list[Person]
    wanted: int

    def lines(self) -> list[str]:
        """For the terminal: the time of each weights."""
        return [_line(shown, self.wanted) for shown in self.shown]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: of each weights the images it made, and seconds for one."""
        shown = {
            one.name: {"images": one.made, "seconds_an_image": one.seconds, "engine": one.engine} for one in self.shown
        }
        return {"people": len(self.people), "weights": shown}


def _line(shown: Shown, wanted: int) -> str:
    if shown.seconds is None:
        return f"{shown.name}: no time for an image"
    short = f" (the time was up: {shown.made} of {wanted})" if shown.made < wanted else ""
    return (
        f"{shown.name}: {shown.made} images{short}, {shown.seconds:.2g} s an image; 1,000 images in "
        f"{duration(1000 * shown.seconds)} ({shown.engine})"
    )


def preview(
    root: Path,
    more_weights: Sequence[str] = (),
    *,
    layout: str = "auto",
    keypoints: Path | None = None,
    device: str = "auto",
    seconds: float = SECONDS,
    seed: int = 0,
    say: Say = lambda _: None,
) -> Preview:
    """Draw `PEOPLE` people in poses by the weights that ship, and by others.

    Args:
        root: a data set, or a folder of crops; needs no keypoints.
        more_weights: as for `open_generator`, beside those that ship.
        layout, keypoints: as for `some_people`.
        device: where.
        seconds: to generate in, about; each weights has a share, and its first person even if that is late.
        seed: of the choice of people.
        say: told what was done that nobody asked for.

    Raises:
        InputError: no folder, no images, no joints that will do, or weights that cannot be opened.
    """
    where = resolve_device(device)
    people = some_people(root, PEOPLE, layout=layout, keypoints=keypoints, seed=seed, say=say)
    photos = photos_of(root, [person.path for person in people])
    lenders = varied_poses(people, POSES)
    names = list(dict.fromkeys([*_by_size(available_weights()), *more_weights]))
    if not names:
        raise InputError("no weights ship with this installation: name some", "weights")
    shown: list[Shown] = []
    with progress("Generating", len(names) * _wanted(people, lenders)) as bar:
        for number, name in enumerate(names):
            generator, how = open_to_look(name, where)
            share, began = seconds / (len(names) - number), time.monotonic()
            shown.append(_made(generator, how, _short(name), people, photos,
                               lenders, share, bar.advance))  # fmt: skip
            seconds -= time.monotonic() - began
    return Preview(_sheet(root, people, photos, lenders, shown), shown, people, _wanted(people, lenders))


def _short(name: str) -> str:
    """For captions; a training calls all its weights `generator`, so its folder tells more."""
    path = Path(name)
    if path.suffix != ".safetensors":
        return name
    return path.resolve().parent.name if path.stem == "generator" else path.name


def _by_size(names: Sequence[str]) -> list[str]:
    """The tiny ones first: what is fast is done before the time is up."""
    return sorted(names, key=lambda name: ("tiny" not in name, name))


def _wanted(people: Sequence[Person], lenders: Sequence[int]) -> int:
    return sum(len(_targets(person, number, people, lenders)) for number, person in enumerate(people))


def _targets(
    person: Person, number: int, people: Sequence[Person], lenders: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """Column of poses to the pose; nobody is asked for the pose that they have."""
    own = {} if person.other_xy is None else {0: person.other_xy}
    return {**own, **{1 + column: people[lender].xy for column, lender in enumerate(lenders) if lender != number}}


@torch.no_grad()
def _made(
    generator: PoseGenerator,
    how: How,
    name: str,
    people: Sequence[Person],
    photos: NDArray[np.uint8],
    lenders: Sequence[int],
    seconds: float,
    advance: Callable[[int], None],
) -> Shown:
    """First everybody's own other pose, then the poses of others, until the time is up."""
    end, spent, made = time.monotonic() + seconds, list[float](), list[int]()  # of each batch
    rows: list[list[Picture | None]] = [[None] * (1 + len(lenders)) for _ in people]
    wanted = [_targets(person, number, people, lenders) for number, person in enumerate(people)]
    tasks = [(n, column) for column in range(1 + len(lenders)) for n in range(len(people)) if column in wanted[n]]
    for start in range(0, len(tasks), _BATCH):
        batch = tasks[start : start + _BATCH]
        if made and time.monotonic() + _seconds_each(spent, made) * len(batch) > end:
            break
        began = time.perf_counter()
        numbers = [number for number, _ in batch]
        sources = np.stack([people[number].xy for number in numbers])
        goals = np.stack([wanted[n][column] for n, column in batch])
        pictures = _run(generator, how.precision, photos[numbers], sources, goals)
        spent.append(time.perf_counter() - began)
        made.append(len(batch))
        for (number, column), picture in zip(batch, pictures, strict=True):
            rows[number][column] = picture
        advance(len(batch))
    return Shown(name, rows, _seconds_each(spent, made) if made else None, str(how))


def _seconds_each(spent: list[float], made: list[int]) -> float:
    """Of an image, from batches: the first prepares, and counts only where there is no other."""
    return sum(spent[1:] or spent) / sum(made[1:] or made)


def _run(
    generator: PoseGenerator,
    precision: str,
    photos: NDArray[np.uint8],
    xy: NDArray[np.float32],
    targets: NDArray[np.float32],
) -> list[Picture]:
    """Photos `[N, 128, 64, 3]` and two poses each to pictures of that size."""
    size, where = (int(generator.size[0]), int(generator.size[1])), generator.device
    large = np.stack([_resized(photo, size) for photo in photos])
    batch = to_float(torch.from_numpy(large).permute(0, 3, 1, 2)).to(where)
    joints, goals = (torch.from_numpy(scale_joints(pose, SIZE, size)).to(where) for pose in (xy, targets))
    seeds = [output_seed(f"preview/{number}") for number in range(len(photos))]
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
        made = run_generator(generator, batch, joints, goals, seeds)
    return [_resized(picture, SIZE) for picture in to_pictures(made)]


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC), np.uint8)


def _sheet(
    root: Path, people: Sequence[Person], photos: NDArray[np.uint8], lenders: Sequence[int], shown: Sequence[Shown]
) -> Image.Image:
    """A row a person: its photo; another one of it, and what each weights made of the first in that pose; then the
    poses of others, which the first row shows. Poses that there was no time for are left out."""
    paper = _enlarged(np.full((*SIZE, 3), 255, np.uint8))
    others = _others(root, people)
    times = [f"{one.seconds:.2g} s" if one.seconds is not None else "no time" for one in shown]
    weights = [f"{one.name} {taken}" for one, taken in zip(shown, times, strict=True)]
    drawn = [column for column in range(len(lenders)) if any(row[1 + column] is not None for one in shown
             for row in one.pictures)]  # fmt: skip
    captions = ["photo", "real, another pose", *weights, *(weights * len(drawn))]
    gaps = [1 + column * len(shown) + (column > 0) for column in range(1 + len(drawn))]
    head: list[Picture | None] = [paper] * (2 + len(shown))
    for number in (lenders[column] for column in drawn):
        lent = draw_skeleton(photos[number], people[number].xy, scale=_SCALE)
        head += [lent, *[paper] * (len(shown) - 1)]
    rows: list[list[Picture | None]] = []
    for number, photo in enumerate(photos):
        row: list[Picture | None] = [_enlarged(photo), others[number]]
        row += [_cell(one.pictures[number][0], people[number].other is not None) for one in shown]
        for column in drawn:
            row += [_cell(one.pictures[number][1 + column], lenders[column] != number) for one in shown]
        rows.append(row)
    named = ["poses lent", *(person.name for person in people)]
    return grid([head, *rows], column_captions=captions, row_captions=named, scale=1, gaps=gaps)


def _others(root: Path, people: Sequence[Person]) -> list[Picture]:
    """Each person's other photo; paper where there is none."""
    paper = _enlarged(np.full((*SIZE, 3), 255, np.uint8))
    paths = [person.other for person in people if person.other is not None]
    photos = dict(zip(paths, photos_of(root, paths), strict=True)) if paths else {}
    return [paper if person.other is None else _enlarged(photos[person.other]) for person in people]


def _cell(picture: Picture | None, asked: bool) -> Picture | None:
    """Grey where there was no time, paper where nothing was asked for."""
    if picture is not None:
        return _enlarged(picture)
    return None if asked else _enlarged(np.full((*SIZE, 3), 255, np.uint8))


def _enlarged(picture: Picture) -> Picture:
    return picture.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def preview_place(root: Path | None, out: Path | None) -> Path:
    """Where the sheet is written: `out`, or in a new folder under ./runs; never among the images of the data set.

    Raises:
        InputError: `out` lies in the folder of the data set.
    """
    from augment.runs import RUNS, new_run_dir

    inside = None if root is None else root.resolve()
    if out is not None:
        if inside is not None and out.resolve().is_relative_to(inside):
            raise InputError(f"{out} lies in {root}, among whose images it would count: name a place outside", "out")
        return out
    if inside is not None and RUNS.resolve().is_relative_to(inside):
        return inside.parent / f"{inside.name}.preview.png"
    return new_run_dir("preview") / "preview.png"
