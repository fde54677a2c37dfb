"""How well poses agree with images: by hand, against plain loops, and what it tells of drawn people."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from drawn import standing
from toy import Says

from augment.estimators.agreement import WIDTH, agreement, pose_errors, reference_poses, similarity
from augment.estimators.posenet.estimator import SynthEstimator, look
from augment.estimators.posenet.maps import mass_near
from augment.pose.skeleton import MIRROR
from augment.synth.pedestrians import PedestrianRenderer

HEIGHT = np.array([128.0])


def test_similarity_by_hand() -> None:
    found = standing()[None]
    moved, lost = found.copy(), found.copy()
    moved[0, :9, 0] += 128 * WIDTH  # nine of eighteen joints one width away
    lost[0, :6] = np.nan
    poses = np.stack([found[0], moved[0], found[0] + 100])[None]
    np.testing.assert_allclose(similarity(found, poses, HEIGHT), [[1, (1 + math.exp(-0.5)) / 2, 0]], atol=1e-6)
    assert similarity(lost, found[:, None], HEIGHT)[0, 0] == pytest.approx(12 / 18)  # not found counts as wrong
    assert similarity(found, lost[:, None], HEIGHT)[0, 0] == 1  # not asked for does not count
    assert similarity(found, np.full((1, 1, 18, 2), np.nan), HEIGHT)[0, 0] == 0
    assert agreement(Says(found[0]), [np.zeros((128, 64, 3), np.uint8)], poses)[0, 0] == 1


def test_mass_near_by_hand() -> None:
    maps = torch.full((1, 18, 64, 32), -100.0)
    maps[:, :, 10, 20] = 100.0  # the cell whose centre is (40.5, 20.5)
    at = torch.tensor([[40.5, 20.5], [40.5, 24.5], [torch.nan, torch.nan]])[None, :, None].expand(1, 3, 18, 2)
    near = mass_near(maps, at, torch.tensor([4.0]))
    torch.testing.assert_close(near[0, :, 0], torch.tensor([1.0, math.exp(-0.5), 0.0]))


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Twelve people nobody trained on, and their joints, drawn as the estimator that ships was trained."""
    return twelve(1)


def twelve(world: int) -> tuple[np.ndarray, np.ndarray]:
    number = torch.arange(12)
    people = PedestrianRenderer(777, world=world).render(number + 1, number % 6 + 1, number * 0, number % 4)
    return people.image.permute(0, 2, 3, 1).numpy(), people.keypoints.numpy()


def test_shipped_estimator_agrees_as_plain_loops_say(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, joints = drawn[0][:2], drawn[1][:2]
    estimator, poses = SynthEstimator(), np.stack([joints, joints[::-1]], axis=1)
    scores = estimator.agreement(list(images), poses)
    maps, _ = look(estimator.weights.network, torch.from_numpy(images).permute(0, 3, 1, 2))
    for n in range(2):
        for p in range(2):
            values = []
            for j, (x, y) in enumerate(poses[n, p]):
                if math.isnan(x):
                    continue
                share = maps[n, j].flatten().softmax(0).view(64, 32)
                rows, columns = torch.arange(64)[:, None] * 2 + 0.5, torch.arange(32) * 2 + 0.5
                kernel = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 4.0**2))
                values.append(float((share * kernel).sum()))
            assert scores[n, p] == pytest.approx(np.mean(values), abs=1e-5)


def test_agreement_does_not_depend_on_the_images_size(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, joints = drawn[0][:3], drawn[1][:3, None]
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    estimator = SynthEstimator()
    scores = estimator.agreement(list(images), joints)
    np.testing.assert_allclose(estimator.agreement(list(large), (joints + 0.5) * 2 - 0.5), scores, atol=0.05)
    assert scores.min() > 0.5


def test_pose_errors_by_hand() -> None:
    image = np.zeros((1, 128, 64, 3), np.uint8)
    here, away = standing(), standing() + 100
    references = np.stack([away] * 8 + [here] * 2)  # two of ten agree: the quantile of 0.9 lies between them
    errors = pose_errors(Says(here), image, np.stack([here, away])[None], references)
    np.testing.assert_allclose(errors, [[0, 1]], atol=1e-6)
    np.testing.assert_allclose(pose_errors(Says(here), image, here[None, None], np.stack([away] * 10)), [[-1]])


@pytest.mark.parametrize(("world", "most"), [(1, -0.2), (2, -0.15)])
def test_front_and_back_are_different_poses(world: int, most: float) -> None:
    images, joints = twelve(world)
    poses = np.stack([joints, np.roll(joints, 1, axis=0), joints[:, list(MIRROR)]], axis=1)
    own, other, turned = pose_errors(SynthEstimator(), images, poses, reference_poses((128, 64))).T
    assert own.max() < min(other.min(), turned.min())
    assert own.max() < most


def test_references_fit_the_images() -> None:
    small, large = reference_poses((128, 64)), reference_poses((256, 128))
    assert small.shape == (108, 18, 2)
    np.testing.assert_allclose(large, (small + 0.5) * 2 - 0.5, atol=1e-4)
