"""The examples run, on a small drawn folder; fast-reid's is only compiled, since fast-reid is no package."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from augment.search.embed import Embedded
from reid_eval.ranking import evaluate

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
sys.path.insert(0, str(EXAMPLES.parent / "tests" / "augment"))

from drawn import draw_dataset  # noqa: E402


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A data set of 16 training images of two people, and an augmented one with a generated image of each photo."""
    root = tmp_path_factory.mktemp("examples")
    real = draw_dataset(root / "real", {2: 10, 7: 6}, {101: 4, 102: 4})
    augmented = root / "augmented"
    shutil.copytree(real, augmented)
    for path in sorted((augmented / "bounding_box_train").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_gen0000.jpg"))
    return str(real), str(augmented)


def test_plain_pytorch(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    load("plain_pytorch").main([*folders, "--rate", "0.5", "--weight", "0.5"])
    said = capsys.readouterr().out
    epochs = re.findall(r"epoch (\d): loss \d+\.\d+, (\d+) generated images", said)
    assert [number for number, _ in epochs] == ["0", "1"]
    assert all(0 < int(made) < 16 for _, made in epochs)


def test_plain_pytorch_with_a_network_of_torchvision(
    folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--model", "mobilenet_v3_small", "--epochs", "1", "--size", "64", "32", "--rate", "1"]
    load("plain_pytorch").main([*folders, *small])
    assert "16 generated images" in capsys.readouterr().out


def test_torchreid(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchreid")
    example = load("torchreid_train")
    seen = []

    class Watched(example.AugmentedDataset):
        def __getitem__(self, index: int) -> object:
            item = super().__getitem__(index)
            seen.append((self.epoch, item["generated"], "_gen" in item["impath"], item["camid"]))
            return item

    example.AugmentedDataset = Watched
    small = ["--height", "64", "--width", "32", "--epochs", "2", "--rate", "0.5"]
    example.main([*folders, "--out", str(tmp_path), *small])
    assert "mAP:" in capsys.readouterr().out
    assert [epoch for epoch, *_ in seen] == [0] * 16 + [1] * 16
    assert {generated for _, generated, *_ in seen} == {False, True}
    assert all(generated == named for _, generated, named, _ in seen)
    assert {camid for *_, camid in seen} == {0, 1}


SMALL = ["--poses", "1", "--generator", "entry:warp"]


def test_search_with_torchreid(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchreid")
    example = load("search_torchreid")
    small = ["--data", folders[0], *SMALL, "--height", "64", "--width", "32"]
    example.main([*small, "--epochs", "1", "--batch-size", "8", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "trained here for 1 epochs only, so no good network; views by entry:warp" in said
    assert "views: 1" in said
    (own,) = re.findall(r"\nmAP: (\d+\.\d)%", said)
    alone = re.findall(r"photo alone +rank-1 +\d+\.\d +mAP +(\d+\.\d) +\d+\.\d images/s", said)
    assert alone == [own]  # the photo alone scores as torchreid's engine says
    (kept,) = (tmp_path / "model").iterdir()
    example.main([*small, "--weights", str(kept)])
    said = capsys.readouterr().out
    assert f"weights of {kept}" in said
    assert re.findall(r"photo alone .* mAP +(\d+\.\d)", said) == [own]
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserWarning, match="cannot be loaded"):
        example.main([*small, "--weights", str(tmp_path / "other.pth")])


class MeanColour(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def test_search_in_plain_pytorch(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(MeanColour(), (torch.zeros(2, 3, 64, 32),), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "colour.pt2")
    words = ["--data", folders[0], *SMALL, "--size", "64", "32"]
    load("search_plain_pytorch").main([*words, "--model", str(tmp_path / "colour.pt2"), "--show", "9"])
    said = capsys.readouterr().out
    assert "weight 0: rank-1 100.0" in said  # the people drawn differ in colour
    assert re.search(r"weight 1: rank-1 \d+\.\d\n", said)
    shown = re.findall(r"query/(\d+)_c(\d)\S+ -> bounding_box_test/(\d+)_c(\d)", said)
    assert len(shown) == 4
    assert all(pid == found and camera != other for pid, camera, found, other in shown)
    assert "random weights" not in said


def test_search_in_plain_pytorch_without_a_network(
    folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    load("search_plain_pytorch").main(["--data", folders[0], *SMALL, "--size", "64", "32", "--calibrate", "4"])
    assert "random weights: these figures are of no use" in capsys.readouterr().out


def test_search_in_plain_pytorch_reads_weights_in_full(tmp_path: Path) -> None:
    example = load("search_plain_pytorch")
    state = {f"module.{name}": value for name, value in example.network(None).state_dict().items()}
    state["module.conv1.weight"] = torch.ones_like(state["module.conv1.weight"])
    torch.save({**state, "module.fc.weight": torch.zeros(7, 2048)}, tmp_path / "net.pth")
    assert bool((example.network(tmp_path / "net.pth").conv1.weight == 1).all())
    del state["module.conv1.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(RuntimeError, match=r"Missing key.*conv1\.weight"):
        example.network(tmp_path / "less.pth")


@pytest.fixture
def found(folders: tuple[str, str]) -> Embedded:
    """Random features: 4 people, 2 cameras; 12 gallery images of each, those of a query's own camera nearest to it.

    Two people look alike to both cameras. The first in the gallery is junk with the first query's own feature.
    """
    rng = np.random.default_rng(0)
    people, each = 4, 12
    query = [(pid, camid) for pid in range(people) for camid in (1, 2)]
    gallery = [(-1, 2), *((pid, camid) for pid, camid in query for _ in range(each))]
    asked = rng.normal(size=(len(query), 16))
    asked[[1, 3]] = asked[[0, 2]] + 0.2 * rng.normal(size=(2, 16))
    answers = [asked[0], *(asked[i] + 0.01 * rng.normal(size=16) for i in range(len(query)) for _ in range(each))]
    features = np.concatenate([asked, answers]).astype(np.float32)
    pids, camids = np.array([*query, *gallery]).T
    names = sorted((Path(folders[0]) / "query").iterdir())
    return Embedded(
        features / np.linalg.norm(features, axis=1, keepdims=True),
        np.array([f"query/{names[i % len(names)].name}" for i in range(len(features))]),
        pids,
        camids,
        np.array(["query"] * len(query) + ["gallery"] * len(gallery)),
        np.ones(len(features), bool),
        {},
    )


@pytest.mark.parametrize("words", [[], ["--hnsw"]], ids=["flat", "hnsw"])
def test_search_engine(
    words: list[str], found: Embedded, folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    example = load("search_engine")
    found.save(tmp_path / "features.npz")
    drawn = []
    draw = example.draw_sheet
    example.draw_sheet = lambda root, queries, results: drawn.extend(results) or draw(root, queries, results)
    out = tmp_path / "sheet.jpg"
    example.main(["--features", str(tmp_path / "features.npz"), "--root", folders[0], "--out", str(out), *words])
    said = capsys.readouterr().out
    q, g = found.splits == "query", found.splits == "gallery"
    likeness = found.features[q] @ found.features[g].T
    expected = evaluate(-likeness, found.pids[q], found.pids[g], found.camids[q], found.camids[g])
    assert expected.rank(1) == 0.5
    assert "rank-1 50.0 over 8 queries, 96 in the gallery" in said
    assert [len(results) for results in drawn] == [10] * 6  # though 12 of each query's own camera come first
    with example.Image.open(out) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.height > 6 * 192


def test_the_sheet_frames_right_and_wrong(folders: tuple[str, str]) -> None:
    example = load("search_engine")
    names = [f"query/{path.name}" for path in sorted((Path(folders[0]) / "query").iterdir())]
    sheet = example.draw_sheet(Path(folders[0]), names[:1], [[(names[1], True), (names[2], False)]])
    middle = sheet.crop((0, 100, sheet.width, 101)).getcolors(sheet.width)
    counts = {colour: count for count, colour in middle}
    assert [counts[c] for c in (example.BLACK, example.GREEN, example.RED)] == [2 * example.FRAME] * 3


def test_search_engine_without_faiss(
    found: Embedded,
    folders: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    found.save(tmp_path / "features.npz")
    words = ["--features", str(tmp_path / "features.npz"), "--root", folders[0]]
    for given, message in (
        (words, r"pip install 'patn-augment\[search\]'"),
        (["--features", str(tmp_path / "none.npz")], "cannot read features from"),
    ):
        with pytest.raises(SystemExit) as error:
            load("search_engine").main(given)
        assert error.value.code == 2
        assert re.search(message, capsys.readouterr().err)


def test_search_engine_with_another_data_set(
    found: Embedded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    found.save(tmp_path / "features.npz")
    with pytest.raises(SystemExit):
        load("search_engine").main(["--features", str(tmp_path / "features.npz"), "--root", str(tmp_path)])
    assert "give its data set as --root" in capsys.readouterr().err


class FakeFiftyone(ModuleType):
    """Keeps what the example gives it, where FiftyOne itself is not installed."""

    def __init__(self) -> None:
        super().__init__("fiftyone")
        self.kept: list[Any] = []
        fake = self

        class Dataset:
            def __init__(self, name: str, persistent: bool) -> None:
                self.name, self.persistent = name, persistent

            def add_group_field(self, name: str, default: str) -> None:
                assert (name, default) == ("group", "result")

            def add_samples(self, samples: list[Any]) -> None:
                fake.kept += samples

        class Sample(dict[str, Any]):
            def __init__(self, **fields: Any) -> None:
                super().__init__(fields)

        class Group:
            def element(self, name: str) -> tuple[Any, str]:
                return self, name

        def of(**fields: Any) -> dict[str, Any]:
            return fields

        self.Dataset, self.Sample, self.Group = Dataset, Sample, Group
        self.KeypointSkeleton = self.Classification = self.Keypoints = self.Keypoint = of


def test_fiftyone_groups_photo_result_and_donor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gated import gated

    from augment.folder.layout import folder_plan
    from reid_eval.datasets import read_dataset

    root = draw_dataset(tmp_path / "real", {2: 8, 7: 6}, {101: 4, 102: 4})
    gated(read_dataset(root), tmp_path / "made")
    fake = FakeFiftyone()
    monkeypatch.setitem(sys.modules, "fiftyone", fake)
    load("fiftyone").main([str(tmp_path / "made"), "--no-app"])
    plan = folder_plan(tmp_path / "made")
    made = plan[plan["action"] == "generate"]
    assert f"{len(made)} generated images in the dataset made" in capsys.readouterr().out
    assert len({id(sample["group"][0]) for sample in fake.kept}) == len(made)
    results = [sample for sample in fake.kept if sample["group"][1] == "result"]
    assert [sample["filepath"].rpartition("/")[2] for sample in results] == [
        path.rpartition("/")[2] for path in made["output"]
    ]
    assert all(Path(sample["filepath"]).is_file() for sample in fake.kept)
    assert all(sample["pose_error"] == 0.5 for sample in results), "what the gate measured"
    points = np.array([sample["joints"]["keypoints"][0]["points"] for sample in fake.kept])
    assert points.shape[1:] == (18, 2)
    assert ((points > 0) & (points < 1) | np.isnan(points)).all()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    compile(text, str(path), "exec")
    assert len(text.splitlines()) <= 115
    head = ast.get_docstring(ast.parse(text)) or ""
    for word in ("Purpose:", "Needs:", "Run:", "Override:", f"examples/{path.name}"):
        assert word in head, word


def test_the_readme_lists_them_all() -> None:
    listed = re.findall(r"^\| \[`([a-z_]+\.py)`\]\(\1\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in FILES]


def test_the_slurm_array_gives_each_task_its_part(tmp_path: Path) -> None:
    """The script, with a command of that name that only says what it was given."""
    tool = tmp_path / "patn-augment"
    tool.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS" "$@"\n')
    tool.chmod(0o755)
    script = Path(__file__).resolve().parents[2] / "examples" / "slurm_array.sh"
    slurm = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_CPUS_PER_TASK": "4"}
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", **slurm}
    words = ["bash", str(script), "my data", "out", "--format", "tar"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "4 generate my data --ratio 0.5 --out out --resume --shard 3/16 --format tar\n"
