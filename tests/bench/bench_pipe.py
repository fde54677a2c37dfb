"""The pipe of `generate`: its rate against the network's own, and its memory against the size of the plan.

    python tests/bench/bench_pipe.py --rows 1000 --rows 10000
    python tests/bench/bench_pipe.py --weights patn-synth-tiny --images 256

The first writes plans of so many generated images of a small drawn data set with `entry:copy`, each in a process of
its own, into plain folders. The second takes the network alone on prepared batches and the whole way from photos to
files in turns, several times, and tells the ratio of the medians: so that a shared machine disturbs both alike.
"""

from __future__ import annotations

import json
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from augment.api import plan_folder
from augment.folder.carry import PlainRendering, Work
from augment.folder.generate import RenderSettings
from augment.folder.render import (
    Task,
    compute,
    encode_image,
    is_complete,
    load_task,
    render,
    repeatable,
    save_image,
    target_joints,
)
from augment.generators.open import open_generator, use_engine
from augment.generators.patn.engines import FASTEST
from augment.synth.dataset import source_data
from reid_eval.runtime import ProgressBar, hide_progress, sha256_file


@click.command()
@click.option("--rows", multiple=True, type=int, help="Sizes of plans.")
@click.option("--one", type=int, hidden=True)
@click.option("--parts", is_flag=True, help="What the steps beside the network cost an image.")
@click.option("--weights", help="Compare rates with this network.")
@click.option("--images", default=256)
@click.option("--times", default=5)
def main(rows: tuple[int, ...], one: int | None, parts: bool, weights: str | None, images: int, times: int) -> None:
    """Measure."""
    hide_progress()
    if one is not None:
        memory(one)
    for count in rows:
        subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)
    if parts:
        steps()
    if weights:
        rates(weights, images, times)


def memory(count: int) -> None:
    """Of a run of so many images: the peak before the first one and after the last."""
    planned = plan_folder(None, ratio=1.0, mode="add")
    known = len(planned.source.data.train)
    planned = plan_folder(None, ratio=count / known, mode="add")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    generator = open_generator("entry:copy", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        work = Work(planned.source, planned.table, generator, out, RenderSettings().on(generator), (0, 1))
        PlainRendering().render(work)
        made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    found = {"rows": len(planned.table), "mb_with_the_plan": round(before), "mb_rendered": round(made)}
    print(json.dumps(found), flush=True)


def steps() -> None:
    """Core time of each step beside the network, microseconds an image; of a driver's steps for a cluster, too."""
    planned = plan_folder(None, ratio=1.0, mode="add")
    generator = open_generator("entry:copy", "cpu")
    settings, found = RenderSettings().on(generator), {}
    with tempfile.TemporaryDirectory() as folder:
        work = Work(planned.source, planned.table, generator, Path(folder), settings, (0, 1))
        tasks = [task for chunk in PlainRendering.chunks(work)[:64] for task in chunk]

        def step(name: str, what: Callable[[Task], object]) -> None:
            start = time.process_time()
            for task in tasks:
                what(task)
            found[name] = round(1e6 * (time.process_time() - start) / len(tasks))

        loaded = load_task(tasks[0], settings.size)
        step("decode", lambda task: load_task(task, settings.size))
        step("encode", lambda task: encode_image(loaded.image, ".jpg", loaded.size, 95))
        step("encode_and_write", lambda task: save_image(loaded.image, task.output, loaded.size, 95))
        step("look", lambda task: is_complete(task.output))
        step("hash", lambda task: sha256_file(task.output))
        step("joints_for_the_file", target_joints)
        step("send_to_a_worker", lambda task: pickle.dumps(task))
    print(json.dumps(found), flush=True)


def rates(weights: str, images: int, times: int) -> dict[str, Any]:
    """Of the network alone, in the engine that `generate` takes, and of the whole way, in turns."""
    hide_progress()
    source_data(None, lambda _: None)
    planned = plan_folder(None, ratio=1.0, mode="add")
    generator = open_generator(weights, "cpu")
    how = use_engine(generator, FASTEST)
    settings = RenderSettings(precision=how.precision).on(generator)
    alone, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            out = Path(folder) / str(number)
            work = Work(planned.source, planned.table, generator, out, settings, (0, 1))
            chunks = PlainRendering.chunks(work)[: images // settings.chunk]
            loaded = [[load_task(task, settings.size) for task in chunk] for chunk in chunks]
            with repeatable():
                compute(generator, loaded[0], settings)
                start = time.perf_counter()
                for part in loaded:
                    compute(generator, part, settings)
                alone.append(images / (time.perf_counter() - start))
            start = time.perf_counter()
            render(chunks, generator, settings, ProgressBar("x", images, "images"))
            whole.append(images / (time.perf_counter() - start))
    one, all_ = statistics.median(alone), statistics.median(whole)
    print(f"pipe, {weights}: {how}: the network alone {one:.2f} images/s, from photos to files {all_:.2f}, "
          f"{100 * all_ / one:.0f} %", flush=True)  # fmt: skip
    return {"weights": weights, "engine": str(how), "network": one, "whole": all_, "share": all_ / one}


if __name__ == "__main__":
    main()
