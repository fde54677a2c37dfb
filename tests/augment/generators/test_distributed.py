"""Two processes under `accelerate launch` against one with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_dataset

from augment.generators.patn.load import load_generator

ROOT = Path(__file__).resolve().parents[3]


def train(out: Path, data: Path, launcher: list[str], *changes: str) -> list[dict[str, float]]:
    recipe = out.with_suffix(".yaml")
    recipe.write_text(
        f"data: {{source: folder, root: {data}, size: [32, 16]}}\n"
        "train: {generator: patn_tiny, overrides: {ngf: 4, n_blocks: 2, dropout: 0.0}, ndf: 4, d_blocks: 1,\n"
        "  d_dropout: 0.0, batch_size: 4, constant_steps: 3, decay_steps: 2, epoch_steps: 1, pool_size: 3,\n"
        '  perceptual: "off", log_every: 1, checkpoint_every: 2, ema_decay: 0.5}\n'
    )
    settings = [word for change in changes for word in ("--set", change)]
    command = ["-m", "augment", "train", "--recipe", str(recipe), "--out", str(out), "--device", "cpu", *settings]
    ended = subprocess.run(
        [sys.executable, *launcher, *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    data = draw_dataset(tmp_path / "people", {1: 3, 2: 3, 3: 3}, {4: 3})
    two = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
           "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip
    alone, shared = train(tmp_path / "one", data, []), train(tmp_path / "two", data, two)
    assert [line["step"] for line in shared] == [1, 2, 3, 4, 5]
    for one, both in zip(alone, shared, strict=True):
        for name in ("total", "l1", "gan_appearance", "gan_shape", "d_appearance", "d_shape"):
            assert both[name] == pytest.approx(one[name], abs=2e-4), (name, one["step"])
    assert shared[0]["l1"] == pytest.approx(alone[0]["l1"], abs=1e-5)
    ours, theirs = (load_generator(str(tmp_path / name / "generator.safetensors")) for name in ("one", "two"))
    image, maps = torch.rand(1, 3, 32, 16) * 2 - 1, torch.rand(1, 18, 32, 16)
    np.testing.assert_allclose(
        ours(image, maps, maps).detach().numpy(), theirs(image, maps, maps).detach().numpy(), atol=0.02
    )
