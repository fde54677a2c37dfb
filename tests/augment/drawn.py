"""Draws a small data set in Market-1501's layout, with joints; no renderer, no download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from augment.pose import JOINTS, Keypoints, write_keypoints
from augment.pose.draw import draw_skeleton

SIZE = (128, 64)
STANDING = {
    "nose": (32, 14),
    "neck": (32, 26),
    "Rsho": (23, 27),
    "Relb": (19, 45),
    "Rwri": (17, 62),
    "Lsho": (41, 27),
    "Lelb": (45, 45),
    "Lwri": (47, 62),
    "Rhip": (27, 66),
    "Rkne": (26, 90),
    "Rank": (25, 114),
    "Lhip": (37, 66),
    "Lkne": (38, 90),
    "Lank": (39, 114),
    "Reye": (30, 12),
    "Leye": (34, 12),
    "Rear": (28, 13),
    "Lear": (36, 13),
}


def standing() -> np.ndarray:
    """A person seen from the front, float32 [18, 2], (x, y) pixels at 128x64."""
    return np.array([STANDING[joint] for joint in JOINTS], dtype=np.float32)


def some_pose(rng: np.random.Generator) -> np.ndarray:
    """The standing person with whole-numbered jitter, some limbs missing, shoulders and hips always there."""
    xy = standing() + rng.integers(-6, 7, size=(18, 2)).astype(np.float32)
    xy = np.clip(xy, 0, [SIZE[1] - 1, SIZE[0] - 1])
    gone = rng.random(18) < 0.15
    gone[[2, 5, 8, 11]] = False
    xy[gone] = np.nan
    return xy.astype(np.float32)


def draw_person(pid: int, xy: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A stick figure in the identity's colour on its ground, uint8 [H, W, 3]."""
    rng = np.random.default_rng(pid)
    image = np.empty((*size, 3), dtype=np.uint8)
    image[:] = rng.integers(60, 200, 3)
    image[size[0] // 4 : size[0] // 2, size[1] // 3 : -size[1] // 3] = rng.integers(0, 255, 3)
    return draw_skeleton(image, xy, thickness=4)


def draw_dataset(root: Path, train: dict[int, int], test: dict[int, int], unusable: tuple[str, ...] = ()) -> Path:
    """Write a data set of {pid: images}; the first image of a test identity in each camera is its query.

    Images named in `unusable` lack the left hip.
    """
    rng = np.random.default_rng(0)
    for split, people in (("train", train), ("test", test)):
        poses = {}
        for pid, count in people.items():
            for number in range(count):
                camid = number % 2 + 1
                name = f"{pid:04d}_c{camid}s1_{number + 1:06d}_00.jpg"
                pose = some_pose(rng)
                if name in unusable:
                    pose[11] = np.nan
                poses[name] = pose
                folder = "bounding_box_train" if split == "train" else ("query" if number < 2 else "bounding_box_test")
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw_person(pid, pose)).save(root / folder / name, quality=95)
        table = Keypoints(tuple(poses), np.stack(list(poses.values())))
        write_keypoints(root / f"market-annotation-{split}.csv", table)
    return root


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
