"""The gate's numbers by hand, and its verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import standing
from toy import Says

from augment.gate.judge import Gate, GateThresholds, noise_level, statistics
from reid_eval.runtime import InputError

LIMITS = GateThresholds(pose=-0.1, colour=12.0, contrast=8.0, saturated=0.5, noise=15.0)


def test_noise_level_measures_gaussian_noise_and_ignores_ramps() -> None:
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(128.0), 2 * np.arange(64.0))
    assert noise_level(ramp) == pytest.approx(0, abs=1e-9)
    assert noise_level(ramp + rng.normal(0, 7, ramp.shape)) == pytest.approx(7, rel=0.05)


def test_statistics_by_hand() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = 100
    image[0, 0] = 255
    contrast, saturated, _ = statistics(image)
    assert saturated == 9 / 16  # eight black ones and a white one
    assert contrast == pytest.approx(np.std([255] + [100] * 7 + [0] * 8))


def test_each_test_has_its_reason() -> None:
    photo = np.random.default_rng(0).integers(60, 200, (16, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    red = photo.copy()
    red[..., 1:] //= 4
    grey = np.full_like(photo, 128)
    images = np.stack([photo, red, grey])
    poses, photos = np.stack([standing()] * 3), np.stack([photo] * 3)
    verdicts = Gate(Says(standing()), LIMITS).judge(images, poses, photos, poses)
    assert [v.reasons for v in verdicts[:2]] == [(), ("identity",)]
    assert "statistics" in verdicts[2].reasons
    moved = Gate(Says(standing() + 10), LIMITS).judge(images[:1], poses[:1], photos[:1], poses[:1])
    assert moved[0].reasons == ("pose",)
    legless = poses[:1].copy()
    legless[:] = np.nan
    unknown = Gate(Says(standing()), LIMITS).judge(images[:1], legless, photos[:1], legless)[0]
    assert unknown.numbers()["colour_drift"] is None
    assert "identity" not in Gate(Says(standing()), LIMITS).judge(images[:1], legless, photos[:1], legless)[0].reasons


def test_thresholds_hold_for_one_image_size() -> None:
    images, poses = np.full((1, 64, 32, 3), 90, np.uint8), standing()[None] / 2
    with pytest.raises(InputError, match="hold for images of 128x64, not of 64x32: set them for that size"):
        Gate(Says(standing()), LIMITS).judge(images, poses, images, poses)
