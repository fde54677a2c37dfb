from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn import some_pose

from augment.plan.file import plan_text
from augment.plan.infer import infer_pose_source
from augment.plan.sampler import (
    POSE_SOURCES,
    check_plan,
    make_plan,
    output_path,
    plan_dataset,
    read_plan,
    replaced_count,
    summarise,
    write_plan,
)
from augment.pose import Keypoints, load_annotations, normalise, pose_distance
from augment.pose.geometry import upright
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError


def people(sizes: dict[int, int], *, unusable: float = 0.0, seed: int = 0) -> tuple[pd.DataFrame, Keypoints]:
    """A training table of {pid: images} over three cameras, and joints; a share of them without the left hip."""
    rng = np.random.default_rng(seed)
    rows, poses = [], []
    for pid, n in sizes.items():
        for i in range(n):
            camid = int(rng.integers(1, 4))
            rows.append((f"bounding_box_train/{pid:04d}_c{camid}s1_{i:06d}_00.jpg", pid, camid, 1, i, "real"))
            pose = some_pose(rng)
            if rng.random() < unusable:
                pose[11] = np.nan
            poses.append(pose)
    train = pd.DataFrame(rows, columns=["path", "pid", "camid", "seq", "frame", "source"])
    train = train.sort_values("path", ignore_index=True)
    names = [row[0].split("/")[1] for row in rows]
    return train, Keypoints(tuple(names), np.stack(poses))


def counts(plan: pd.DataFrame) -> dict[int, tuple[int, int, int]]:
    """{pid: (kept, dropped, generated)}."""
    table = plan.groupby(["pid", "action"]).size().unstack(fill_value=0)
    table = table.reindex(columns=["keep", "drop", "generate"], fill_value=0)
    return {pid: tuple(row) for pid, row in zip(table.index, table.to_numpy().tolist(), strict=True)}


@pytest.mark.parametrize(
    ("n", "ratio", "expected"),
    [(10, 0.5, 5), (5, 0.5, 3), (7, 0.5, 4), (50, 0.29, 15), (10, 0.35, 4), (10, 0.25, 3), (9, 0.0, 0), (3, 0.1, 0)],
)
def test_the_share_is_rounded_with_halves_up(n: int, ratio: float, expected: int) -> None:
    assert replaced_count(n, ratio) == expected


def test_one_real_image_stays_when_replacing() -> None:
    assert [replaced_count(n, 1.0) for n in (1, 2, 8)] == [0, 1, 7]
    assert [replaced_count(n, 1.0, "add") for n in (1, 2, 8)] == [1, 2, 8]
    assert replaced_count(8, 2.5, "add") == 20


def test_counts_an_identity_over_ratios_and_sizes() -> None:
    rng = np.random.default_rng(0)
    for trial in range(40):
        sizes = {
            int(pid): int(rng.integers(1, 13)) for pid in rng.choice(200, size=rng.integers(1, 6), replace=False) + 1
        }
        ratio = round(float(rng.random()), int(rng.integers(1, 4)))
        mode = ("replace", "add")[trial % 2]
        source = POSE_SOURCES[trial % 4]
        train, keypoints = people(sizes, seed=trial)
        plan = make_plan(train, keypoints, ratio=ratio, mode=mode, pose_source=source, seed=trial)
        check_plan(plan, train, keypoints)
        for pid, (kept, dropped, made) in counts(plan).items():
            wanted = replaced_count(sizes[pid], ratio, mode)
            assert made == wanted
            assert dropped == (wanted if mode == "replace" else 0)
            assert kept == sizes[pid] - dropped >= 1


def test_images_without_usable_keypoints_are_kept_and_reported() -> None:
    for seed in range(20):
        train, keypoints = people({1: 6, 2: 4, 3: 9}, unusable=0.5, seed=seed)
        plan = make_plan(train, keypoints, ratio=0.8, seed=seed)
        summary = summarise(plan, train, keypoints, ratio=0.8)
        good = dict(zip(keypoints.names, keypoints.usable, strict=True))
        bad = {path for path in train["path"] if not good[path.split("/")[1]]}
        assert set(summary.unusable_images) == bad
        assert bad <= set(plan.loc[plan["action"] == "keep", "image"])
        for pid, (kept, dropped, made) in counts(plan).items():
            n = int((train["pid"] == pid).sum())
            usable = n - sum(path in bad for path in train.loc[train["pid"] == pid, "path"])
            assert made == dropped == max(0, min(replaced_count(n, 0.8), usable - 1))
            assert kept + made == n
            assert (pid in summary.identities_without_usable) == (usable == 0)
            assert (pid in summary.identities_short) == (usable > 0 and made < replaced_count(n, 0.8))


def test_the_summary_says_what_is_out_of_the_ordinary() -> None:
    train, keypoints = people({1: 3, 2: 4})
    nowhere = Keypoints(keypoints.names[3:], keypoints.xy[3:])
    plan = make_plan(train, nowhere, ratio=0.5)
    summary = summarise(plan, train, nowhere, ratio=0.5)
    assert counts(plan)[1] == (3, 0, 0)
    assert "3 images have no usable keypoints" in summary.message
    assert "1 identities have no image with usable keypoints and stay as they are: 1" in summary.message
    assert summary.as_dict()["identities_without_usable"] == [1]


@pytest.mark.parametrize("source", POSE_SOURCES)
@pytest.mark.parametrize("mode", ["replace", "add"])
def test_nothing_dropped_leaks_back(source: str, mode: str) -> None:
    train, keypoints = people({1: 8, 2: 5, 3: 2, 4: 11}, unusable=0.2)
    plan = make_plan(train, keypoints, ratio=0.7, mode=mode, pose_source=source, library=keypoints)
    made = plan[plan["action"] == "generate"]
    kept = set(plan.loc[plan["action"] == "keep", "image"])
    assert len(made)
    assert set(made["condition"]) <= kept
    if source == "library":
        assert made["pose"].str.startswith("library:").all()
    else:
        assert set(made["pose"]) <= kept


def test_pose_sources_keep_to_their_donors() -> None:
    train, keypoints = people({1: 12, 2: 12, 3: 12})
    pid, camid = (train.set_index("path")[column] for column in ("pid", "camid"))
    made = {}
    for source in ("identity", "camera", "dataset"):
        plan = make_plan(train, keypoints, ratio=0.5, pose_source=source)
        made[source] = plan[plan["action"] == "generate"]
        assert summarise(plan, train, keypoints, ratio=0.5, pose_source=source).fallbacks == 0
    assert (made["identity"]["pose"].map(pid).to_numpy() == made["identity"]["pid"]).all()
    assert (made["camera"]["pose"].map(camid).to_numpy() == made["camera"]["camid"]).all()
    assert made["dataset"]["pose"].map(pid).nunique() == 3


def test_a_source_that_finds_nobody_falls_back_and_says_so() -> None:
    train, keypoints = people({1: 2, 2: 6})
    arguments = {"ratio": 0.5, "pose_source": "identity"}
    plan = make_plan(train, keypoints, exclude_same_image=True, **arguments)
    summary = summarise(plan, train, keypoints, **arguments)
    assert summary.fallbacks == 1
    assert "1 poses come from the whole data set" in summary.message


def test_the_condition_image_can_be_excluded_as_donor() -> None:
    train, keypoints = people({1: 3, 2: 3})
    for source in ("dataset", "identity", "camera", "diverse"):
        plan = make_plan(train, keypoints, ratio=3, mode="add", pose_source=source, exclude_same_image=True)
        assert summarise(plan, train, keypoints, ratio=3, mode="add").same_image == 0
    with pytest.raises(InputError, match="there is but one kept image"):
        make_plan(*people({1: 2}), ratio=0.5, exclude_same_image=True)


def test_donors_take_turns_within_an_identity() -> None:
    train, keypoints = people({1: 10})
    plan = make_plan(train, keypoints, ratio=1, mode="add", pose_source="identity")
    made = plan[plan["action"] == "generate"]
    assert made["pose"].nunique() == made["condition"].nunique() == 10


def pairs_there_are(train: pd.DataFrame, kept: list[str], source: str, exclude: bool, library: int) -> dict[int, int]:
    """{pid: pairs of photo and pose} that a pose source has, by brute force."""
    pid, camid = (train.set_index("path")[column].to_dict() for column in ("pid", "camid"))
    found: dict[int, int] = {}
    for photo in kept:
        others = [name for name in kept if not (exclude and name == photo)]
        home = {"identity": pid, "camera": camid}.get(source)
        own = [name for name in others if home and home[name] == home[photo]]
        donors = library if source == "library" else len(own or others)
        found[pid[photo]] = found.get(pid[photo], 0) + donors
    return found


@pytest.mark.parametrize("source", POSE_SOURCES)
@pytest.mark.parametrize(("mode", "ratio"), [("add", 2.0), ("add", 7.0), ("replace", 0.8)])
@pytest.mark.parametrize("exclude", [False, True])
def test_no_photo_gets_a_pose_twice_while_there_is_another(source: str, mode: str, ratio: float, exclude: bool) -> None:
    for seed in range(3):
        train, keypoints = people({1: 5, 2: 3, 3: 8}, seed=seed)
        library = Keypoints(keypoints.names[:4], keypoints.xy[:4])
        given = {"ratio": ratio, "mode": mode, "pose_source": source}
        plan = make_plan(train, keypoints, library=library, exclude_same_image=exclude, seed=seed, **given)
        made, kept = plan[plan["action"] == "generate"], plan.loc[plan["action"] == "keep", "image"].tolist()
        if source == "diverse" and upright(keypoints.xy[keypoints.rows(kept)]).sum() < len(kept):
            continue
        there = pairs_there_are(train, kept, source, exclude, len(library))
        repeats = 0
        for pid, rows in made.groupby("pid"):
            times = rows.groupby(["condition", "pose"]).size()
            assert len(times) == min(len(rows), there[int(pid)])
            assert times.max() <= -(-len(rows) // there[int(pid)])  # and none comes a third time before all did twice
            repeats += len(rows) - len(times)
        summary = summarise(plan, train, keypoints, **given)
        assert summary.repeats == repeats
        assert (f"{repeats} generated images repeat another one" in summary.message) == bool(repeats)


def test_one_photo_can_be_made_in_more_poses_than_diverse_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.plan.donors.DIVERSE_CANDIDATES", 8)
    train, keypoints = people({1: 1, 2: 6, 3: 6})
    plan = make_plan(train, keypoints, ratio=11, mode="add", pose_source="diverse", exclude_same_image=True)
    made = plan[(plan["action"] == "generate") & (plan["pid"] == 1)]
    assert len(made) == 11
    assert not made.duplicated(["condition", "pose"]).any()


ALWAYS = {
    "dataset": "2f2172da7a6f",
    "identity": "032359dbacfe",
    "camera": "65664bef6a4e",
    "diverse": "ea0c3609b7a5",
    "library": "7fbe7979454a",
}


def test_plans_without_repeats_are_what_they_always_were() -> None:
    """The hashes of plans of the sampler that did not look out for repeats, where it made none."""
    train, keypoints = people({1: 9, 2: 7, 3: 8})
    for source, expected in ALWAYS.items():
        plan = make_plan(train, keypoints, ratio=0.4, pose_source=source, library=keypoints, seed=2)
        assert summarise(plan, train, keypoints, ratio=0.4).repeats == 0
        assert hashlib.sha256(plan_text(plan).encode()).hexdigest()[:12] == expected, source


def test_diverse_poses_cover_more_than_random_ones() -> None:
    train, keypoints = people(dict.fromkeys(range(1, 13), 10))
    spread = {}
    for source in ("dataset", "diverse"):
        plan = make_plan(train, keypoints, ratio=0.5, pose_source=source)
        gaps = []
        for pid in range(1, 13):
            mine = plan[plan["pid"] == pid]
            new = keypoints.rows(sorted(set(mine.loc[mine["action"] == "generate", "pose"])))
            old = keypoints.rows(mine.loc[mine["action"] == "keep", "image"].tolist())
            shape = normalise(keypoints.xy)
            gaps.append(pose_distance(shape[new], shape[old]).min(axis=1).mean())
        spread[source] = np.mean(gaps)
    assert spread["diverse"] > 1.1 * spread["dataset"]


def test_diverse_poses_are_upright() -> None:
    train, keypoints = people(dict.fromkeys(range(1, 7), 10))
    fallen = keypoints.xy.copy()
    fallen[::5, :, 1] = 127 - fallen[::5, :, 1]
    keypoints = Keypoints(keypoints.names, fallen)
    plan = make_plan(train, keypoints, ratio=0.5, pose_source="diverse")
    lent = keypoints.rows(sorted(set(plan.loc[plan["action"] == "generate", "pose"])))
    assert upright(keypoints.xy).sum() == 48
    assert upright(keypoints.xy[lent]).all()


def test_a_plan_is_the_same_twice_and_differs_by_seed() -> None:
    train, keypoints = people({1: 9, 2: 7})
    a, b, c = (make_plan(train, keypoints, ratio=0.5, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(a, b)
    assert not a.equals(c)


def test_what_a_small_ratio_drops_a_larger_one_drops_too() -> None:
    train, keypoints = people({1: 9, 2: 7, 3: 2}, unusable=0.2)
    dropped = [
        set(plan.loc[plan["action"] == "drop", "image"])
        for ratio in (0.2, 0.4, 0.6, 0.8, 1.0)
        for plan in [make_plan(train, keypoints, ratio=ratio)]
    ]
    assert all(a <= b for a, b in pairwise(dropped))


@pytest.mark.parametrize("source", ["dataset", "identity", "camera"])
def test_a_new_identity_leaves_the_others_alone(source: str) -> None:
    train, keypoints = people({1: 9, 2: 7, 3: 8, 5: 8})
    before = make_plan(train[train["pid"] != 3], keypoints, ratio=0.5, pose_source=source)
    after = make_plan(train, keypoints, ratio=0.5, pose_source=source)
    after = after[after["pid"] != 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(before.drop(columns="pose"), after.drop(columns="pose"))
    moved = before["pose"] != after["pose"]
    newcomer = after["pose"].str.contains("/0003_")
    assert (newcomer | ~moved).sum() >= 0.8 * len(before)
    if source == "identity":
        assert not moved.any()


def test_distractors_and_junk_are_left_alone() -> None:
    train, keypoints = people({0: 5, 1: 4})
    plan = make_plan(train, keypoints, ratio=1.0)
    assert counts(plan) == {0: (5, 0, 0), 1: (1, 3, 3)}
    assert not plan["pose"].str.contains("/0000_").any()


def test_names_keep_the_grammar_and_are_unique(tiny_data: ReidData, tiny_root: Path) -> None:
    plan, _ = plan_dataset(tiny_data, load_annotations(tiny_root), ratio=3.0, mode="add")
    outputs = plan.loc[plan["output"] != "", "output"]
    assert outputs.is_unique
    made = plan[plan["action"] == "generate"]
    stems = made["condition"].str.removesuffix(".jpg")
    assert (made["output"].str.extract(r"^(.*)_gen\d{4}\.jpg$")[0] == stems).all()


def test_names_of_other_layouts() -> None:
    assert output_path("bounding_box_train/0005_c2_f0046985.jpg", "dukemtmc", 3) == (
        "bounding_box_train/0005_c2_f0046985_gen0003.jpg"
    )
    assert output_path("train/0000/0000_013_01_0303morning_0015_0.jpg", "msmt17", 12) == (
        "bounding_box_train/0000_013_01_0303morning_0015_0_gen0012.jpg"
    )
    assert output_path("bounding_box_train/0001_c1_1.png", "cuhk03-np", 0) == "bounding_box_train/0001_c1_1_gen0000.jpg"
    assert output_path("bounding_box_train/0001_c1_1.png", "cuhk03-np") == "bounding_box_train/0001_c1_1.png"
    assert output_path("train/ann/1.jpg", "folders", 1) == "bounding_box_train/ann/1_gen0001.jpg"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 1.5}, "ratio 1.5: expected 0 to 1 in mode replace"),
        ({"ratio": -0.1, "mode": "add"}, "ratio -0.1: expected 0 or more in mode add"),
        ({"ratio": float("nan")}, "ratio nan"),
        ({"ratio": 0.5, "mode": "swap"}, "mode 'swap': choose from replace, add"),
        ({"ratio": 0.5, "pose_source": "x"}, "pose source 'x': choose from dataset, identity"),
        ({"ratio": 0.5, "pose_source": "library"}, "the pose source library needs a keypoints file"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(*people({1: 4}), **arguments)


def test_an_augmented_folder_is_not_augmented_again() -> None:
    train, keypoints = people({1: 4})
    train.loc[2, "source"] = "generated"
    with pytest.raises(InputError, match="1 training images are generated already"):
        make_plan(train, keypoints, ratio=0.5)


def test_the_csv_gives_the_plan_back(tmp_path: Path) -> None:
    train, keypoints = people({1: 5, 2: 5})
    plan = make_plan(train, keypoints, ratio=0.5, pose_source="library", library=keypoints)
    write_plan(tmp_path / "plan.csv", plan)
    pd.testing.assert_frame_equal(read_plan(tmp_path / "plan.csv"), plan, check_dtype=False)


KEEP = "keep,1,1,bounding_box_train/a.jpg,,,bounding_box_train/a.jpg"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("keep,1,1,/etc/passwd,,,bounding_box_train/b.jpg", r"row 3: image '/etc/passwd' is absolute"),
        ("keep,1,1,C:/x.jpg,,,bounding_box_train/b.jpg", r"row 3: image 'C:/x.jpg' is absolute"),
        ("drop,1,1,../x.jpg,,,", r"row 3: image '../x.jpg' leaves its folder"),
        ("drop,1,1,a\\..\\x.jpg,,,", r"row 3: image .* has a backslash"),
        ("drop,1,1,a//x.jpg,,,", r"row 3: image 'a//x.jpg' is not a plain path"),
        ("generate,1,1,,a.jpg,b/../../c.jpg,bounding_box_train/b.jpg", r"row 3: pose .* leaves its folder"),
        ("generate,1,1,,a.jpg,b.jpg,query/b.jpg", r"row 3: output 'query/b.jpg' is not an image in bounding_box_train"),
        ("generate,1,1,,a.jpg,b.jpg,bounding_box_train/.b.jpg", r"row 3: output .* is not an image"),
        ("generate,1,1,,a.jpg,,bounding_box_train/b.jpg", r"row 3: pose is missing in a generate row"),
        ("generate,1,1,,library:a,b.jpg,bounding_box_train/b.jpg", r"row 3: condition .* names a library row"),
        ("drop,1,1,b.jpg,,,bounding_box_train/b.jpg", r"row 3: output .* must be empty in a drop row"),
        ("drop,one,1,b.jpg,,,", r"row 3: pid 'one' is not a whole number"),
        ("eat,1,1,b.jpg,,,", r"row 3: action 'eat' is not one of keep, drop, generate"),
        ("keep,1,1,bounding_box_train/a.jpg,,,bounding_box_train/b.jpg", r"row 3: image .*a.jpg is there twice"),
        ("keep,1,1,c.jpg,,,bounding_box_train/a.jpg", r"row 3: output .*a.jpg is there twice"),
    ],
)
def test_a_bad_row_of_a_plan_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(f"action,pid,camid,image,condition,pose,output\n{KEEP}\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_plan(path)


def test_a_file_that_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"row 1: the columns are a,b, expected action,"):
        read_plan(path)
    with pytest.raises(InputError, match=r"cannot read plan .*none.csv"):
        read_plan(tmp_path / "none.csv")


def test_a_plan_must_fit_its_data_set() -> None:
    train, keypoints = people({1: 6, 2: 6})
    train["camid"] = 1
    plan = make_plan(train, keypoints, ratio=0.5)
    made, dropped = plan.index[plan["action"] == "generate"][0], plan.loc[plan["action"] == "drop", "image"].iloc[0]

    def changed(column: str, value: object) -> pd.DataFrame:
        copy = plan.copy()
        copy.loc[made, column] = value
        return copy

    with pytest.raises(InputError, match=r"row \d+: condition .* is not kept by this plan"):
        check_plan(changed("condition", dropped), train, keypoints)
    with pytest.raises(InputError, match=r"row \d+: pose .* is not kept by this plan"):
        check_plan(changed("pose", dropped), train, keypoints)
    with pytest.raises(InputError, match=r"row \d+: pose library:x is not kept"):
        check_plan(changed("pose", "library:x"), train, keypoints)
    with pytest.raises(InputError, match=r"row \d+: pid 2, camid"):
        check_plan(changed("pid", 2), train, keypoints)
    with pytest.raises(InputError, match="does not mention 1 training images"):
        check_plan(plan[plan["image"] != dropped], train, keypoints)
    with pytest.raises(InputError, match="is not a training image of this data set"):
        check_plan(plan, train[train["pid"] == 1], keypoints)
    with pytest.raises(InputError, match="has no usable keypoints"):
        check_plan(plan, train, Keypoints(keypoints.names[:1], keypoints.xy[:1]))


def test_pets_mini_keeps_its_totals(pets_mini: Path) -> None:
    data = read_dataset(pets_mini)
    plan, summary = plan_dataset(data, load_annotations(pets_mini, size=(128, 64)), ratio=0.5)
    totals = plan[plan["action"] != "drop"].groupby("pid").size()
    assert totals.to_dict() == data.train.groupby("pid").size().to_dict()
    assert summary.unusable_images == summary.identities_short == ()


def many_poses(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([some_pose(rng) for _ in range(count)])


@pytest.mark.parametrize("source", ["dataset", "identity", "camera", "diverse", "library"])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 3.0, 7.0, 12.0])
def test_no_photo_gets_one_pose_twice_while_another_is_free(source: str, exclude: bool, ratio: float) -> None:
    """Against the number of pairs there are: as many images as that differ, and only what is beyond repeats."""
    train = pd.DataFrame(
        [
            (f"bounding_box_train/{pid:04d}_c{cam}s1_{n:06d}_00.jpg", pid, cam, "real")
            for pid, cams in ((1, (1, 1, 2)), (2, (1, 2, 2, 3)), (3, (3,)))
            for n, cam in enumerate(cams)
        ],
        columns=["path", "pid", "camid", "source"],
    )
    keypoints = Keypoints(tuple(train["path"]), many_poses(len(train)))
    library = Keypoints(tuple(f"p{n}" for n in range(5)), many_poses(5))
    plan = make_plan(
        train, keypoints, ratio=ratio, mode="add", pose_source=source, library=library, exclude_same_image=exclude
    )
    made = plan[plan["action"] == "generate"]
    summary = summarise(plan, train, keypoints, ratio=ratio, mode="add", pose_source=source)
    assert summary.repeats == made.duplicated(["condition", "pose"]).sum()
    assert ("repeat another one" in summary.message) == (summary.repeats > 0)
    for pid, images in train.groupby("pid"):
        pairs = 0
        for image in images.itertuples():
            donors = train if source in ("dataset", "diverse") else train[train["pid"] == pid]
            if source == "camera":
                donors = train[train["camid"] == image.camid]
            others = donors[donors["path"] != image.path] if exclude else donors
            count = len(library) if source == "library" else len(others)
            pairs += count or len(train) - exclude  # where nobody is found, anybody
        mine = made[made["pid"] == pid]
        different = len(mine) - int(mine.duplicated(["condition", "pose"]).sum())
        if source != "diverse":  # which looks at credible poses only
            assert different == min(pairs, len(mine))
        assert different > 0.5 * min(pairs, len(mine))


def test_what_a_plan_looks_as_if_it_was_made_with() -> None:
    train = pd.DataFrame(
        [(f"bounding_box_train/{pid:04d}_c{n % 2 + 1}s1_{n:06d}_00.jpg", pid, n % 2 + 1, "real") for pid in (1, 2, 3)
         for n in range(8)],
        columns=["path", "pid", "camid", "source"],
    )  # fmt: skip
    keypoints = Keypoints(tuple(train["path"]), many_poses(len(train)))
    library = Keypoints(("p",), many_poses(1))
    for source in ("dataset", "identity", "camera", "library"):
        for exclude in (False, True):
            plan = make_plan(
                train, keypoints, ratio=2.0, mode="add", pose_source=source, library=library, exclude_same_image=exclude
            )
            looks = infer_pose_source(plan, keypoints)
            assert looks[0] in (source, "diverse" if source == "dataset" else source)
            if source in ("identity", "camera"):  # by chance no photo may lend its own pose where many lend theirs
                assert looks[1] == exclude
