"""`import reid_eval`: five names, light, documented, and their example runs."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reid_eval
from reid_eval.settings import settings_from


def test_names_are_there_and_documented() -> None:
    for name in reid_eval.__all__:
        assert len((getattr(reid_eval, name).__doc__ or "").splitlines()[0]) > 20
        assert name in dir(reid_eval)
    with pytest.raises(AttributeError, match="module 'reid_eval' has no attribute 'rank_all'"):
        _ = reid_eval.rank_all


def test_import_is_light() -> None:
    code = (
        "import sys, reid_eval; dir(reid_eval); print(sorted({'torch', 'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _global_state() -> list[object]:
    """Generators and flags that belong to the caller."""
    import random

    import torch

    name, keys, *rest = np.random.get_state()
    return [
        random.getstate(),
        (name, tuple(keys), *rest),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        *(getattr(torch.backends.cudnn, flag) for flag in ("enabled", "benchmark", "deterministic", "allow_tf32")),
    ]


def test_the_callers_generators_and_flags_stay_as_they_were(market: Path, tmp_path: Path) -> None:
    from reid_eval.backbones import save_model

    settings = settings_from(
        "quick", {"backbone": "torchreid:osnet_x0_25", "size": (64, 32), "batch_size": 4, "device": "cpu", "seed": 5}
    )
    before = _global_state()
    data = reid_eval.read_dataset(market)
    model = reid_eval.train(data, settings, steps=1).model
    assert _global_state() == before
    reid_eval.evaluate(model, data)
    save_model(tmp_path / "net.safetensors", model)
    loaded = reid_eval.load_model(tmp_path / "net.safetensors")
    reid_eval.extract_features(loaded, np.zeros((1, 3, 64, 32), np.uint8))
    assert _global_state() == before


def test_the_example_of_the_package_runs(market: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 32), np.uint8)
    settings = settings_from(
        "quick", {"size": (64, 32), "batch_size": 4, "device": "cpu", "amp": "off", "bn_batches": 1}
    )
    names = {name: getattr(reid_eval, name) for name in reid_eval.__all__}
    found = doctest.testmod(reid_eval, extraglobs={**names, "root": market, "settings": settings, "images": images})
    assert (found.attempted, found.failed) == (4, 0)
