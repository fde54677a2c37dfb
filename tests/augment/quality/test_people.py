"""Metrics of joints, clothes and pose space against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import SIZE, some_pose, standing

from augment.pose import JOINTS
from augment.pose.geometry import normalise
from augment.pose.library import shipped_library
from augment.quality.coverage import pose_diversity, pose_space, pose_space_picture
from augment.quality.joints import head_boxes, pckh
from augment.quality.likeness import colour_drift, cosine, part_colours


def pckh_oracle(found: np.ndarray, asked: np.ndarray) -> tuple[int, int]:
    """The authors' loops, joint by joint, with -1 for missing."""
    right = valid = 0
    for p, t in zip(np.nan_to_num(found, nan=-1), np.nan_to_num(asked, nan=-1), strict=True):
        head = [t[j] for j in (0, 1, 14, 15, 16, 17) if t[j][0] != -1 and t[j][1] != -1]
        if len(head) < 2:
            continue
        width = max(h[0] for h in head) - min(h[0] for h in head)
        height = max(h[1] for h in head) - min(h[1] for h in head)
        for j in range(18):
            valid += t[j][1] != -1
            if -1 not in (*p[j], *t[j]):
                right += abs(p[j][0] - t[j][0]) < width * 0.5 and abs(p[j][1] - t[j][1]) < height * 0.5
    return right, valid


def test_pckh_by_hand() -> None:
    asked = standing()[None]
    np.testing.assert_allclose(head_boxes(asked), [[8, 14]])  # ears 28..36, eyes 12 to neck 26
    found = asked.copy()
    assert pckh(found, asked).share == 1.0
    found[0, 2] += [3.9, 6.9]  # just inside half a box
    found[0, 3] += [4.0, 0.0]  # on its edge, which is wrong
    found[0, 4] += [0.0, 7.5]
    found[0, 5] = np.nan
    result = pckh(found, asked)
    assert (result.right, result.asked, result.images) == (15, 18, 1)
    asked[0, [0, 14, 15, 16, 17]] = np.nan  # the neck alone is no head
    assert np.isnan(pckh(found, asked).share)


def test_pckh_is_the_authors_loops() -> None:
    rng = np.random.default_rng(3)
    asked = np.stack([some_pose(rng) for _ in range(40)])
    asked[:5, [0, 14, 15, 16]] = np.nan
    found = asked + rng.normal(0, 4, asked.shape)
    found[rng.random((40, 18)) < 0.2] = np.nan
    result = pckh(found, asked)
    assert (result.right, result.asked) == pckh_oracle(found, asked)


def test_part_colours_and_their_drift() -> None:
    white = np.full((*SIZE, 3), 255, np.uint8)
    black_shirt = white.copy()
    black_shirt[20:72] = 0
    a, b = part_colours(white, standing()), part_colours(black_shirt, standing())
    np.testing.assert_allclose(a, np.tile([50, 0, 0], (4, 1)), atol=0.1)  # L* of white is 100, halved
    np.testing.assert_allclose(b[0], [0, 0, 0], atol=5)
    np.testing.assert_allclose(b[3], [50, 0, 0], atol=0.1)
    assert colour_drift(a, a) == 0
    by_hand = np.linalg.norm(a - b, axis=1) @ [3, 1, 2, 1] / 7
    assert colour_drift(a, b) == pytest.approx(by_hand)
    assert by_hand > (3 * 50 + 50) / 7 - 0.1
    legless = standing()
    legless[[9, 10, 12, 13]] = np.nan
    assert np.isnan(part_colours(white, legless)[2:]).all()
    assert np.isnan(colour_drift(a, np.full((4, 3), np.nan)))


def test_cosine() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(cosine(a, np.array([[0.0, 2.0], [6.0, 8.0]])), [0.0, 1.0])


def test_diversity_by_hand() -> None:
    a, b = standing(), standing()
    torso = 66 - 27
    b[JOINTS.index("Rwri")] += [torso, 0]  # one joint of eighteen moved by one torso length
    xy, pids = np.stack([a, b, a, a]), np.array([1, 1, 2, 2])
    assert pose_diversity(xy, pids) == pytest.approx(np.sqrt(1 / 18) / 2, abs=1e-5)
    assert np.isnan(pose_diversity(xy[:1], pids[:1]))


def test_coverage_counts_cells() -> None:
    space, library = pose_space(), shipped_library()
    np.testing.assert_array_equal(space.cells(library.xy), np.arange(108))
    moved = library.xy * 1.7 + 20  # place and size do not matter
    np.testing.assert_array_equal(space.cells(moved), np.arange(108))
    xy, pids = library.xy[[0, 0, 5, 9]], np.array([4, 4, 4, 8])
    assert space.coverage(xy, pids) == pytest.approx((2 + 1) / 2 / 108)
    occupancy = space.occupancy(xy, pids)
    assert occupancy[0] == occupancy[5] == occupancy[9] == 0.5
    assert np.isfinite(normalise(library.xy)[:, 2]).all()
    picture = pose_space_picture(space, np.zeros(108), occupancy)
    assert picture.shape[1] > 24 * 32
    changed = np.flatnonzero((picture != pose_space_picture(space, np.zeros(108), np.zeros(108))).any((0, 2)))
    assert len(changed) > 0
    assert changed.min() > picture.shape[1] // 2  # what is after stands on the right
