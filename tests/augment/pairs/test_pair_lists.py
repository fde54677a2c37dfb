"""Pairs by the authors' rules, their files, and trainings that see a plan's kept images only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from drawn import draw_dataset, draw_person, some_pose
from PIL import Image

from augment.commands.main import cli
from augment.generators.weights import names_digest, read_weights
from augment.pairs.lists import all_pairs, draw_pairs, pair_rows, read_pairs, write_pairs
from augment.pairs.photos import folder_pairs, posed_images
from augment.plan.sampler import plan_dataset, write_plan
from augment.pose.keypoints import Keypoints, load_annotations, write_keypoints
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError


def poses(count: int, unusable: tuple[int, ...] = ()) -> np.ndarray:
    rng = np.random.default_rng(0)
    xy = np.stack([some_pose(rng) for _ in range(count)])
    for row in unusable:
        xy[row, 8] = np.nan  # a hip
    return xy


def test_pairs_are_ordered_and_within_an_identity() -> None:
    pids = np.array([7, 7, 3, 7, 0, 0, -1, -1, 3])
    pairs = {tuple(pair) for pair in all_pairs(poses(9, unusable=(3,)), pids).tolist()}
    assert pairs == {(0, 1), (1, 0), (2, 8), (8, 2)}


def test_drawing_is_without_replacement_and_seeded() -> None:
    names, pids = [f"bounding_box_test/{n}.jpg" for n in range(8)], np.ones(8, dtype=np.int64)
    every = draw_pairs(names, poses(8), pids, None)
    assert len(every) == 56
    some = draw_pairs(names, poses(8), pids, 20, seed=4)
    assert len(some.drop_duplicates()) == 20
    assert set(map(tuple, some.to_numpy())) <= set(map(tuple, every.to_numpy()))
    pd.testing.assert_frame_equal(some, draw_pairs(names, poses(8), pids, 20, seed=4))
    assert not some.equals(draw_pairs(names, poses(8), pids, 20, seed=5))
    assert len(draw_pairs(names, poses(8), pids, 1000)) == 56
    with pytest.raises(InputError, match="no pair"):
        draw_pairs(names, poses(8), np.arange(8), None)


def test_files(tmp_path: Path) -> None:
    pairs = pd.DataFrame({"from": ["a.jpg", "b.jpg"], "to": ["b.jpg", "a.jpg"]})
    write_pairs(tmp_path / "pairs.csv", pairs)
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "pairs.csv"), pairs)
    (tmp_path / "theirs.csv").write_text(",from,to\n0,a.jpg,b.jpg\n1,b.jpg,a.jpg\n")
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "theirs.csv"), pairs)
    np.testing.assert_array_equal(pair_rows(pairs, ["x/b.jpg", "x/a.jpg"], "list"), [[1, 0], [0, 1]])
    with pytest.raises(InputError, match=r"list names images that are not there .*: b\.jpg"):
        pair_rows(pairs, ["a.jpg"], "list")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns from and to"),
        ("from,to\na.jpg,\n", "row 2: a name is missing"),
        ("from,to\n", "no pairs"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "pairs.csv")


def test_listed_pairs_are_the_only_ones_drawn(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 3, 2: 3}, {3: 3})
    table = read_dataset(root).train
    names = [Path(path).name for path in table["path"]]
    write_pairs(tmp_path / "pairs.csv", pd.DataFrame({"from": [names[0], names[4]], "to": [names[2], names[3]]}))
    source = folder_pairs(root, size=(32, 16), pairs=tmp_path / "pairs.csv")
    drawn = {(int(a), int(b)) for step in range(10) for a, b in zip(*source.rows(step, 4), strict=True)}
    assert drawn == {(0, 2), (4, 3)}
    assert source.training_images == sorted(names[row] for row in (0, 2, 3, 4))


def test_a_training_on_a_plan_sees_its_kept_images_only(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 6, 2: 6}, {3: 3})
    data = read_dataset(root)
    plan, _ = plan_dataset(data, load_annotations(root), ratio=0.5, seed=1)
    write_plan(tmp_path / "plan.csv", plan)
    kept = {Path(name).name for name in plan.loc[plan["action"] == "keep", "image"]}
    recipe = tmp_path / "clean.yaml"
    recipe.write_text(
        f"data: {{source: folder, root: {root}, size: [32, 16], plan: {tmp_path / 'plan.csv'}}}\n"
        "train: {generator: patn_tiny, overrides: {ngf: 4, n_blocks: 1}, ndf: 4, d_blocks: 1, batch_size: 2,\n"
        '  constant_steps: 1, decay_steps: 0, epoch_steps: 1, perceptual: "off"}\n'
    )
    command = ["train", "--recipe", str(recipe), "--out", str(tmp_path / "run"), "--device", "cpu"]
    ended = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert ended.exit_code == 0
    seen = (tmp_path / "run" / "generator.training_images.txt").read_text().split()
    assert seen
    assert set(seen) <= kept
    info = read_weights(str(tmp_path / "run" / "generator.safetensors")).metadata["info"]
    assert info["training_images"] == {"sha256": names_digest(seen), "count": len(seen)}
    assert info["data"].startswith("what a plan keeps of the train split")


def test_a_plan_of_another_data_set_is_refused(tmp_path: Path) -> None:
    root, other = (draw_dataset(tmp_path / name, {pid: 4}, {9: 3}) for name, pid in (("a", 1), ("b", 2)))
    plan, _ = plan_dataset(read_dataset(other), load_annotations(other), ratio=0.5)
    write_plan(tmp_path / "plan.csv", plan)
    with pytest.raises(InputError, match="keeps images that the train split"):
        folder_pairs(root, plan=tmp_path / "plan.csv")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder an identity, and in each of them 0.jpg, 1.jpg and 2.jpg."""
    root, poses = tmp_path_factory.mktemp("folders"), {}
    rng = np.random.default_rng(0)
    for split, pids in (("train", (1, 2, 3)), ("test", (4, 5))):
        for pid in pids:
            for number in range(3):
                name = f"{split}/{pid:04d}/{number}.jpg"
                poses[name] = some_pose(rng)
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw_person(pid, poses[name])).save(root / name)
    write_keypoints(root / "keypoints-all.csv", Keypoints(tuple(poses), np.stack(list(poses.values()))))
    return root


def test_pairs_of_equally_named_images_stay_within_their_identity(folders: Path, tmp_path: Path) -> None:
    command = ["pairs", str(folders), "--out", str(tmp_path / "p.csv"), "--split", "train"]
    assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    listed = read_pairs(tmp_path / "p.csv")
    assert len(listed) == 3 * 6
    assert (listed["from"].map(lambda name: Path(name).parent) == listed["to"].map(lambda n: Path(n).parent)).all()
    source = folder_pairs(folders, size=(32, 16), pairs=tmp_path / "p.csv")
    plain = folder_pairs(folders, size=(32, 16))
    pids = posed_images(folders).table["pid"].to_numpy()
    drawn = np.stack([np.stack(source.rows(step, 8), 1) for step in range(20)]).reshape(-1, 2)
    assert (pids[drawn[:, 0]] == pids[drawn[:, 1]]).all()
    assert len(np.unique(drawn[:, 0])) == 9
    assert source.training_images == plain.training_images == sorted(posed_images(folders).paths)


def test_a_list_of_unclear_names_is_refused(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("from,to\n0.jpg,1.jpg\n")
    with pytest.raises(InputError, match=r"by file name that several have: 0\.jpg, 1\.jpg; write their paths"):
        folder_pairs(folders, size=(32, 16), pairs=tmp_path / "p.csv")


def test_names_of_a_digest() -> None:
    """Folders count where file names repeat, and only there."""
    digest = names_digest(["train/1/0.jpg", "train/2/0.jpg"])
    assert digest == names_digest(["train/2/0.png", "train/1/0.jpg"])
    assert digest != names_digest(["train/1/0.jpg", "train/3/0.jpg"]) != names_digest(["0.jpg"])
    market = ["bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0007_c1s1_000001_01.jpg"]
    assert names_digest(market) == names_digest([Path(name).stem for name in market])


def test_the_command(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 4}, {3: 5})
    ended = CliRunner().invoke(cli, ["pairs", str(root), "--out", str(tmp_path / "p.csv"), "--split", "train"])
    assert ended.exit_code == 0
    assert "12 pairs of 1 identities" in ended.output
    assert len(read_pairs(tmp_path / "p.csv")) == 12
