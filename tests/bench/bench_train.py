"""Training and inference speed, measured: `python tests/bench/bench_train.py [--device cuda] [--builder patn_market]`.

Pairs a second of whole optimisation steps (generator, both discriminators, pools, moving average; no VGG) against a
plain eager float32 step in the same run; the share of arithmetic that this is of what the device can do at most, as a
large matrix product in the same run shows it; and where the time goes. Not a test: nothing here fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from augment.generators.patn.batch import PairBatch
from augment.generators.patn.builders import BUILDERS
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import TrainState, build_state
from augment.generators.patn.step import train_step
from augment.pose.heatmaps import pose_maps
from augment.synth.pedestrians import PedestrianRenderer

VARIANTS: dict[str, dict[str, Any]] = {
    "eager float32 (peer)": {"precision": "float32", "channels_last": False},
    "eager bf16 channels-last": {"precision": "bf16"},
    "compiled bf16 channels-last": {"precision": "bf16", "compile": True},
    "compiled, one CUDA graph": {"precision": "bf16", "compile": True, "cuda_graph": True},
}


def batch_of(count: int, device: torch.device) -> PairBatch:
    """Random pairs of 128x64."""
    image, target = torch.rand(2, count, 3, 128, 64, device=device) * 2 - 1
    joints = torch.rand(2, count, 18, 2, device=device) * torch.tensor([64.0, 128.0], device=device)
    return PairBatch(image, joints[0], joints[1], target, torch.ones(count, 1, 128, 64, device=device))


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(work: Callable[[], object], count: int, device: torch.device, least: float) -> float:
    """Items a second, after three calls that do not count."""
    for _ in range(3):
        work()
    synchronize(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        work()
        calls += 1
        if calls % 8 == 0 or device.type == "cpu":
            synchronize(device)
    synchronize(device)
    return calls * count / (time.perf_counter() - start)


def ceiling(device: torch.device) -> float:
    """FLOP/s of a large matrix product, bf16 on a GPU and float32 on a CPU: what arithmetic can reach at most."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return rate(lambda: a @ b, 2 * size**3, device, 1.0)


def step_flops(settings: PATNTrainSettings, device: torch.device) -> dict[str, float]:
    """Floating-point operations of one pair: the generator forward, a whole step with and without discriminators."""
    plain = replace(settings, compile=False)
    state, batch = build_state(plain, device), batch_of(2, device)
    counts = {}
    with FlopCounterMode(display=False) as counter:
        state.generator(batch.image, *[pose_maps(batch.target_keypoints, (128, 64))] * 2)
    counts["generator forward"] = counter.get_total_flops() / 2
    for name, start in (("step without discriminators", 10**9), ("step", 0)):
        with FlopCounterMode(display=False) as counter:
            train_step(state, batch, replace(plain, gan_start=start))
        counts[name] = counter.get_total_flops() / 2
    return counts


def pairs_a_second(settings: PATNTrainSettings, device: torch.device, least: float) -> tuple[float, float]:
    """The rate of whole steps, and the seconds that the first took (compilation, cuDNN's choice of algorithms)."""
    start = time.perf_counter()
    state, batch = build_state(settings, device), batch_of(settings.batch_size, device)
    train_step(state, batch, settings)
    synchronize(device)
    first = time.perf_counter() - start
    for _ in range(4):  # a CUDA graph is recorded in the fourth step
        train_step(state, batch, settings)
    return rate(lambda: train_step(state, batch, settings), settings.batch_size, device, least), first


def bench_steps(
    settings: PATNTrainSettings, batches: list[int], device: torch.device, least: float
) -> list[dict[str, Any]]:
    """One row a variant and batch size."""
    top, flops = ceiling(device), step_flops(settings, device)
    counted = ", ".join(f"{name} {value / 1e9:.1f} GFLOP" for name, value in flops.items())
    print(f"matrix product {top / 1e12:.1f} TFLOP/s; a pair: {counted}")
    rows: list[dict[str, Any]] = []
    peers: dict[bool, float] = {}
    for name, changes in VARIANTS.items():
        if device.type != "cuda" and changes.get("cuda_graph"):
            continue
        for count, discriminators in itertools.product(batches[:1] if "peer" in name else batches, (False, True)):
            wanted = replace(settings, batch_size=count, gan_start=0 if discriminators else 10**9, **changes)
            pairs, first = pairs_a_second(wanted, device, least)
            peers.setdefault(discriminators, pairs)
            rows.append(
                {
                    "variant": name,
                    "batch": count,
                    "discriminators": discriminators,
                    "pairs_per_second": round(pairs, 2),
                    "times_peer": round(pairs / peers[discriminators], 2),
                    "share_of_matrix_product": round(
                        pairs * flops["step" if discriminators else "step without discriminators"] / top, 3
                    ),
                    "first_step_seconds": round(first, 1),
                }
            )
            print(rows[-1], flush=True)
    return rows


def shares(settings: PATNTrainSettings, count: int, device: torch.device) -> str:
    """Where a step's time goes, by operator."""
    wanted = replace(settings, batch_size=count, gan_start=0, precision="bf16", compile=device.type == "cuda")
    state: TrainState = build_state(wanted, device)
    batch = batch_of(count, device)
    for _ in range(3):
        train_step(state, batch, wanted)
    synchronize(device)
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as found:
        for _ in range(3):
            train_step(state, batch, wanted)
        synchronize(device)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=70)


def bench_inference(builder: str, device: torch.device, least: float) -> None:
    """Images a second at inference, float32 and bf16."""
    network = BUILDERS[builder]().eval().to(device).to(memory_format=torch.channels_last)
    for count in (1, 64, 256) if device.type == "cuda" else (1, 8):
        batch = batch_of(count, device)
        maps = pose_maps(batch.target_keypoints, (128, 64)).to(memory_format=torch.channels_last)
        image = batch.image.to(memory_format=torch.channels_last)
        for half in (False, True):

            @torch.no_grad()
            def work() -> None:
                with torch.autocast(device.type, torch.bfloat16, enabled=half):  # noqa: B023
                    network(image, maps, maps)  # noqa: B023

            print(f"{builder} inference batch {count:4d} {'bf16' if half else 'float32':8s}", end=" ")
            print(f"{rate(work, count, device, least):9.1f} images/s", flush=True)


def bench_render(device: torch.device, least: float) -> None:
    """Synthetic pedestrians."""
    renderer = PedestrianRenderer(0, device=device)
    index = torch.arange(128 if device.type == "cpu" else 4096)
    rows = (index + 1, index % 6 + 1, index * 0, index % 4)
    print(f"render {rate(lambda: renderer.render(*rows), len(index), device, least):.0f} images/s", flush=True)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--builder", default="patn_market", choices=sorted(BUILDERS))
    parser.add_argument("--batches", type=int, nargs="+", default=[32])
    parser.add_argument("--ndf", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument(
        "--variants", type=int, nargs="+", help="Numbers of the variants to run, from 0; 0 is the peer."
    )
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        print(torch.cuda.get_device_name(device), "torch", torch.__version__)
    for number, name in enumerate(list(VARIANTS)):
        if chosen.variants and number not in chosen.variants:
            del VARIANTS[name]
    settings = PATNTrainSettings(generator=chosen.builder, ndf=chosen.ndf, perceptual="off", ema_decay=0.999)
    bench_render(device, chosen.seconds)
    bench_inference(chosen.builder, device, chosen.seconds)
    rows = bench_steps(settings, chosen.batches, device, chosen.seconds)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))
    if chosen.profile:
        print(shares(settings, chosen.batches[-1], device))


if __name__ == "__main__":
    main()
