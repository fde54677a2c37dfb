"""What cases stand on: a small data set, augmented folders, weights, records; valid, made once."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from case import ROOT
from PIL import Image

TRAIN = "bounding_box_train"
PICTURES = {
    "JPEG": "jpg", "PNG": "png", "BMP": "bmp", "PPM": "ppm", "TIFF": "tiff", "WEBP": "webp",
}  # fmt: skip
SIDES = ((32, 64), (1, 1), (3000, 1), (1, 500), (5000, 5000), (33, 65), (2, 3))


class Ground:
    """The folder `root` with all that is valid."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._data()
        with _kept_generators():
            torch.manual_seed(0)
            self._weights()
            self._trainings()
        self._folders()
        self._pictures()
        self._documents()
        self._records()
        self._features()
        self._tars()
        self._kept()

    def bytes_of(self, name: str) -> bytes:
        """Of a valid file, with `{root}` for the folder."""
        return (self.root / name).read_bytes().replace(str(self.root).encode(), ROOT.encode())

    def json_of(self, name: str) -> Any:
        """Of a valid file, likewise."""
        return json.loads(self.bytes_of(name))

    def _data(self) -> None:
        from augment.synth.dataset import SynthSettings, write_dataset

        # Of a fixed version: the corpus names records, whose keys follow from these pictures
        data = write_dataset(self.root / "data", SynthSettings(2, 2, 4, 2, size=(64, 32), world=1))
        self.photo = sorted((data / TRAIN).iterdir())[0].name
        (self.root / "photos").mkdir()
        lists = {
            "train": "0000/0000_000_01_0303morning_0008_0.jpg 0",
            "query": "0000/0000_001_02_0303morning_0009_0.jpg 0",
            "gallery": "0000/0000_002_03_0303morning_0010_0.jpg 0",
        }
        for split, line in lists.items():
            folder = self.root / "msmt" / ("train" if split == "train" else "test")
            (folder / line[:4]).mkdir(parents=True, exist_ok=True)
            shutil.copy(data / TRAIN / self.photo, folder / line.split()[0])
            (self.root / "msmt" / f"list_{split}.txt").write_text(f"{line}\n")
        rows = "".join(f"{line.split()[0][5:]}: {[5 + n for n in range(18)]}: {[5] * 18}\n" for line in lists.values())
        (self.root / "msmt" / "market-annotation-train.csv").write_text(f"name:keypoints_y:keypoints_x\n{rows}")

    def _weights(self) -> None:
        from augment.estimators.posenet.network import posenet_tiny
        from augment.estimators.posenet.weights_file import save_weights
        from augment.generators.patn.builders import build_generator
        from augment.generators.patn.load import save_generator
        from reid_eval.backbones import build_for
        from reid_eval.backbones.saved import save_model
        from reid_eval.settings import TrainSettings

        generator = build_generator("patn_tiny", ngf=4, n_blocks=2)
        info = {"size": [64, 32], "settings": {"sigma": 3.0}, "data": "drawn", "init": None}
        save_generator(self.root / "g.safetensors", generator, info)
        torch.save(generator.state_dict(), self.root / "g.pth")
        save_weights(self.root / "p.safetensors", posenet_tiny(), (64, 32), [0.1] * 18, {"data": "drawn"})
        settings = TrainSettings(size=(64, 32), backbone="resnet50")
        network = build_for(settings, 2, (64, 32), (1, 2))
        network.settings = settings
        save_model(self.root / "r.safetensors", network)

    def _trainings(self) -> None:
        from tiny import POSES

        from augment.estimators.posenet.training import train_poses
        from augment.generators.patn.train import train_generator
        from augment.pairs.training_recipe import Recipe

        self.training: dict[str, Any] = {
            "data": {"source": "folder", "root": f"{ROOT}/absent"},
            "train": {"generator": "patn_tiny", "overrides": {"ngf": 4}, "constant_steps": 1, "decay_steps": 0,
                      "epoch_steps": 1, "perceptual": "off"},
        }  # fmt: skip
        self.resumed: dict[str, Any] = {
            "data": {"source": "folder", "root": f"{ROOT}/data", "size": [64, 32]},
            "train": {**self.training["train"], "ndf": 4, "batch_size": 2, "constant_steps": 2, "pool_size": 2,
                      "log_every": 1},
        }  # fmt: skip
        recipe = Recipe.model_validate(
            {**self.resumed, "data": {**self.resumed["data"], "root": str(self.root / "data")}}
        )
        train_generator(recipe.settings(), recipe.data.open("cpu"), self.root / "begun")
        (self.root / "begun" / "generator.safetensors").unlink()
        train_poses(POSES, self.root / "begun-poses")

    def _folders(self) -> None:
        from augment.api import augment_folder, plan_folder
        from augment.estimators.posenet.weights_file import shipped_weights
        from augment.gate.judge import GateThresholds
        from augment.gate.thresholds import write_thresholds
        from augment.pose.keypoints import write_keypoints
        from augment.pose.library import shipped_library
        from reid_eval.runtime import sha256_file

        planned = plan_folder(self.root / "data", ratio=0.5)
        augment_folder(planned, self.root / "out", "entry:copy")
        sha256 = sha256_file(str(shipped_weights()))
        limits = GateThresholds(1.0, 99.0, 0.0, 1.0, 99.0, size=(128, 64), estimator_sha256=sha256)
        write_thresholds(self.root / "gate.json", limits)
        write_keypoints(self.root / "library.csv", shipped_library().take(range(6)))
        half = ["--shard", "0/2", "--gate", "--gate-thresholds", str(self.root / "gate.json")]
        given("generate", str(self.root / "data"), "--ratio", "0.5", "--out", str(self.root / "half"),
              "--weights", "entry:copy", "--device", "cpu", *half)  # fmt: skip
        given("generate", str(self.root / "data"), "--ratio", "0.5", "--out", str(self.root / "gated"),
              "--weights", "entry:copy", "--device", "cpu", *half[2:])  # fmt: skip
        moves = {
            "moves": [],
            "removes": [],
            "restores": [],
            "manifest": self.json_of("gated/augmentation/manifest.json"),
        }
        moves["manifest"]["repairs"] = [moves["manifest"]["gate"]]
        self.moves = moves

    def _pictures(self) -> None:
        (self.root / "pictures").mkdir()
        for kind, suffix in PICTURES.items():
            for width, height in SIDES:
                for mode in ("RGB", "L", "1") if kind != "WEBP" else ("RGB",):
                    buffer = io.BytesIO()
                    Image.new(mode, (width, height), 1).save(buffer, kind)
                    name = f"pictures/{mode}-{width}x{height}.{suffix}"
                    (self.root / name).write_bytes(buffer.getvalue()[: 1 << 16])

    def _documents(self) -> None:
        self.recipe: dict[str, Any] = {
            "title": "t", "data": {"source": "folder", "root": f"{ROOT}/data"},
            "rows": [{"kind": "leave_out"}, {"kind": "patn", "weights": "entry:copy", "train": {}}],
            "columns": [0.5, "double"], "backbones": ["resnet50"], "seeds": [0],
            "train": {"preset": "quick", "lr": 0.1},
        }  # fmt: skip
        self.reid_recipe = {
            "preset": "quick", "lr": 0.1, "size": [64, 32], "losses": ["id"], "lr_steps": [1, 2], "init": "scratch",
        }  # fmt: skip
        lines = [json.dumps({"step": n, "pairs": n * 4, "l1": 0.5}) for n in range(3)]
        (self.root / "train.jsonl").write_text("\n".join(lines) + "\n")
        (self.root / "table.yaml").write_text(yaml.safe_dump(self.recipe).replace(ROOT, str(self.root)))
        (self.root / "resumed.yaml").write_text(yaml.safe_dump(self.resumed).replace(ROOT, str(self.root)))
        (self.root / "empty").mkdir()

    def _records(self) -> None:
        """A table whose trainings are all there, with made-up scores."""
        from augment.table.study import open_study
        from augment.table.table_grid import table_grid
        from augment.table.table_recipe import load_table
        from reid_eval.rankings import write_lists
        from reid_eval.table import write_grid
        from reid_eval.table.cells import Queries, Record, Scores
        from reid_eval.table.grid import Place

        recipe = load_table(str(self.root / "table.yaml"))
        study = open_study(recipe, self.root / "table", "cpu")
        count = len(study.reid.query)
        pids = study.reid.query["pid"].tolist()  # a page shows rankings of its own data set alone
        queries = Queries(pids=pids, precisions=[0.5] * count, first_ranks=[2] * count)
        scores = Scores(rank1=0.0, rank5=1.0, rank10=1.0, mAP=0.5, mINP=0.5, n_train=8, n_generated=0, n_query=count,
                        n_gallery=9, n_skipped=0, steps=2, train_accuracy=0.5)  # fmt: skip
        made = {"seconds": 1.0, "device": "cpu", "device_name": "abacus", "amp": "off"}
        self.records = []
        for cell in study.cells:
            facts = cell.facts
            study.records.write(Record(key=cell.key, facts=facts, scores=scores, queries=queries, made=made))
            self.records.append(f"table/records/{cell.key}.json")
        lists = np.zeros((count, 3), np.int32)
        for cell in study.cells:
            write_lists(study.lists(cell), lists)
        first = study.columns[0].label  # a page shows the rankings of one pair of cells
        pair = [study.places[Place("resnet50", row.name, first, 0)] for row in recipe.rows]
        self.ranked = [study.lists(cell).relative_to(self.root).as_posix() for cell in pair]
        write_grid(table_grid(study), study.out / "table.grid.json")
        self.told = {"command": ["patn-augment", "table"], "data": f"{ROOT}/data", "versions": {"numpy": "1"},
                     "recipe": recipe.model_dump(mode="json")}  # fmt: skip
        (study.out / "run.json").write_text(json.dumps(self.told).replace(ROOT, str(self.root)))

    def _features(self) -> None:
        from augment.search.embed import Embedded

        images = np.array(["query/a.jpg", "query/b.jpg"])
        numbers, splits = np.array([1, 2]), np.array(["query", "query"])
        found = Embedded(np.eye(2, dtype=np.float32), images, numbers, numbers, splits, numbers > 1, {"reid": "x"})
        found.save(self.root / "features.npz")
        names = ("data", "r.safetensors", "f", "cache.sqlite")
        data, reid, out, cache = (str(self.root / name) for name in names)
        given("embed", data, "--reid-weights", reid, "--out", out, "--cache", cache, "--poses", "0", "--device", "cpu",
              "--split", "query")  # fmt: skip

    def _tars(self) -> None:
        """A finished folder of tars, and one of which one of two parts is made; none without their library."""
        self.has_tars = find_spec("pyarrow") is not None
        words = ("--ratio", "0.5", "--weights", "entry:copy", "--device", "cpu", "--format", "tar",
                 "--images-per-shard", "3")  # fmt: skip
        for name, more in (("tars", ()), ("half-tars", ("--shard", "0/2"))) if self.has_tars else ():
            given("generate", str(self.root / "data"), "--out", str(self.root / name), *words, *more)

    def _kept(self) -> None:
        """What a re-ID run keeps, with made-up scores; directions of a slim form; rates of engines; views."""
        from augment.generators.patn.slim import Directions
        from augment.generators.patn.slim_file import write_slim
        from reid_eval.comparison_file import Kept

        photo = {"path": f"query/{self.photo}", "pid": 1, "camid": 1, "right": None}
        sides = ("original", "augmented")
        ranked = {"query": photo, "precision": dict.fromkeys(sides, 0.5), "first_rank": dict.fromkeys(sides, 2),
                  "lists": {side: [{**photo, "right": False}] for side in sides}}  # fmt: skip
        self.evaluation = {
            "version": 1, "backbone": "resnet50", "root": f"{ROOT}/data", "layout": "market1501", "seeds": [0],
            "cmc": {side: [[0.5, 1.0]] for side in sides}, "skipped": [photo["path"]], "seed": 0,
            "rankings": {"wins": [ranked], "sample": [ranked]},
        }  # fmt: skip
        scores = {"rank1": 0.5, "rank5": 1.0, "rank10": 1.0, "mAP": 0.5, "mINP": 0.5}
        run = {"backbone": "resnet50", "init": "scratch", "preset": "quick", "seed": 0, **scores, "n_train": 8,
               "n_generated": 2, "n_query": 4, "n_gallery": 4, "n_skipped": 1, "steps": 2, "seconds": 1.5, "amp": "off",
               "device": "cpu", "settings": {"lr": 0.1, "size": [64, 32]}, "searched": {"name": "rerank", **scores},
               "breakdown": {"camera": {"1": {"queries": 3, "skipped": 1, "rank1": 0.5, "mAP": None}}}}  # fmt: skip
        self.result = {"original": [run], "augmented": [run]}
        (self.root / "compared").mkdir()
        for name, facts in (("result.json", self.result), ("resnet50-evaluation.json", self.evaluation)):
            (self.root / "compared" / name).write_text(json.dumps(facts).replace(ROOT, str(self.root)))
        directions = Directions(torch.zeros(8), torch.eye(8)[:, :4])
        write_slim(self.root / "slim.safetensors", {"image_in.0": directions}, "0" * 64, 2)
        floats, wholes = np.eye(2, dtype=np.float32), np.array([1, 2])
        kept = Kept(floats, floats, np.array([0.5, 1.0]), np.array([0.5, 1.0]), wholes)
        np.savez(self.root / "kept.npz", **kept._asdict())
        views = np.zeros((2, 1, 3, 4, 2), np.uint8)
        np.savez(self.root / "views.npz", images=views, known=np.array([True, True]), seconds=np.float64(1))


def given(*words: str) -> None:
    """A command that has to work."""
    from augment.commands.main import cli

    cli.main(list(words), standalone_mode=False)


@contextmanager
def _kept_generators() -> Iterator[None]:
    from reid_eval.runtime import kept_generators

    with kept_generators():
        yield
