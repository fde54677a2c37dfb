"""What only a GPU can show: run there by `pytest tests/augment/test_cuda.py`; skipped, and said so, elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from augment.generators.patn.batch import PairBatch
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import build_state
from augment.generators.patn.step import train_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
GPU = torch.device("cuda")


def settings(**changes: Any) -> PATNTrainSettings:
    plain = {
        "generator": "patn_tiny", "overrides": {"ngf": 8, "n_blocks": 2, "dropout": 0.0}, "ndf": 8, "d_blocks": 1,
        "d_dropout": 0.0, "batch_size": 4, "constant_steps": 6, "decay_steps": 4, "epoch_steps": 1, "pool_size": 5,
        "perceptual": "off", "gan_start": 2, "ema_decay": 0.9,
    }  # fmt: skip
    return PATNTrainSettings(**{**plain, **changes})


def batch(step: int) -> PairBatch:
    generator = torch.Generator().manual_seed(step)
    images = torch.rand(2, 4, 3, 32, 16, generator=generator) * 2 - 1
    joints = torch.rand(2, 4, 18, 2, generator=generator) * torch.tensor([16.0, 32.0])
    return PairBatch(*(t.to(GPU) for t in (images[0], joints[0], joints[1], images[1])))


def losses(chosen: PATNTrainSettings) -> torch.Tensor:
    state = build_state(chosen, GPU)
    return torch.stack([train_step(state, batch(step), chosen) for step in range(10)]).cpu()


def test_a_graph_trains_as_the_plain_step() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.testing.assert_close(losses(settings(cuda_graph=True)), losses(settings()), atol=2e-3, rtol=2e-3)


def test_the_step_on_a_gpu_is_that_on_a_cpu() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    chosen = settings()
    state = build_state(chosen)
    on_cpu = []
    for step in range(3):
        pairs = batch(step)
        tensors = (pairs.image, pairs.condition_keypoints, pairs.target_keypoints, pairs.target_image)
        on_cpu.append(train_step(state, PairBatch(*(tensor.cpu() for tensor in tensors)), chosen))
    torch.testing.assert_close(losses(chosen)[:3], torch.stack(on_cpu), atol=2e-3, rtol=2e-3)
