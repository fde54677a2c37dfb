"""Fixtures: weights that are quick."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from augment.generators.patn.builders import patn_tiny
from augment.generators.patn.load import save_generator


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of the right kind with random weights: the fastest there is."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_generator(path, patn_tiny(ngf=4, n_blocks=2, dropout=0.0), {"data": "nothing", "size": [128, 64]})
    return path
