from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from augment.pose.heatmaps import pose_maps
from reid_eval.runtime import InputError


def oracle(joints_yx: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Pixel by pixel, from (row, column) joints with -1 for missing, as the original's files hold them."""
    maps = np.zeros((len(joints_yx), *size))
    for j, (row, column) in enumerate(joints_yx):
        if row == -1 or column == -1:
            continue
        for r in range(size[0]):
            for c in range(size[1]):
                maps[j, r, c] = math.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * sigma**2))
    return maps


@pytest.mark.parametrize("sigma", [6.0, 2.5])
def test_equals_brute_force(sigma: float) -> None:
    size = (24, 12)
    rng = np.random.default_rng(0)
    yx = np.stack([rng.uniform(0, 24, (2, 18)), rng.uniform(0, 12, (2, 18))], axis=-1)
    yx[0, 3], yx[1, 17] = -1, -1
    xy = torch.tensor(yx[..., ::-1].copy())
    xy[torch.tensor((yx == -1).any(-1))] = float("nan")
    got = pose_maps(xy, size, sigma)
    assert got.shape == (2, 18, *size)
    assert got.dtype == torch.float64
    for n in range(2):
        np.testing.assert_allclose(got[n].numpy(), oracle(yx[n], size, sigma), atol=1e-12)


def test_missing_in_one_coordinate_is_a_zero_channel() -> None:
    joints = torch.full((1, 18, 2), 5.0)
    joints[0, 0, 0], joints[0, 1, 1] = float("nan"), float("nan")
    maps = pose_maps(joints, (8, 8))
    assert not maps[0, :2].any()
    assert maps[0, 2, 5, 5] == 1.0
    assert torch.isfinite(maps).all()


def test_peak_is_at_x_column_y_row() -> None:
    joints = torch.tensor([[[3.0, 20.0]]])
    maps = pose_maps(joints, (32, 16))
    assert maps.dtype == torch.float32
    assert divmod(int(maps[0, 0].argmax()), 16) == (20, 3)


def test_no_images() -> None:
    assert pose_maps(torch.zeros(0, 18, 2), (8, 8)).shape == (0, 18, 8, 8)


@pytest.mark.parametrize(
    ("keypoints", "size", "sigma", "message"),
    [
        (torch.zeros(18, 2), (8, 8), 6.0, r"\[N, joints, 2\].*\(18, 2\)"),
        (torch.zeros(1, 18, 2, dtype=torch.int64), (8, 8), 6.0, "int64"),
        (torch.zeros(1, 18, 2), (0, 8), 6.0, "positive"),
        (torch.zeros(1, 18, 2), (8, 8), 0.0, "sigma=0.0"),
    ],
)
def test_bad_input(keypoints: torch.Tensor, size: tuple[int, int], sigma: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pose_maps(keypoints, size, sigma)
