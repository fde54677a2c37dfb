"""Threads beside a network: how many, and that reading ahead gives what reading gives."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_eval import helping
from reid_eval.datasets import load_images
from reid_eval.datasets.images import images_ahead
from reid_eval.runtime import InputError


@pytest.mark.parametrize(("cores", "device", "expected"), [
    (1.0, "cpu", 1), (2.0, "cpu", 1), (16.0, "cpu", 4), (64.0, "cpu", 8), (2.0, "cuda", 2), (16.0, "cuda", 8),
])  # fmt: skip
def test_a_network_on_a_cpu_keeps_most_cores(
    monkeypatch: pytest.MonkeyPatch, cores: float, device: str, expected: int
) -> None:
    monkeypatch.setattr(helping, "usable_cores", lambda: cores)
    assert helping.helpers_for(torch.device(device)) == expected


def test_turns_are_short_within_and_as_before_after() -> None:
    before = sys.getswitchinterval()

    def fail() -> None:
        with helping.helping_threads(torch.device("cpu")) as pool:
            assert sys.getswitchinterval() == pytest.approx(0.0005)
            assert pool.submit(int, "7").result() == 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize("count", [1, 3, 4, 50])
def test_reading_ahead_gives_what_reading_gives(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(11)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (10, 6, 3), np.uint8)).save(tmp_path / name)
    with helping.helping_threads(torch.device("cpu")) as pool:
        batches = list(images_ahead(tmp_path, names, (8, 4), count, pool))
    assert [len(batch) for batch in batches] == [min(count, 11 - start) for start in range(0, 11, count)]
    assert np.array_equal(np.concatenate(batches), load_images(tmp_path, names, (8, 4)))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with (
        helping.helping_threads(torch.device("cpu")) as pool,
        pytest.raises(InputError, match=r"a\.png"),
    ):
        list(images_ahead(tmp_path, ["a.png"], (8, 4), 2, pool))
