"""Purpose: draw a folder of Market-1501's exact shape, to walk the road of docs/market1501.md on.

Needs:   nothing else; 36,036 images take some 170 MB where the disk counts in blocks of 4 KB.
Run:     python examples/market_stand_in.py --out Market-1501-stand-in
Override: --share 0.02 for fifteen people of each kind; --seed 1; --device cuda

751 people train in 12,936 images; 750 others are tested on, with 3,368 queries and 19,732 images to search: 13,115 of
them, 2,798 of distractors (0000) and 3,819 junk (-1, badly cut). Drawn people are nobody: scores on them say nothing
about Market-1501.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from augment.pose.keypoints import Keypoints, write_keypoints
from augment.synth.dataset import encode_jpeg
from augment.synth.pedestrians import PedestrianRenderer
from reid_eval.runtime import progress

CAMERAS, BATCH = 6, 64
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


class Shot(NamedTuple):
    """An image: where it goes, whose name it bears, and the numbers it is drawn from."""

    folder: str
    label: str
    pid: int
    camid: int
    seq: int
    frame: int

    @property
    def name(self) -> str:
        """Market-1501's; frames tell the images of a camera apart."""
        number = self.frame if int(self.label) > 0 else self.pid
        return f"{self.label}_c{self.camid}s{self.seq + 1}_{number:06d}_00.jpg"


def dealt(images: int, people: int) -> list[int]:
    """How many images each person has: as even as can be, and together so many."""
    return [images // people + (rank < images % people) for rank in range(people)]


def shots_of(share: float) -> list[Shot]:
    """All images, at `share` of the people and images."""
    train_ids, test_ids, train, query, gallery, strangers, junk = (
        max(2, round(share * count)) for count in (751, 750, 12_936, 3_368, 13_115, 2_798, 3_819)
    )
    found = []
    for pid, count in enumerate(dealt(train, train_ids), 2):
        found += [Shot(TRAIN, f"{pid:04d}", pid, 1 + i % CAMERAS, i // 24, 5 * (i // CAMERAS)) for i in range(count)]
    people = zip(dealt(query, test_ids), dealt(gallery, test_ids), strict=True)
    for pid, (queries, count) in enumerate(people, 2 + train_ids):
        # A query is one photo of a camera; the gallery goes on in all cameras, so that each query has a match elsewhere
        label, turns = f"{pid:04d}", [1 + i // CAMERAS for i in range(count)]
        found += [Shot(QUERY, label, pid, 1 + i, 0, 0) for i in range(queries)]
        found += [Shot(GALLERY, label, pid, 1 + i % CAMERAS, turn // 4, 5 * turn) for i, turn in enumerate(turns)]
    odd = enumerate(["0000"] * strangers + ["-1"] * junk, 10_000)
    return found + [Shot(GALLERY, label, pid, 1 + pid % CAMERAS, 0, 0) for pid, label in odd]


def cut_badly(image: np.ndarray) -> np.ndarray:
    """What a detector makes of half a person: the lower left of the picture, at full size. uint8 `[3, H, W]`."""
    return image[:, image.shape[1] // 2 :, : image.shape[2] // 2].repeat(2, axis=1).repeat(2, axis=2)


def draw(out: Path, share: float, seed: int, device: str) -> int:
    """Draw the folder; returns how many images it has."""
    renderer, shots, joints = PedestrianRenderer(seed, cameras=CAMERAS, device=device), shots_of(share), []
    for folder in (TRAIN, QUERY, GALLERY):
        (out / folder).mkdir(parents=True)

    def save(shot: Shot, image: np.ndarray) -> None:
        picture = cut_badly(image) if shot.label == "-1" else image
        (out / shot.folder / shot.name).write_bytes(encode_jpeg(picture, 95))

    with progress("Drawing", len(shots)) as bar, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(shots), BATCH):
            part = shots[start : start + BATCH]
            drawn = renderer.render(*(torch.tensor(column) for column in list(zip(*part, strict=True))[2:]))
            list(pool.map(save, part, drawn.image.cpu().numpy()))
            joints.append(np.round(drawn.keypoints.cpu().numpy(), 1))
            bar.advance(len(part))
    xy = np.concatenate(joints)
    for split, folders in (("train", (TRAIN,)), ("test", (QUERY, GALLERY))):
        # As in the authors' files, junk has no joints
        rows = [i for i, shot in enumerate(shots) if shot.folder in folders and shot.label != "-1"]
        write_keypoints(out / f"market-annotation-{split}.csv", Keypoints(tuple(shots[i].name for i in rows), xy[rows]))
    return len(shots)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--share", type=float, default=1.0, help="of people and images, above 0 and at most 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    if not 0 < given.share <= 1 or given.out.exists():
        parser.error(f"--share must be above 0 and at most 1, and {given.out} must not be there yet")
    print(f"{draw(given.out, given.share, given.seed, given.device)} images in {given.out}")


if __name__ == "__main__":
    main()
