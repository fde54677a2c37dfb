"""Generation, measured: the authors' path (eager float32, batch 1) is the peer, in turns with each engine in one run.

    python tests/bench/bench_generate.py              each engine on this CPU, a table; --json FILE keeps it
    python tests/bench/bench_generate.py --device cuda

Of every engine: the median of the ratios of rounds, the worst round, and what it loses: SSIM to the peer's images and
L1 under the limbs against the real photo, on drawn people that nothing was trained or measured on.
On a GPU: bf16, channels-last, the network recorded as a CUDA graph with the maps drawn on the device; images a second,
the share of the 42-GFLOP floor against a large matrix product of the same run, and the latency of one image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.generators.open import open_generator, use_engine
from augment.generators.patn.engines import How
from augment.generators.patn.folded import FoldedPATN
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.graph import GraphedStep
from augment.generators.patn.openvino_extra import has_openvino
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.pose.heatmaps import pose_maps
from augment.quality.known import UNSEEN, drawn_pairs
from augment.quality.similarity import joints_masks, ssim
from reid_eval.transforms import to_pictures

GFLOP = 42.0
"""Of one 128x64 image through the nine blocks."""
SIZE = (128, 64)
CLOCK: list[Callable[[], float]] = [time.perf_counter]
"""What time is; `--clock cpu` counts the process's, for one thread on a machine that others use, too."""
Row = dict[str, Any]


def engines(weights: str) -> dict[str, tuple[str, How]]:
    """Label to weights and engine; those that cannot be had here are left out."""
    ways = [How("torch", "slim", "bf16"), How("torch", "whole", "bf16"), How("torch", "slim"), How()]
    if has_openvino():
        ways = [*(How("openvino", *way) for way in (("slim", "bf16"), ("slim", "int8"), ("whole", "bf16"))), *ways]
    found = {f"{weights}: {how}": (weights, how) for how in ways}
    tiny = How("torch", "whole", "bf16")
    return {**found, f"patn-synth-tiny: {tiny}": ("patn-synth-tiny", tiny)}


def bench_engines(weights: str = "patn-synth", batch: int = 8, rounds: int = 5, pairs: int = 16) -> list[Row]:
    """Each engine in turns with the peer; prints the table and returns its rows."""
    peer = open_generator(weights, "cpu")
    assert isinstance(peer, PATNTransfer)
    data = drawn_pairs(replace(UNSEEN, identities=2 * pairs)).pairs.sample(0, pairs)
    maps = [pose_maps(joints, SIZE) for joints in (data.condition_keypoints, data.target_keypoints)]
    inputs = (data.image.contiguous(), *maps)
    one = tuple(value[:1] for value in inputs)
    last = tuple(value[:batch].contiguous(memory_format=torch.channels_last) for value in inputs)
    with torch.inference_mode():
        wanted = torch.cat([peer.network(*(value[n : n + 1] for value in inputs)) for n in range(pairs)])
    real, masks = to_pictures(data.target_image), joints_masks(data.target_keypoints.numpy(), SIZE)
    rows = []
    for label, (name, how) in engines(weights).items():
        transfer = open_generator(name, "cpu")
        use_engine(transfer, how)
        run = in_engine(transfer, how)
        ratios = in_turns(lambda: peer.network(*one), lambda run=run: run(*last), batch, rounds)  # type: ignore[misc]
        made = to_pictures(torch.cat([run(*(v[n : n + batch] for v in inputs)) for n in range(0, pairs, batch)]))
        likeness = float(ssim(made, to_pictures(wanted), authors=False).mean())
        errors = [limb_l1(pictures, real, masks) for pictures in (made, to_pictures(wanted))]
        row = {"engine": label, "times": statistics.median(ratios), "worst": min(ratios), "ssim": likeness,
               "limb_l1_percent": 100 * (errors[0] / errors[1] - 1)}  # fmt: skip
        print(f"{label:44s} {row['times']:5.2f}x the peer (worst round {row['worst']:.2f}x)  SSIM {likeness:.4f}  "
              f"limb L1 {row['limb_l1_percent']:+.2f} %", flush=True)  # fmt: skip
        rows.append(row)
    return rows


def in_engine(transfer: Any, how: How) -> Callable[..., Tensor]:
    """The generator's `transfer` as `generate` calls it."""

    def run(*inputs: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=how.precision == "bf16"):
            made: Tensor = transfer.transfer(*inputs)
        return made.float()

    return run


def in_turns(peer: Callable[[], object], ours: Callable[[], object], batch: int, rounds: int) -> list[float]:
    """Ratios of rates, one a round; the peer's time is the mean of the call before and the call after ours."""
    ratios = []
    with torch.inference_mode():
        peer(), ours()  # type: ignore[func-returns-value]
        for _ in range(rounds):
            first, middle, second = seconds(peer), seconds(ours), seconds(peer)
            ratios.append((first + second) / 2 / (middle / batch))
    return ratios


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = CLOCK[0]()
    work()
    return CLOCK[0]() - start


def limb_l1(made: np.ndarray, real: np.ndarray, masks: np.ndarray) -> float:
    """Mean absolute difference under the limbs, grey levels."""
    apart = np.abs(made.astype(np.float64) - real).mean(-1)
    return float(((apart * masks).sum((1, 2)) / np.maximum(masks.sum((1, 2)), 1)).mean())


def bench_gpu(
    network: PATNGenerator, device: torch.device, batches: tuple[int, ...] = (1, 64, 256), calls: int = 20
) -> list[Row]:
    """Images a second with the maps drawn on the device; on a CPU the same code without the graph, for tests."""
    folded, half = FoldedPATN(network).to(device), torch.bfloat16
    folded = folded.to(half)
    most = matrix_tflops(device)
    rows = []
    for batch in batches:
        inputs = {"image": torch.rand(batch, 3, *SIZE, device=device) * 2 - 1,
                  "joints": torch.rand(2, batch, 18, 2, device=device) * 60}  # fmt: skip

        def step(values: dict[str, Tensor]) -> Tensor:
            maps = [pose_maps(joints, SIZE).to(half, memory_format=torch.channels_last) for joints in values["joints"]]
            image = values["image"].to(half, memory_format=torch.channels_last)
            made: Tensor = folded(image, *maps)
            return made

        graph = GraphedStep(device) if device.type == "cuda" else None
        with torch.inference_mode():
            for _ in range(5):
                graph("all", inputs, step) if graph else step(inputs)
            wait(device)
            start = time.perf_counter()
            for _ in range(calls):
                graph("all", inputs, step) if graph else step(inputs)
            wait(device)
        took = (time.perf_counter() - start) / calls
        row = {"batch": batch, "rate": batch / took, "latency_ms": 1e3 * took, "tflops": most,
               "share_of_floor": batch / took * GFLOP / 1e3 / most}  # fmt: skip
        print(f"{device}, batch {batch}: {row['rate']:.0f} images/s, {row['latency_ms']:.2f} ms a batch, "
              f"{100 * row['share_of_floor']:.0f} % of the floor ({most:.0f} TFLOP/s bf16)")  # fmt: skip
        rows.append(row)
    return rows


def matrix_tflops(device: torch.device) -> float:
    """Of a large bfloat16 product: what the floor is reckoned with."""
    side = 8192 if device.type == "cuda" else 256
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    wait(device)
    start = time.perf_counter()
    for _ in range(10):
        a @ a
    wait(device)
    return 10 * 2 * side**3 / (time.perf_counter() - start) / 1e12


def wait(device: torch.device) -> None:
    """Until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Read the words, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", default="patn-synth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.clock == "cpu":
        torch.set_num_threads(1)
        CLOCK[0] = time.process_time
    if given.device == "cpu":
        rows = bench_engines(given.weights, rounds=given.rounds, pairs=given.pairs)
    else:
        opened = open_generator(given.weights, given.device)
        assert isinstance(opened, PATNTransfer)
        rows = bench_gpu(opened.network, opened.device)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
