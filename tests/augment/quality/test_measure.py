"""The figures of `patn-augment measure`, worked by hand and on drawn people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from augment.generators.copy import CopyGenerator
from augment.pairs.photos import folder_pairs
from augment.pairs.tensors import TensorPairs
from augment.pairs.training_recipe import FolderSource, load_recipe
from augment.quality.errors import measure, pairs_sheet, unseen_pairs
from augment.quality.known import RANKING
from augment.runs import recipes_folder
from augment.synth.stream import UNSEEN_WORLD


class Brighter(CopyGenerator):
    """Returns the photo, brighter by 10 grey levels."""

    def transfer(self, image: Tensor, *_: Any) -> Tensor:
        return image + 10 / 127.5


@pytest.fixture
def two_images() -> TensorPairs:
    """One identity; image 0 is black, image 1 is 40 grey levels in its left half (the mask) and 10 in the right."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, :, :, :4] = 40
    images[1, :, :, 4:] = 10
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :, :4] = True
    return TensorPairs(images, torch.ones(2, 18, 2), torch.tensor([1, 1]), masks=masks)


def test_copying_is_worked_by_hand(two_images: TensorPairs) -> None:
    result = measure(CopyGenerator((8, 8)), two_images, 20)
    assert result.l1 == pytest.approx(25.0, abs=1e-4)
    assert result.l1_mask == pytest.approx(40.0, abs=1e-4)
    assert result.share == pytest.approx(1.0)
    assert "100.0% of copying's" in result.message


def test_another_image_differs_from_copying(two_images: TensorPairs) -> None:
    result = measure(Brighter((8, 8)), two_images, 11)
    assert result.copy_l1_mask == pytest.approx(40.0, abs=1e-4)
    assert 30 < result.l1_mask < 50
    assert result.share != pytest.approx(1.0)


def test_without_masks_only_the_whole_image_counts(two_images: TensorPairs) -> None:
    pairs = TensorPairs(two_images._images, torch.ones(2, 18, 2), torch.tensor([1, 1]))
    result = measure(CopyGenerator((8, 8)), pairs, 4)
    assert result.l1 == pytest.approx(25.0, abs=1e-4)
    assert result.share != result.share
    assert "inside the person" not in result.message


def test_a_sheet_of_unseen_people(tmp_path: Path) -> None:
    pairs = unseen_pairs(identities=4, images_per_id=3)
    pairs_sheet(CopyGenerator(), pairs, tmp_path / "sheet.png", count=8, groups=2)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_nobody_trains_in_the_unseen_world() -> None:
    recipes = sorted(recipes_folder().rglob("patn_*.yaml"))
    assert recipes
    used = {UNSEEN_WORLD, RANKING.seed}
    assert all(load_recipe(str(path)).data.seed not in used for path in recipes)


def test_pairs_of_a_folder(tiny_root: Path) -> None:
    pairs = folder_pairs(tiny_root)
    assert (pairs.n_identities, pairs.n_images) == (3, 9 + 6 + 2)  # two images of identity 11 are unusable
    larger = FolderSource(source="folder", root=str(tiny_root), size=(256, 128)).open("cpu")
    assert isinstance(larger, TensorPairs)
    seen = ~pairs._keypoints.isnan()
    assert torch.allclose(larger._keypoints[seen], 2 * pairs._keypoints[seen] + 0.5)  # pixel centres stay centres
