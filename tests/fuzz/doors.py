"""The doors through which files of strangers come in: a valid file each, and the command that reads it.

A case is `(door, number)`: the same spoilt bytes and the same command every time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mutations import NASTY_TEXTS, json_bytes, nasty_value, spoil_bytes, spoil_cells, spoil_value
from PIL import Image

Case = tuple[list[str], list[Path]]
"""The command, and what to remove after it."""
Door = Callable[["Ground", random.Random], Case]


class Ground:
    """What cases stand on: a small data set, an augmented folder, weights; made once, given back as it was."""

    def __init__(self, root: Path) -> None:
        from augment.api import augment_folder, plan_folder
        from augment.estimators.posenet.network import posenet_tiny
        from augment.estimators.posenet.weights_file import save_weights, shipped_weights
        from augment.gate.judge import GateThresholds
        from augment.gate.thresholds import write_thresholds
        from augment.generators.patn.builders import build_generator
        from augment.generators.patn.load import save_generator
        from augment.synth.dataset import SynthSettings, write_dataset
        from reid_eval.backbones import build_for
        from reid_eval.backbones.saved import save_model
        from reid_eval.runtime import kept_generators, sha256_file
        from reid_eval.settings import TrainSettings

        self.root = root
        self.data = write_dataset(root / "data", SynthSettings(2, 2, 4, 2, size=(64, 32)))
        self.out = root / "out"
        planned = plan_folder(self.data, ratio=0.5)
        augment_folder(planned, self.out, "entry:copy")
        self.images = root / "photos"
        self.images.mkdir()
        self.photo = next((self.data / "bounding_box_train").iterdir())
        self.annotations = (self.data / "market-annotation-train.csv").read_bytes()
        with kept_generators():
            torch.manual_seed(0)
            generator = build_generator("patn_tiny", ngf=4, n_blocks=2)
            info = {"size": [64, 32], "settings": {"sigma": 3.0}, "data": "drawn", "init": None}
            save_generator(root / "g.safetensors", generator, info)
            torch.save(generator.state_dict(), root / "g.pth")
            save_weights(root / "p.safetensors", posenet_tiny(), (64, 32), [0.1] * 18, {"data": "drawn"})
            settings = TrainSettings(size=(64, 32), backbone="resnet50")
            network = build_for(settings, 2, (64, 32), (1, 2))
            network.settings = settings
            save_model(root / "r.safetensors", network)
        sha256 = sha256_file(str(shipped_weights()))
        limits = GateThresholds(1.0, 99.0, 0.0, 1.0, 99.0, size=(128, 64), estimator_sha256=sha256)
        write_thresholds(root / "gate.json", limits)
        self.recipe = {
            "title": "t", "data": {"source": "folder", "root": str(self.data)},
            "rows": [{"kind": "leave_out"}, {"kind": "patn", "weights": "entry:copy", "train": {}}],
            "columns": [0.5, "double"], "backbones": ["resnet50"], "seeds": [0],
            "train": {"preset": "quick", "lr": 0.1},
        }  # fmt: skip
        self.training = {
            "data": {"source": "folder", "root": str(root / "absent")},
            "train": {"generator": "patn_tiny", "overrides": {"ngf": 4}, "constant_steps": 1, "decay_steps": 0,
                      "epoch_steps": 1, "perceptual": "off"},
        }  # fmt: skip
        self.resumed = {
            "data": {"source": "folder", "root": str(self.data), "size": [64, 32]},
            "train": {**self.training["train"], "ndf": 4, "batch_size": 2, "constant_steps": 2, "pool_size": 2},
        }
        self.checkpoint = self._begun(root / "begun")
        self.log = b"".join(json_bytes({"step": n, "pairs": n * 4, "l1": 0.5}) + b"\n" for n in range(3))

    def _begun(self, out: Path) -> Path:
        """The checkpoint of a training."""
        from augment.generators.patn.train import train_generator
        from augment.pairs.training_recipe import Recipe
        from reid_eval.runtime import kept_generators

        recipe = Recipe.model_validate(self.resumed)
        with kept_generators():
            train_generator(recipe.settings(), recipe.data.open("cpu"), out)
        return out / "checkpoint.pt"

    def file(self, name: str, data: bytes) -> Path:
        """A file of the case."""
        path = self.root / name
        path.write_bytes(data)
        return path

    @contextmanager
    def kept(self, path: Path) -> Iterator[None]:
        """The file as it was, after the block."""
        before = path.read_bytes()
        try:
            yield
        finally:
            path.write_bytes(before)


def safetensors_bytes(path: Path, key: str, rng: random.Random) -> bytes:
    """A weights file with its metadata, its header or its bytes spoilt."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    act = rng.random()
    if act < 0.2:
        return spoil_bytes(data, rng)
    if act < 0.8:
        value = spoil_value(json.loads(header["__metadata__"][key]), rng)
        header["__metadata__"][key] = (
            json.dumps(value)
            if rng.random() < 0.9
            else spoil_bytes(header["__metadata__"][key].encode(), rng).decode("utf-8", "replace")
        )
    else:
        header = spoil_value(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _annotations(ground: Ground, rng: random.Random) -> Case:
    spoil = spoil_cells(ground.annotations, rng, b":") if rng.random() < 0.7 else spoil_bytes(ground.annotations, rng)
    file, out = ground.file("k.csv", spoil), ground.root / "library.csv"
    words = ["plan", str(out), "--data", str(ground.data), "--keypoints", str(file), "--ratio", "0.5"]
    if rng.random() < 0.6:
        words = ["pose-library", str(out), "--from", str(file), *rng.choice(([], ["--mirror"], ["--between", "1"]))]
    return words, [out]


def _library(ground: Ground, rng: random.Random) -> Case:
    from augment.pose.keypoints import write_keypoints
    from augment.pose.library import shipped_library

    path = ground.root / "l.csv"
    write_keypoints(path, shipped_library().take(range(6)))
    lines = path.read_text().split("\n")
    row = rng.randrange(1, len(lines) - 1)
    frame = rng.choice(
        ("@0x0", "@0x64", "@128x0", "@99999x9", "@" + "9" * 500 + "x1", "@1x1", "", "@-1x2", "@128x64@2x2")
    )
    lines[row] = rng.choice(("a", "gait/view000/phase", "x" * 300, "p9")) + frame + ":" + lines[row].split(":", 1)[1]
    file, out = ground.file("l.csv", "\n".join(lines).encode()), ground.root / "library.csv"
    words = ["pose-library", str(out), "--from", str(file), *rng.choice(([], ["--mirror"], ["--between", "2"]))]
    if rng.random() < 0.4:
        words = ["plan", str(out), "--data", str(ground.data), "--ratio", "0.5", "--pose-source", "library",
                 "--library", str(file)]  # fmt: skip
    return words, [out]


def _plan(ground: Ground, rng: random.Random) -> Case:
    data = (ground.out / "augmentation/plan.csv").read_bytes()
    data = spoil_cells(data, rng, b",") if rng.random() < 0.7 else spoil_bytes(data, rng)
    file, out = ground.file("plan.csv", data), ground.root / "made"
    words = ["generate", "--data", str(ground.data), "--plan", str(file), "--out", str(out), "--weights", "entry:copy"]
    return [*words, "--device", "cpu"], [out, ground.root / "made.run.json"]


def _inner(ground: Ground, rng: random.Random) -> Case:
    name = rng.choice(("augmentation/manifest.json", "augmentation/plan.csv", "market-annotation-train.csv"))
    copied = ground.root / "folder"
    shutil.copytree(ground.out, copied)
    path = copied / name
    data = path.read_bytes()
    if rng.random() < 0.3:
        data = spoil_bytes(data, rng)
    elif name.endswith(".json"):
        data = json_bytes(spoil_value(json.loads(data), rng))
    else:
        data = spoil_cells(data, rng, b"," if name.endswith("plan.csv") else b":")
    path.write_bytes(data)
    png = ground.root / "sheet.png"
    words = rng.choice((
        ["verify", str(copied)], ["sheet", str(copied), str(png)],
        ["quality", str(copied), "--metric", "colour", "--device", "cpu"],
        ["generate", "--data", str(ground.data), "--ratio", "0.5", "--out", str(copied), "--weights", "entry:copy",
         "--resume", "--device", "cpu"],
    ))  # fmt: skip
    return words, [copied, png]


def _thresholds(ground: Ground, rng: random.Random) -> Case:
    data = (ground.root / "gate.json").read_bytes()
    spoilt = spoil_bytes(data, rng) if rng.random() < 0.2 else json_bytes(spoil_value(json.loads(data), rng))
    file = ground.file("t.json", spoilt)
    return ["gate", str(ground.out), "--thresholds", str(file), "--device", "cpu"], []


def _generator(ground: Ground, rng: random.Random) -> Case:
    file = ground.file("w.safetensors", safetensors_bytes(ground.root / "g.safetensors", "patn_augment", rng))
    png = ground.root / "e.png"
    words = ["explain", "--image", str(ground.photo), "--pose", str(ground.photo), "-o", str(png)]
    return [*words, "--weights", str(file), "--device", "cpu"], [png]


def _pose_weights(ground: Ground, rng: random.Random) -> Case:
    file = ground.file("w.safetensors", safetensors_bytes(ground.root / "p.safetensors", "patn_pose", rng))
    shutil.copy(ground.photo, ground.images / "a.jpg")
    return _poses(ground, ["--weights", str(file)])


def _poses(ground: Ground, more: list[str]) -> Case:
    out, png = ground.root / "k.csv", ground.root / "k.png"
    out.unlink(missing_ok=True)
    words = ["poses", str(ground.images), "--estimator", "synth", "--out", str(out), "--sheet", str(png)]
    parts = [ground.root / ".k.csv.part.csv", ground.root / ".k.csv.part.json"]
    return [*words, *more, "--device", "cpu"], [out, png, *parts, *ground.images.iterdir()]


def _network(ground: Ground, rng: random.Random) -> Case:
    file = ground.file("w.safetensors", safetensors_bytes(ground.root / "r.safetensors", "reid_eval", rng))
    out = ground.root / "f.npz"
    return ["embed", str(ground.data), "--reid", str(file), "--out", str(out), "--poses", "0", "--device", "cpu"], [out]


def _torch(ground: Ground, rng: random.Random) -> Case:
    file, out = (
        ground.file("w.pth", spoil_bytes((ground.root / "g.pth").read_bytes(), rng)),
        ground.root / "i.safetensors",
    )
    return ["import-checkpoint", str(file), str(out)], [out]


def _yaml_bytes(value: Any, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return spoil_bytes(yaml.safe_dump(value).encode(), rng)
    spoilt = spoil_value(value, rng)
    try:
        return yaml.safe_dump(spoilt, allow_unicode=True).encode("utf-8", "surrogatepass")
    except RecursionError:
        return json_bytes(spoilt)  # which is YAML, too


def _table(ground: Ground, rng: random.Random) -> Case:
    out = ground.root / "table"
    words = ["table", "--out", str(out), "--dry-run", "--device", "cpu"]
    if rng.random() < 0.7:
        file = ground.file("r.yaml", _yaml_bytes(ground.recipe, rng))
        return [*words, str(file)], [out]
    key = rng.choice(
        ("seeds", "train.lr", "rows", "data.root", "columns", "train", "title.x", "", "seeds.0", "\x1b[2J")
    )
    value = nasty_value(rng)
    text = value if isinstance(value, str) else json.dumps(value)
    text = text if rng.random() < 0.8 else rng.choice(("[" * 900, "!!int x", "&a [*a]", "2001-01-01", "{a: 1, a: 2}"))
    file = ground.file("r.yaml", yaml.safe_dump(ground.recipe).encode())
    return [*words, str(file), "--set", f"{key}={text}"], [out]


def _training(ground: Ground, rng: random.Random) -> Case:
    file, out = ground.file("r.yaml", _yaml_bytes(ground.training, rng)), ground.root / "run"
    return ["train", "--recipe", str(file), "--out", str(out), "--max-seconds", "1", "--device", "cpu"], [out]


def _checkpoint(ground: Ground, rng: random.Random) -> Case:
    out = ground.root / "run"
    out.mkdir()
    if rng.random() < 0.3:
        (out / "checkpoint.pt").write_bytes(spoil_bytes(ground.checkpoint.read_bytes(), rng))
    else:
        contents = torch.load(ground.checkpoint, weights_only=True)
        part = rng.choice((None, "settings", "state", "random"))
        if part is None:
            contents = spoil_value(contents, rng)
        else:
            contents[part] = spoil_value(contents[part], rng)
        torch.save(contents, out / "checkpoint.pt")
    file = ground.file("r.yaml", yaml.safe_dump(ground.resumed).encode())
    return ["train", "--recipe", str(file), "--out", str(out), "--resume", "--device", "cpu"], [out]


def _run_file(ground: Ground, rng: random.Random) -> Case:
    path = ground.root / "out.run.json"
    data = path.read_bytes()
    value = {"data": spoil_value(str(ground.data), rng)} if rng.random() < 0.5 else spoil_value(json.loads(data), rng)
    copied = ground.root / "copied"
    shutil.copytree(ground.out, copied)
    spoilt = spoil_bytes(data, rng) if rng.random() < 0.3 else json_bytes(value)
    file = ground.file("copied.run.json", spoilt.replace(str(ground.data).encode(), b"/absent"))
    words = ["reid-eval", "--augmented", str(copied), "--set", "max_steps=1", "--set", "batch_size=2"]
    return [*words, "--set", "size=[32,32]", "--device", "cpu"], [copied, file, ground.root / "runs"]


def _reid_recipe(ground: Ground, rng: random.Random) -> Case:
    recipe = {"preset": "quick", "lr": 0.1, "size": [64, 32], "losses": ["id"], "lr_steps": [1, 2], "init": "scratch"}
    file = ground.file("r.yaml", _yaml_bytes(recipe, rng))
    empty = ground.root / "empty"
    empty.mkdir()
    return ["reid-eval", "--recipe", str(file), "--augmented", str(empty), "--device", "cpu"], [empty]


def _log(ground: Ground, rng: random.Random) -> Case:
    lines = [json.loads(line) for line in ground.log.splitlines()]
    data = (
        spoil_bytes(ground.log, rng)
        if rng.random() < 0.3
        else b"".join(json_bytes(spoil_value(line, rng)) + b"\n" for line in lines)
    )
    file, png = ground.file("train.jsonl", data), ground.root / "l.png"
    return ["plot-log", str(file), str(png)], [png]


def picture_bytes(rng: random.Random) -> tuple[str, bytes]:
    """Name and bytes of a spoilt picture."""
    import io

    kind = rng.choice(("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP"))
    size = rng.choice(((32, 64), (1, 1), (3000, 1), (1, 500), (5000, 5000), (33, 65), (2, 3)))
    mode = rng.choice(("RGB", "L", "1") if kind != "WEBP" else ("RGB",))
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, kind)
    data = buffer.getvalue()
    if kind == "PPM" and rng.random() < 0.5:
        sides = rng.choice(("9999999 9999999", "0 0", "-1 5", "9" * 500 + " 1", "20000 20000", "x y"))
        data = b"P6\n" + sides.encode() + b"\n255\n" + bytes(99)
    elif rng.random() < 0.8:
        data = spoil_bytes(data[: 1 << 16] if size == (5000, 5000) else data, rng)
    return f"p.{kind.lower().replace('jpeg', 'jpg')}", data


def _picture(ground: Ground, rng: random.Random) -> Case:
    name, data = picture_bytes(rng)
    (ground.images / name).write_bytes(data)
    if rng.random() < 0.5:
        return _poses(ground, [])
    row = f"name:keypoints_y:keypoints_x\n{name}: {[5] * 18}: {[5] * 18}\n"
    file, png = ground.file("k.csv", row.encode()), ground.root / "e.png"
    words = ["explain", "--image", str(ground.images / name), "--pose", str(ground.images / name), "-o", str(png)]
    return [*words, "--keypoints", str(file), "--weights", "entry:copy", "--device", "cpu"], [
        png, ground.images / name,
    ]  # fmt: skip


def _names(ground: Ground, rng: random.Random) -> Case:
    text = rng.choice(NASTY_TEXTS).replace("/", "_").replace("\0", "_") + rng.choice(("", "\n", "\x1b[2J"))
    text = os.fsdecode(text.encode("utf-8", "surrogatepass")[:200] + rng.choice((b"", b"\xff")))
    folder = rng.choice((ground.images, ground.data / "bounding_box_train"))
    path = folder / f"{text or 'x'}.jpg"
    shutil.copy(ground.photo, path)
    if folder == ground.images:
        words, extra = _poses(ground, [])
        return words, extra
    out = ground.root / "made.csv"
    return ["plan", str(out), "--data", str(ground.data), "--ratio", "0.5"], [out, path]


def _list(ground: Ground, rng: random.Random) -> Case:
    names = sorted(path.name for path in (ground.data / "bounding_box_train").iterdir())
    text = "from,to\n" + "".join(f"{a},{b}\n" for a, b in pairwise(names))
    data = spoil_cells(text.encode(), rng, b",") if rng.random() < 0.6 else spoil_bytes(text.encode(), rng)
    recipe = {**ground.training, "data": {"source": "folder", "root": str(ground.data), "size": [64, 32],
              "pairs": str(ground.file("pairs.csv", data))}}  # fmt: skip
    recipe["train"] = {**recipe["train"], "init_weights": "absent"}  # it ends when all that is data has been read
    file, out = ground.file("r.yaml", yaml.safe_dump(recipe).encode()), ground.root / "run"
    return ["train", "--recipe", str(file), "--out", str(out), "--device", "cpu"], [out]


DOORS: dict[str, Door] = {
    "annotations": _annotations,
    "library": _library,
    "plan": _plan,
    "folder": _inner,
    "thresholds": _thresholds,
    "generator weights": _generator,
    "pose weights": _pose_weights,
    "re-ID network": _network,
    "torch file": _torch,
    "table recipe": _table,
    "training recipe": _training,
    "pair list": _list,
    "checkpoint": _checkpoint,
    "run file": _run_file,
    "re-ID recipe": _reid_recipe,
    "training log": _log,
    "picture": _picture,
    "image names": _names,
}


def rng_of(door: str, number: int) -> random.Random:
    """The dice of a case."""
    return random.Random(f"{door}/{number}")


def clean(paths: list[Path]) -> None:
    """Remove what a case left."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


np.seterr(all="ignore")
