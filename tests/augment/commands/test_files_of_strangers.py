"""Every bad file is one line and exit code 2, before any work and without anything left behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from augment.commands.main import main
from augment.generators.patn.builders import build_generator
from augment.generators.patn.load import save_generator
from augment.generators.weights import read_weights, write_weights

Told = Callable[..., str]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The one line of a refused command."""

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as error:
            main([str(word) for word in words])
        text = capsys.readouterr().err
        assert error.value.code == 2, text
        assert text.count("\n") == 1, text
        assert text.startswith("Error: ")
        assert not any(ord(c) < 32 or c in "\u202e\x9b" or 0xD800 <= ord(c) < 0xE000 for c in text[:-1])
        assert "weights_only" not in text
        return text

    return run


@pytest.fixture(scope="session")
def folder(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished augmented folder, to be copied."""
    from augment.api import augment_folder, plan_folder

    out = tmp_path_factory.mktemp("augmented") / "out"
    augment_folder(plan_folder(tiny_root, ratio=0.5), out, "entry:copy")
    return out


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "out"))


def edit_manifest(out: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = out / "augmentation/manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


ENTRY = {"sha256": "0" * 64, "size": 1}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\x07\x1b[2Jx.jpg", "\\x1b]0;owned\\x07\\x1b[2Jx.jpg"),
        ("\ud800.jpg", "lone surrogate"),
        ("x" * 2000, "no path in the folder"),
        ("a\u202egpj.exe", "\\u202e"),
        ("a\nb", "a\\nb"),
        ("a\0b", "NUL"),
        ("/etc/passwd", "no path in the folder"),
        ("../secret", "no path in the folder"),
    ],
    ids=ascii,
)
def test_names_in_manifests(copied: Path, told: Told, name: str, shown: str) -> None:
    edit_manifest(copied, lambda manifest: manifest["files"].update({name: ENTRY}))
    assert shown in told("verify", copied)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(files=[1]), lambda m: m.update(files={"a": 5}), lambda m: m.update(counts={}),
        lambda m: m.update(job=None), lambda m: m["job"].update(generator_size=[0, 0]), lambda m: m.update(version="1"),
        lambda m: m["job"].update(generator_size=[1 << 40, 1]), lambda m: m.update(gate={"asked": "x"}),
        lambda m: m["counts"].update(train=10**400), lambda m: m.update(reports={"a": [5]}), lambda m: m.update(x=1),
        lambda m: m["job"].update(sigma=float("nan")), lambda m: m["files"].update(a={"sha256": "0", "size": 1e300}),
    ],
)  # fmt: skip
def test_fields_of_manifests(copied: Path, told: Told, edit: Callable[[dict[str, Any]], Any]) -> None:
    edit_manifest(copied, edit)
    assert "manifest.json" in told("verify", copied)
    assert "manifest.json" in told("sheet", copied)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "1" * 5000, "null", '{"a": 1, "a": 1}', '{"version": NaN}', "\ufeff{"]
)
def test_texts_that_are_no_manifests(copied: Path, told: Told, text: str) -> None:
    (copied / "augmentation/manifest.json").write_text(text)
    assert "manifest.json" in told("verify", copied)


def test_a_pipe_as_a_manifest(copied: Path, told: Told) -> None:
    (copied / "augmentation/manifest.json").unlink()
    os.mkfifo(copied / "augmentation/manifest.json")
    told("verify", copied)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("augmentation/plan.csv", ",bounding_box_train/", ",bounding_box_train/x", "was edited|cannot read this image"),
        ("augmentation/plan.csv", "keep,", "drop,", "."),
        ("augmentation/plan.csv", "keep,2,", "keep,99999999999999999999,", "is not a whole number"),
        ("augmentation/plan.csv", "keep,2,", "keep,1_0,", "is not a whole number"),
        ("augmentation/plan.csv", "keep,2,", "keep,٢,", "is not a whole number"),
        ("market-annotation-train.csv", "_gen", "_other", "has no row in its keypoints"),
        ("market-annotation-train.csv", "[", "[[", "not a list of numbers"),
    ],
)
@pytest.mark.parametrize("command", ["sheet", "quality"])
def test_what_lies_in_the_folder_was_edited(
    copied: Path, told: Told, name: str, old: str, new: str, message: str, command: str
) -> None:
    path = copied / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    words = ("quality", copied, "--metric", "colour", "--device", "cpu") if command == "quality" else ("sheet", copied)
    import re

    assert re.search(message, told(*words))


NUMBERS = "[" + ", ".join("5" * 18) + "]"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a.jpg: {NUMBERS}: [{'9' * 500}]", "not a list of finite numbers"),
        (f"a.jpg: {NUMBERS}: " + "[" * 100_000, "100001 characters|100000 characters"),
        (f"a.jpg: {NUMBERS}: " + "[" * 1900, "nested too deeply|Expecting"),
        (f"a.jpg: {NUMBERS}: " + NUMBERS.replace("5", "1e308"), "outside the image"),
        (f"a.jpg: {NUMBERS}: " + NUMBERS.replace("5", "1e999"), "too large"),
        (f"a.jpg: {NUMBERS}: " + NUMBERS.replace("5", "true"), "not a list of finite numbers"),
        (f"a.jpg: {NUMBERS}: {{}}", "not a list of finite numbers"),
        (f"\x1b[2J.jpg: {NUMBERS}: {NUMBERS}", "control characters"),
        (f"{'a' * 5000}: {NUMBERS}: {NUMBERS}", "5000 characters"),
        (f"a@0x0: {NUMBERS}: {NUMBERS}", "a frame of 0x0 cannot be"),
        (f"a@0x64: {NUMBERS}: {NUMBERS}", "a frame of 0x64 cannot be"),
        (f"a@{'9' * 400}x1: {NUMBERS}: {NUMBERS}", "cannot be"),
    ],
    ids=range(12),
)
def test_rows_of_annotations(tmp_path: Path, told: Told, row: str, message: str) -> None:
    import re

    file = tmp_path / "k.csv"
    file.write_text(f"name:keypoints_y:keypoints_x\n{row}\n")
    assert re.search(message, told("pose-library", "--out", tmp_path / "out.csv", file, "--mirror", "--size", 9, 9))
    assert not (tmp_path / "out.csv").exists()


TABLE = {
    "title": "t", "data": {"source": "synth"}, "rows": [{"kind": "leave_out"}], "columns": [0.5],
    "backbones": ["resnet50"], "seeds": [0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": list(range(200_000))}, "at most 131072 are read"),
        ({"seeds": list(range(5000))}, "at most 1000"),
        ({"seeds": list(range(1000)), "columns": [i / 500 for i in range(1, 300)]}, "at most 100000"),
        ({"seeds": [2**63]}, "too large"),
        ({"data": {"source": "synth", "train_ids": 0}}, "train_ids"),
        ({"data": {"source": "synth", "images_per_id": 10**9}}, "images_per_id"),
        ({"data": {"source": "synth", "cameras": -1}}, "cameras"),
        ({"data": {"source": "synth", "cameras": 10**9}}, "cameras"),
        ({"data": {"source": "folder", "root": "x" * 5000}}, "."),
        ({"rows": [{"kind": "patn", "weights": "os:system"}]}, "is code|."),
        ({"train": {"batch_size": 10**9}}, "batch_size"),
        ({"train": {"size": [20_000, 20_000]}}, "size"),
        ({"title": "\x1b[2J", "seeds": ["\x1b[2J"]}, "seeds"),
        ({"\x1b]0;x\x07": 1}, "."),
        ({"rows": "x" * 100_000}, "."),
    ],
    ids=range(15),
)
def test_table_recipes(tmp_path: Path, told: Told, change: dict[str, Any], message: str) -> None:
    import re

    file = tmp_path / "r.yaml"
    value = {**TABLE, **change}
    file.write_text(json.dumps(value))  # which is YAML, too
    assert re.search(message, told("table", file, "--out", tmp_path / "t", "--dry-run", "--device", "cpu"))


@pytest.mark.parametrize(
    "setting",
    ["seeds=[" + "[" * 5000, "seeds=" + "9" * 500, "seeds=2001-01-01", "seeds=!!int x", "seeds=&a [*a]",
     "train.lr=.inf", "seeds={a: 1, a: 2}", "\x1b[2J=1", "seeds=\x1b[2J", "seeds.a.b=1", "title=\udcff", "seeds"],
    ids=ascii,
)  # fmt: skip
def test_settings(tmp_path: Path, told: Told, setting: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(TABLE))
    told("table", file, "--out", tmp_path / "t", "--dry-run", "--device", "cpu", "--set", setting)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.size": [0, 64]}, "data"), ({"data.identities": -5}, "data"), ({"data.identities": 10**9}, "data"),
        ({"data.cameras": 0}, "data"), ({"data.images_per_id": 0}, "data"), ({"data.size": [20_000, 20_000]}, "data"),
        ({"train.ndf": 10**9}, "ndf"), ({"train.overrides": {"n_blocks": 10**9}}, "n_blocks"),
        ({"train.overrides": {"nonsense": 1}}, "nonsense"), ({"train.batch_size": 10**9}, "batch_size"),
        ({"train.sigma": "nan"}, "sigma"), ({"train.seed": -1}, "seed"), ({"train.pool_size": 10**12}, "pool_size"),
    ],
    ids=str,
)  # fmt: skip
def test_training_recipes(tmp_path: Path, told: Told, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "r.yaml"
    train = {"generator": "patn_tiny", "constant_steps": 1, "decay_steps": 0, "epoch_steps": 1, "perceptual": "off"}
    recipe: dict[str, Any] = {"data": {"source": "synth", "identities": 2}, "train": train}
    for key, value in change.items():
        group, _, name = key.partition(".")
        recipe[group][name] = value
    file.write_text(yaml.safe_dump(recipe))
    assert message in told("train", "--recipe", file, "--out", tmp_path / "run", "--device", "cpu")
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "g.safetensors"
    save_generator(path, build_generator("patn_tiny", ngf=4, n_blocks=2), {"size": [128, 64], "data": "drawn"})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"n_blocks": 10**9}}, "n_blocks"),
        ({"architecture": {"ngf": 4096}}, "ngf"),
        ({"architecture": {"ngf": 512, "n_blocks": 64, "n_downsampling": 5}}, "does not fit its architecture"),
        ({"architecture": {"n_blocks": -1}}, "n_blocks"),
        ({"architecture": {"n_blocks": True}}, "n_blocks"),
        ({"architecture": [1]}, "architecture"),
        ({"architecture": {"\x1b[2J": 1}}, "\\x1b[2J"),
        ({"info": {"size": [20_000, 20_000]}}, "size"),
        ({"info": {"size": 5}}, "size"),
        ({"info": {"size": [0, 64]}}, "size"),
        ({"info": {"size": "ab"}}, "size"),
        ({"info": {"settings": {"sigma": "x"}}}, "sigma"),
        ({"info": {"settings": {"sigma": 0}}}, "sigma"),
        ({"info": {"settings": 3}}, "settings"),
        ({"info": 7}, "info"),
    ],
    ids=str,
)
def test_metadata_of_weights(
    tiny_root: Path, weights: Path, tmp_path: Path, told: Told, change: dict[str, Any], message: str
) -> None:
    file = read_weights(weights)
    write_weights(tmp_path / "w.safetensors", file.tensors, {**file.metadata, **change})
    photo = next((tiny_root / "bounding_box_train").iterdir())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = ("explain", photo, photo, "--out", tmp_path / "e.png", "--device", "cpu")
    assert message in told(*words, "--weights", tmp_path / "w.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_name_that_no_weights_can_have(tiny_root: Path, tmp_path: Path, told: Told) -> None:
    photo = next((tiny_root / "bounding_box_train").iterdir())
    words = ("explain", photo, photo, "--out", tmp_path / "e.png", "--device", "cpu")
    assert "no weights named" in told(*words, "--weights", "x" * 5000)


def test_weights_without_info_are_of_the_usual_size(weights: Path, tmp_path: Path) -> None:
    from augment.generators.patn.load import trained_for

    file = read_weights(weights)
    write_weights(tmp_path / "w.safetensors", file.tensors, {**file.metadata, "info": None})
    assert trained_for(read_weights(tmp_path / "w.safetensors")) == ((128, 64), 6.0)


def test_escapes_in_weights_are_shown(
    tiny_root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = read_weights(weights)
    info = {"size": [128, 64], "data": "\x1b]0;owned\x07\x1b[2J drawn"}
    write_weights(tmp_path / "w.safetensors", file.tensors, {**file.metadata, "info": info})
    out = tmp_path / "out"
    words = ["generate", str(tiny_root), "--ratio", "0.5", "--out", str(out), "--device", "cpu"]
    main([*words, "--weights", str(tmp_path / "w.safetensors")])
    text = capsys.readouterr().out
    assert "(trained on \\x1b]0;owned\\x07\\x1b[2J drawn)" in text
    assert "\x1b" not in text


def test_int8_weights_do_not_grow(tmp_path: Path, told: Told, weights: Path, tiny_root: Path) -> None:
    """A scale of many values for a tensor of one row would be broadcast to their product."""
    import safetensors.torch

    tensors = {"a": torch.ones(1, 1 << 20, dtype=torch.int8), "a.int8_scale": torch.ones(1 << 20)}
    text = json.dumps({**read_weights(weights).metadata})
    (tmp_path / "w.safetensors").write_bytes(safetensors.torch.save(tensors, {"patn_augment": text}))
    photo = next((tiny_root / "bounding_box_train").iterdir())
    words = ("explain", photo, photo, "--out", tmp_path / "e.png", "--device", "cpu")
    assert "does not fit its scale" in told(*words, "--weights", tmp_path / "w.safetensors")


@pytest.mark.parametrize("kind", ["8000x1", "bomb", "pipe", "device", "broken", "gif"])
@pytest.mark.parametrize("command", ["poses", "explain"])
def test_pictures(tmp_path: Path, told: Told, kind: str, command: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    path = photos / "a.ppm"
    if kind == "8000x1":
        Image.new("RGB", (8000, 1)).save(path)
    elif kind == "bomb":
        path.write_bytes(b"P6\n60000 60000\n255\n" + bytes(100))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "gif":
        Image.new("RGB", (9, 9)).save(path, "GIF")
    else:
        path.write_bytes(b"P6\n" + b"9" * 300 + b" 1\n255\n")
    (tmp_path / "k.csv").write_text(f"name:keypoints_y:keypoints_x\na.ppm: {NUMBERS}: {NUMBERS}\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if command == "poses":
        text = told("poses", photos, "--estimator", "synth", "--device", "cpu")
    else:
        words = (path, path, "--out", tmp_path / "e.png", "--keypoints", tmp_path / "k.csv")
        text = told("explain", *words, "--weights", "entry:copy", "--device", "cpu")
    assert "a.ppm" in text or "holds no images" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert {one.name for one in photos.iterdir()} == {"a.ppm"}


@pytest.mark.parametrize("name", [b"a\nb.jpg", b"a\xff.jpg", b"a\x1b[2J.jpg"])
def test_names_of_images_are_checked_first(tiny_root: Path, tmp_path: Path, told: Told, name: bytes) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(next((tiny_root / "bounding_box_train").iterdir()), photos / os.fsdecode(name))
    assert "control characters or undecodable bytes" in told("poses", photos, "--estimator", "synth", "--device", "cpu")
    people = tmp_path / "people/p1"
    people.parent.mkdir()
    shutil.copytree(photos, people)
    assert "undecodable" in told("plan", "--out", tmp_path / "plan.csv", people.parent, "--ratio", "0.5")


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--out", "OUT", "--ratio", "0.5"), ("generate", "--ratio", "0.5", "--out", "OUT"),
        ("synth", "--out", "OUT"),
        ("poses", ".", "--out", "OUT"), ("pose-library", "--out", "OUT"),
        ("train", "--recipe", "patn_synth", "--out", "OUT"),
        ("table", "table_quick", "--out", "OUT"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_name_too_long_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main([word.replace("OUT", "x" * 255) for word in words])
    assert error.value.code == 2
    assert "has 255 bytes, at most 180 will do" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_commands_print_through_one_place() -> None:
    places = sorted(Path(__file__).resolve().parents[3].glob("augment/commands/*.py"))
    assert len(places) > 10
    assert [path.name for path in places if "click.echo" in path.read_text()] == ["echo.py"]
