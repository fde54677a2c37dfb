"""Speed, measured: `make bench`. Every figure is a ratio against a named peer in the same run, or a plain rate.

Not a test: nothing here fails, and no test looks at a clock.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from augment.patn import patn_market, patn_tiny
from augment.poses.heatmaps import pose_maps
from augment.synth.render import PedestrianRenderer
from reid_eval.ranking import evaluate


def seconds(work: Callable[[], object], least: float = 2.0) -> float:
    """Mean time of one call after a first that does not count, over at least `least` seconds."""
    work()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        work()
        calls += 1
    return (time.perf_counter() - start) / calls


def bench_renderer() -> None:
    """Synthetic pedestrians, 128x64, images a second."""
    renderer = PedestrianRenderer(0)
    index = torch.arange(128)
    rows = (index + 1, index % 6 + 1, index * 0, index % 4)
    print(f"render             {128 / seconds(lambda: renderer.render(*rows)):8.1f} images/s")


def bench_generator() -> None:
    """Our inference settings against the authors' way: eager float32, contiguous tensors."""
    for name, build, batch in (("patn_tiny", patn_tiny, 8), ("patn_market", patn_market, 2)):
        plain = build().eval()
        last = build().eval().to(memory_format=torch.channels_last)
        image = torch.rand(batch, 3, 128, 64) * 2 - 1
        maps = pose_maps(torch.rand(batch, 18, 2) * 64, (128, 64))
        inputs = (image, maps, maps)
        ours = [t.to(memory_format=torch.channels_last) for t in inputs]

        @torch.no_grad()
        def half(net: torch.nn.Module = last, tensors: list[torch.Tensor] = ours) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                net(*tensors)

        with torch.no_grad():
            base = seconds(lambda net=plain, tensors=inputs: net(*tensors))  # type: ignore[misc]
            wide = seconds(lambda net=last, tensors=ours: net(*tensors))  # type: ignore[misc]
        fast = seconds(half)
        for label, took in (("eager float32 (peer)", base), ("channels-last float32", wide), ("bf16", fast)):
            print(f"{name:12s} {label:22s} {batch / took:8.1f} images/s  {base / took:5.2f}x")


def bench_ranking(queries: int = 100, gallery: int = 4000) -> None:
    """Exact CMC and mAP against torchreid's Python path, on the same distances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchreid.reid.metrics.rank import evaluate_rank
    rng = np.random.default_rng(0)
    distances = rng.random((queries, gallery), dtype=np.float32)
    columns = [rng.integers(1, high, size) for high, size in ((50, queries), (50, gallery), (7, queries), (7, gallery))]
    peer = seconds(lambda: evaluate_rank(distances, *columns, use_metric_cuhk03=False, use_cython=False))
    ours = seconds(lambda: evaluate(distances, *columns))
    print(f"ranking {queries} x {gallery}: torchreid's Python {1e3 * peer:.1f} ms, ours {1e3 * ours:.1f} ms, ", end="")
    print(f"{peer / ours:.1f}x")


def main() -> None:
    """Run all."""
    torch.manual_seed(0)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    bench_renderer()
    bench_generator()
    bench_ranking()


if __name__ == "__main__":
    main()
