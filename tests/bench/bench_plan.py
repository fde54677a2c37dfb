"""Plans of a million images of 100,000 identities: time and memory, by pose source and size. Nothing is read from disk.

    python tests/bench/bench_plan.py --people 100000 --images 10 --json plan.json

Wall time and the time of this process's own core are both told: they differ where the machine is shared. Memory is the
peak of the whole process; what importing the libraries takes is told beside it.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from augment.plan.file import check_plan, plan_text
from augment.plan.infer import infer_pose_source
from augment.plan.sampler import make_plan, summarise
from augment.pose.keypoints import Keypoints

STANDING = [(32, 14), (32, 26), (23, 27), (19, 45), (17, 62), (41, 27), (45, 45), (47, 62), (27, 66), (26, 90)]
STANDING += [(25, 114), (37, 66), (38, 90), (39, 114), (30, 12), (34, 12), (28, 13), (36, 13)]


def tables(people: int, images: int) -> tuple[pd.DataFrame, Keypoints]:
    """A training table and joints of so many people with so many images each, in Market-1501's names."""
    rng, count = np.random.default_rng(0), people * images
    xy = np.empty((count, 18, 2), np.float32)
    for start in range(0, count, 1 << 16):
        part = xy[start : start + (1 << 16)]
        part[:] = np.array(STANDING, np.float32) + rng.integers(-6, 7, part.shape, dtype=np.int8)
        part[rng.random(part.shape[:2]) < 0.05] = np.nan
    pids, camids = np.repeat(np.arange(1, people + 1), images), np.tile(np.arange(images) % 6 + 1, people)
    names = [f"{pid:06d}_c{cam}s1_{row:07d}_00.jpg" for row, (pid, cam) in enumerate(zip(pids, camids, strict=True))]
    paths = [f"bounding_box_train/{name}" for name in names]
    return pd.DataFrame({"path": paths, "pid": pids, "camid": camids, "source": "real"}), Keypoints(tuple(names), xy)


def peak() -> float:
    """Of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(what: str, found: dict[str, Any], work: Callable[[], Any]) -> Any:
    """Do some work, and note how long it took and the peak of memory after it."""
    wall, core = time.perf_counter(), time.process_time()
    value = work()
    found[what] = {
        "seconds": round(time.perf_counter() - wall, 2),
        "core_seconds": round(time.process_time() - core, 2),
        "peak_gb": round(peak(), 3),
    }
    print(what, found[what], flush=True)
    return value


@click.command()
@click.option("--people", default=100_000)
@click.option("--images", default=10)
@click.option("--ratio", default=0.5)
@click.option("--mode", default="replace")
@click.option("--pose-source", default="dataset")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(people: int, images: int, ratio: float, mode: str, pose_source: str, target: Path | None) -> None:
    """Measure one plan."""
    how = {"ratio": ratio, "mode": mode, "pose_source": pose_source}
    found: dict[str, Any] = {"people": people, "images": images, **how, "imports_gb": round(peak(), 3)}
    print(found, flush=True)
    train, keypoints = timed("tables", found, lambda: tables(people, images))
    plan = timed("make_plan", found, lambda: make_plan(train, keypoints, seed=3, exclude_same_image=True, **how))
    found["generated"] = int((plan["action"] == "generate").sum())
    timed("summarise", found, lambda: summarise(plan, train, keypoints, **how))
    timed("check_plan", found, lambda: check_plan(plan, train, keypoints, None, "market1501"))
    timed("infer_pose_source", found, lambda: infer_pose_source(plan, keypoints))
    text = timed("plan_text", found, lambda: plan_text(plan))
    found["plan_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    if target:
        target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
