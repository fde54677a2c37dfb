"""A folder of forty drawn people, ten of them spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from drawn import SIZE
from PIL import Image

from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.plan.sampler import make_plan, read_plan
from augment.pose import load_annotations, read_keypoints
from augment.pose.geometry import normalise, pose_distance
from reid_eval.datasets import read_dataset


@pytest.fixture(scope="session")
def forty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """An augmented folder of forty drawn people in the poses asked for, ten of them then spoilt; and which."""
    from augment.generators.open import open_generator
    from augment.synth.dataset import SynthSettings, write_dataset

    root = tmp_path_factory.mktemp("forty")
    write_dataset(root / "data", SynthSettings(train_ids=10, test_ids=2, images_per_id=8), "cpu")
    data, keypoints = read_dataset(root / "data"), load_annotations(root / "data")
    plan = make_plan(data.train, keypoints, ratio=0.5)
    generate(Source(data, keypoints), plan, open_generator("patn-synth-tiny", "cpu"), root / "out")
    done = read_plan(root / "out/augmentation/plan.csv")
    made = done[done["action"] == "generate"].reset_index(drop=True)
    spoilt = _spoil(root / "out", made, read_keypoints(root / "out/market-annotation-train.csv"))
    return root / "out", spoilt


def _spoil(out: Path, made: pd.DataFrame, keypoints: object) -> set[str]:
    """Three in a wrong pose, three of another person in the right pose, two of noise, two grey."""
    from augment.folder.render import Settings, Task, compute, load_task
    from augment.generators.open import open_generator

    poses = keypoints.xy[keypoints.rows(made["output"].tolist())]  # type: ignore[attr-defined]
    settings = Settings(SIZE, torch.device("cpu"), "float32", 95, 8)
    generator, spoilt = open_generator("patn-synth-tiny", "cpu"), {}
    rng = np.random.default_rng(0)
    for number, row in enumerate(np.linspace(0, len(made) - 1, 10).round().astype(int).tolist()):
        output, condition = (out / made.loc[row, name] for name in ("output", "condition"))
        target = poses[row]
        if number < 3:  # facing the other way, and in another moment of the gait
            target = poses[np.argmax(pose_distance(normalise(poses), normalise(target[None])))]
        elif number < 6:
            others = made[made["pid"] != made.loc[row, "pid"]]
            condition = out / others.iloc[(row * 7) % len(others)]["condition"]
        if number < 6:
            own = keypoints.xy[keypoints.rows([condition.name])[0]]  # type: ignore[attr-defined]
            task = load_task(Task(condition, own, None, target, output), SIZE)
            image = compute(generator, [task], settings)[0]
        else:
            image = (
                rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) if number < 8 else np.full((*SIZE, 3), 128, np.uint8)
            )
        Image.fromarray(image).save(output, quality=95)
        spoilt[made.loc[row, "output"]] = number
    return set(spoilt)
