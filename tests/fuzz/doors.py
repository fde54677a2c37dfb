"""The doors through which files of strangers come in: for each a strategy of cases, a valid file spoilt and the command
that reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from case import ROOT, Case, File, whole
from ground import PICTURES, SIDES, TRAIN, Ground
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from strategies import (
    edited,
    edits,
    file_names,
    json_documents,
    splices,
    tables,
    texts,
    values,
    yaml_documents,
)

Made = tuple[list[str], list[File], list[tuple[str, str]]]
Door = Callable[[DrawFn, Ground], Made]
DATA, CPU = f"{ROOT}/data", ["--device", "cpu"]
GENERATE = ["generate", DATA, "--weights", "entry:copy", *CPU]


def _table(draw: DrawFn, ground: Ground, base: str, separator: bytes, path: str) -> File:
    """A table with cells, rows or bytes spoilt."""
    data = ground.bytes_of(base)
    how = tables(data, separator) if draw(st.sampled_from((True, True, False))) else splices(data)
    return File(path, base, tuple(draw(how)))


def _json(draw: DrawFn, ground: Ground, base: str, path: str) -> File:
    return whole(path, draw(json_documents(ground.json_of(base))))


def _yaml(draw: DrawFn, value: Any, path: str = "r.yaml") -> File:
    return whole(path, draw(yaml_documents(value)))


def _bytes(draw: DrawFn, ground: Ground, base: str, path: str, head: int | None = None) -> File:
    return File(path, base, tuple(draw(splices(ground.bytes_of(base), head))))


def _safetensors(draw: DrawFn, ground: Ground, base: str, key: str) -> File:
    """A weights file with its metadata, its header or its bytes spoilt."""
    with (ground.root / base).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    act = draw(st.sampled_from(("bytes", "facts", "facts", "facts", "header")))
    if act == "bytes":
        return File("w.safetensors", base, tuple(draw(splices(bytes(8 + length + 4096), 8 + length))))
    if act == "facts":
        facts = draw(json_documents(json.loads(header["__metadata__"][key])))
        header["__metadata__"] = {**header["__metadata__"], key: facts.decode("utf-8", "replace")}
        text = json.dumps(header).encode()
    else:
        text = draw(json_documents(header))
    return File("w.safetensors", base, ((0, 8 + length, len(text).to_bytes(8, "little") + text),))


def _torch(draw: DrawFn, ground: Ground, base: str, path: str) -> File:
    """A torch file with its contents or its bytes spoilt."""
    if draw(st.sampled_from((True, False, False))):
        return _bytes(draw, ground, base, path)
    contents = torch.load(ground.root / base, weights_only=True)
    part = draw(st.sampled_from((None, *(name for name, one in contents.items() if isinstance(one, (dict, list))))))
    if part is None:
        return File(path, base, edits=tuple(draw(edits(contents))))
    return File(
        path, base, edits=tuple(((part, *where), act, what) for where, act, what in draw(edits(contents[part])))
    )


def _annotations(draw: DrawFn, ground: Ground) -> Made:
    file = _table(draw, ground, "data/market-annotation-train.csv", b":", "k.csv")
    words = ["plan", "--out", f"{ROOT}/made.csv", DATA, "--keypoints", f"{ROOT}/k.csv", "--ratio", "0.5"]
    if draw(st.booleans()):
        more = draw(st.sampled_from(([], ["--mirror"], ["--between", "1"], ["--size", "64", "32"])))
        words = ["pose-library", "--out", f"{ROOT}/made.csv", f"{ROOT}/k.csv", *more]
    return words, [file], []


def _library(draw: DrawFn, ground: Ground) -> Made:
    lines = ground.bytes_of("library.csv").decode().split("\n")
    row = draw(st.integers(1, len(lines) - 2))
    frames = ("@0x0", "@0x64", "@128x0", "@99999x9", "@" + "9" * 500 + "x1", "@1x1", "", "@-1x2", "@128x64@2x2", "@٣x٣")
    name = draw(st.sampled_from(("a", "gait/view000/phase", "x" * 300, "p9")) | texts())
    lines[row] = name + draw(st.sampled_from(frames)) + ":" + lines[row].split(":", 1)[1]
    file = whole("l.csv", "\n".join(lines).encode("utf-8", "surrogatepass"))
    if draw(st.sampled_from((True, False, False))):
        file = _table(draw, ground, "library.csv", b":", "l.csv")
    words = ["pose-library", "--out", f"{ROOT}/made.csv", f"{ROOT}/l.csv"]
    words += draw(st.sampled_from(([], ["--mirror"], ["--between", "2"])))
    if draw(st.booleans()):
        words = ["plan", "--out", f"{ROOT}/made.csv", DATA, "--ratio", "0.5", "--pose-source", "library", "--library",
                 f"{ROOT}/l.csv"]  # fmt: skip
    return words, [file], []


def _plan(draw: DrawFn, ground: Ground) -> Made:
    file = _table(draw, ground, "out/augmentation/plan.csv", b",", "plan.csv")
    return [*GENERATE, "--plan", f"{ROOT}/plan.csv", "--out", f"{ROOT}/made"], [file], []


def _inner(draw: DrawFn, ground: Ground) -> Made:
    name = draw(st.sampled_from(("augmentation/manifest.json", "augmentation/plan.csv", "market-annotation-train.csv")))
    if name.endswith(".json"):
        file = _json(draw, ground, f"out/{name}", f"folder/{name}")
    else:
        file = _table(draw, ground, f"out/{name}", b"," if "plan" in name else b":", f"folder/{name}")
    folder = f"{ROOT}/folder"
    words = draw(st.sampled_from((
        ["verify", folder], ["sheet", folder, "--out", f"{ROOT}/sheet.png"],
        ["quality", folder, "--metric", "colour", *CPU],
        [*GENERATE, "--ratio", "0.5", "--out", folder, "--resume"],
        ["verify", folder, "--summary"],
    )))  # fmt: skip
    return words, [file], [("out", "folder")]


def _left_of(draw: DrawFn, ground: Ground, half: str) -> File:
    """One of the JSON files that an unfinished folder keeps, spoilt."""
    kept = (ground.root / half / "augmentation").rglob("*.json")
    base = draw(st.sampled_from([path.relative_to(ground.root).as_posix() for path in sorted(kept)]))
    return _json(draw, ground, base, base.replace(f"{half}/", "folder/", 1))


def _unfinished(draw: DrawFn, ground: Ground) -> Made:
    """A gated folder of which one of two parts is made: its job, and the record of a chunk."""
    file = _left_of(draw, ground, "half")
    words = [*GENERATE, "--ratio", "0.5", "--out", f"{ROOT}/folder", "--resume", "--gate", "--gate-thresholds",
             f"{ROOT}/gate.json"]  # fmt: skip
    return [*words, *draw(st.sampled_from(([], ["--shard", "0/2"], ["--shard", "1/2"])))], [file], [("half", "folder")]


def _thresholds(draw: DrawFn, ground: Ground) -> Made:
    file = _json(draw, ground, "gate.json", "t.json")
    return ["gate", f"{ROOT}/out", "--thresholds", f"{ROOT}/t.json", *CPU], [file], []


def _generator(draw: DrawFn, ground: Ground) -> Made:
    file = _safetensors(draw, ground, "g.safetensors", "patn_augment")
    photo, png = f"{DATA}/{TRAIN}/{ground.photo}", f"{ROOT}/e.png"
    words = ["explain", photo, photo, "--out", png, "--weights", f"{ROOT}/w.safetensors", *CPU]
    return words, [file], []


def _poses(*more: str) -> list[str]:
    words = ["poses", f"{ROOT}/photos", "--estimator", "synth", "--out", f"{ROOT}/k.csv", "--sheet", f"{ROOT}/k.png"]
    return [*words, *more, *CPU]


def _photo(ground: Ground) -> File:
    return File("photos/a.jpg", f"data/{TRAIN}/{ground.photo}")


def _pose_weights(draw: DrawFn, ground: Ground) -> Made:
    file = _safetensors(draw, ground, "p.safetensors", "patn_pose")
    return _poses("--estimator-weights", f"{ROOT}/w.safetensors"), [file, _photo(ground)], []


def _unfinished_poses(draw: DrawFn, ground: Ground) -> Made:
    """What an interrupted search for joints leaves."""
    facts = {"estimator": "synth", "weights_sha256": None, "threshold": None, "height": 512}
    spoils = draw(st.sampled_from((True, False, False)))
    about = whole(".k.csv.part.json", draw(json_documents(facts)) if spoils else json.dumps(facts).encode())
    rows = _table(draw, ground, "data/market-annotation-train.csv", b":", ".k.csv.part.csv")
    return _poses("--resume"), [about, rows, _photo(ground)], []


def _network(draw: DrawFn, ground: Ground) -> Made:
    file = _safetensors(draw, ground, "r.safetensors", "reid_eval")
    words = ["embed", DATA, "--reid-weights", f"{ROOT}/w.safetensors", "--out", f"{ROOT}/f.npz", "--poses", "0", *CPU]
    return words, [file], []


def _cache(draw: DrawFn, ground: Ground) -> Made:
    file = _bytes(draw, ground, "cache.sqlite", "c.sqlite")
    words = ["embed", DATA, "--reid-weights", f"{ROOT}/r.safetensors", "--out", f"{ROOT}/f.npz", "--poses", "0", *CPU]
    return [*words, "--split", "query", "--cache", f"{ROOT}/c.sqlite"], [file], []


def _features(draw: DrawFn, ground: Ground) -> Made:
    return ["read:features", f"{ROOT}/f.npz"], [_bytes(draw, ground, "features.npz", "f.npz")], []


def _torch_file(draw: DrawFn, ground: Ground) -> Made:
    file = _torch(draw, ground, "g.pth", "w.pth")
    return ["import-checkpoint", f"{ROOT}/w.pth", "--out", f"{ROOT}/i.safetensors"], [file], []


def _table_recipe(draw: DrawFn, ground: Ground) -> Made:
    words = ["table", "--out", f"{ROOT}/made", "--dry-run", *CPU]
    if draw(st.sampled_from((True, True, False))):
        return [*words, f"{ROOT}/r.yaml"], [_yaml(draw, ground.recipe)], []
    keys = ("seeds", "train.lr", "rows", "data.root", "columns", "train", "title.x", "", "seeds.0", "\x1b[2J")
    value = draw(values().map(lambda one: one if isinstance(one, str) else json.dumps(one)) | st.sampled_from(
        ("[" * 900, "!!int x", "&a [*a]", "2001-01-01", "{a: 1, a: 2}")
    ))  # fmt: skip
    word = f"{draw(st.sampled_from(keys))}={value}".replace("\0", "0")  # no word of a command line has one
    return [*words, f"{ROOT}/table.yaml", "--set", word], [], []


def _record(draw: DrawFn, ground: Ground) -> Made:
    """One of the records of a table that is complete."""
    base = draw(st.sampled_from(ground.records))
    file = _json(draw, ground, base, base)
    words = ["table", f"{ROOT}/table.yaml", "--out", f"{ROOT}/table", *CPU]
    return [*words, *draw(st.sampled_from((["--dry-run"], ["--max-seconds", "1"])))], [file], []


def _training(draw: DrawFn, ground: Ground) -> Made:
    words = ["train", "--recipe", f"{ROOT}/r.yaml", "--out", f"{ROOT}/run", "--max-seconds", "1", *CPU]
    return words, [_yaml(draw, ground.training)], []


def _list(draw: DrawFn, ground: Ground) -> Made:
    names = sorted(path.name for path in (ground.root / "data" / TRAIN).iterdir())
    data = ("from,to\n" + "".join(f"{a},{b}\n" for a, b in pairwise(names))).encode()
    how = tables(data, b",") if draw(st.booleans()) else splices(data)
    pairs = File("pairs.csv", splices=(*[(0, 0, data)], *draw(how)))
    recipe = {
        **ground.training,
        "data": {"source": "folder", "root": DATA, "size": [64, 32], "pairs": f"{ROOT}/pairs.csv"},
    }
    recipe["train"] = {**recipe["train"], "init_weights": "absent"}  # it ends when all that is data has been read
    file = whole("r.yaml", json.dumps(recipe).encode())
    return ["train", "--recipe", f"{ROOT}/r.yaml", "--out", f"{ROOT}/run", *CPU], [pairs, file], []


def _checkpoint(draw: DrawFn, ground: Ground) -> Made:
    """A training to go on with: its checkpoint, its log, what it says of itself."""
    files = []
    if draw(st.sampled_from((True, True, False))):
        files = [_torch(draw, ground, "begun/checkpoint.pt", "run/checkpoint.pt")]
    else:
        files = [_log_file(draw, ground, "begun/train.jsonl", "run/train.jsonl")]
    if draw(st.sampled_from((True, False, False))):
        files.append(whole("run/run.json", draw(json_documents({"recipe": {"data": ground.resumed["data"]}}))))
    words = ["train", "--recipe", f"{ROOT}/resumed.yaml", "--out", f"{ROOT}/run", "--resume", *CPU]
    return words, files, [("begun", "run")]


def _log_file(draw: DrawFn, ground: Ground, base: str, path: str) -> File:
    """A log with a line or bytes spoilt."""
    lines = ground.bytes_of(base).splitlines()
    if draw(st.sampled_from((True, False, False))):
        return _bytes(draw, ground, base, path)
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = draw(json_documents(json.loads(lines[at])))
    return whole(path, b"\n".join(lines) + b"\n")


def _pose_checkpoint(draw: DrawFn, ground: Ground) -> Made:
    if draw(st.sampled_from((True, True, False))):
        file = _torch(draw, ground, "begun-poses/checkpoint.pt", "run/checkpoint.pt")
    else:
        file = _log_file(draw, ground, "begun-poses/train.jsonl", "run/train.jsonl")
    return ["read:pose training", f"{ROOT}/run"], [file], [("begun-poses", "run")]


def _run_file(draw: DrawFn, ground: Ground) -> Made:
    facts = {**ground.json_of("out.run.json"), "data": "/absent"}
    if draw(st.booleans()):
        facts = {"data": "/absent"}
    words = ["reid-eval", "--augmented", f"{ROOT}/copied", "--set", "max_steps=1", "--set", "batch_size=2"]
    file = whole("copied.run.json", draw(json_documents(facts)))
    return [*words, "--set", "size=[32,32]", *CPU], [file], [("out", "copied")]


def _reid_recipe(draw: DrawFn, ground: Ground) -> Made:
    words = ["reid-eval", "--recipe", f"{ROOT}/r.yaml", "--augmented", f"{ROOT}/empty", *CPU]
    return words, [_yaml(draw, ground.reid_recipe)], []


def _log(draw: DrawFn, ground: Ground) -> Made:
    file = _log_file(draw, ground, "train.jsonl", "l.jsonl")
    return ["plot-log", f"{ROOT}/l.jsonl", "--out", f"{ROOT}/l.png"], [file], []


def _picture(draw: DrawFn, ground: Ground) -> Made:
    suffix, (width, height) = draw(st.sampled_from(tuple(PICTURES.values()))), draw(st.sampled_from(SIDES))
    mode = draw(st.sampled_from(("RGB", "L", "1") if suffix != "webp" else ("RGB",)))
    base, path = f"pictures/{mode}-{width}x{height}.{suffix}", f"photos/p.{suffix}"
    if suffix == "ppm" and draw(st.booleans()):
        sides = ("9999999 9999999", "0 0", "-1 5", "9" * 500 + " 1", "20000 20000", "x y", "4096 4097", "65535 1")
        file = whole(path, b"P6\n" + draw(st.sampled_from(sides)).encode() + b"\n255\n" + bytes(99))
    else:
        file = _bytes(draw, ground, base, path, head=200)
    if draw(st.booleans()):
        return _poses(), [file], []
    row = whole("k.csv", f"name:keypoints_y:keypoints_x\np.{suffix}: {[5] * 18}: {[5] * 18}\n".encode())
    words = ["explain", f"{ROOT}/{path}", f"{ROOT}/{path}", "--out", f"{ROOT}/e.png"]
    return [*words, "--keypoints", f"{ROOT}/k.csv", "--weights", "entry:copy", *CPU], [file, row], []


def _names(draw: DrawFn, ground: Ground) -> Made:
    name = os.fsdecode(draw(file_names()))
    photo = f"data/{TRAIN}/{ground.photo}"
    if draw(st.booleans()):
        return _poses(), [File(f"photos/{name}", photo)], []
    split = draw(st.sampled_from((TRAIN, "query", "bounding_box_test")))
    return ["plan", "--out", f"{ROOT}/made.csv", DATA, "--ratio", "0.5"], [File(f"data/{split}/{name}", photo)], []


def _msmt17(draw: DrawFn, ground: Ground) -> Made:
    name = draw(st.sampled_from(("list_train.txt", "list_query.txt", "list_gallery.txt")))
    words = ["plan", "--out", f"{ROOT}/made.csv", f"{ROOT}/msmt", "--ratio", "0.5"]
    return words, [_table(draw, ground, f"msmt/{name}", b" ", f"msmt/{name}")], []


def _drawn(draw: DrawFn, ground: Ground) -> Made:
    return ["read:drawn", f"{ROOT}/folder"], [_json(draw, ground, "data/synth.json", "folder/synth.json")], []


def _seen(draw: DrawFn, ground: Ground) -> Made:
    """The list of training images beside weights."""
    data = b"bounding_box_train/a.jpg\nbounding_box_train/b.jpg\n"
    listed = File("g.training_images.txt", splices=(*[(0, 0, data)], *draw(splices(data))))
    return ["read:training images", f"{ROOT}/g.safetensors"], [listed], []


def _report(draw: DrawFn, ground: Ground, folder: str) -> list[str]:
    return ["report", f"{ROOT}/{folder}", "--out", f"{ROOT}/page.html", "--no-measure", *CPU]


def _grid(draw: DrawFn, ground: Ground) -> Made:
    """The layout of a table."""
    file = _json(draw, ground, "table/table.grid.json", "shown/table.grid.json")
    return _report(draw, ground, "shown"), [file], [("table", "shown")]


def _shown_record(draw: DrawFn, ground: Ground) -> Made:
    """A record on a page; of some the facts are others, and their hash is right."""
    base = draw(st.sampled_from(ground.records))
    if draw(st.booleans()):
        file = _json(draw, ground, base, base.replace("table/", "shown/", 1))
        return _report(draw, ground, "shown"), [file], [("table", "shown")]
    record = ground.json_of(base)
    facts = edited(record["facts"], draw(edits(record["facts"])))
    scores = edited(record, draw(edits({"scores": record["scores"], "queries": record["queries"]})))
    try:
        text = json.dumps({"format": 1, **facts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
        key = sha256(text.encode()).hexdigest()
    except (TypeError, ValueError):
        key = record["key"]
    scores = {**scores, "facts": facts, "key": key} if isinstance(scores, dict) else scores
    grid = ground.bytes_of("table/table.grid.json").replace(record["key"].encode(), key.encode())
    files = [whole(f"shown/records/{key}.json", json.dumps(scores).encode()), whole("shown/table.grid.json", grid)]
    return _report(draw, ground, "shown"), files, [("table", "shown")]


def _rankings(draw: DrawFn, ground: Ground) -> Made:
    """The first of the rankings of one of two cells, those that are shown."""
    base = draw(st.sampled_from(ground.ranked))
    file = _bytes(draw, ground, base, base.replace("table/", "shown/", 1), head=400)
    return _report(draw, ground, "shown"), [file], [("table", "shown")]


def _told_run(draw: DrawFn, ground: Ground) -> Made:
    """What a run says of itself, on the page of a table, of a re-ID run, or of a folder; the page is made without it.

    Where it names the evaluation, and there is none besides, an evaluation that cannot be read is an error.
    """
    document = draw(json_documents({**ground.told, "evaluation": f"{ROOT}/absent.json"}))
    folder, path = draw(st.sampled_from((("table", "shown/run.json"), ("out", "shown.run.json"))))
    if draw(st.booleans()):
        evaluation = draw(json_documents(ground.evaluation))
        files = [whole("alone/run.json", document), whole("alone/x-evaluation.json", evaluation)]
        return _report(draw, ground, "alone"), files, []
    return _report(draw, ground, "shown"), [whole(path, document)], [(folder, "shown")]


def _result(draw: DrawFn, ground: Ground) -> Made:
    file = whole("shown/result.json", draw(json_documents(ground.result)))
    return _report(draw, ground, "shown"), [file], [("compared", "shown")]


def _evaluation(draw: DrawFn, ground: Ground) -> Made:
    """The curves and rankings of a re-ID run, without its result, so that they are needed."""
    file = whole("alone/x-evaluation.json", draw(json_documents(ground.evaluation)))
    return _report(draw, ground, "alone"), [file], []


def _gate_log(draw: DrawFn, ground: Ground) -> Made:
    file = _table(draw, ground, "gated/augmentation/gate.csv", b",", "shown/augmentation/gate.csv")
    return _report(draw, ground, "shown"), [file], [("gated", "shown")]


def _moves(draw: DrawFn, ground: Ground) -> Made:
    """What a killed repair left to do."""
    file = whole("folder/augmentation/repair/moves.json", draw(json_documents(ground.moves)))
    return ["gate", f"{ROOT}/folder", "--repair", "--data", DATA, *CPU], [file], [("gated", "folder")]


def _tar_plan(draw: DrawFn, ground: Ground) -> Made:
    base = "tars/augmentation/plan.parquet"
    file = _bytes(draw, ground, base, base.replace("tars/", "folder/", 1))
    return draw(st.sampled_from((["read:tars", f"{ROOT}/folder"], ["read:tar plan", f"{ROOT}/folder"]))), [file], [
        ("tars", "folder")
    ]  # fmt: skip


def _tar_index(draw: DrawFn, ground: Ground) -> Made:
    """The manifest of a folder of tars, its index (which is hashed and no more), and a tar itself."""
    name = draw(st.sampled_from(("augmentation/manifest.json", "augmentation/manifest.json", "index.json")))
    file = _json(draw, ground, f"tars/{name}", f"folder/{name}")
    if draw(st.sampled_from((True, False, False, False))):
        file = _bytes(draw, ground, "tars/train-000000.tar", "folder/train-000000.tar")
    words = draw(st.sampled_from((["verify", f"{ROOT}/folder"], ["read:tars", f"{ROOT}/folder"])))
    return words, [file], [("tars", "folder")]


def _unfinished_tars(draw: DrawFn, ground: Ground) -> Made:
    """A folder of tars of which one of two parts is made: its job, and the records of tars; these are made anew."""
    file = _left_of(draw, ground, "half-tars")
    words = [*GENERATE, "--ratio", "0.5", "--out", f"{ROOT}/folder", "--resume", "--format", "tar"]
    return [*words, "--images-per-shard", "3"], [file], [("half-tars", "folder")]


def _rates(draw: DrawFn, ground: Ground) -> Made:
    """Rates of engines in the user's cache; what cannot be read is measured anew."""
    facts = {"machine": "m", "rates": {"torch float32": 2.0, "torch bf16": 1.0, "openvino bf16": 3.0}}
    return ["read:rates", f"{ROOT}/speed.json"], [whole("speed.json", draw(json_documents(facts)))], []


def _slim(draw: DrawFn, ground: Ground) -> Made:
    """Directions of a slim form, which lie in the user's cache."""
    file = _safetensors(draw, ground, "slim.safetensors", "patn_augment_slim")
    return ["read:slim form", f"{ROOT}/w.safetensors"], [file], []


def _kept(draw: DrawFn, ground: Ground) -> Made:
    """Features and scores that a comparison keeps."""
    return ["read:kept", f"{ROOT}/k.npz"], [_bytes(draw, ground, "kept.npz", "k.npz")], []


def _views(draw: DrawFn, ground: Ground) -> Made:
    """A block of made views; it is made of two photos."""
    return ["read:views", f"{ROOT}/views"], [_bytes(draw, ground, "views.npz", "views/00000.npz")], []


def _choice(draw: DrawFn, ground: Ground) -> Made:
    """Names of the images that a table's filter left."""
    facts = {"images": ["bounding_box_train/a.jpg", "bounding_box_train/b.jpg"], "of": 4}
    return ["read:choice", f"{ROOT}/c.json"], [whole("c.json", draw(json_documents(facts)))], []


def _key(draw: DrawFn, ground: Ground) -> Made:
    """The key of an anonymous folder: any bytes, but not a few."""
    data = bytes(range(32))
    file = File("k", splices=((0, 0, data), *draw(splices(data))))
    if draw(st.booleans()):
        file = whole("k", draw(st.binary(max_size=40)))
    return ["names", DATA, "--key", f"{ROOT}/k", "--out", f"{ROOT}/made.csv"], [file], []


DOORS: dict[str, Door] = {
    "annotations": _annotations,
    "library": _library,
    "plan": _plan,
    "folder": _inner,
    "unfinished folder": _unfinished,
    "thresholds": _thresholds,
    "generator weights": _generator,
    "pose weights": _pose_weights,
    "unfinished poses": _unfinished_poses,
    "re-ID network": _network,
    "feature cache": _cache,
    "features": _features,
    "torch file": _torch_file,
    "table recipe": _table_recipe,
    "table record": _record,
    "training recipe": _training,
    "pair list": _list,
    "checkpoint": _checkpoint,
    "pose checkpoint": _pose_checkpoint,
    "run file": _run_file,
    "re-ID recipe": _reid_recipe,
    "training log": _log,
    "picture": _picture,
    "image names": _names,
    "lists of MSMT17": _msmt17,
    "drawn data": _drawn,
    "training images": _seen,
    "table layout": _grid,
    "record on a page": _shown_record,
    "rankings": _rankings,
    "facts of a run": _told_run,
    "re-ID result": _result,
    "evaluation": _evaluation,
    "log of the gate": _gate_log,
    "moves of a repair": _moves,
    "rates of engines": _rates,
    "slim form": _slim,
    "kept features": _kept,
    "views": _views,
    "choice of a filter": _choice,
    "key": _key,
}
if find_spec("pyarrow") is not None:
    DOORS |= {"plan of tars": _tar_plan, "folder of tars": _tar_index, "unfinished tars": _unfinished_tars}


def cases(door: str, ground: Ground) -> SearchStrategy[Case]:
    """Cases of a door."""

    @st.composite
    def one(draw: DrawFn) -> Case:
        words, files, copies = DOORS[door](draw, ground)
        return Case(door, tuple(words), tuple(files), tuple(copies))

    return one()


def readers() -> dict[str, Callable[[Path], object]]:
    """Readers that no command calls alone, by the word that stands for them."""
    from tiny import POSES

    from augment.estimators.posenet.training import train_poses
    from augment.generators.lineage import listed_images
    from augment.generators.patn.slim_file import read_slim
    from augment.generators.patn.speed import read_rates
    from augment.search.embed import read_embedded
    from augment.synth.dataset import read_settings
    from augment.table.filtered import read_choice
    from reid_eval.comparison_file import read_kept

    return {
        "read:tars": _draw_from_tars,
        "read:tar plan": _of_tars,
        "read:rates": lambda path: _needed(read_rates(path, "m")),
        "read:slim form": read_slim,
        "read:kept": read_kept,
        "read:views": _all_views,
        "read:choice": read_choice,
        "read:features": read_embedded,
        "read:drawn": read_settings,
        "read:training images": listed_images,
        "read:pose training": partial(train_poses, POSES, resume=True),
    }


def _needed(found: object) -> object:
    """What a reader found; one that makes anew what it cannot read has refused it."""
    from reid_eval.runtime import InputError

    if found is None:
        raise InputError("it cannot be read, and is made anew")
    return found


def _of_tars(root: Path) -> Any:
    from augment.folder.plan_parquet import TAR_PLAN, read_tar_plan

    return read_tar_plan(root / TAR_PLAN)


def _draw_from_tars(root: Path) -> None:
    """An image of the person of each, from the middle of its tar."""
    from augment.folder.image_sources import GeneratedTars

    plan, source = _of_tars(root), GeneratedTars(root)
    made = plan[plan["action"] == "generate"]
    for index, (pid, camid) in enumerate(zip(made["pid"].tolist(), made["camid"].tolist(), strict=True)):
        source.draw(index, pid, camid, index)


def _all_views(folder: Path) -> None:
    import numpy as np

    from augment.search.searched_photos import Photos
    from augment.search.store import StoredViews

    stored = StoredViews(folder, Photos(folder, ("a.jpg", "b.jpg"), np.zeros((2, 18, 2), np.float32)))
    stored.features(lambda images: images.flatten(1).float()[:, :1])
    _ = stored.seconds
