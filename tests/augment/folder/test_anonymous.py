"""`generate --anonymous`: no name of the data set in the folder, labels that hold, and a key that is never inside."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawn import draw_dataset, hashes
from gated import Blind
from toy import Toy
from typed import run

from augment.api import Planned, augment_folder, plan_folder, read_planned, run_file
from augment.commands.main import main
from augment.folder.generate import RenderSettings, verify
from augment.folder.layout import folder_plan
from augment.folder.manifest import MANIFEST, Manifest, read_manifest
from augment.folder.secret_key import SecretKey, draw_key, read_key
from augment.gate.redraw import GateRun
from augment.plan.file import write_plan
from augment.quality.material import folder_material
from augment.quality.sheet import folder_sheet
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError, RunError, sha256_file

KEY = SecretKey(b"0123456789abcdef")
OTHER = SecretKey(b"another key than this")


def make(root: Path, out: Path, key: SecretKey = KEY, toy: Toy | None = None, **more: Any) -> Manifest | None:
    planned = plan_folder(root, ratio=0.6, seed=1, anonymous=key)
    return augment_folder(planned, out, toy or Toy(), **more)


def beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out and path != run_file(out))


def everything_said(out: Path) -> str:
    """Names of all files of a folder, what is written in them and in the run file, but for pixels."""
    files = [path for path in [*out.rglob("*"), run_file(out)] if path.is_file()]
    texts = [path.read_text() for path in files if path.suffix in (".csv", ".json")]
    return "\n".join([*(path.as_posix() for path in out.rglob("*")), *texts])


def test_nothing_of_a_name_is_left(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["patn-augment", "generate", str(tiny_root)])
    root = Path(shutil.copytree(tiny_root, tmp_path / "secret-source"))
    make(root, tmp_path / "out")
    told = everything_said(tmp_path / "out")
    paths = list(root.rglob("*.jpg"))
    assert len(paths) == 19 + 12
    assert [path.stem for path in paths if path.stem in told] == []
    assert not re.search(r"\b00(07|11)_c|\b010[12]_c|s1_0000\d\d_00", told)  # the pids of the source, and its frames
    assert "secret-source" not in told
    assert str(tiny_root) not in told
    assert KEY.secret.decode() not in told


def test_labels_hold_within_the_folder(tiny_root: Path, tmp_path: Path) -> None:
    """Who is one person stays one, who are two stay two, over all splits; cameras likewise."""
    make(tiny_root, tmp_path / "out")
    was, now = read_dataset(tiny_root), read_dataset(tmp_path / "out")
    assert now.layout == "market1501"
    for label in ("pid", "camid"):
        pairs = set()
        for split in ("train", "query", "gallery"):
            before = {sha256_file(was.root / row.path): getattr(row, label) for row in was.split(split).itertuples()}
            real = now.split(split)[now.split(split)["source"] == "real"]
            pairs |= {(before[sha256_file(now.root / row.path)], getattr(row, label)) for row in real.itertuples()}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert sorted(b for _, b in pairs) == list(range(1, len(pairs) + 1))
    assert len(now.query) + len(now.gallery) == 12
    assert now.train["pid"].nunique() == 3
    made = now.train[now.train["source"] == "generated"]
    assert len(made) == read_manifest(tmp_path / "out").counts["train_generated"] == 10


def test_commands_work_on_it(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(tiny_root, out)
    assert verify(out).ok
    folder_sheet(out, tmp_path / "sheet.png", count=2)
    assert (tmp_path / "sheet.png").is_file()
    assert len(folder_material(out, tiny_root).generated) == 10
    main(["verify", str(out)])


def test_a_key_gives_the_same_names_and_another_one_others(tiny_root: Path, tmp_path: Path) -> None:
    for name, key in (("a", KEY), ("b", KEY), ("c", OTHER)):
        make(tiny_root, tmp_path / name, key)
    a, b, c = (hashes(tmp_path / name) for name in "abc")
    assert a == b
    images = [{name for name in found if name.endswith(".jpg")} for found in (a, c)]
    assert images[0].isdisjoint(images[1])
    assert read_manifest(tmp_path / "a").job.arguments["anonymous"] == f"key {KEY.mark}"


def test_a_drawn_key_is_kept_beside_until_the_end(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(tiny_root, out, draw_key(out), Toy(stop=1), settings=RenderSettings(batch_size=8))
    kept = tmp_path / ".out.anonymous-key"
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.read_bytes() not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    begun = {name for name in hashes(out) if name.endswith(".jpg")}
    assert begun
    key = draw_key(out)
    assert key.secret == kept.read_bytes()
    make(tiny_root, out, key, resume=True)
    assert verify(out).ok
    assert begun <= set(hashes(out))
    assert beside(out) == []
    whole = hashes(out)
    assert make(tiny_root, out, draw_key(out), resume=True) is not None  # the key is gone, all is done
    assert hashes(out) == whole
    assert beside(out) == []
    with pytest.raises(InputError, match=r"with other settings \(ratio: 0.6, now 0.5"):
        augment_folder(plan_folder(tiny_root, ratio=0.5, seed=1, anonymous=draw_key(out)), out, Toy(), resume=True)


def test_a_folder_whose_key_is_gone_says_so(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(tiny_root, out, KEY, Toy(stop=1), settings=RenderSettings(batch_size=8))
    with pytest.raises(InputError, match="was begun with a key that is not beside it: give its file"):
        draw_key(out)
    with pytest.raises(InputError, match=r"with other settings .*anonymous: key .*, now key "):
        make(tiny_root, out, OTHER, resume=True)
    make(tiny_root, out, KEY, resume=True)
    assert verify(out).ok


def test_parts_share_one_drawn_key(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def part(index: int) -> None:
        make(tiny_root, out, draw_key(out, shared=True), shard=(index, 3))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(part, range(3)))
    assert verify(out).ok
    assert beside(out) == []


def test_a_key_that_another_process_put_there_is_not_overwritten(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mine, theirs = draw_key(out), draw_key(out, shared=True)
    with pytest.raises(RunError, match="with its own key: give the command again"):
        make(tiny_root, out, mine)
    make(tiny_root, out, theirs)
    assert verify(out).ok


@pytest.mark.parametrize("link", ["symlink", "hard"])
def test_links_that_lead_back_are_refused(tiny_root: Path, tmp_path: Path, link: str) -> None:
    with pytest.raises(InputError, match="leads back to the data set"):
        make(tiny_root, tmp_path / "out", link=link)
    assert beside(tmp_path / "out") == []


def test_a_gate_sees_the_same_images(tiny_root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tiny_root, tmp_path / name, gate=GateRun(Blind(0.5), retries=1, seed=1))
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert verify(tmp_path / "a").ok
    log = list(csv.DictReader((tmp_path / "a/augmentation/gate.csv").open()))
    assert any(row["accepted"] == "0" for row in log)
    assert not re.search(r"\b00(07|11)_c|\b010[12]_c", everything_said(tmp_path / "a"))


def plans(root: Path, tmp_path: Path) -> tuple[Planned, Path]:
    """A plan with the names of the data set, and its file."""
    planned = plan_folder(root, ratio=0.6, seed=1)
    write_plan(tmp_path / "plan.csv", planned.table)
    return planned, tmp_path / "plan.csv"


def test_a_plan_of_real_names_is_carried_out_under_new_ones(tiny_root: Path, tmp_path: Path) -> None:
    planned, file = plans(tiny_root, tmp_path)
    hidden = read_planned(file, tiny_root, anonymous=KEY)
    augment_folder(hidden, tmp_path / "out", Toy())
    assert verify(tmp_path / "out").ok
    source = hidden.source
    back = folder_plan(tmp_path / "out")
    for column in ("image", "condition", "pose"):
        named = [source.original(path) for path in back[column] if path]
        assert sorted(named) == sorted(path for path in planned.table[column] if path)
    assert back["pid"].is_monotonic_increasing
    assert "plan.csv" not in (tmp_path / "out.run.json").read_text()
    assert read_manifest(tmp_path / "out").job.arguments["plan"] is None


def test_an_anonymous_plan_needs_its_key(tiny_root: Path, tmp_path: Path) -> None:
    write_plan(tmp_path / "hidden.csv", plan_folder(tiny_root, ratio=0.6, seed=1, anonymous=KEY).table)
    assert len(read_planned(tmp_path / "hidden.csv", tiny_root, anonymous=KEY).table) == 29
    for key in (OTHER, None):
        with pytest.raises(InputError, match="plan does not mention 19 training images"):
            read_planned(tmp_path / "hidden.csv", tiny_root, anonymous=key)


def test_one_folder_an_identity(tiny_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "people"
    data = read_dataset(tiny_root)
    lines = ["name:keypoints_y:keypoints_x"]
    joints = "".join((tiny_root / f"market-annotation-{part}.csv").read_text() for part in ("train", "test"))
    rows = dict(line.split(": ", 1) for line in joints.splitlines() if ": " in line)
    for split, folder in (("train", "train"), ("query", "query"), ("gallery", "gallery")):
        for row in data.split(split).itertuples():
            name = f"{folder}/Jane {row.pid}/{Path(row.path).name.replace('_', '-')}"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tiny_root / row.path, root / name)
            lines.append(f"{name}: {rows[Path(row.path).name]}")
    (root / "keypoints-all.csv").write_text("\n".join(lines) + "\n")
    make(root, tmp_path / "out")
    assert verify(tmp_path / "out").ok
    assert "Jane" not in everything_said(tmp_path / "out")
    now = read_dataset(tmp_path / "out")
    assert now.layout == "folders"
    assert sorted(now.identities.values()) == [f"{number:04d}" for number in range(1, 6)]
    assert all(name == f"{pid:04d}" for pid, name in now.identities.items())


def test_another_grammar_becomes_markets(tmp_path: Path) -> None:
    """MSMT17 numbers train and test apart, both from 0: afterwards nobody shares a number."""
    drawn = draw_dataset(tmp_path / "drawn", {0: 6, 1: 6}, {0: 6, 1: 6})
    for path in sorted(drawn.rglob("*.jpg")):
        pid, camid, frame, _ = path.stem.replace("s1", "").split("_")
        path.rename(path.with_name(f"{pid}_{frame[-3:]}_{int(camid[1:]):02d}_0303morning_{frame[-4:]}_0.jpg"))
    for file in drawn.glob("*.csv"):
        told = re.sub(r"(\d{4})_c(\d)s1_\d\d(\d(\d{3}))_00", r"\1_\4_0\2_0303morning_\3_0", file.read_text())
        file.write_text(told.replace("\n0", "\nbounding_box_train/0") if "train" in file.name else told)
    data = read_dataset(drawn)
    assert data.layout == "msmt17"
    make(drawn, tmp_path / "out")
    now = read_dataset(tmp_path / "out")
    assert now.layout == "market1501"
    assert verify(tmp_path / "out").ok
    assert set(now.train["pid"]).isdisjoint(set(now.gallery["pid"]) | set(now.query["pid"]))
    assert sorted({*now.train["pid"], *now.gallery["pid"], *now.query["pid"]}) == [1, 2, 3, 4]


def test_keys_from_files(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"secret")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/key").write_bytes(b"0" * 32)
    with pytest.raises(InputError, match="has 6 bytes, which can be guessed"):
        read_key(tmp_path / "short")
    with pytest.raises(InputError, match="lies in the folder that it is to hide names in"):
        read_key(tmp_path / "out/key", tmp_path / "out")
    assert read_key(tmp_path / "out/key").secret == b"0" * 32
    assert "0000" not in repr(read_key(tmp_path / "out/key"))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY.secret)
    return path


def test_the_command_line(tiny_root: Path, tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: Callable[..., int] = lambda out, *more: run(  # noqa: E731
        "generate", tiny_root, "--ratio", "0.6", "--weights", "entry:copy", "--device", "cpu",
        "--anonymous", "--out", tmp_path / out, *more,
    )  # fmt: skip
    assert made("a", "--key", key_file) == made("b") == made("b", "--resume") == 0
    assert verify(tmp_path / "a").ok
    assert verify(tmp_path / "b").ok
    assert run("names", "--out", tmp_path / "names.csv", tiny_root, "--key", key_file) == 0
    table = pd.read_csv(tmp_path / "names.csv")
    assert len(table) == 31
    for row in table.itertuples():
        if (tmp_path / "a" / row.anonymous).exists():  # else it was dropped
            assert sha256_file(tmp_path / "a" / row.anonymous) == sha256_file(tiny_root / row.image)
    real = read_dataset(tmp_path / "a").train.query("source == 'real'")
    assert set(real["path"]) <= set(table["anonymous"])
    plan = ("plan", tiny_root, "--ratio", "0.6", "--anonymous", "--out")
    capsys.readouterr()
    assert run(*plan, tmp_path / "shown.csv") == 0
    assert "its key is thrown away, nobody can carry it out" in capsys.readouterr().out
    assert run(*plan, tmp_path / "plan.csv", "--key", key_file) == 0
    assert f"--anonymous --key {key_file}" in capsys.readouterr().out
    assert made("c", "--link", "symlink") == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].endswith("(--link)")
    assert run("plan", "--out", tmp_path / "p.csv", tiny_root, "--ratio", "0.6", "--key", key_file) == 2
    assert capsys.readouterr().err == "Error: --key is for --anonymous: give both, or neither\n"
    assert json.loads((tmp_path / "a" / MANIFEST).read_text())["job"]["arguments"]["anonymous"].startswith("key ")
