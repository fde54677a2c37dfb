"""Pose libraries: the format, the one that ships, poses between poses, mirrors, and generating in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from drawn import standing
from toy import Toy

from augment.commands.main import main
from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.plan.sampler import make_plan
from augment.pose import Keypoints, load_annotations, read_keypoints, write_keypoints
from augment.pose.geometry import upright
from augment.pose.library import frame_of, interpolate, pose_name, shipped_library, with_between, with_mirrored
from augment.pose.skeleton import JOINTS, MIRROR
from augment.synth.gait_poses import gait_library
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError


def joint(name: str) -> int:
    return JOINTS.index(name)


def test_names_tell_frames() -> None:
    assert frame_of(pose_name("gait/view030/phase2", (128, 64))) == (128, 64)
    assert frame_of("0002_c1s1_000451_03.jpg") is None
    assert frame_of("me@home") is None


def test_the_shipped_file_is_what_the_skeleton_gives() -> None:
    library, drawn = shipped_library(), gait_library()
    assert library.names == drawn.names
    np.testing.assert_allclose(library.xy, drawn.xy, atol=0.11)  # a tenth of a pixel may be rounded either way


def test_the_shipped_library_shows_walkers_from_all_sides() -> None:
    library = shipped_library()
    assert len(library) == 12 * 9
    assert {frame_of(name) for name in library.names} == {(128, 64)}
    assert library.usable.all()
    assert upright(library.xy).all()
    assert np.nanmin(library.xy) >= 0
    assert (np.nanmax(library.xy, axis=(0, 1)) <= [63, 127]).all()
    front, back, left = (library.xy[library.names.index(f"stand/view{v}@128x64")] for v in ("000", "180", "090"))
    assert front[joint("Rsho"), 0] < front[joint("Lsho"), 0]
    assert back[joint("Rsho"), 0] > back[joint("Lsho"), 0]
    assert np.isnan(back[joint("nose"), 0])
    assert left[joint("nose"), 0] > left[joint("neck"), 0]  # turned to the own left: to the picture's right
    assert np.isnan(left[joint("Lear"), 0]) or np.isnan(left[joint("Rear"), 0])


def test_between_keeps_limbs_and_ends() -> None:
    a, b = standing(), standing()
    b[joint("Rwri")] = b[joint("Relb")] + [17.0, 0.0]  # the forearm swung up to the side
    a[joint("Rwri")] = a[joint("Relb")] + [0.0, 17.0]
    np.testing.assert_allclose(interpolate(a, b, 0), a, atol=1e-4)
    np.testing.assert_allclose(interpolate(a, b, 1), b, atol=1e-4)
    half = interpolate(a, b, 0.5)
    np.testing.assert_allclose(half[joint("Rwri")] - half[joint("Relb")], 17 * np.sqrt([0.5, 0.5]), rtol=1e-4)
    b[joint("Rkne")] = np.nan
    assert np.isnan(interpolate(a, b, 0.3)[[joint("Rkne"), joint("Rank")]]).all()


def test_turning_shoulders_pass_through_each_other() -> None:
    back = standing()[list(MIRROR)]
    half = interpolate(standing(), back, 0.5)
    np.testing.assert_allclose(half[joint("Rsho")], half[joint("Lsho")], atol=1e-4)
    np.testing.assert_allclose(half[joint("neck")], standing()[joint("neck")], atol=1e-4)


def test_poses_between_follow_the_cycle() -> None:
    library = shipped_library()
    more = with_between(library, 1)
    assert len(more) == 12 * (8 + 8 + 1) + 12  # the twelve standing ones form a circle of views of their own
    name = "gait/view030/phase7+1of2@128x64"
    last, first = (library.xy[library.names.index(f"gait/view030/phase{p}@128x64")] for p in (7, 0))
    np.testing.assert_allclose(more.xy[more.names.index(name)], interpolate(last, first, 0.5), atol=1e-4)
    assert more.usable.all()


def test_between_needs_neighbours_of_one_frame() -> None:
    two = np.stack([standing(), standing()])
    with pytest.raises(InputError, match="nothing lies between"):
        with_between(Keypoints(("a", "b"), two), 1)
    with pytest.raises(InputError, match="different frames"):
        with_between(Keypoints(("a0@128x64", "a1@256x128"), two), 1)


def test_mirroring_exchanges_left_and_right() -> None:
    library = with_mirrored(Keypoints(("a@128x64",), standing()[None]))
    assert library.names == ("a@128x64", "a/mirror@128x64")
    np.testing.assert_allclose(library.xy[1, joint("Rwri")], [63 - 47, 62])
    with pytest.raises(InputError, match="does not tell its frame"):
        with_mirrored(Keypoints(("a",), standing()[None]))
    assert with_mirrored(Keypoints(("a",), standing()[None]), (128, 64)).names[1] == "a/mirror"


def test_a_pose_is_scaled_to_the_image(tiny_data: ReidData, tiny_root: Path, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_root)
    small = Keypoints(("p@64x32",), ((standing() + 0.5) / 2 - 0.5)[None])
    plan = make_plan(tiny_data.train, keypoints, ratio=0.3, pose_source="library", library=small)
    generate(Source(tiny_data, keypoints, small), plan, Toy(), tmp_path / "out")
    made = read_keypoints(tmp_path / "out" / "market-annotation-train.csv")
    rows = made.rows(plan.loc[plan["action"] == "generate", "output"].tolist())
    np.testing.assert_allclose(made.xy[rows], np.broadcast_to(standing(), (len(rows), 18, 2)), atol=1e-3)


def test_the_command_writes_a_larger_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, png = tmp_path / "poses.csv", tmp_path / "poses.png"
    main(["pose-library", "--out", str(out), "--between", "1", "--mirror", "--sheet", str(png)])
    assert f"Wrote {out}: 432 poses, 432 of them" in capsys.readouterr().out
    assert len(read_keypoints(out)) == 432
    assert png.stat().st_size > 1000
    write_keypoints(tmp_path / "own.csv", Keypoints(("x",), standing()[None]))
    with pytest.raises(SystemExit) as error:
        main(["pose-library", "--out", str(out), str(tmp_path / "own.csv"), "--mirror"])
    assert error.value.code == 2


def test_plan_without_a_library_takes_the_shipped_one(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.csv"
    main(["plan", "--out", str(plan), str(tiny_root), "--ratio", "0.5", "--pose-source", "library"])
    assert "library:gait/view" in plan.read_text()


def test_library_and_diverse_poses_raise_coverage(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for source in ("dataset", "diverse", "library"):
        words = [
            "plan",
            str(tiny_root),
            "--out",
            str(tmp_path / f"plan-{source}.csv"),
            "--ratio",
            "1",
            "--mode",
            "add",
        ]
        png = tmp_path / f"{source}.png"
        main([*words, "--pose-source", source, "--pose-space", str(png)])
        said = capsys.readouterr().out
        found = re.search(r"shows ([\d.]+)% of 108 poses now, ([\d.]+)% by this plan", said)
        assert found is not None
        told[source] = (float(found[1]), float(found[2]))
        assert png.stat().st_size > 1000
    assert len({before for before, _ in told.values()}) == 1
    assert told["library"][1] > told["dataset"][1]
    assert all(after >= before for before, after in told.values())
