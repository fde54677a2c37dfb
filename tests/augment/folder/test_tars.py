"""A plan as tars: read back by the webdataset library and by `AugmentedDataset`, killed and gone on with, verified."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import hashes
from PIL import Image
from toy import Toy

from augment.api import Planned, augment_folder, plan_folder
from augment.folder import plan_parquet
from augment.folder.generate import verify
from augment.folder.image_sources import GeneratedTars
from augment.folder.manifest import VerifyReport, file_entries, read_manifest, write_manifest
from augment.folder.mixed import AugmentedDataset
from augment.folder.plan_parquet import TAR_PLAN, read_tar_plan, write_tar_plan
from augment.folder.tar_shards import Sample, TarRecord, read_picture
from augment.plan.file import COLUMNS
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError

PER_TAR = 7


@pytest.fixture(scope="module")
def planned(tiny_root: Path) -> Planned:
    return plan_folder(tiny_root, ratio=0.6, seed=1)


@pytest.fixture(scope="module")
def whole(planned: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tars") / "out"
    assert augment_folder(planned, out, Toy(), tars=PER_TAR) is not None
    return out


@pytest.fixture(scope="module")
def plain(planned: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "out"
    augment_folder(planned, out, Toy())
    return out


def test_what_lies_in_the_folder(whole: Path, planned: Planned) -> None:
    index = json.loads((whole / "index.json").read_text())
    kept = int((planned.table["action"] != "drop").sum())
    images = {split: [one["images"] for one in tars] for split, tars in index["splits"].items()}
    assert images == {"train": [7, 7, kept - 14], "query": [4], "gallery": [7, 1]}
    files = {one["file"] for tars in index["splits"].values() for one in tars}
    assert {path.name for path in whole.glob("*.tar")} == files
    assert set(read_manifest(whole).files) == {*files, "index.json", TAR_PLAN}
    assert verify(whole).ok
    assert not (whole / "augmentation/work").exists()


def test_the_webdataset_library_reads_what_a_plain_folder_holds(whole: Path, plain: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = sorted(str(path) for path in whole.glob("train-*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    found = {}
    for number, sample in enumerate(samples):
        facts = json.loads(sample["json"])
        assert sample["__key__"] == f"{number:09d}"
        assert sample["jpg"] == (plain / facts["name"]).read_bytes()
        found[facts["name"]] = facts
    table = read_dataset(plain).train
    assert sorted(found) == table["path"].tolist()
    for path, pid, camid, source in table[["path", "pid", "camid", "source"]].itertuples(index=False):
        assert (found[path]["pid"], found[path]["camid"]) == (pid, camid)
        assert found[path]["generated"] == (source == "generated")


def test_joints_of_an_image_are_those_of_a_plain_folder(whole: Path, plain: Path) -> None:
    from augment.folder.layout import train_keypoints

    known = train_keypoints(plain)
    xy = dict(zip(known.names, known.xy, strict=True))
    with tarfile.open(whole / "train-000001.tar") as tar:
        members = tar.getmembers()
        facts = [json.loads(tar.extractfile(one).read()) for one in members if one.name.endswith("json")]  # type: ignore[union-attr]
    assert len(facts) == PER_TAR
    assert {(one.mtime, one.uid, one.uname, one.mode) for one in members} == {(0, 0, "", 0o644)}
    for one in facts:
        joints = [[np.nan] * 2 if pair is None else pair for pair in one["joints"]]
        np.testing.assert_array_equal(np.array(joints, np.float32), xy[Path(one["name"]).name])


def test_the_parquet_is_the_plan_and_says_where_an_image_is(whole: Path, plain: Path, planned: Planned) -> None:
    table = read_tar_plan(whole / TAR_PLAN)
    for name in COLUMNS:
        assert table[name].tolist() == planned.table[name].tolist()
    for one in table[table["action"] != "drop"].itertuples():
        assert read_picture(whole / one.shard, one.offset, one.size) == (plain / one.output).read_bytes()
    gone = table[table["action"] == "drop"]
    assert set(zip(gone["shard"], gone["offset"], gone["size"], strict=True)) == {("", -1, -1)}


class Photos:
    """Somebody's training set: pid and camid of the plain folder's real images."""

    def __init__(self, root: Path) -> None:
        table = read_dataset(root).train
        self.rows = table[["pid", "camid"]].to_numpy().tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        return Image.new("RGB", (64, 128)), *self.rows[index]


def test_augmented_dataset_draws_the_same_from_both(whole: Path, plain: Path, tiny_root: Path) -> None:
    photos = Photos(tiny_root)
    one, other = (AugmentedDataset(photos, root, rate=0.7, seed=3) for root in (plain, whole))
    drawn = 0
    for epoch in range(3):
        one.set_epoch(epoch)
        other.set_epoch(epoch)
        for number in range(len(photos)):
            a, b = one[number], other[number]
            assert a[1:] == b[1:]
            np.testing.assert_array_equal(np.asarray(a[0]), np.asarray(b[0]))
            drawn += a[3]
    assert drawn > 10
    with pytest.raises(InputError, match=r"has pid 2, .* give label"):
        AugmentedDataset(photos, whole, rate=1.0, label=lambda pid: pid + 100)[0]


def test_killed_and_gone_on_with(whole: Path, planned: Planned, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        augment_folder(planned, out, Toy(stop=1), tars=PER_TAR)
    there = sorted(path.name for path in out.glob("*.tar"))
    assert 0 < len(there) < 6
    before = {name: (out / name).stat().st_mtime_ns for name in there}
    assert augment_folder(planned, out, Toy(), tars=PER_TAR, resume=True) is not None
    assert {name: (out / name).stat().st_mtime_ns for name in there} == before
    assert hashes(out) == hashes(whole)


def test_shards_share_tars(whole: Path, planned: Planned, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert augment_folder(planned, out, Toy(), tars=PER_TAR, shard=(1, 2)) is None
    assert len(list(out.glob("*.tar"))) == 3
    assert augment_folder(planned, out, Toy(), tars=PER_TAR, shard=(0, 2)) is not None
    assert hashes(out) == hashes(whole)


def test_another_job_and_a_changed_tar_are_told(whole: Path, planned: Planned, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    with pytest.raises(InputError, match="images_per_shard: 7, now 8"):
        augment_folder(planned, out, Toy(), tars=8, resume=True)
    with pytest.raises(InputError, match="format: tar, now None"):
        augment_folder(planned, out, Toy(), resume=True)
    data = bytearray((out / "train-000000.tar").read_bytes())
    data[600] ^= 1
    (out / "train-000000.tar").write_bytes(data)
    (out / "train-000001.tar").unlink()
    (out / "more.txt").write_text("x")
    report = verify(out)
    assert (report.changed, report.missing, report.extra) == (
        ("train-000000.tar",), ("train-000001.tar",), ("more.txt",)
    )  # fmt: skip


def test_a_parquet_that_lies(whole: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "out"
    shutil.copytree(whole, out)
    table = pyarrow.parquet.read_table(out / TAR_PLAN).to_pandas()
    row = table.index[table["action"] == "generate"][0]
    table.loc[row, "shard"] = "../../etc/passwd"
    table.to_parquet(out / TAR_PLAN, index=False)
    with pytest.raises(InputError, match="is not the name of a tar in the folder"):
        GeneratedTars(out)
    (out / TAR_PLAN).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"cannot read .*plan.parquet: .* not found in footer"):
        read_tar_plan(out / TAR_PLAN)


def test_a_parquet_is_bounded(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places that no picture has, columns of other types, rows that a small file unpacks to, and what is no file."""
    import pyarrow

    from augment.folder import plan_parquet

    path, table = tmp_path / "plan.parquet", pyarrow.parquet.read_table(whole / TAR_PLAN)
    frame = table.to_pandas()
    for column, value, message in (
        ("size", -1, r"row 2: no picture has such an offset and size"),
        ("offset", -1, r"row 2: no picture has such an offset and size"),
        ("offset", 2**63 - 1, r"row 2: no picture has such an offset and size"),
        ("size", 2**40, r"row 2: no picture has such an offset and size"),
        ("output", 5, "texts and whole numbers were due"),
        ("output", "x" * 5_000_000, "rows that no plan has"),
    ):
        changed = frame[frame["action"] != "drop"].reset_index(drop=True)
        if column == "output":
            changed[column] = changed[column].astype(object)
        changed.loc[0 if isinstance(value, int) and column != "output" else changed.index, column] = value
        changed.to_parquet(path, index=False)
        with pytest.raises(InputError, match=message):
            read_tar_plan(path)
    pyarrow.parquet.write_table(table, path)
    monkeypatch.setattr(plan_parquet, "MOST_ROWS", 3)
    with pytest.raises(InputError, match="at most 3 are read"):
        read_tar_plan(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="no regular file"):
        read_tar_plan(path)


def verified(out: Path, table: pd.DataFrame) -> VerifyReport:
    """Of a folder whose manifest knows this table as its plan."""
    table.to_parquet(out / TAR_PLAN, index=False)
    manifest = read_manifest(out)
    files = {**manifest.files, **file_entries(out, [TAR_PLAN])}
    write_manifest(out, manifest.model_copy(update={"files": files}))
    report = verify(out)
    assert (report.missing, report.changed, report.extra) == ((), (), ())
    return report


def test_a_plan_of_the_manifest_that_lies_of_its_tars(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    table = read_tar_plan(out / TAR_PLAN)
    assert verified(out, table).ok
    moved = table.assign(shard=table["shard"].replace("train-000001.tar", "train-000009.tar"))
    said = "{} is in the manifest or the plan alone"
    assert verified(out, moved).mislabelled == (said.format("train-000001.tar"), said.format("train-000009.tar"))
    row = table.index[table["shard"] == "train-000001.tar"][3]
    end = (out / "train-000001.tar").stat().st_size
    for beyond in (0, 1):
        long = table.copy()
        long.loc[row, "size"] = end - long.loc[row, "offset"] + beyond
        said = ("train-000001.tar ends before its last image",) * beyond
        assert verified(out, long).mislabelled == said
    other = table.copy()
    other.loc[row, "output"] = "bounding_box_train/0999_c1s1_000000_00.jpg"
    assert len(found := verified(out, other).mislabelled) == 1
    assert found[0].startswith(f"row {row + 2} of {TAR_PLAN}: output 'bounding_box_train/0999")
    assert "the columns are" in verified(out, table.drop(columns="shard")).mislabelled[0]


def test_a_table_that_is_changed_or_gone_is_told_as_that_alone(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / TAR_PLAN).write_bytes(b"PAR1 and then nothing")
    report = verify(out)
    assert (report.changed, report.missing, report.mislabelled) == ((TAR_PLAN,), (), ())
    (out / TAR_PLAN).unlink()
    report = verify(out)
    assert (report.changed, report.missing, report.mislabelled) == ((), (TAR_PLAN,), ())


def test_tables_that_are_no_plan(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, path = read_tar_plan(whole / TAR_PLAN), tmp_path / "plan.parquet"

    def read(changed: pd.DataFrame) -> pd.DataFrame:
        changed.to_parquet(path, index=False)
        return read_tar_plan(path)

    with pytest.raises(InputError, match=r"plan.parquet: the columns are .*, expected .*, \.\.\.") as caught:
        read(table.drop(columns="shard").rename(columns={"pid": "x" * 999}))
    told = "the columns are action, " + "x" * 92  # 100 characters of them
    assert told in str(caught.value)
    assert told + "x" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400
    for name in ("pid", "camid", "offset", "size"):
        with pytest.raises(InputError, match="texts and whole numbers were due"):
            read(table.astype({name: float}))
        with pytest.raises(InputError, match="pid, camid, offset, size should be whole numbers"):
            read(table.assign(**{name: table[name].astype("Int64").where(table.index > 0)}))
    with pytest.raises(InputError, match=r"plan.parquet: row 2: "):
        read(table.assign(action="paint"))
    empty = read(table.assign(shard=table["shard"].where(table["shard"] != "")))
    pd.testing.assert_frame_equal(empty, table)
    monkeypatch.setattr(plan_parquet, "MOST_ROWS", len(table))
    assert len(read(table)) == len(table)
    monkeypatch.setattr(plan_parquet, "MOST_ROWS", len(table) - 1)
    with pytest.raises(InputError, match=rf"{len(table)} rows in \d+ bytes, at most {len(table) - 1} are read"):
        read(table)


def test_records_that_do_not_fit_the_plan(whole: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    table, path = read_tar_plan(whole / TAR_PLAN), tmp_path / "plan.parquet"
    plan = table[list(COLUMNS)]
    kept = table[table["action"] != "drop"]
    records = {
        name: TarRecord(sha256="x", size=9, samples=[
            Sample(name=one.output, offset=one.offset, size=one.size) for one in part.itertuples()
        ]) for name, part in kept.groupby("shard")
    }  # fmt: skip
    write_tar_plan(path, plan, iter(records.items()))
    pd.testing.assert_frame_equal(read_tar_plan(path), table)
    file = pyarrow.parquet.ParquetFile(path)
    assert file.num_row_groups == len(records)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    path.unlink()
    first = next(iter(records))
    with pytest.raises(InputError, match=r"rows of the plan are in no tar") as caught:
        write_tar_plan(path, plan, iter([(first, records[first])]))
    assert int(str(caught.value).split()[0]) < len(plan)
    swapped = records[first].model_copy(update={"samples": records[first].samples[::-1]})
    names = kept["output"].iloc[PER_TAR - 1], kept["output"].iloc[0]
    with pytest.raises(InputError, match=f"{first} holds {names[0]} where the plan has {names[1]}: remove it"):
        write_tar_plan(path, plan, iter([(first, swapped)]))
    assert not path.exists()


def test_without_the_extra(planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'patn-augment\[webdataset\]'"):
        augment_folder(planned, tmp_path / "out", Toy(), tars=PER_TAR)
    assert not (tmp_path / "out").exists()


def test_pictures_that_a_tar_does_not_hold(whole: Path, tmp_path: Path) -> None:
    size = (whole / "train-000000.tar").stat().st_size
    with pytest.raises(InputError, match="ends before the picture"):
        read_picture(whole / "train-000000.tar", size - 10, 100)
    with pytest.raises(InputError, match="cannot read"):
        read_picture(tmp_path / "none.tar", 0, 100)


def test_tars_of_one_image_each(planned: Planned, tmp_path: Path, plain: Path) -> None:
    """A chunk is computed for each of its images, and still gives the same bytes."""
    few = Planned(planned.source, planned.table, {})
    augment_folder(few, tmp_path / "out", Toy(), tars=1)
    with tarfile.open(tmp_path / "out/train-000013.tar") as tar:
        picture, text = (tar.extractfile(one).read() for one in tar.getmembers())  # type: ignore[union-attr]
    assert picture == (plain / json.loads(text)["name"]).read_bytes()
    assert Image.open(io.BytesIO(picture)).size == (64, 128)
