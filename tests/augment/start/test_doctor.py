"""`patn-augment doctor`: what it says of a folder, and that the command it names can be run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.pose.keypoints import Keypoints, load_annotations, write_keypoints
from augment.start.doctor import diagnose, doctor_lines, estimators_here
from augment.start.looks import look_at
from reid_eval.runtime import InputError

Run = Callable[..., int]
Suggestions = Callable[[str], list[list[str]]]
Capture = pytest.CaptureFixture[str]


def text_of(root: Path, **options: object) -> str:
    return "\n".join(doctor_lines(diagnose(root, seconds=0.2, **options)))  # type: ignore[arg-type]


def test_a_data_set_with_keypoints(people: Path, quick: Path, run: Run, capsys: Capture) -> None:
    assert run("doctor", people, "--json", "facts.json") == 0
    said, facts = capsys.readouterr().out, json.loads(Path("facts.json").read_text())
    assert "Data: people, layout market1501" in said
    assert "train: 24 images of 4 people, 2 cameras" in said
    assert "query: 4 images of 2 people, 2 cameras" in said
    assert "height x width 128x64 (36), of 36 looked at; 36 decoded" in said
    assert "4 people have two such" in said
    assert f"Weights: {quick} (default of generate), {facts['speeds'][0]['engine']}: " in said
    assert said.splitlines()[-1] == "Next: patn-augment preview people"
    assert facts["folder"]["splits"]["train"]["people"] == 4
    assert facts["next"] == "patn-augment preview people"
    assert facts["speeds"][0]["images_per_second"] > 0
    assert facts["disk"]["free"] > 0
    assert facts["machine"]["backends"]["torch"]


def test_next_is_run_with_what_was_given(
    people: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    joints = load_annotations(people)
    for path in people.glob("market-annotation-*.csv"):
        path.unlink()
    write_keypoints(Path("my joints.csv"), joints)
    assert run("doctor", people, "--layout", "market1501", "--keypoints", "my joints.csv") == 0
    (command,) = suggestions(capsys.readouterr().out)
    assert command == ["preview", "people", "--layout", "market1501", "--keypoints", "my joints.csv"]
    assert run(*command) == 0


def test_without_keypoints_the_next_command_finds_them(
    photos: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    assert run("doctor", photos) == 0
    said = capsys.readouterr().out
    assert "Keypoints: none" in said
    (command,) = suggestions(said)
    assert command[:2] == ["poses", "photos"]
    assert estimators_here()[command[-1]] == "ready"
    if command[-1] == "synth":
        assert run(*command) == 0
        assert run("doctor", photos) == 0
        assert "Next: patn-augment preview photos" in capsys.readouterr().out


def test_an_unknown_layout_is_described(
    photos: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    flat = Path("flat/of june")
    flat.mkdir(parents=True)
    for number, path in enumerate(sorted((photos / "bounding_box_train").iterdir())[:5]):
        shutil.copy(path, flat / f"IMG{number}.jpg")
    assert run("doctor", "flat/of june") == 0
    said = capsys.readouterr().out
    assert "Found: 5 images; folders with images: 1" in said
    assert "./: 5 images, such as IMG0.jpg" in said
    assert "What data sets look like:" in said
    assert "bounding_box_train/0002_c1s1_000451_03.jpg" in said
    assert "Next: arrange the images in one of these ways" in said
    (command,) = suggestions(said)
    assert command == ["doctor", "flat/of june"]
    assert run(*command) == 0


def test_a_data_set_one_folder_below_is_found(
    people: Path, quick: Path, run: Run, suggestions: Suggestions, capsys: Capture
) -> None:
    assert run("doctor", ".") == 0
    (command,) = suggestions(capsys.readouterr().out)
    assert command == ["doctor", "people"]
    assert run(*command) == 0
    assert "layout market1501" in capsys.readouterr().out


def test_without_a_folder_it_looks_at_the_embedded_one(quick: Path, here: Path, run: Run, capsys: Capture) -> None:
    assert run("doctor") == 0
    said = capsys.readouterr().out
    assert "the embedded one, 48 drawn people, 576 images, drawn on first use" in said
    assert said.splitlines()[-1] == "Next: patn-augment preview"


def test_no_folder_is_an_error(run: Run, capsys: Capture) -> None:
    assert run("doctor", "nowhere") == 2
    with pytest.raises(InputError, match="is no folder"):
        look_at(Path("nowhere"))


def test_what_is_suspicious_is_named(people: Path, quick: Path) -> None:
    table = load_annotations(people)
    names = [Path(path).name for path in sorted((people / "bounding_box_train").glob("*.jpg"))]
    xy = table.xy.copy()
    rows = table.rows(names)
    xy[rows[0]] = np.where(np.isnan(xy[rows[0]]), np.nan, 0.2 * xy[rows[0]] + 20)  # a fifth of the size
    xy[rows[1], :, 1] = 127 - xy[rows[1], :, 1]  # on the head
    xy[rows[2], 0] = (70, 10)  # beside the image
    xy[rows[3], 8] = np.nan  # a hip
    xy[rows[5]] = xy[rows[4]]
    for path in people.glob("market-annotation-*.csv"):
        path.unlink()
    write_keypoints(people / "keypoints-mine.csv", Keypoints(table.names, xy))
    found = look_at(people)["keypoints"]
    place = [f"bounding_box_train/{name}" for name in names]
    assert place[0] in found["suspicious"]["small"]
    assert place[1] in found["suspicious"]["not_upright"]
    assert place[2] in found["suspicious"]["outside"]
    assert set(place[4:6]) <= set(found["suspicious"]["same_as_another"])
    assert not set(place[4:6]) & set(found["suspicious"]["outside"])
    whole = look_at_usable(table, names)
    assert found["train_usable"] == whole - int(bool(np.isfinite(table.xy[rows[3]][[2, 5, 8, 11]]).all()))
    said = text_of(people)
    for words in ("joints outside of the image", "not upright", "a trunk below a tenth", "the very pose of another"):
        assert words in said


def look_at_usable(table: Keypoints, names: list[str]) -> int:
    return int(table.usable[table.rows(names)].sum())


def test_files_that_cannot_be_read_are_named(people: Path, quick: Path) -> None:
    victim = sorted((people / "bounding_box_train").glob("*.jpg"))[3]
    victim.write_bytes(b"no picture")
    said = text_of(people)
    assert f"1 cannot be read: bounding_box_train/{victim.name}" in said
    assert "Next: mend that, then patn-augment doctor people" in said


def test_keypoints_that_cannot_be_read_are_a_finding(people: Path, quick: Path) -> None:
    (people / "market-annotation-train.csv").write_text("nonsense\n")
    said = text_of(people)
    assert "market-annotation-train.csv: row 1, column 1: the header is 'nonsense'" in said
    assert "Next: mend that" in said


def test_folders_of_people_have_no_cameras(people: Path, here: Path, quick: Path) -> None:
    for path in (people / "bounding_box_train").glob("*.jpg"):
        target = here / "byperson" / path.name[:4] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    said = text_of(Path("byperson"))
    assert "layout folders; no camera numbers in it" in said
    assert "train: 24 images of 4 people\n" in said


def test_odd_pictures_are_counted(here: Path, quick: Path) -> None:
    for person in ("a", "b"):
        (here / "odd" / person).mkdir(parents=True)
        for number, size in enumerate(((64, 128), (90, 60))):
            Image.new("RGB", size).save(here / "odd" / person / f"{number}.png")
    said = text_of(Path("odd"))
    assert "128x64 (2), 60x90 (2)" in said
    assert "2 are wider than high" in said


def test_it_takes_few_seconds_of_the_processor(people: Path) -> None:
    """With the weights that ship. Not on the clock: what else runs here is not its fault."""
    before = time.process_time()
    diagnose(people)
    assert time.process_time() - before < 20  # two threads; ten seconds on the clock of a quiet machine
