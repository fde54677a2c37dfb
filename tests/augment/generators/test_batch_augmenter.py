"""Generated images after collation: which, where, in what range, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import some_pose, standing
from movers import Marker, Noise

from augment.generators.batch_augmenter import BatchAugmenter
from augment.pose import Keypoints
from augment.pose.geometry import scale_joints
from reid_eval.runtime import InputError

RNG = np.random.default_rng(5)
POSES = Keypoints(tuple(f"{i}.jpg" for i in range(6)), np.stack([some_pose(RNG) for _ in range(6)]))
JOINTS = np.stack([standing()] * 16)


def images(count: int = 16, size: tuple[int, int] = (128, 64)) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9


def test_only_the_chosen_change() -> None:
    batch = images()
    mixed, generated = BatchAugmenter(Marker(), POSES, rate=0.5, seed=3)(batch, JOINTS)
    assert generated.dtype == torch.bool
    assert 3 <= int(generated.sum()) <= 13
    assert torch.equal(mixed[~generated], batch[~generated])
    changed = (mixed != batch).flatten(1).any(1)
    assert torch.equal(changed, generated)
    assert torch.equal(batch, images())  # the caller's batch is its own


def test_the_draw_is_a_pure_function_of_seed_step_and_place() -> None:
    batch = images()
    first = BatchAugmenter(Noise(), POSES, rate=0.5, seed=3)
    runs = [first(batch, JOINTS) for _ in range(3)]
    assert first.step == 3
    assert not torch.equal(runs[0][1], runs[1][1])
    resumed = BatchAugmenter(Noise(), POSES, rate=0.5, seed=3)
    resumed.step = 2
    again = resumed(batch, JOINTS)
    assert torch.equal(again[0], runs[2][0])
    assert torch.equal(again[1], runs[2][1])
    assert torch.equal(resumed(batch, JOINTS, step=1)[0], runs[1][0])
    assert resumed.step == 3  # a step that is given is not counted
    other = BatchAugmenter(Noise(), POSES, rate=0.5, seed=4)
    assert not torch.equal(other(batch, JOINTS)[1], runs[0][1])


def test_the_rate_is_kept_over_many_batches() -> None:
    augmenter = BatchAugmenter(Marker((16, 8)), POSES, rate=0.3)
    small = images(16, (16, 8))
    joints = scale_joints(JOINTS, (128, 64), (16, 8))
    share = np.mean([augmenter(small, joints)[1].float().mean().item() for _ in range(60)])
    assert abs(share - 0.3) < 0.05


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_all_or_none(rate: float) -> None:
    batch = images()
    mixed, generated = BatchAugmenter(Marker(), POSES, rate=rate)(batch, JOINTS)
    assert generated.tolist() == [rate == 1.0] * 16
    assert torch.equal(mixed, batch) == (rate == 0.0)


def test_images_without_usable_joints_stay() -> None:
    joints = JOINTS.copy()
    joints[::2, 11] = np.nan
    _, generated = BatchAugmenter(Marker(), POSES, rate=1.0)(images(), torch.from_numpy(joints))
    assert generated.tolist() == [False, True] * 8


def test_normalised_images_come_back_normalised() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    channel = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    signed = images()
    normal = ((signed + 1) / 2 - channel[0]) / channel[1]
    plain, _ = BatchAugmenter(Marker(), POSES, rate=0.7)(signed, JOINTS)
    mixed, generated = BatchAugmenter(Marker(), POSES, rate=0.7, mean=mean, std=std)(normal, JOINTS)
    assert generated.any()
    torch.testing.assert_close((mixed * channel[1] + channel[0]) * 2 - 1, plain, atol=1e-5, rtol=0)
    assert BatchAugmenter(Marker(), POSES, rate=0.7)(signed.half(), JOINTS)[0].dtype == torch.float16
    with pytest.raises(InputError, match=r"images reach from .*give the mean and std"):
        BatchAugmenter(Marker(), POSES, rate=0.7)(normal, JOINTS)


def test_poses_are_brought_to_the_batch() -> None:
    """The pool is measured at 64x32, one pose in a frame of its own; the batch is 256x128, the generator 128x64."""
    base = standing()
    pool = Keypoints(
        ("a.jpg", "b@32x16"), np.stack([scale_joints(base, (128, 64), size) for size in ((64, 32), (32, 16))])
    )
    marker = Marker()
    joints = scale_joints(JOINTS, (128, 64), (256, 128))
    BatchAugmenter(marker, pool, rate=1.0, pose_size=(64, 32))(images(16, (256, 128)), joints)
    given, source, target = marker.calls[0]
    assert given.shape == (16, 3, 128, 64)
    for poses in (source, target):
        np.testing.assert_allclose(poses, JOINTS, atol=1e-3)


def test_bad_arguments_are_refused() -> None:
    lame = Keypoints(POSES.names, np.where(np.arange(18)[:, None] == 5, np.nan, POSES.xy).astype(np.float32))
    for arguments, words in (
        ({"rate": 1.5}, "rate 1.5: expected 0 to 1"),
        ({"rate": 1, "keypoints": lame}, "none of the 6 poses to take has both shoulders"),
        ({"rate": 1, "std": [1, 0, 1]}, r"std \[1, 0, 1\]: expected positive"),
        ({"rate": 1, "mean": [0.5, 0.5]}, r"mean \[0.5, 0.5\]: expected one finite number, or one a channel"),
    ):
        with pytest.raises(InputError, match=words):
            BatchAugmenter(Marker(), **{"keypoints": POSES, **arguments})  # type: ignore[arg-type]
    augmenter = BatchAugmenter(Marker(), POSES, rate=1)
    with pytest.raises(InputError, match=r"images torch.uint8 .*: expected float \[B, 3, H, W\]"):
        augmenter(torch.zeros(16, 3, 128, 64, dtype=torch.uint8), JOINTS)
    with pytest.raises(InputError, match=r"joints of the batch: shape \[3, 18, 2\] for 16 images"):
        augmenter(images(), JOINTS[:3])
