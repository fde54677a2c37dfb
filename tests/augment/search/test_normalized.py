"""Pose-normalised features: with toys whose right answer is known by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import standing
from torch import Tensor

from augment.pose.keypoints import Keypoints
from augment.search.cache import FeatureCache
from augment.search.extractors import onnx_extractor, torch_extractor
from augment.search.fusion import Parts, calibrate, fuse, unit
from augment.search.normalized import PoseNormalized
from reid_eval.backbones.net import IMAGENET_MEAN, IMAGENET_STD
from reid_eval.runtime import InputError


class Shifter:
    """Adds to the photo the mean x of the pose asked for: each view of a person is a brightness of its own."""

    name, size, pose_channels, sigma, device = "shifter", (32, 16), 18, None, torch.device("cpu")

    def __init__(self) -> None:
        self.calls = 0

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[Any] = ()
    ) -> Tensor:
        self.calls += 1
        return (image + target_pose[:, :, 0].nanmean(1)[:, None, None, None] / 64).clamp(-1, 1)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}


def means(images: Tensor) -> Tensor:
    """Mean colour and its complement: features `[B, 6]`."""
    colour = images.float().mean((2, 3)) / 255
    return torch.cat([colour, 1 - colour], 1)


POSES = Keypoints(("a@128x64", "b@128x64"), np.stack([standing(), standing() + 2]).astype(np.float32))


def photos(count: int, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    draw = np.random.default_rng(seed)
    colours = draw.integers(0, 200, (count, 3, 1, 1), np.uint8)
    joints = np.stack([standing() / 4] * count).astype(np.float32)
    return torch.from_numpy(np.broadcast_to(colours, (count, 3, 32, 16)).copy()), joints


def test_a_feature_is_the_photo_and_the_mean_of_its_views() -> None:
    images, joints = photos(3)
    joints[1, 2] = np.nan  # no right shoulder: nothing can be generated
    search = PoseNormalized(means, Shifter(), POSES, weight=0.5, batch_size=2)
    got = search(images, joints)
    for row in range(3):
        photo = unit(means(images[row : row + 1]).numpy())[0]
        expected = photo
        if row != 1:
            made = search.views(images[row : row + 1], joints[row : row + 1])[0]
            assert made.shape == (2, 3, 32, 16)
            assert made.dtype == torch.uint8
            expected = photo + 0.5 * unit(means(made).numpy()).mean(0)
        np.testing.assert_allclose(got[row], expected / np.linalg.norm(expected), atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_without_poses_it_is_the_photo_alone() -> None:
    images, joints = photos(4)
    search = PoseNormalized(means, Shifter(), Keypoints((), np.zeros((0, 18, 2), np.float32)))
    np.testing.assert_allclose(search(images, joints), unit(means(images).numpy()), atol=1e-3)


def test_weight_nothing_is_the_photo_alone() -> None:
    images, joints = photos(4)
    parts = PoseNormalized(means, Shifter(), POSES).parts(images, joints)
    np.testing.assert_allclose(fuse(parts, 0.0), parts.photos, atol=1e-6)


def test_photos_of_any_size_and_order_give_the_same_rows() -> None:
    images, joints = photos(5)
    large = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    mixed = [(large if i % 2 else images)[i].permute(1, 2, 0).numpy() for i in range(5)]
    scaled = np.stack([(xy + 0.5) * 2 - 0.5 if i % 2 else xy for i, xy in enumerate(joints)])
    got = PoseNormalized(means, Shifter(), POSES, batch_size=2)(mixed, scaled)
    np.testing.assert_allclose(got, PoseNormalized(means, Shifter(), POSES)(images, joints), atol=2e-3)


def test_a_cache_spares_the_work_and_changes_nothing(tmp_path: Path) -> None:
    images, joints = photos(6)
    plain = PoseNormalized(means, Shifter(), POSES)(images, joints)
    first = PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(tmp_path / "c.sqlite"), identity="n")
    np.testing.assert_array_equal(first(images[:4], joints[:4]), plain[:4])
    again = Shifter()
    second = PoseNormalized(means, again, POSES, cache=FeatureCache(tmp_path / "c.sqlite"), identity="n", batch_size=6)
    np.testing.assert_array_equal(second(images, joints), plain)
    assert again.calls == 1  # the two new ones, together
    other = Shifter()
    PoseNormalized(means, other, POSES, cache=FeatureCache(tmp_path / "c.sqlite"), identity="other")(images, joints)
    assert other.calls == 2  # of another network nothing is taken: twelve views, eight at once
    moved = Shifter()
    joints[0] += 1
    PoseNormalized(means, moved, POSES, cache=FeatureCache(tmp_path / "c.sqlite"), identity="n")(images, joints)
    assert moved.calls == 1


def test_a_cache_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("not a database, but long enough to be looked at as one " * 20)
    with pytest.raises(InputError, match=r"cannot use the feature cache .*delete it"):
        FeatureCache(tmp_path / "c")
    with pytest.raises(InputError, match="identity"):
        PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(tmp_path / "d"))


@pytest.mark.parametrize("damage", ["x''", "x'00'", "'words'", "x'7e00'", "NULL"])
def test_rows_that_somebody_damaged_are_computed_again(tmp_path: Path, damage: str) -> None:
    images, joints = photos(3)
    plain = PoseNormalized(means, Shifter(), POSES)(images, joints)
    path = tmp_path / "c.sqlite"
    PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(path), identity="n")(images, joints)
    with closing(sqlite3.connect(path)) as base, base:
        if damage == "NULL":
            base.execute("DELETE FROM features")
        else:
            base.execute(f"UPDATE features SET value = {damage}")
    again = PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(path), identity="n")
    np.testing.assert_array_equal(again(images, joints), plain)


def test_a_row_of_another_width_is_told(tmp_path: Path) -> None:
    images, joints = photos(3)
    path = tmp_path / "c.sqlite"
    PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(path), identity="n")(images, joints)
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE features SET value = x'003c003c003c' WHERE key = (SELECT min(key) FROM features)")
    with pytest.raises(InputError, match="features of another width"):
        PoseNormalized(means, Shifter(), POSES, cache=FeatureCache(path), identity="n")(images, joints)


def mixed_gallery(count: int = 400, width: int = 64) -> tuple[Parts, np.ndarray]:
    """Features as networks give them: photos have a common part, views a larger one; half have no joints."""
    draw = np.random.default_rng(1)
    common, posed, person = draw.normal(size=width), draw.normal(size=width), draw.normal(size=(count, width))
    photo = unit((common + person + draw.normal(size=(count, width))).astype(np.float32))
    views = unit((2 * posed + person + 0.3 * draw.normal(size=(count, width))).astype(np.float32))
    known = np.arange(count) % 2 == 0
    return Parts(photo, views[:, None] * known[:, None, None], known), known


def sorted_by_kind(features: np.ndarray, known: np.ndarray) -> float:
    """Chance that a stranger with views lies nearer to one with views than a stranger without does; 0.5 is fair."""
    table = features @ features.T
    query = np.flatnonzero(known)
    wins = []
    for row in query:
        others = np.arange(len(known)) != row
        same, different = table[row, others & known], table[row, others & ~known]
        wins.append((same[:, None] > different[None]).mean())
    return float(np.mean(wins))


def test_a_mixed_gallery_is_not_sorted_by_who_has_joints() -> None:
    parts, known = mixed_gallery()
    assert sorted_by_kind(fuse(parts, 2.0), known) > 0.95  # what the calibration is for
    people = np.arange(len(known)) < 200
    fair = fuse(parts.take(~people), 2.0, calibrate(parts.take(people)))
    assert 0.42 < sorted_by_kind(fair, known[~people]) < 0.58


def test_trust_counts_views_less() -> None:
    images, joints = photos(3)
    parts = PoseNormalized(means, Shifter(), POSES).parts(images, joints)
    ones = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(fuse(parts, 1.0, trust=ones), fuse(parts, 1.0), atol=1e-6)
    first = np.array([[1, 0]] * 3, np.float32)
    np.testing.assert_allclose(fuse(parts, 1.0, trust=first), fuse(parts.choose([0]), 1.0), atol=1e-6)
    np.testing.assert_allclose(fuse(parts, 1.0, trust=0 * ones), parts.photos, atol=1e-6)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none(weight: float) -> None:
    images, joints = photos(2)
    parts = PoseNormalized(means, Shifter(), POSES).parts(images, joints)
    with pytest.raises(InputError, match="weight of the views"):
        fuse(parts, weight)


def test_bad_inputs() -> None:
    images, joints = photos(2)
    search = PoseNormalized(means, Shifter(), POSES)
    with pytest.raises(InputError, match=r"joints must be \[2, 18, 2\]"):
        search(images, joints[:1])
    with pytest.raises(InputError, match="uint8 RGB"):
        search(images.float(), joints)
    with pytest.raises(InputError, match="no image"):
        search(images[:0], joints[:0])
    with pytest.raises(InputError, match="shoulders and both hips"):
        PoseNormalized(means, Shifter(), Keypoints(("a",), np.full((1, 18, 2), np.nan, np.float32)))
    with pytest.raises(InputError, match=r"finite numbers \[B, D\]"):
        PoseNormalized(lambda batch: means(batch) / 0, Shifter(), POSES)(images, joints)
    with pytest.raises(InputError, match="other views or another network"):
        fuse(search.parts(images, joints).choose([0]), 1.0, calibrate(search.parts(images, joints)))


def test_extractors_normalise_as_the_network_was_trained() -> None:
    images, _ = photos(3)
    seen: list[Tensor] = []

    def network(batch: Tensor) -> Tensor:
        seen.append(batch)
        return batch.mean((2, 3))

    torch_extractor(network, (64, 32))(images)
    assert seen[0].shape == (3, 3, 64, 32)
    expected = (images[:, :, 0, 0] / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(seen[0][:, :, 5, 5], expected)

    class Session:
        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": "pixels"})]

        def run(self, names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [feed["pixels"].mean((2, 3))]

    torch.testing.assert_close(onnx_extractor(Session(), (64, 32))(images), torch_extractor(network, (64, 32))(images))
