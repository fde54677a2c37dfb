"""The smallest jobs of five commands, on drawn data, with stand-ins for networks; and what has to come out of them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS.parent, TESTS / "augment", TESTS / "augment/table"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from drawn import draw_dataset, standing  # noqa: E402
from gated import Blind  # noqa: E402
from small_tables import tiny, tiny_trunk  # noqa: E402
from toy import Says, Toy  # noqa: E402

TRAIN = {
    "generator": "patn_tiny",
    "overrides": {"ngf": 4, "n_blocks": 2},
    "ndf": 4,
    "d_blocks": 1,
    "batch_size": 2,
    "constant_steps": 4,
    "decay_steps": 2,
    "epoch_steps": 1,
    "pool_size": 3,
    "perceptual": "off",
    "checkpoint_every": 2,
    "sheet_every": 3,
    "log_every": 1,
}


def toy(device: Any) -> Toy:
    """What `--weights fault_jobs:toy` makes."""
    return Toy()


def write_inputs(root: Path) -> None:
    """Draw the data set, write the recipes."""
    data = draw_dataset(root / "data", {2: 9, 7: 6, 11: 4}, {101: 4, 102: 4})
    train = {"data": {"source": "folder", "root": str(data), "size": [16, 8]}, "train": TRAIN}
    rows = [{"kind": "leave_out", "name": "none"}, {"kind": "patn", "weights": "entry:copy"}]
    table = tiny(data, rows=rows, columns=[0.5], seeds=[0], plan_seeds=[0])
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    (root / "table.yaml").write_text(yaml.safe_dump(table))


def stand_in(set_name: Callable[..., Any] = setattr, set_item: Callable[..., Any] = dict.__setitem__) -> None:
    """A gate, an estimator and a re-ID network that take no time; poses are kept after each batch."""
    from augment.estimators import build, estimate
    from augment.gate import thresholds
    from reid_eval.backbones import BACKBONES

    def open_gate(*_: Any) -> Blind:
        return Blind(0.5)

    def build_estimator(*_: Any, **__: Any) -> Says:
        return Says(standing())

    set_name(thresholds, "open_gate", open_gate)
    set_name(build, "build_estimator", build_estimator)
    set_name(estimate, "_SAVE_EVERY", 0.0)
    set_item(BACKBONES, "tiny", tiny_trunk)


def command(job: str, root: Path, out: Path) -> list[str]:
    """A job's command line; `out` is a folder for all that it writes. It can be given again after any end."""
    data = str(root / "data")
    plain = ["generate", data, "--ratio", "0.6", "--out", str(out / "out"), "--weights", "fault_jobs:toy",
             "--device", "cpu", "--resume"]  # fmt: skip
    return {
        "generate": plain,
        "gated": [*plain, "--gate", "--gate-retries", "1"],
        "train": ["train", "--recipe", str(root / "train.yaml"), "--out", str(out / "run"), "--device", "cpu",
                  "--resume"],
        "table": ["table", str(root / "table.yaml"), "--out", str(out / "table"), "--device", "cpu"],
        "poses": ["poses", data, "--estimator", "synth", "--out", str(out / "joints.csv"), "--batch-size", "6",
                  "--sheet", str(out / "sheet.png"), "--json", str(out / "found.json"), "--resume"],
    }[job]  # fmt: skip


JOBS = ("generate", "gated", "train", "table", "poses")


def state(out: Path) -> dict[str, str]:
    """Hash of each file below a folder, times and machines left out of it: equal for equal results."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(_timeless(path)).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def _timeless(path: Path) -> bytes:
    told: dict[str, Callable[[Path], Any]] = {
        "run.json": lambda path: _without(json.loads(path.read_text()), "command"),
        "out.run.json": lambda path: _without(json.loads(path.read_text()), "command", "augmented"),
        "train.jsonl": lambda path: [
            _without(json.loads(line), "seconds", "pairs_per_second") for line in path.read_text().splitlines()
        ],
    }
    if path.parent.name == "records" and not path.name.startswith("."):
        return json.dumps(_without(json.loads(path.read_text()), "made")).encode()
    return json.dumps(told[path.name](path)).encode() if path.name in told else path.read_bytes()


def _without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key not in keys}


GROWING = ("run/train.jsonl", "run/checkpoint.pt", "table/table.", ".joints.csv.part.", "out/augmentation/")
"""Files that are whole on the way but not yet what they come to."""
