"""One folder an identity, written as Market-1501 for programs that read nothing else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from drawn import draw_dataset
from gated import Blind
from toy import Toy

import augment
from augment.api import Market
from augment.commands.main import main
from augment.folder.manifest import read_manifest, verify
from augment.gate.redraw import GateRun
from augment.gate.repair import repair
from augment.pose.keypoints import load_annotations, merge, write_keypoints
from reid_eval.datasets import as_market as renaming
from reid_eval.datasets import read_dataset
from reid_eval.datasets.as_market import as_market
from reid_eval.runtime import InputError

PEOPLE = {"train": ("ann", "bob", "eve"), "test": ("dan", "joe")}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """`train/ann/cam3_0.jpg` and so on, three people to train and two to test, with joints of every image."""
    flat = draw_dataset(tmp_path / "flat", {1: 6, 2: 6, 3: 6}, {101: 6, 102: 6})
    table, root, rows = load_annotations(flat), tmp_path / "people", []
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        for image in sorted((flat / folder).glob("*.jpg")):
            pid, camid = int(image.name[:4]), int(image.name[6])
            name = (PEOPLE["train"] if pid < 100 else PEOPLE["test"])[pid % 100 - 1]
            path = f"{split}/{name}/cam{camid + 2}_{image.name[10:16]}.jpg"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, root / path)
            rows.append(table.take(table.rows([image.name]), [path]))
    write_keypoints(root / "keypoints-mine.csv", merge(rows))
    return root


def test_names_cameras_and_splits(people: Path) -> None:
    data = read_dataset(people)
    named = as_market(data, r"cam(\d+)")
    assert named.layout == "market1501"
    assert named.has_cameras
    assert set(named.train["camid"]) == {3, 4}
    assert named.train["path"].tolist() == data.train["path"].tolist(), "what is on disk"
    assert named.renamed["train/ann/cam3_000001.jpg"] == "0001_c3s1_000001_00.jpg"
    assert len(set(named.renamed.values())) == 30
    assert set(as_market(data, "cam.").train["camid"]) == {1, 2}, "names that are no numbers are counted"
    plain = as_market(data)
    assert [set(plain.split(split)["camid"]) for split in ("train", "query", "gallery")] == [{1}, {1}, {2}]


def test_what_cannot_be(people: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_dataset(people)
    with pytest.raises(InputError, match="has the layout market1501 already"):
        as_market(read_dataset(tiny_root))
    with pytest.raises(InputError, match=r"finds no camera in 30 of 30 names: train/ann/cam3_000001\.jpg"):
        as_market(data, r"kamera(\d)")
    with pytest.raises(InputError, match="is no regular expression"):
        as_market(data, "cam(")
    with pytest.raises(InputError, match="has 2 groups"):
        as_market(data, "(c)(a)")
    monkeypatch.setattr(renaming, "SECONDS", 2.0)
    begin = time.monotonic()
    with pytest.raises(InputError, match="took more than 2 s"):  # it would take until the stars go out
        as_market(data, r"^(?:(?:.+)+)+!$")
    assert time.monotonic() - begin < 30
    with pytest.raises(InputError, match="at most 255 characters"):
        renaming.camera_names(["x" * 300], "x")


@pytest.fixture
def written(people: Path, tmp_path: Path) -> Path:
    planned = augment.plan_folder(people, ratio=0.5, market=Market(r"cam(\d+)"))
    augment.augment_folder(planned, tmp_path / "out", Toy())  # type: ignore[arg-type]
    return tmp_path / "out"


def test_the_folder_is_a_market_folder(written: Path, people: Path) -> None:
    assert verify(written).ok
    data = read_dataset(written)
    assert data.layout == "market1501"
    assert (len(data.train), len(data.query), len(data.gallery)) == (18, 4, 8)
    assert set(data.train["camid"]) <= {3, 4}
    assert int((data.train["source"] == "generated").sum()) == 9
    assert (load_annotations(written).rows(data.train["path"].tolist()) >= 0).all(), "joints of every image"
    plan = pd.read_csv(written / "augmentation/plan.csv", keep_default_na=False)
    kept = plan[plan["action"] == "keep"].iloc[0]
    assert kept["image"].startswith("train/")
    assert (written / kept["output"]).read_bytes() == (people / kept["image"]).read_bytes()
    assert read_manifest(written).job.arguments["camera_regex"] == r"cam(\d+)"


def test_torchreid_reads_it(written: Path, tmp_path: Path) -> None:
    torchreid = pytest.importorskip("torchreid")
    (tmp_path / "market1501").mkdir()
    shutil.copytree(written, tmp_path / "market1501" / "Market-1501-v15.09.15")
    try:
        from torchreid.reid.data.datasets.image.market1501 import Market1501
    except ImportError:
        Market1501 = torchreid.data.datasets.image.market1501.Market1501
    found = Market1501(root=str(tmp_path), market1501_500k=False)
    assert (len(found.train), len(found.query), len(found.gallery)) == (18, 4, 8)


def test_a_repair_knows_the_names(written: Path, people: Path) -> None:
    planned = augment.plan_folder(people, ratio=0.5, market=Market(r"cam(\d+)"))
    plan = pd.read_csv(written / "augmentation/plan.csv", keep_default_na=False)
    made = plan.loc[plan["action"] == "generate", "output"].tolist()
    done = repair(written, planned.source, made[:3], Toy(), GateRun(Blind(1.0), retries=1))
    assert done.kept_instead == 3
    assert verify(written).ok
    assert len(read_dataset(written).train) == 18


def test_the_commands(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generated, evaluated against the original with the cameras of the pattern, without a word more."""
    monkeypatch.chdir(tmp_path)
    words = ["generate", str(people), "--ratio", "0.5", "--out", "made", "--weights", "entry:copy"]
    with pytest.raises(SystemExit):
        main([*words, "--camera-regex", "cam(.)"])
    assert "--camera-regex is for --as-market" in capsys.readouterr().err
    main([*words, "--as-market", "--camera-regex", r"cam(\d+)"])
    said = capsys.readouterr().out
    assert "Market-1501's names: train/ann/cam3_000001.jpg is 0001_c3s1_000001_00.jpg, and so on; 2 cameras" in said
    main(["reid-eval", "--backbone", "resnet50", "--augmented", "made", "--epochs", "1", "--breakdown"])
    assert "By camera of the query" in capsys.readouterr().out
