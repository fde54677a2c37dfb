"""`patn-augment preview`: what is on the sheet, and where it may lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import hashes
from PIL import Image

from augment.generators.patn import speed
from augment.start.doctor import diagnose
from augment.start.people import some_people, varied_poses
from augment.start.preview import POSES, preview
from reid_eval.runtime import InputError

Run = Callable[..., int]
Suggestions = Callable[[str], list[list[str]]]
Capture = pytest.CaptureFixture[str]


def test_all_weights_side_by_side(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    before = hashes(people)
    assert run("preview", people, "--weights", "entry:copy", "--out", "p.png") == 0
    said = capsys.readouterr().out
    assert f"{quick.name}: " in said
    assert "entry:copy: " in said
    assert " s an image; 1,000 images in " in said
    sheet = np.asarray(Image.open("p.png"))
    assert sheet.shape[0] > 9 * 256  # the poses lent, and eight rows
    assert sheet.shape[1] > (2 + 2 * (1 + POSES)) * 128
    assert hashes(people) == before


def test_what_is_shown_is_what_the_generator_makes(people: Path, quick: Path) -> None:
    found = preview(people, ["entry:copy"])
    copied = next(one for one in found.shown if one.name == "entry:copy")
    from augment.start.people import photos_of

    photos = photos_of(people, [person.path for person in found.people])
    assert copied.made == sum(person.other is not None for person in found.people) + POSES * 8 - POSES
    for photo, row in zip(photos, copied.pictures, strict=True):
        assert all(np.array_equal(photo, one) for one in row if one is not None)


def test_the_engine_is_that_of_generate(
    people: Path, quick: Path, run: Run, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is that of the doctor's estimate: as the rates of this machine say."""
    monkeypatch.setattr(speed, "cpu_has_bf16", lambda: True)
    pictures = []
    for faster, precision in ((1.0, "float32"), (9.0, "bf16")):
        rates = {"torch float32": 1.0, "torch bf16": faster}
        monkeypatch.setattr(speed, "rates", lambda rates=rates: rates)
        assert run("generate", people, "--ratio", 0.5, "--weights", quick, "--out", precision) == 0
        assert f"; precision: {precision}\n" in capsys.readouterr().out
        (shown,) = preview(people, seconds=60).shown
        assert shown.engine == f"torch, whole network, {precision}"
        assert diagnose(people, seconds=0.2)["speeds"][0]["engine"] == shown.engine
        pictures.append(np.stack([one for row in shown.pictures for one in row if one is not None]).astype(int))
    assert 0 < abs(pictures[0] - pictures[1]).mean() < 4  # it is what they were made in, not only what is told


def test_the_same_seed_shows_the_same(people: Path, quick: Path) -> None:
    a, b, other = (some_people(people, 8, seed=seed) for seed in (0, 0, 1))
    assert [person.path for person in a] == [person.path for person in b] != [person.path for person in other]
    assert len(a) == 8
    assert len({person.path[:24] for person in a}) == 4  # all there are, twice
    lenders = varied_poses(a, 2)
    assert len(set(lenders)) == 2


def test_without_time_it_stops_and_says_so(people: Path, quick: Path) -> None:
    found = preview(people, ["entry:copy"], seconds=0.0)
    assert [one.made for one in found.shown] == [4, 4]  # a first batch of each
    assert "(the time was up: 4 of " in found.lines()[1]
    assert found.sheet.width < whole_width(people)
    whole = preview(people, seconds=60)
    assert "the time was up" not in "".join(whole.lines())


def whole_width(people: Path) -> int:
    return preview(people, ["entry:copy"], seconds=60).sheet.width


def test_without_keypoints_it_finds_those_of_a_few(
    photos: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    before = hashes(photos)
    assert run("preview", photos) == 0
    said = capsys.readouterr().out
    assert "No keypoints: the shipped estimator looks at" in said
    assert Path("runs/preview-0001/preview.png").is_file()
    assert hashes(photos) == before
    (command,) = suggestions(said)
    assert command[:2] == ["poses", "photos"]


def test_a_heap_of_crops_will_do(photos: Path, quick: Path, run: Run, capsys: Capture) -> None:
    heap = Path("heap")
    heap.mkdir()
    for path in sorted((photos / "bounding_box_train").glob("*.jpg")):
        shutil.copy(path, heap / path.name[5:])
    assert run("preview", heap) == 0
    said = capsys.readouterr().out
    assert "patn-augment doctor heap" in said
    assert list(heap.glob("*.png")) == []


def test_next_commands_are_run(people: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture) -> None:
    assert run("preview", people) == 0
    finetune, generate = suggestions(capsys.readouterr().out)
    assert finetune == ["finetune", "people"]
    assert generate == ["generate", "people", "--ratio", "0.5"]
    assert run(*finetune, "--minutes", 0.01) == 0
    assert run(*generate, "--weights", quick) == 0  # quick ones: that the command is understood is what matters


def test_the_sheet_never_lies_in_the_data_set(
    people: Path, quick: Path, run: Run, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("preview", people, "--out", people / "query" / "p.png") == 2
    assert "name a place outside" in capsys.readouterr().err
    monkeypatch.chdir(people)
    assert run("preview", ".") == 0
    assert Path("../people.preview.png").is_file()
    assert not Path("runs").exists()


def test_people_without_joints_are_an_error(people: Path, quick: Path) -> None:
    for name in ("train", "test"):
        file = people / f"market-annotation-{name}.csv"
        lines = file.read_text().splitlines()
        gone = "[" + ", ".join(["-1"] * 18) + "]"
        file.write_text("\n".join([lines[0], *(f"{line.split(':')[0]}: {gone}: {gone}" for line in lines[1:])]) + "\n")
    with pytest.raises(InputError, match="none of the 24 images looked at has joints that will do"):
        preview(people)
