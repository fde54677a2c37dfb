"""Images beside photos: what is made, that it is made once, and that several may make it at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import standing
from test_normalized import POSES, Shifter, means
from torch import Tensor

from augment.folder.render import CHUNK
from augment.generators.open import open_generator, open_to_look, use_engine
from augment.generators.patn import speed
from augment.generators.patn.engines import FASTEST, PLAIN, How
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.pose.keypoints import load_annotations
from augment.search.fusion import fuse, unit
from augment.search.makers import GeneratedViews, JitteredCopies, Made, MirrorImage
from augment.search.searched_photos import Photos, calibration_photos, photos_of
from augment.search.store import BLOCK, ViewStore
from reid_eval.datasets import ReidData, load_images
from reid_eval.runtime import InputError


@pytest.fixture
def photos(tiny_data: ReidData) -> Photos:
    names = [*tiny_data.train["path"], *tiny_data.query["path"]]
    return photos_of(tiny_data, load_annotations(tiny_data.root), names)


def test_every_maker_is_the_same_whatever_is_asked_for_at_once(photos: Photos) -> None:
    for maker in (MirrorImage((64, 32)), JitteredCopies((64, 32), 3), GeneratedViews(Shifter(), POSES)):
        images, known = maker.make(photos)
        assert images.shape == (len(photos), maker.count, 3, *maker.size)
        one, there = maker.make(photos.part(3, 4))
        np.testing.assert_array_equal(one[0], images[3])
        assert there[0] == known[3]


def test_the_mirror_and_the_copies_are_of_the_photo(photos: Photos) -> None:
    own = load_images(photos.root, photos.names, (64, 32))
    mirrored, known = MirrorImage((64, 32)).make(photos)
    assert known.all()
    np.testing.assert_array_equal(mirrored[:, 0], own[..., ::-1])
    copies, _ = JitteredCopies((64, 32), 4).make(photos)
    assert len({copy.tobytes() for copy in copies[0]}) == 4
    away = np.abs(copies.astype(int).mean((1, 3, 4)) - own.astype(int).mean((2, 3))).max()
    assert away < 30  # its colours, a little lighter or darker
    others, _ = JitteredCopies((64, 32), 4, seed=1).make(photos)
    assert (others != copies).any()


def test_views_are_of_photos_with_usable_joints(photos: Photos) -> None:
    images, known = GeneratedViews(Shifter(), POSES).make(photos)
    assert known.sum() == len(photos) - 2  # two of identity 11 lack a hip
    assert not images[~known].any()
    assert images[known].any((1, 2, 3, 4)).all()


def test_the_own_pose_is_the_photos(photos: Photos) -> None:
    class Told(Shifter):
        def transfer(self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Any = ()) -> Tensor:
            torch.testing.assert_close(target_pose, condition_pose, equal_nan=True)
            return image

    maker = GeneratedViews(Told(), None)
    images, known = maker.make(photos)
    own = load_images(photos.root, photos.names, maker.size)
    assert np.abs(images[known, 0].astype(int) - own[known]).mean() < 2  # resized by other hands


def test_facts_tell_all_that_the_images_depend_on() -> None:
    short, whole = (open_generator("patn-synth", "cpu", blocks) for blocks in (3, None))
    makers = [GeneratedViews(whole, POSES), GeneratedViews(whole, POSES, "bf16"), GeneratedViews(whole, None)]
    makers += [GeneratedViews(short, POSES), GeneratedViews(Shifter(), POSES)]
    makers.append(GeneratedViews(whole, POSES.take([0])))
    told = [str(sorted(maker.facts().items())) for maker in makers]
    use_engine(whole, How("torch", "slim", "bf16"))
    told += [str(sorted(GeneratedViews(whole, POSES, "bf16").facts().items()))]
    assert len(set(told)) == len(told)


def test_on_a_cpu_the_generator_always_sees_as_many(photos: Photos) -> None:
    seen = []

    class Counted(Shifter):
        def transfer(self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Any = ()) -> Tensor:
            seen.append(len(image))
            return super().transfer(image, condition_pose, target_pose, generators)

    images, known = GeneratedViews(Counted(), POSES).make(photos)
    alone, _ = GeneratedViews(Shifter(), POSES.take([1])).make(photos)
    assert set(seen) == {CHUNK}
    assert sum(seen) >= 2 * known.sum()
    np.testing.assert_array_equal(images[:, 1:], alone)


def test_what_is_looked_at_is_made_by_the_fastest_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(speed, "settle", lambda generator, how, say: asked.append(how) or How("torch", "whole", "bf16"))
    generator, how = open_to_look(None, "cpu")
    assert (generator.name, how.precision, asked) == ("patn-synth-tiny", "bf16", [FASTEST])
    monkeypatch.undo()
    generator, how = open_to_look("patn-synth-tiny", "cpu", "float32")
    assert how == PLAIN
    assert isinstance(generator, PATNTransfer)
    assert generator.engine is None


def test_calibration_photos_are_real_spread_and_usable(tiny_data: ReidData) -> None:
    joints = load_annotations(tiny_data.root)
    every = calibration_photos(tiny_data, joints)
    assert len(every) == 17
    assert every.known.all()
    some = calibration_photos(tiny_data, joints, 5)
    assert len(set(some.names)) == 5
    assert {name.split("/")[-1][:4] for name in some.names} == {"0002", "0007", "0011"}
    assert not set(some.names) & {*tiny_data.query["path"], *tiny_data.gallery["path"]}


class Counts:
    """A maker that counts, and may die."""

    count, size = 2, (4, 2)

    def __init__(self, dies_after: int = 1000, version: int = 0) -> None:
        self.asked: list[str] = []
        self.dies_after, self.version = dies_after, version

    def facts(self) -> Mapping[str, Any]:
        return {"counts": self.version}

    def make(self, photos: Photos) -> Made:
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += photos.names
        numbers = np.array([int(name) for name in photos.names])
        images = np.broadcast_to((numbers % 251).astype(np.uint8)[:, None, None, None, None], (len(photos), 2, 3, 4, 2))
        return images.copy(), numbers % 3 != 0


def many(count: int) -> Photos:
    return Photos(Path(), tuple(map(str, range(count))), np.stack([standing()] * count).astype(np.float32))


def test_what_is_stored_is_not_made_again(tmp_path: Path) -> None:
    store, photos = ViewStore(tmp_path, "data"), many(2 * BLOCK + 5)
    with pytest.raises(KeyboardInterrupt):
        store.ensure(Counts(dies_after=BLOCK), photos)
    rest = Counts()
    stored = store.ensure(rest, photos)
    assert rest.asked == list(photos.names[BLOCK:])
    assert not list(stored.folder.glob("*.lock"))
    again = Counts()
    images = np.concatenate([images for images, _ in store.ensure(again, photos)])
    assert not again.asked
    np.testing.assert_array_equal(images[:, 1, 0, 0, 0], np.arange(len(photos)) % 251)
    assert stored.seconds > 0
    for other in (ViewStore(tmp_path, "other data").ensure(again, photos), store.ensure(Counts(version=1), photos)):
        assert other.folder != stored.folder


def test_features_of_what_is_stored(tmp_path: Path) -> None:
    photos = many(BLOCK + 3)
    stored = ViewStore(tmp_path, "data").ensure(Counts(), photos)
    views, known = stored.features(means)
    np.testing.assert_array_equal(known, np.arange(len(photos)) % 3 != 0)
    assert views.shape == (len(photos), 2, 6)
    assert not views[~known].any()
    colour = np.float32(7 / 255)
    np.testing.assert_allclose(views[7, 0], unit(np.array([colour] * 3 + [1 - colour] * 3)), atol=1e-6)
    assert stored.features(means, first=1)[0].shape == (len(photos), 1, 6)


def test_photos_of_whom_no_joints_are_usable_keep_their_feature(tmp_path: Path) -> None:
    photos = Photos(Path(), ("3", "6"), np.full((2, 18, 2), np.nan, np.float32))
    own = unit(np.eye(2, 6, dtype=np.float32) + 1)
    parts = ViewStore(tmp_path, "data").ensure(Counts(), photos).beside(own, means)
    assert parts.views.shape == (2, 2, 6)
    np.testing.assert_allclose(fuse(parts, 3.0), own, atol=1e-6)


def test_several_share_the_work(tmp_path: Path) -> None:
    photos, makers = many(6 * BLOCK), [Counts(), Counts(), Counts()]
    threads = [threading.Thread(target=ViewStore(tmp_path, "data").ensure, args=(maker, photos)) for maker in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [name for maker in makers for name in maker.asked]
    assert sorted(asked, key=int) == list(photos.names)  # each once


def test_a_damaged_block_is_told(tmp_path: Path) -> None:
    store, photos = ViewStore(tmp_path, "data"), many(3)
    stored = store.ensure(Counts(), photos)
    for data in (b"", b"PK", stored.path(0).read_bytes()[:-40]):
        stored.path(0).write_bytes(data)
        with pytest.raises(InputError, match="delete it, and they are made again"):
            list(store.ensure(Counts(), photos))
