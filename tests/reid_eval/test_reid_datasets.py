"""Readers of folders: names, tables, every bad input with its message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_eval.datasets import check_images, load_images, parse_market_name, read_dataset
from reid_eval.datasets.images import read_image
from reid_eval.datasets.names import guess_grammar, image_stem
from reid_eval.runtime import InputError

Write = Callable[[Path, list[str]], Path]


def market_like(train: list[str], query: list[str], gallery: list[str]) -> list[str]:
    folders = {"bounding_box_train": train, "query": query, "bounding_box_test": gallery}
    return [f"{folder}/{name}" for folder, names in folders.items() for name in names]


def test_market_tables(market: Path) -> None:
    data = read_dataset(market)
    assert (data.layout, data.has_cameras) == ("market1501", True)
    assert (len(data.train), len(data.query), len(data.gallery)) == (18, 6, 6)
    assert list(data.train.columns) == ["path", "pid", "camid", "seq", "frame", "source"]
    first = data.train.iloc[0]
    assert first.to_dict() == {
        "path": "bounding_box_train/0001_c1s1_000000_00.jpg",
        "pid": 1,
        "camid": 1,
        "seq": 1,
        "frame": 0,
        "source": "real",
    }
    assert data.train["path"].is_monotonic_increasing
    assert list(data.train.index) == list(range(18))


def test_labels_are_ranks_of_pids(tmp_path: Path, write_images: Write) -> None:
    train = ["0700_c1s1_000001_00.jpg", "0002_c1s1_000001_00.jpg", "0700_c2s1_000001_00.jpg"]
    root = write_images(tmp_path, market_like(train, ["0800_c1s1_000001_00.jpg"], ["0800_c2s1_000001_00.jpg"]))
    assert read_dataset(root).train_labels().tolist() == [0, 1, 1]


def test_junk_distractors_generated_and_strange_files(tmp_path: Path, write_images: Write) -> None:
    names = market_like(
        ["0002_c1s1_000451_03.jpg", "0002_c1s1_000451_03_gen0007.jpg", "0002_c3s2_000009_01.JPG"],
        ["0005_c1s1_000001_00.jpg"],
        ["-1_c1s1_000002_00.jpg", "0000_c2s1_000003_00.jpg", "0005_c2s1_000004_00.png", "0005_c4s1_000004_00.jpg.jpg"],
    )
    root = write_images(tmp_path, names)
    (root / "query" / "Thumbs.db").write_bytes(b"x")
    (root / "query" / ".hidden.jpg").write_bytes(b"x")
    (root / "query" / "0005_c3s1_000001_00.jpg").symlink_to(root / "query" / "0005_c1s1_000001_00.jpg")
    data = read_dataset(root)
    assert data.train["source"].tolist() == ["real", "generated", "real"]
    assert sorted(data.gallery["pid"]) == [-1, 0, 5, 5]
    assert data.query["camid"].tolist() == [1, 3]
    assert check_images(data) == 9


@pytest.mark.parametrize(
    ("layout", "names", "pids", "camids"),
    [
        ("dukemtmc", ["0001_c2_f0046182.jpg", "0005_c2_f0046985.jpg", "0006_c1_f1.jpg"], (1, 5, 6), (2, 2, 1)),
        ("cuhk03-np", ["0001_c1_1.png", "0003_c2_21.png", "0004_c1_2.png"], (1, 3, 4), (1, 2, 1)),
        ("msmt17", ["0000_c1_0002.jpg", "0000_c14_0003.jpg", "0001_c2_0003.jpg"], (1, 2, 3), (1, 14, 2)),
        (
            "msmt17",
            [
                "0000_013_01_0303morning_0015_0.jpg",
                "0000_001_02_0303noon_0015_1.jpg",
                "0001_7_15_0114afternoon_1_0.jpg",
            ],
            (1, 2, 3),
            (1, 2, 15),
        ),
    ],
)
def test_other_layouts(
    tmp_path: Path, write_images: Write, layout: str, names: list[str], pids: tuple[int, ...], camids: tuple[int, ...]
) -> None:
    root = write_images(tmp_path, market_like(names[:1], names[1:2], names[2:]))
    for data in (read_dataset(root), read_dataset(root, layout)):
        assert data.layout == layout
        tables = (data.train, data.query, data.gallery)
        assert tuple(int(table["pid"].iloc[0]) for table in tables) == pids
        assert tuple(int(table["camid"].iloc[0]) for table in tables) == camids


def test_msmt17_release_with_lists(tmp_path: Path, write_images: Write) -> None:
    root = write_images(
        tmp_path,
        [
            "train/0000/0000_000_01_0303morning_0008_0.jpg",
            "train/0001/0001_000_02_0303morning_0008_0.jpg",
            "test/0000/0000_000_03_0303noon_0001_0.jpg",
            "test/0000/0000_001_04_0303noon_0001_0_ex.jpg",
        ],
    )
    lists = {
        "train": "0000/0000_000_01_0303morning_0008_0.jpg 0\n0001/0001_000_02_0303morning_0008_0.jpg 1\n",
        "query": "0000/0000_000_03_0303noon_0001_0.jpg 0\n",
        "gallery": "0000/0000_001_04_0303noon_0001_0_ex.jpg 0\n",
    }
    for name, text in lists.items():
        (root / f"list_{name}.txt").write_text(text)
    data = read_dataset(root)
    assert data.layout == "msmt17"
    assert data.train["pid"].tolist() == [1, 2]
    assert data.query["pid"].tolist() == data.gallery["pid"].tolist() == [3]
    assert check_images(data) == 4
    (root / "list_query.txt").write_text("nonsense\n")
    with pytest.raises(InputError, match=r"list_query.txt: 1 lines are not .* 'nonsense'"):
        read_dataset(root)


def test_folders_with_splits(tmp_path: Path, write_images: Write) -> None:
    root = write_images(tmp_path, ["train/ann/b.jpg", "train/ann/a.jpg", "query/zoe/1.jpg", "gallery/zoe/2.png"])
    data = read_dataset(root)
    assert (data.layout, data.has_cameras) == ("folders", False)
    assert data.identities == {1: "ann", 2: "zoe"}
    assert data.train[["pid", "camid", "frame"]].to_numpy().tolist() == [[1, 1, 0], [1, 1, 1]]
    assert data.query["pid"].tolist() == data.gallery["pid"].tolist() == [2]


def test_folders_at_the_root_are_all_training(tmp_path: Path, write_images: Write) -> None:
    data = read_dataset(write_images(tmp_path, ["ann/1.jpg", "bob/1.jpg", "bob/2_gen0001.jpg"]))
    assert data.train["pid"].tolist() == [1, 2, 2]
    assert data.train["source"].tolist() == ["real", "real", "generated"]
    assert data.query.empty
    assert data.gallery.empty
    assert data.query["pid"].dtype == np.int64


def test_folders_with_one_test_folder(tmp_path: Path, write_images: Write) -> None:
    root = write_images(tmp_path, ["train/a/1.jpg", "test/b/1.jpg", "test/b/2.jpg", "test/c/1.jpg"])
    data = read_dataset(root)
    assert data.query["path"].tolist() == ["test/b/1.jpg"]
    assert data.gallery["path"].tolist() == ["test/b/2.jpg", "test/c/1.jpg"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/1.jpg", "train/a/1.jpg"], r"train: 1 images lie outside any identity's folder: 1.jpg"),
        (["query/a/1.jpg", "gallery/a/2.jpg"], "has no folder train"),
        (["train/a/1.jpg", "gallery/b/2.jpg"], "folder gallery but no folder query"),
        (["train/a/1.jpg", "query/b/2.jpg"], "folder query but no folder gallery"),
        (["train/a/1.jpg", "query/a/2.jpg", "gallery/a/3.jpg"], "1 identities are in train and in test .*: a;"),
    ],
)
def test_bad_folders(tmp_path: Path, write_images: Write, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_dataset(write_images(tmp_path, names))


def test_missing_root_and_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist: give the folder that holds bounding_box_train"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="choose from auto, market1501"):
        read_dataset(tmp_path, "imagenet")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, not a folder"):
        read_dataset(tmp_path / "file")


def test_not_a_data_set_and_one_level_too_high(market: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no data set: expected the folders bounding_box_train, query"):
        read_dataset(tmp_path / "empty")
    with pytest.raises(InputError, match=r"did you mean .*market\?"):
        read_dataset(market.parent)


def test_missing_and_empty_split(market: Path) -> None:
    for path in (market / "query").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="query holds no images: query is empty"):
        read_dataset(market)
    (market / "query").rmdir()
    with pytest.raises(InputError, match="has no folder query: market1501 needs bounding_box_train, query"):
        read_dataset(market)


def test_unreadable_names_are_counted_and_five_shown(market: Path) -> None:
    for index in range(7):
        (market / "bounding_box_train" / f"holiday{index}.jpg").touch()
    with pytest.raises(
        InputError, match=r"7 file names do not follow market1501's grammar .*holiday0.*holiday4.jpg, \.\.\."
    ):
        read_dataset(market)


def test_shared_identities_are_counted_and_five_shown(tmp_path: Path, write_images: Write) -> None:
    train = [f"{pid:04d}_c1s1_000001_00.jpg" for pid in range(7)]
    test = [f"{pid:04d}_c2s1_000001_00.jpg" for pid in range(7)]
    root = write_images(tmp_path, market_like(train, test[1:2], test))
    with pytest.raises(InputError, match=r"6 identities are in train and in test .*: 1, 2, 3, 4, 5, \.\.\.;"):
        read_dataset(root)


def test_junk_is_for_the_gallery(tmp_path: Path, write_images: Write) -> None:
    junk = "-1_c1s1_000001_00.jpg"
    root = write_images(tmp_path, market_like([junk], ["0002_c1s1_000001_00.jpg"], ["0002_c2s1_000001_00.jpg"]))
    with pytest.raises(InputError, match=r"1 junk images \(pid -1\) in train"):
        read_dataset(root)


def test_corrupt_images_are_named(market: Path) -> None:
    folder = market / "bounding_box_train"
    whole = (folder / "0001_c1s1_000000_00.jpg").read_bytes()
    (folder / "0001_c1s1_000000_00.jpg").write_bytes(b"")
    (folder / "0001_c1s1_000003_00.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "0001_c2s1_000001_00.jpg").write_bytes(b"no image at all")
    (folder / "0001_c2s1_000004_00.jpg").unlink()
    (folder / "0001_c2s1_000004_00.jpg").symlink_to(market / "gone.jpg")
    data = read_dataset(market)
    with pytest.raises(InputError, match=r"4 of 30 images cannot be read: .*restore them .*or delete them") as caught:
        check_images(data)
    for part in (
        "0001_c1s1_000000_00.jpg (0 bytes)",
        "0001_c1s1_000003_00.jpg (image file is truncated",
        "(not an image)",
        "(a broken link)",
    ):
        assert part in str(caught.value)
    assert check_images(data, ["query"]) == 6
    with pytest.raises(InputError, match=r"0001_c1s1_000000_00.jpg: cannot read this image \(0 bytes\)"):
        load_images(data.root, data.train["path"], (64, 32))


def test_load_images(tmp_path: Path) -> None:
    Image.new("RGB", (32, 64), (250, 100, 0)).save(tmp_path / "a.png")
    Image.new("L", (8, 16), 7).save(tmp_path / "b.png")
    stack = load_images(tmp_path, ["a.png", "b.png"], (64, 32))
    assert stack.shape == (2, 3, 64, 32)
    assert stack.dtype == np.uint8
    assert stack[0, :, 5, 5].tolist() == [250, 100, 0]
    assert (stack[1] == 7).all()
    assert load_images(tmp_path, [], (64, 32)).shape == (0, 3, 64, 32)
    with pytest.raises(InputError, match="choose from bilinear, bicubic"):
        load_images(tmp_path, ["a.png"], (64, 32), resample="nearest")


def test_market_names() -> None:
    assert parse_market_name("x/0002_c1s1_000451_03.jpg") == (2, 1, 1, 451, "real")
    assert parse_market_name("-1_c6s3_000451_03_gen0007.jpg") == (-1, 6, 3, 451, "generated")
    with pytest.raises(InputError, match=r"'0002_c1_f0001\.jpg' is not a Market-1501 image name"):
        parse_market_name("0002_c1_f0001.jpg")
    assert image_stem("a/b.JPG.jpg") == "b"
    assert guess_grammar(["portrait.jpg"]) is None


def test_importing_datasets_is_light() -> None:
    code = "import sys, reid_eval.datasets; sys.exit('torch' in sys.modules or 'augment' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_real_images(pets_mini: Path) -> None:
    data = read_dataset(pets_mini)
    assert (len(data.train), len(data.query), len(data.gallery)) == (730, 26, 521)
    assert check_images(data, ["query"]) == 26


def test_read_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((3, 2), 7, np.uint8)).save(path)
    image = read_image(path)
    assert (image.shape, image.dtype, image.min(), image.max()) == ((3, 2, 3), np.uint8, 7, 7)
    image[0] = 1  # its own memory
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"a\.png: cannot read this image"):
        read_image(path)
    with pytest.raises(InputError, match=r"none\.png: cannot read this image \(missing\)"):
        read_image(tmp_path / "none.png")
