"""Choosing generated images by their features, on features made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from augment.gate.same_person import choose, margins

# Two people's photos along two axes
REAL = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
REAL_PIDS = np.array([5, 9])


def test_margins_by_hand() -> None:
    made = np.array([[2, 0, 0], [3, 4, 0], [0, 0, 1]], np.float32)
    found = margins(made, np.array([5, 5, 9]), REAL, REAL_PIDS)
    assert found == pytest.approx([1.0, 0.6 - 0.8, 0.0])


def test_only_what_shows_its_person_and_the_new_before_the_known() -> None:
    made = np.array(
        [
            [1, 0.01, 0],  # as the photo
            [1, 0.1, 0.9],  # of the person, and new
            [1, 0.1, 0.95],  # of the person, but like the last
            [1, 0.2, -0.9],  # of the person, new in another way
            [0.2, 1, 0],  # somebody else
            [0, 1, 0.2],
        ],
        np.float32,
    )
    pids = np.array([5, 5, 5, 5, 5, 9])
    assert choose(made, pids, REAL, REAL_PIDS, 0.4).tolist() == [False, False, True, True, False, False]
    assert choose(made, pids, REAL, REAL_PIDS, 1.0).tolist() == [True, True, True, True, False, True]
    assert not choose(made, pids, REAL, REAL_PIDS, 0.0).any()
    # Neither length nor order of features matters.
    turned = choose(made[::-1] * 7, pids[::-1], REAL, REAL_PIDS, 0.4)[::-1]
    assert turned.tolist() == [False, False, True, True, False, False]


def test_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(12, 4)).astype(np.float32), rng.normal(size=(20, 4)).astype(np.float32)
    real_pids, made_pids = np.arange(12) % 3, np.arange(20) % 3
    found = margins(made, made_pids, real, real_pids)
    for image, pid, margin in zip(made, made_pids, found, strict=True):
        alike = [float(image @ one / np.linalg.norm(image) / np.linalg.norm(one)) for one in real]
        own = max(a for a, p in zip(alike, real_pids, strict=True) if p == pid)
        other = max(a for a, p in zip(alike, real_pids, strict=True) if p != pid)
        assert margin == pytest.approx(own - other, abs=1e-5)
    assert (found[choose(made, made_pids, real, real_pids, 1.0)] > 0).all()
