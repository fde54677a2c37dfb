"""The same seed, the same bytes: what `docs/faults.md` says of threads; other rows are tested elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawn import hashes

from augment.api import augment_folder, plan_folder
from augment.synth.dataset import SynthSettings, write_dataset


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_byte_of_images(tiny_root: Path, tmp_path: Path) -> None:
    planned = plan_folder(tiny_root, ratio=0.2)
    assert len(planned.table.query("action == 'generate'")) > 1
    for threads in (1, 2):
        torch.set_num_threads(threads)
        augment_folder(planned, tmp_path / str(threads), "patn-synth-tiny")
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_the_number_of_threads_changes_no_byte_of_drawn_people(tmp_path: Path) -> None:
    for threads in (1, 2):
        torch.set_num_threads(threads)
        write_dataset(tmp_path / str(threads), SynthSettings(1, 1, images_per_id=4, cameras=2, size=(32, 16)))
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")
