from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from drawn import some_pose, standing

from augment.folder.layout import told_apart
from augment.pose import (
    JOINTS,
    LIMBS,
    MIRROR,
    Keypoints,
    find_annotations,
    keypoints,
    load_annotations,
    match,
    merge,
    mirror,
    normalise,
    pose_distance,
    read_keypoints,
    usable,
    write_keypoints,
)
from augment.pose.keypoints import empty_keypoints
from reid_eval.limits import LARGEST_COORDINATE, LONGEST_CELL, LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError

HEADER = "name:keypoints_y:keypoints_x\n"
Y = "[" + ", ".join(str(10 + i) for i in range(18)) + "]"
X = "[" + ", ".join(str(20 + i) for i in range(18)) + "]"


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "poses.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return path


def test_y_comes_first_on_disk_and_x_in_memory(tmp_path: Path) -> None:
    table = read_keypoints(write(tmp_path, f"a.jpg: {Y}: {X}"), size=(128, 64))
    assert table.names == ("a.jpg",)
    assert table.xy.dtype == np.float32
    assert table.xy[0, 0].tolist() == [20, 10]
    assert table.xy[0, 17].tolist() == [37, 27]


def test_minus_one_is_missing(tmp_path: Path) -> None:
    y, x = Y.replace("[10,", "[-1,"), X.replace("[20,", "[-1,")
    table = read_keypoints(write(tmp_path, f"a.jpg:{y}:{x}"))
    assert np.isnan(table.xy[0, 0]).all()
    assert not np.isnan(table.xy[0, 1:]).any()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg", r"row 3, column 1: found 1 of 3 fields"),
        (f"a.jpg: {Y}", r"row 3, column 2: found 2 of 3 fields"),
        (f": {Y}: {X}", r"row 3, column 1 \(name\): the name is empty"),
        (f"a.jpg: 12 13: {X}", r"row 3, column 2 \(keypoints_y\): not a list of numbers.*at character"),
        (f"a.jpg: {Y}: [1, 'x']", r"row 3, column 3 \(keypoints_x\): not a list of numbers"),
        (f"a.jpg: {Y}: [NaN{', 1' * 17}]", r"row 3, column 3 \(keypoints_x\): not a list of finite numbers"),
        (f"a.jpg: {Y}: [true{', 1' * 17}]", r"row 3, column 3 \(keypoints_x\): not a list of finite numbers"),
        (f"a.jpg: {Y}: [1, 2, 3]", r"row 3, column 3 \(keypoints_x\): 3 joints, expected 18"),
        (f"a.jpg: {Y.replace('[10', '[128')}: {X}", r"row 3, column 2 .*joint 1 \(nose\) is at y = 128.*0 <= y < 128"),
        (f"a.jpg: {Y}: {X.replace('22', '64.5')}", r"column 3 .*joint 3 \(Rsho\) is at x = 64.5.*0 <= x < 64"),
        (f"a.jpg: {Y}: {X.replace('22', '-4')}", r"column 3 .*joint 3 \(Rsho\) is at x = -4, outside"),
        (f"a.jpg: {Y}: {X.replace('22', '-1')}", r"column 3 .*joint 3 \(Rsho\) is -1 here only"),
        (f"ok.jpg: {X}: {Y}", r"row 3, column 1 \(name\): 'ok.jpg' is there twice, with different joints"),
    ],
)
def test_a_malformed_row_is_named_by_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, f"ok.jpg: {Y}: {X}", row)
    with pytest.raises(InputError, match=message):
        read_keypoints(path, size=(128, 64))


def test_further_bad_rows_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 2, .*\(and 2 more bad rows\)"):
        read_keypoints(write(tmp_path, "a", "b", f"ok.jpg:{Y}:{X}", "c"))


def test_a_wrong_header_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^\S*poses.csv: row 1, column 1: the header is 'name:x:y', expected 'name:"):
        read_keypoints(write(tmp_path, header="name:x:y\n"))
    with pytest.raises(InputError, match=r"cannot read keypoints .*nowhere.csv"):
        read_keypoints(tmp_path / "nowhere.csv")


def test_a_row_repeated_with_the_same_joints_counts_once(tmp_path: Path) -> None:
    assert len(read_keypoints(write(tmp_path, f"a.jpg:{Y}:{X}", "", f"a.jpg: {Y}: {X}"))) == 1
    y, x = Y.replace("[10,", "[-1,"), X.replace("[20,", "[-1,")  # a missing joint is equal, too
    assert len(read_keypoints(write(tmp_path, f"a.jpg:{y}:{x}", f"a.jpg: {y}: {x}"))) == 1


def test_round_trip_is_exact_for_whole_and_fractional_joints(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    poses = [some_pose(rng) for _ in range(5)] + [some_pose(rng) + rng.random((18, 2)) * 0.9 for _ in range(20)]
    xy = np.stack(poses).astype(np.float32)
    xy[7, 0] = (0.1, 1e-5)
    table = Keypoints(tuple(f"{i}.jpg" for i in range(len(xy))), xy)
    write_keypoints(tmp_path / "a.csv", table)
    again = read_keypoints(tmp_path / "a.csv")
    write_keypoints(tmp_path / "b.csv", again)
    assert again.names == table.names
    np.testing.assert_array_equal(again.xy, table.xy)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert ".0" not in (tmp_path / "a.csv").read_text().splitlines()[1]


def test_the_writer_refuses_what_the_format_cannot_hold(tmp_path: Path) -> None:
    half = standing()[None].copy()
    half[0, 3, 0] = np.nan
    with pytest.raises(ValueError, match="only one of its two coordinates"):
        write_keypoints(tmp_path / "a.csv", Keypoints(("a.jpg",), half))
    for name in ("", " a.jpg", "a.jpg ", "a\nb.jpg", "a\u2028b.jpg"):
        with pytest.raises(ValueError, match="cannot stand in a keypoints file"):
            write_keypoints(tmp_path / "a.csv", Keypoints((name,), standing()[None]))
    assert list(tmp_path.iterdir()) == []


def test_match_lists_images_without_row_and_rows_without_image() -> None:
    table = Keypoints(("a.jpg", "b.jpg", "z.jpg"), np.stack([standing()] * 3))
    found = match(table, ["train/b.jpg", "a.jpg", *(f"{i}.jpg" for i in range(7))])
    assert found.rows.tolist() == [1, 0] + [-1] * 7
    assert found.images_without_row == tuple(f"{i}.jpg" for i in range(7))
    assert found.rows_without_image == ("z.jpg",)
    expected = r"7 images without a keypoints row: 0.jpg, .*, 4.jpg, \.\.\.; 1 keypoints rows without an image: z.jpg"
    with pytest.raises(InputError, match=expected):
        match(table, ["train/b.jpg", "a.jpg", *(f"{i}.jpg" for i in range(7))], strict=True)
    assert match(table, ["a.jpg", "b.jpg", "z.jpg"], strict=True).message == ""


def test_equally_named_images_need_rows_with_folders() -> None:
    bare = Keypoints(("1.jpg",), standing()[None])
    with pytest.raises(InputError, match=r"'1.jpg' fits both ann/1.jpg and bob/1.jpg"):
        bare.rows(["ann/1.jpg", "bob/1.jpg"])
    assert bare.rows(["ann/1.jpg", "ann/1.jpg", "2.jpg"]).tolist() == [0, 0, -1]  # twice one image
    full = Keypoints(("bob/1.jpg", "ann/1.jpg"), np.stack([standing()] * 2))
    assert full.rows(["ann/1.jpg", "bob/1.jpg"]).tolist() == [1, 0]


def test_merge_wants_one_pose_a_name() -> None:
    a = Keypoints(("a.jpg",), standing()[None])
    assert merge([a, a]).names == ("a.jpg",)
    with pytest.raises(InputError, match=r"keypoints files disagree: .*'a.jpg' is there twice"):
        merge([a, Keypoints(("a.jpg",), standing()[None] + 1)])


def test_annotations_are_found_and_can_be_overridden(tmp_path: Path) -> None:
    assert find_annotations(tmp_path) == []
    with pytest.raises(InputError, match=r"has no keypoints .*name a file of keypoints"):
        load_annotations(tmp_path)
    (tmp_path / "keypoints-train.csv").write_text(HEADER)
    assert [path.name for path in find_annotations(tmp_path)] == ["keypoints-train.csv"]
    for name in ("test", "train"):
        (tmp_path / f"market-annotation-{name}.csv").write_text(f"{HEADER}{name}.jpg:{Y}:{X}\n")
    assert load_annotations(tmp_path).names == ("test.jpg", "train.jpg")
    own = tmp_path / "keypoints-train.csv"
    assert find_annotations(tmp_path, own) == [own]
    with pytest.raises(InputError, match=r"keypoints .*nowhere.csv: no such file"):
        find_annotations(tmp_path, tmp_path / "nowhere.csv")


def test_usable_means_both_shoulders_and_both_hips() -> None:
    for joint, name in enumerate(JOINTS):
        xy = standing()
        xy[joint] = np.nan
        assert bool(usable(xy)) == (name not in ("Rsho", "Lsho", "Rhip", "Lhip"))


def test_mirror_swaps_sides_and_undoes_itself() -> None:
    assert all(JOINTS[MIRROR[i]].translate(str.maketrans("RL", "LR")) == JOINTS[i] for i in range(18))
    xy = some_pose(np.random.default_rng(0))
    np.testing.assert_array_equal(mirror(mirror(xy, 64), 64), xy)
    front = mirror(standing(), 64)
    assert front[2, 0] < front[5, 0]
    assert len(set(map(frozenset, LIMBS))) == 17


def test_normalised_poses_forget_place_and_size() -> None:
    xy = standing()
    moved = xy * 1.7 + np.array([5, -3])
    assert pose_distance(normalise(xy[None]), normalise(moved[None]))[0, 0] < 1e-6
    with pytest.raises(ValueError, match="both shoulders and both hips"):
        normalise(np.full((1, 18, 2), np.nan))


def test_pose_distance_equals_the_loop() -> None:
    rng = np.random.default_rng(2)
    a, b = (normalise(np.stack([some_pose(rng) for _ in range(n)])) for n in (4, 6))
    slow = [[np.sqrt(np.nanmean(((p - q) ** 2).sum(-1))) for q in b] for p in a]
    np.testing.assert_allclose(pose_distance(a, b), slow, atol=2e-6)


def test_pets_mini_round_trips_byte_for_byte(pets_mini: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        source = pets_mini / f"market-annotation-{split}.csv"
        table = read_keypoints(source, size=(128, 64))
        write_keypoints(tmp_path / "copy.csv", table)
        assert (tmp_path / "copy.csv").read_bytes() == source.read_bytes()


def test_pets_mini_has_right_eye_and_ear_on_the_side_of_the_right_shoulder(pets_mini: Path) -> None:
    x = load_annotations(pets_mini).xy[..., 0]
    shoulders = x[:, 2] - x[:, 5]
    for right, left in ((14, 15), (16, 17), (8, 11)):
        side = (x[:, right] - x[:, left]) * shoulders
        assert (side[np.isfinite(side) & (side != 0)] > 0).mean() > 0.9


def test_equal_names_in_train_and_test_are_told_apart() -> None:
    """MSMT17's splits both number from 0: one name, two people."""
    train = Keypoints(("0000_c1_0001.jpg", "0000_c1_0002.jpg"), np.full((2, 18, 2), 1, np.float32))
    test = Keypoints(("0000_c1_0002.jpg",), np.full((1, 18, 2), 2, np.float32))
    both = merge([told_apart(train, test), test])
    paths = ["bounding_box_train/0000_c1_0001.jpg", "bounding_box_train/0000_c1_0002.jpg"]
    assert both.xy[both.rows(paths)][:, 0, 0].tolist() == [1, 1]
    assert both.xy[both.rows(["query/0000_c1_0002.jpg"])][:, 0, 0].tolist() == [2]


def test_a_table_has_a_row_of_18_points_a_name() -> None:
    with pytest.raises(ValueError, match=r"xy has shape \(1, 17, 2\), expected \(1, 18, 2\)"):
        Keypoints(("a.jpg",), standing()[None, :17])
    with pytest.raises(ValueError, match=r"expected \(2, 18, 2\)"):
        Keypoints(("a.jpg", "b.jpg"), standing()[None])
    assert len(empty_keypoints()) == 0
    assert empty_keypoints().xy.shape == (0, 18, 2)
    assert empty_keypoints().xy.dtype == np.float32
    assert merge([]).names == ()


def test_a_table_knows_which_rows_are_usable() -> None:
    bad = standing()
    bad[2] = np.nan
    assert Keypoints(("a.jpg", "b.jpg"), np.stack([standing(), bad])).usable.tolist() == [True, False]


def test_what_was_found_to_be_no_persons_pose_is_not_usable() -> None:
    bad = standing()
    bad[2] = np.nan
    xy = np.stack([standing(), standing(), bad, bad])
    table = Keypoints(("a", "b", "c", "d"), xy, np.array([True, False, True, False]))
    assert table.usable.tolist() == [True, False, False, False]
    assert table.implausible == ("b",)
    assert repr(table) == "Keypoints(4 images, 1 usable)"
    taken = table.take([1, 0])
    assert taken.plausible is not None
    assert (taken.plausible.tolist(), taken.usable.tolist()) == ([False, True], [False, True])
    unseen = Keypoints(table.names, xy)
    assert (unseen.implausible, unseen.take([0]).plausible) == ((), None)


def test_rows_are_taken_in_the_order_given() -> None:
    table = Keypoints(("a", "b", "c"), np.stack([standing() + n for n in range(3)]))
    taken = table.take([2, 0])
    assert taken.names == ("c", "a")
    np.testing.assert_array_equal(taken.xy, table.xy[[2, 0]])
    named = table.take(np.array([1]), ["x"])
    assert named.names == ("x",)
    np.testing.assert_array_equal(named.xy, table.xy[1:2])
    assert len(table.take([])) == 0


def test_blank_lines_and_colons_in_names(tmp_path: Path) -> None:
    table = read_keypoints(write(tmp_path, f"a:b.jpg:{Y}:{X}", "  ", f"c.jpg:{Y}:{X}"))
    assert table.names == ("a:b.jpg", "c.jpg")


def test_how_many_bad_rows_follow(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 fields separated by ':'$"):
        read_keypoints(write(tmp_path, "a", f"ok.jpg:{Y}:{X}"))
    with pytest.raises(InputError, match=r"\(and 1 more bad rows\)$"):
        read_keypoints(write(tmp_path, "a", f"ok.jpg:{Y}:{X}", "b"))


def test_how_long_a_name_and_a_cell_may_be(tmp_path: Path) -> None:
    longest = "a" * LONGEST_IMAGE_NAME
    assert read_keypoints(write(tmp_path, f"{longest}:{Y}:{X}")).names == (longest,)
    with pytest.raises(InputError, match=rf"the name has {LONGEST_IMAGE_NAME + 1} characters"):
        read_keypoints(write(tmp_path, f"{longest}a:{Y}:{X}"))
    with pytest.raises(InputError, match="the name has control characters"):
        read_keypoints(write(tmp_path, f"a\x1b:{Y}:{X}"))
    with pytest.raises(InputError, match="the name has control characters"):
        read_keypoints(write(tmp_path, f"\x1b:{Y}:{X}"))
    with pytest.raises(InputError, match="the name has control characters"):
        read_keypoints(write(tmp_path, f"{longest[1:]}\x1b:{Y}:{X}"))
    filled = f"{Y}{' ' * (LONGEST_CELL - len(Y))}"
    assert len(read_keypoints(write(tmp_path, f"a.jpg:{filled}:{X}"))) == 1
    with pytest.raises(InputError, match=rf"column 2 .*\({LONGEST_CELL + 1} characters\)"):
        read_keypoints(write(tmp_path, f"a.jpg:{filled} :{X}"))


def test_where_a_joint_may_lie_without_a_size(tmp_path: Path) -> None:
    last = X.replace("[20", f"[{LARGEST_COORDINATE - 1}")
    assert read_keypoints(write(tmp_path, f"a.jpg:{Y}:{last}")).xy[0, 0, 0] == LARGEST_COORDINATE - 1
    beyond = X.replace("[20", f"[{LARGEST_COORDINATE}")
    with pytest.raises(InputError, match=rf"outside the image \(0 <= x < {LARGEST_COORDINATE}, or -1 for missing\)"):
        read_keypoints(write(tmp_path, f"a.jpg:{Y}:{beyond}"))
    assert read_keypoints(write(tmp_path, f"a.jpg:{Y.replace('[10', '[0')}:{X.replace('[20', '[0')}")).xy[0, 0, 0] == 0


def test_no_more_than_a_thousand_bad_rows_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message a row, of 1.5 million rows, took 77 seconds."""
    path = write(tmp_path, *(f"{number}: [1]: [2]" for number in range(20_000)))
    asked = []
    real = keypoints._parse_row
    monkeypatch.setattr(keypoints, "_parse_row", lambda *given: asked.append(given) or real(*given))
    with pytest.raises(InputError, match=r"row 2, column 2 .*\(and at least 999 more bad rows\)$"):
        read_keypoints(path)
    assert len(asked) == keypoints.MOST_BAD_ROWS == 1000


ODD = ("1", "0", "-1", "-1.0", "-0", "-1.5", "01", "1.", ".5", "1e1", "1.25", "99999", "65534.9", "65535", "1000000",
       "1.12345678901234567890123", "+1", " 3", "NaN", "true", '"1"', "", "1_0", "\u0661", "--1", "-10")  # fmt: skip


@pytest.mark.parametrize("size", [None, (128, 64)])
def test_many_rows_at_a_time_are_read_as_one_by_one(
    tmp_path: Path, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the quick way takes, the way that tells of errors takes, too, and as the same numbers; nothing else."""
    others = ", ".join(["5"] * 17)
    lists = [(f"[{a}, {others}]", f"[{b}, {others}]") for a in ODD for b in ("5", "-1", a)]
    lists += [(f"[{others}]", f"[{others}, 5]"), (f"[{others}, 5, 5]", f"[{others}, 5]"), (f"[{others}, 5,]", "[]")]
    lists += [(f" [ {others},5 ]\t", f"[{others},   5]"), (f"[[{others}, 5]]", f"[{others}, 5]")]
    for number, (y, x) in enumerate(lists):
        (tmp_path / str(number)).mkdir()
        path = write(tmp_path / str(number), f"a: b/c.jpg :{y}:{x}", f"good.jpg: [{others}, 1]: [{others}, 2]")
        outcomes = []
        for quick in (True, False):
            with monkeypatch.context() as context:
                if not quick:
                    context.setattr(keypoints, "_PLAIN_ROW", re.compile("(?!)"))
                try:
                    table = read_keypoints(path, size)
                    outcomes.append((table.names, table.xy.tobytes()))
                except InputError as error:
                    outcomes.append((str(error), b""))
        assert outcomes[0] == outcomes[1], (y, x)


@pytest.mark.parametrize("size", [None, (128, 64)])
def test_rows_as_they_are_written_are_read_many_at_a_time(
    tmp_path: Path, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keypoints, "_parse_row", lambda *_: pytest.fail("one by one"))
    most = np.array([LARGEST_COORDINATE] * 2 if size is None else size[::-1], np.float32)
    poses = np.stack([standing()] * 4)
    poses[0, 0], poses[1, 0], poses[2, 0], poses[3, 0] = 0, np.nan, most - 1, most - 0.25
    table = Keypoints(("a.jpg", "b.jpg", "c.jpg", "d.jpg"), poses)
    write_keypoints(tmp_path / "a.csv", table)
    np.testing.assert_array_equal(read_keypoints(tmp_path / "a.csv", size).xy, poses)


def test_many_blocks_make_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypoints, "_BLOCK", 3)
    others = ", ".join(["5"] * 17)
    rows = [f"{number}.jpg: [{others}, {number}]: [{others}, 7]" for number in range(20)]
    table = read_keypoints(write(tmp_path, *rows, rows[2], "", rows[0]))
    assert table.names == tuple(f"{number}.jpg" for number in range(20))
    assert table.xy[:, 17, 1].tolist() == list(range(20))
    with pytest.raises(InputError, match=r"row 23, column 1 \(name\): '5.jpg' is there twice, with different joints"):
        read_keypoints(write(tmp_path, *rows, rows[2], rows[5].replace("7]", "8]")))
