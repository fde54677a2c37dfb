"""Speed, measured: `make bench`. Every figure is a ratio against a named peer in the same run, or a plain rate.

    python tests/bench/bench.py                                  all, kept in build/bench.json
    python tests/bench/bench.py --only ranking --only engines

Not a test: nothing here fails, and no test looks at a clock. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_commands import bench_first_image, bench_ray, bench_start
from bench_generate import bench_engines
from bench_pipe import rates
from bench_share import bench_shares

from augment.synth.pedestrians import PedestrianRenderer
from reid_eval.machine import describe_cpu, usable_cores
from reid_eval.ranking import evaluate

Row = dict[str, Any]
KEPT = Path("build/bench.json")


def seconds(work: Callable[[], object], least: float = 2.0) -> float:
    """Mean time of one call after a first that does not count, over at least `least` seconds."""
    work()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        work()
        calls += 1
    return (time.perf_counter() - start) / calls


def bench_renderer() -> list[Row]:
    """Synthetic pedestrians, 128x64, images a second."""
    renderer = PedestrianRenderer(0)
    index = torch.arange(128)
    rows = (index + 1, index % 6 + 1, index * 0, index % 4)
    rate = 128 / seconds(lambda: renderer.render(*rows))
    print(f"render             {rate:8.1f} images/s")
    return [{"what": "rendered images a second", "rate": rate}]


def bench_ranking(queries: int = 100, gallery: int = 4000) -> list[Row]:
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
    return [{"what": f"ranking {queries} x {gallery}", "peer": peer, "ours": ours, "times": peer / ours}]


def bench_big_ranking(
    sizes: tuple[tuple[int, int, int], ...] = ((3368, 15913, 512), (1000, 1_000_000, 128)),
) -> list[Row]:
    """Exact ranking from features in blocks, (queries, gallery, width), with the memory it took; 20 images a person.

    100,000 queries against a million, ten minutes or more:
    `python -c "import bench; bench.bench_big_ranking(((100_000, 1_000_000, 128),))"` in the folder tests.
    """
    import resource

    from reid_eval.chunked import evaluate_features

    rng, rows = np.random.default_rng(0), []
    for queries, gallery, width in sizes:
        features = [rng.standard_normal((count, width), np.float32) for count in (queries, gallery)]
        columns = [rng.integers(1, high, n) for high in (gallery // 20, 7) for n in (queries, gallery)]
        start = time.perf_counter()
        evaluate_features(*features, *columns)
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"ranking {queries} x {gallery} from features: {took:.1f} s, {1e3 * took / queries:.1f} ms a query; ",
            end="",
        )
        print(f"this process's peak so far {peak:.2f} GiB")
        rows.append({"what": f"ranking {queries} x {gallery} from features", "seconds": took, "peak_gib": peak})
    return rows


def bench_features(images: int = 64) -> list[Row]:
    """Feature extraction: images a second, and the share of the time that goes to anything but the network."""
    from reid_eval.backbones.build import build
    from reid_eval.features import extract

    net = build("resnet50", 10).eval()
    pictures = torch.randint(0, 256, (images, 3, 128, 64), dtype=torch.uint8)
    whole = seconds(lambda: extract(net, pictures, flip=False))
    ready = pictures.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        alone = seconds(lambda: net(ready))
    rest = max(0.0, 1 - alone / whole)
    print(f"features, resnet50: {images / whole:.1f} images/s, {100 * rest:.0f} % not the network")
    return [{"what": "features, resnet50", "rate": images / whole, "not_the_network": rest}]


def bench_epoch(images: int = 96, batch: int = 16) -> list[Row]:
    """One epoch of training against torchreid's engine: same folder, same network, same batch, flip and crop."""
    import tempfile

    from augment.synth.dataset import SynthSettings, write_dataset
    from reid_eval.runtime import hide_progress, resolve_device

    hide_progress()
    device, rows = resolve_device(), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "market1501" / "Market-1501-v15.09.15"
        write_dataset(root, SynthSettings(train_ids=images // 12, test_ids=4, images_per_id=12), device)
        for network in ("resnet50", "osnet_x0_25"):
            ours = epoch_seconds(lambda epochs, name=network: _our_epochs(root, name, batch, epochs))
            peer = epoch_seconds(lambda epochs, name=network: _torchreid_epochs(Path(folder), name, batch, epochs))
            print(
                f"epoch, {network}, {images} images, {device}: torchreid's engine {peer:.2f} s, ours {ours:.2f} s, ",
                end="",
            )
            print(f"{peer / ours:.2f}x")
            rows.append({"what": f"epoch, {network}", "peer": peer, "ours": ours, "times": peer / ours})
    return rows


def epoch_seconds(work: Callable[[int], object]) -> float:
    """Seconds an epoch: the difference between three epochs and one, so that building and reading do not count."""
    took = []
    for epochs in (1, 1, 3):  # the first does not count
        start = time.perf_counter()
        work(epochs)
        took.append(time.perf_counter() - start)
    return (took[2] - took[1]) / 2


def _our_epochs(root: Path, network: str, batch: int, epochs: int) -> None:
    from reid_eval.datasets import read_dataset
    from reid_eval.settings import TrainSettings
    from reid_eval.training import train

    optimiser = {"optimizer": "adam", "lr": 3e-4}
    settings = TrainSettings(backbone=f"torchreid:{network}", epochs=epochs, batch_size=batch, pad=8, **optimiser)
    train(read_dataset(root), settings)


def _torchreid_epochs(folder: Path, network: str, batch: int, epochs: int) -> None:
    import contextlib
    import io

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from torchreid.reid import data, engine, models, optim

        on_gpu = torch.cuda.is_available()
        sizes = {"height": 128, "width": 64, "batch_size_train": batch, "transforms": ["random_flip", "random_crop"]}
        manager = data.ImageDataManager(root=str(folder), sources="market1501", workers=4, use_gpu=on_gpu, **sizes)
        model = models.build_model(network, manager.num_train_pids, pretrained=False, use_gpu=on_gpu)
        model = model.cuda() if on_gpu else model
        optimizer = optim.build_optimizer(model, optim="adam", lr=3e-4)
        runner = engine.ImageSoftmaxEngine(manager, model, optimizer, use_gpu=on_gpu)
        runner.max_epoch = epochs
        for runner.epoch in range(epochs):
            runner.train(print_freq=10**9)


PARTS: dict[str, Callable[[], list[Row]]] = {
    "start": bench_start,
    "first-image": bench_first_image,
    "render": bench_renderer,
    "engines": bench_engines,
    "pipe": lambda: [rates(weights, 256, 5) for weights in ("patn-synth", "patn-synth-tiny")],
    "share": bench_shares,
    "ray": bench_ray,
    "ranking": bench_ranking,
    "big-ranking": bench_big_ranking,
    "features": bench_features,
    "epoch": bench_epoch,
}


def main() -> None:
    """Run all, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be given several times")
    parser.add_argument("--json", type=Path, default=KEPT, help=f"default: {KEPT}")
    given = parser.parse_args()
    torch.manual_seed(0)
    about = {"machine": platform.machine(), "processor": describe_cpu()["model"], "cores": usable_cores(),
             "threads": torch.get_num_threads(), "torch": torch.__version__}  # fmt: skip
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    found: dict[str, list[Row]] = {}
    for name in given.only or PARTS:
        found[name] = PARTS[name]()
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"of": about, **found}, indent=1) + "\n")
    print(f"Kept in {given.json}")


if __name__ == "__main__":
    main()
