"""Small data sets drawn on the spot: rectangles for shirt, trousers and head, in colours that tell identities apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def draw_person(pid: int, camid: int, frame: int, size: tuple[int, int] = (128, 64)) -> Image.Image:
    """A picture (H, W) of person `pid`: the same colours every time, another place and background every frame."""
    looks = np.random.default_rng(1000 + pid)
    shirt, trousers, skin = (tuple(int(c) for c in looks.integers(0, 256, 3)) for _ in range(3))
    scene = np.random.default_rng([pid, camid, frame])
    height, width = size
    grain = scene.normal(0, 12, (height, width, 3)) + scene.integers(60, 190, 3)
    image = Image.fromarray(grain.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x, y = int(scene.integers(-width // 10, width // 10 + 1)), int(scene.integers(-height // 16, height // 16 + 1))

    def box(left: float, top: float, right: float, bottom: float, colour: tuple[int, ...]) -> None:
        draw.rectangle((left * width + x, top * height + y, right * width + x, bottom * height + y), fill=colour)

    box(0.40, 0.04, 0.60, 0.18, skin)
    box(0.25, 0.19, 0.75, 0.52, shirt)
    box(0.30, 0.53, 0.48, 0.95, trousers)
    box(0.52, 0.53, 0.70, 0.95, trousers)
    dim = 0.75 + 0.1 * camid
    return Image.fromarray((np.asarray(image) * dim).clip(0, 255).astype(np.uint8))


def draw_market(
    root: Path, train_ids: int, test_ids: int, images: int, cameras: int = 3, size: tuple[int, int] = (128, 64)
) -> Path:
    """A Market-1501 folder: training pids from 1, test pids from 101; each test person's first images are queries."""
    for first, count, training in ((1, train_ids, True), (101, test_ids, False)):
        for pid in range(first, first + count):
            for frame in range(images):
                camid = frame % cameras + 1
                folder = "bounding_box_train" if training else "query" if frame < cameras else "bounding_box_test"
                path = root / folder / f"{pid:04d}_c{camid}s1_{frame:06d}_00.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw_person(pid, camid, frame, size).save(path, quality=90)
    return root


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A drawn Market-1501 folder: 3 training and 2 test people, 6 images each; 18 + 6 + 6 images."""
    return draw_market(tmp_path / "market", 3, 2, 6, size=(64, 32))


@pytest.fixture
def write_images() -> Callable[[Path, list[str]], Path]:
    """Write small images under a root, by their relative names."""

    def write(root: Path, names: list[str]) -> Path:
        for index, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 16), (index % 256, 100, 50)).save(path)
        return root

    return write


@pytest.fixture
def pets_mini() -> Path:
    """The small real data set, if it is there."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "pets_mini"
    path = Path(os.environ.get("PATN_PETS_MINI", beside))
    if not path.is_dir():
        pytest.skip(f"no real images at {path}; set PATN_PETS_MINI to try them")
    return path


@pytest.fixture
def people() -> Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Draw so many people, so many images each: uint8 [N, 3, 64, 64] and labels int64 [N]."""

    def draw(ids: int, images: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        drawn = [np.asarray(draw_person(pid, 1, frame, (64, 64))) for pid in range(ids) for frame in range(images)]
        return np.stack(drawn).transpose(0, 3, 1, 2).copy(), np.repeat(np.arange(ids), images)

    return draw
