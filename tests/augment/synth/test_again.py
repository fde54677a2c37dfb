"""Drawn people drawn again: who, where, in which pose; photos without background; the settings on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from augment.pose.library import shipped_library
from augment.synth.again import (
    NEUTRAL,
    drawn_in_pose_of,
    drawn_in_poses,
    masked_photos,
    render_in_pose_of,
    render_in_poses,
)
from augment.synth.dataset import FACTS, SynthSettings, plan_shots, read_settings, write_dataset
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from reid_eval.runtime import InputError

WORLD = SynthSettings(train_ids=8, test_ids=4, images_per_id=4, cameras=2, seed=3)
SHOTS = plan_shots(WORLD)
NAMES = [shot.name for shot in SHOTS]
FRONT, BACK = "stand/view000@128x64", "stand/view180@128x64"
POSES = (FRONT, BACK, "gait/view030/phase0@128x64", "gait/view300/phase3@128x64")
RIGHT_SHOULDER, LEFT_SHOULDER = 2, 5


@pytest.fixture(scope="module")
def photos() -> Rendered:
    renderer = PedestrianRenderer(WORLD.seed, WORLD.size, cameras=WORLD.cameras)
    return renderer.render(*(torch.tensor([getattr(s, k) for s in SHOTS]) for k in ("pid", "camid", "seq", "frame")))


@pytest.fixture(scope="module")
def views() -> Rendered:
    return render_in_poses(WORLD, NAMES, POSES)


def _per_view(rows: Tensor) -> Tensor:
    return rows.view(len(NAMES), len(POSES), *rows.shape[1:])


def _clothes(drawn: Rendered) -> Tensor:
    """Mean colours of trunk and thighs, `[B, 6]`."""
    colours = []
    for image, mask, joints in zip(drawn.image.float(), drawn.mask, drawn.true_keypoints, strict=True):
        row = []
        for corners in ([2, 5, 8, 11], [8, 11, 9, 12]):
            left, top = joints[corners].nan_to_num(999).amin(0).long().tolist()
            right, bottom = joints[corners].nan_to_num(0).amax(0).long().tolist()
            row.append(image[:, top : bottom + 1, left : right + 1][:, mask[top : bottom + 1, left : right + 1]])
        colours.append(torch.cat([part.mean(1) for part in row]))
    return torch.stack(colours)


# Of four images, the second with something in front of the person.
MEAN = {
    1: [(104.195, 82.409, 77.265), (84.148, 73.828, 66.066), (87.664, 71.286, 62.471), (108.215, 91.138, 79.423)],
    2: [(140.748, 122.644, 117.834), (85.404, 77.829, 71.377), (117.041, 102.841, 94.482), (139.434, 122.467, 111.439)],
}
NECK = [(23.83, 25.801), (33.502, 30.233), (34.695, 28.399), (25.542, 23.477)]
AREA = [2378, 3008, 2291, 2280]


@pytest.mark.parametrize("world", [1, 2])
def test_what_is_drawn_stays(world: int) -> None:
    """Data sets and the training stream look as they always did; no hash, since machines round differently."""
    shots = [SHOTS[row] for row in (0, 7, 26, 39)]
    renderer = PedestrianRenderer(WORLD.seed, WORLD.size, cameras=WORLD.cameras, world=world)
    drawn = renderer.render(*(torch.tensor([getattr(s, k) for s in shots]) for k in ("pid", "camid", "seq", "frame")))
    mean = drawn.image.float().mean((2, 3))
    torch.testing.assert_close(mean, torch.tensor(MEAN[world]), atol=0.02 if world == 1 else 0.1, rtol=0)
    torch.testing.assert_close(drawn.true_keypoints[:, 1], torch.tensor(NECK), atol=0.01, rtol=0)
    assert (drawn.mask.sum((1, 2)) - torch.tensor(AREA)).abs().max() <= 2


def test_people_keep_their_clothes(photos: Rendered, views: Rendered) -> None:
    distance = (_clothes(photos)[:, None, None] - _per_view(_clothes(views))[None]).norm(dim=-1)
    others = photos.pids[:, None] != photos.pids[None]
    for view in range(len(POSES)):
        own, foreign = distance[:, :, view].diagonal(), distance[:, :, view][others]
        assert own.median() < 40 < 100 < foreign.median()
        nearest = distance[:, :, view].argmin(1)
        assert (photos.pids[nearest] == photos.pids).float().mean() > 0.75  # by two colours alone
    assert torch.equal(views.pids, photos.pids.repeat_interleave(len(POSES)))
    assert torch.equal(views.camids, photos.camids.repeat_interleave(len(POSES)))


def test_the_place_stays(photos: Rendered, views: Rendered) -> None:
    """The border of a view, where nobody stands, is nearer to its own photo's than to that of other photos."""
    border = torch.ones_like(photos.mask[0])
    border[6:, 10:-10] = False
    seen = photos.image.float()[:, :, border].mean(2)
    drawn = views.image.float()[:, :, border].mean(2)[:: len(POSES)]
    distance = (seen[:, None] - drawn[None]).norm(dim=-1)
    assert distance.diagonal().median() < 0.3 * distance.median()


def test_joints_lie_on_the_library(views: Rendered) -> None:
    library = shipped_library()
    asked = torch.tensor(library.take([library.index[pose] for pose in POSES]).xy)
    off = (_per_view(views.true_keypoints) - asked).norm(dim=-1)
    assert off.nanmean() < 0.5
    assert off.nan_to_num(0).max() < 2


def test_faces_look_where_the_view_says(views: Rendered) -> None:
    seen = ~_per_view(views.keypoints)[:, :, 0, 0].isnan()
    assert seen[:, POSES.index(FRONT)].float().mean() > 0.9
    assert seen[:, POSES.index(BACK)].float().mean() < 0.15
    across = (views.true_keypoints[:, LEFT_SHOULDER] - views.true_keypoints[:, RIGHT_SHOULDER])[:, 0]
    assert bool((across.view(-1, len(POSES))[:, 0] > 5).all())
    assert bool((across.view(-1, len(POSES))[:, 1] < -5).all())


def test_an_image_depends_on_its_name_and_pose_alone(views: Rendered) -> None:
    names, poses = [NAMES[30], NAMES[2], NAMES[2]], [POSES[3], POSES[0]]
    drawn = drawn_in_poses(WORLD, names, poses)
    assert drawn.shape == (3, 2, 3, 128, 64)
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn, _per_view(views.image)[[30, 2, 2]][:, [3, 0]])


def test_ones_own_pose_is_the_photo_without_what_stood_in_front(photos: Rendered) -> None:
    drawn = render_in_pose_of(WORLD, NAMES, NAMES)
    torch.testing.assert_close(drawn.true_keypoints, photos.true_keypoints, rtol=0, atol=0, equal_nan=True)
    free = (drawn.mask == photos.mask).flatten(1).all(1)
    assert 0.85 < free.float().mean() < 1, "of this world's photos some have an occluder, most have not"
    assert not bool((photos.mask & ~drawn.mask).any())
    assert bool(drawn.mask[~free].flatten(1).sum(1).gt(photos.mask[~free].flatten(1).sum(1)).all())
    difference = drawn.image[free].float() - photos.image[free].float()
    assert difference.flatten(1).any(1).all(), "a camera's noise is never the same twice"
    assert difference.flatten(1).mean(1).abs().median() < 0.1
    smooth = torch.nn.functional.avg_pool2d(difference, 16)
    assert smooth.abs().flatten(1).mean(1).median() < 1


def test_in_the_pose_of_another(photos: Rendered) -> None:
    turned = list(range(5, len(NAMES))) + list(range(5))
    drawn = render_in_pose_of(WORLD, NAMES, [NAMES[i] for i in turned])
    off = (drawn.true_keypoints - photos.true_keypoints[turned]).norm(dim=-1)
    assert off.nanmean() < 0.5
    assert off.nan_to_num(0).max() < 3
    assert torch.equal(drawn.pids, photos.pids)
    own, other = _clothes(photos), _clothes(drawn)
    assert (own - other).norm(dim=-1).median() < 40 < 90 < (own[turned] - other).norm(dim=-1).median()
    image = drawn_in_pose_of(WORLD, NAMES[7:8], [NAMES[turned[7]]])
    assert torch.equal(image, drawn.image[7:8])


def test_frames_of_other_sizes() -> None:
    tall = SynthSettings(train_ids=1, test_ids=1, images_per_id=4, cameras=2, seed=3, size=(64, 48))
    name = plan_shots(tall)[0].name
    asked = shipped_library()
    joints = torch.tensor(asked.xy[asked.index[FRONT]])
    drawn = render_in_poses(tall, [name], [FRONT])
    scaled = (joints + 0.5) * torch.tensor([48 / 64, 64 / 128]) - 0.5
    assert (drawn.true_keypoints[0] - scaled).norm(dim=-1).nanmean() < 0.5
    wide = drawn_in_poses(tall, [name], ["stand/view000@64x48"])
    assert wide.shape == (1, 1, 3, 64, 48)
    assert not torch.equal(wide[0], drawn.image)


def test_nothing_to_draw() -> None:
    assert drawn_in_poses(WORLD, [], POSES).shape == (0, 4, 3, 128, 64)
    assert drawn_in_poses(WORLD, NAMES[:2], []).shape == (2, 0, 3, 128, 64)
    assert drawn_in_pose_of(WORLD, [], []).shape == (0, 3, 128, 64)
    assert masked_photos(WORLD, []).shape == (0, 3, 128, 64)


def test_unknown_images_and_poses() -> None:
    with pytest.raises(InputError, match=r"1 of 2 images are not in the data set.*such as 0999_c1s1_000051_00.jpg"):
        drawn_in_poses(WORLD, [NAMES[0], "0999_c1s1_000051_00.jpg"], POSES)
    for name in ("stand/view031@128x64", "stand/view030", "gait/view030/phase8@128x64"):
        with pytest.raises(InputError, match=f"1 poses that the gait library does not have, such as {name}: expected"):
            drawn_in_poses(WORLD, NAMES[:1], [FRONT, name])
    with pytest.raises(InputError, match="a frame of 0x64 cannot be"):
        drawn_in_poses(WORLD, NAMES[:1], [FRONT, "stand/view030@0x64"])
    with pytest.raises(InputError, match="2 images, but 1 whose poses"):
        drawn_in_pose_of(WORLD, NAMES[:2], NAMES[:1])
    with pytest.raises(InputError, match="1 of 1 images"):
        drawn_in_pose_of(WORLD, NAMES[:1], ["x.jpg"])
    with pytest.raises(InputError, match="1 of 1 images"):
        masked_photos(WORLD, ["x.jpg"])


# --- photos without background, and the settings on disk ---------------------------------------------------------

SMALL = SynthSettings(train_ids=2, test_ids=2, images_per_id=6, cameras=3, seed=5, masks=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("again") / "world", SMALL)


def test_masked_photos(folder: Path) -> None:
    shots = plan_shots(SMALL)[::-1]
    names = [shot.name for shot in shots]
    found = masked_photos(folder, names)
    assert found.shape == (len(shots), 3, 128, 64)
    assert found.dtype == np.uint8
    for shot, image in zip(shots, found, strict=True):
        mask = np.asarray(Image.open(folder / "masks" / shot.split / f"{Path(shot.name).stem}.png")) > 0
        photo = np.asarray(Image.open(folder / shot.split / shot.name)).transpose(2, 0, 1)
        assert 0.05 < mask.mean() < 0.7
        assert (image[:, mask] == photo[:, mask]).all()
        assert (image[:, ~mask] == np.array(NEUTRAL)[:, None]).all()
    assert (masked_photos(SMALL, names[:4]) == found[:4]).all(), "drawn from the settings, or read: the same"


def test_photos_that_are_not_as_they_were_drawn(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", SynthSettings(1, 1, 4, 2))
    first, second = plan_shots(read_settings(root))[:2]
    (root / first.split / first.name).unlink()
    Image.new("RGB", (32, 64)).save(root / second.split / second.name)
    with pytest.raises(InputError, match=r"cannot read this image \(missing\)"):
        masked_photos(root, [first.name])
    with pytest.raises(InputError, match="is 64x32, was drawn as 128x64: draw the data set again"):
        masked_photos(root, [second.name])


def test_the_settings_come_back(folder: Path) -> None:
    assert read_settings(folder) == SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"renderer": 0}, "drawn by another version of the renderer"),
        ({"surplus": 1}, "expected exactly the keys renderer, train_ids"),
        ({"seed": 1.5}, "numbers must be whole"),
        ({"seed": True}, "numbers must be whole"),
        ({"size": [128]}, "size two of them"),
        ({"size": [0, 64]}, "size two of them"),
        ({"size": 128}, "size two of them"),
        ({"masks": 1}, "masks true or false"),
        ({"cameras": 0}, "cameras is 0, must be at least 1"),
    ],
)
def test_damaged_settings(folder: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    facts = json.loads((folder / FACTS).read_text())
    (tmp_path / FACTS).write_text(json.dumps(facts | change))
    with pytest.raises(InputError, match=message):
        read_settings(tmp_path)


def test_no_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no data set that was drawn: it has no synth\.json"):
        masked_photos(tmp_path, [])
    for text in ("{", "[]", "\udcff"):
        (tmp_path / FACTS).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match="draw the data set again"):
            read_settings(tmp_path)
