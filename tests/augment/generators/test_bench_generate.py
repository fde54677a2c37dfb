"""The benchmark of generation runs: its code for a GPU on a small network here. No test looks at a clock."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.generators.patn.builders import build_generator

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def test_the_gpu_benchmark_runs_on_a_small_network() -> None:
    import bench_generate

    network = build_generator("patn_tiny", ngf=8, n_blocks=1).eval()
    rows = bench_generate.bench_gpu(network, torch.device("cpu"), batches=(1, 2), calls=1)
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["rate"] > 0 and row["share_of_floor"] > 0 and row["latency_ms"] > 0 for row in rows)


def test_turns_and_limbs() -> None:
    import bench_generate

    calls: list[str] = []
    ratios = bench_generate.in_turns(lambda: calls.append("peer"), lambda: calls.append("ours"), 8, 2)
    assert len(ratios) == 2
    assert calls == ["peer", "ours", *["peer", "ours", "peer"] * 2]
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0] = True
    made, real = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4, 3), 9, np.uint8)
    real[0, 1:] = 200
    assert bench_generate.limb_l1(made, real, masks) == 9


def test_generators_open_without_openvino() -> None:
    import subprocess

    code = "import sys, augment.generators.open; print(sorted({'openvino', 'nncf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
