"""Pictures say what they show: who, which camera, why, and which colour is which value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import draw_person, standing
from PIL import Image
from toy import Toy

import augment
from augment.commands.main import main
from augment.gate import verdicts as judging
from augment.gate.judge import Verdict
from augment.pictures import colour_bar, colour_strip, grid
from augment.quality import sheet as sheets
from augment.quality.coverage import pose_space, save_pose_space
from augment.quality.explain import explain_sheet
from augment.quality.plots import plot_losses
from augment.quality.sheet import folder_sheet, generation_sheet, who_and_where

RED = np.full((30, 40, 3), (255, 0, 0), np.uint8)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the grids of a test are asked for."""
    asked: list[dict[str, Any]] = []

    def spy(rows: Any, **how: Any) -> Image.Image:
        asked.append({"rows": rows, **how})
        return grid(rows, **how)

    for place in ("augment.pictures.grid", "augment.quality.sheet.grid", "augment.quality.explain.grid"):
        monkeypatch.setattr(place, spy)
    return asked


@pytest.fixture
def folder(tiny_root: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    augment.augment_folder(augment.plan_folder(tiny_root, ratio=0.5), out, Toy())  # type: ignore[arg-type]
    return out


def test_texts_under_tiles_take_room_and_a_title_too() -> None:
    plain = grid([[RED, RED]])
    under = grid([[RED, RED]], captions=[["2, camera 1\nother colours", "a name that is far too long for its tile"]])
    assert under.height == plain.height + 2 * 17
    assert under.width == plain.width
    assert (np.array(under)[plain.height - 6 :] < 100).any()
    titled = grid([[RED, RED]], title="What this is")
    assert titled.height > plain.height


def test_an_empty_place_is_paper() -> None:
    pixels = np.array(grid([[RED, None]], scale=1, padding=0))
    assert (pixels[:, 40:] == 255).all()


def test_donors_are_called_so_and_left_out_where_there_are_none() -> None:
    assert sheets.COLUMNS[3] == "pose donor"
    person = draw_person(2, standing())
    some = generation_sheet([person], [standing()], [person], [person])
    none = generation_sheet([person], [standing()], [person], [None])
    assert some.width - none.width > 128, "no grey panels"


def test_a_sheet_says_who_and_which_camera(folder: Path, drawn: list[dict[str, Any]]) -> None:
    folder_sheet(folder, count=4)
    (asked,) = drawn
    texts = [text for row in asked["captions"] for text in row]
    assert len(texts) == 16
    assert all(text == "" or text.split(", ")[1] in ("camera 1", "camera 2") for text in texts)
    assert {text.split(",")[0] for text in texts if text} <= {"2", "7", "11"}
    assert who_and_where("train/ann/0.jpg", 1, 1, "folders") == "ann"
    assert who_and_where("train/ann/0.jpg", 1, 4, "market1501") == "ann, camera 4"
    assert who_and_where("bounding_box_train/0002_c3s1_000001_00.jpg", 2, 3, "market1501") == "2, camera 3"


def test_verdicts_are_tiles_with_words_and_people_mixed(
    folder: Path, tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    outputs = judging.generated_outputs(folder)

    def verdict(*reasons: str) -> Verdict:
        return Verdict(0.5, 1.0, 50.0, 0.0, 2.0, reasons)

    bad = {name: verdict("pose", "identity") for name in outputs[:3]}
    judging.verdict_sheet(folder, {**{name: verdict() for name in outputs}, **bad}, tmp_path / "v.png", columns=3)
    (asked,) = drawn
    texts = [text for row in asked["captions"] for text in row]
    assert len(texts) == len(outputs)
    assert all(text.endswith("\nanother pose, other colours") for text in texts[:3])
    assert all(text.endswith("\naccepted") for text in texts[3:])
    people = [text.split(",")[0] for text in texts[3:]]
    assert len(set(people[: len(set(people))])) == len(set(people)), "each person once before any comes twice"


def test_the_masks_have_a_scale(tiny_root: Path, tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    from augment.generators.patn.builders import patn_tiny
    from augment.generators.patn.patn_transfer import PATNTransfer

    images = sorted((tiny_root / "bounding_box_train").glob("0002*.jpg"))
    generator = PATNTransfer(patn_tiny(ngf=4, n_blocks=2, dropout=0.0).eval())
    explain_sheet(generator, images[0], images[1], tmp_path / "e.png")
    heads = drawn[0]["column_captions"]
    assert heads[-3:] == ["scale of the masks", "generated", "pose donor"]
    explain_sheet(Toy(), images[0], images[1], tmp_path / "t.png")  # type: ignore[arg-type]
    assert "scale of the masks" not in drawn[1]["column_captions"], "no masks, no scale"


def test_scales_show_their_colours() -> None:
    colours = np.linspace([255, 0, 0], [0, 0, 255], 60).astype(np.uint8)
    bar = colour_bar(colours, "1.00", "0.00", 80)
    assert bar.shape == (60, 80, 3)
    assert (bar[:, 5] == colours).all()
    strip = colour_strip(colours, "none", "all", 300)
    assert strip.shape == (24, 300, 3)
    assert any((strip[12, left : left + 60] == colours).all() for left in range(200))


def test_pose_space_has_a_title_and_a_scale(tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    library = pose_space().library
    one = (library.xy[:3], np.array([1, 1, 1]))
    two = (library.xy[:6], np.array([1, 1, 1, 1, 1, 1]))
    save_pose_space(one, two, tmp_path / "p.png")
    title = drawn[0]["title"]
    assert "before (2.8% an identity)" in title
    assert "after (5.6% an identity)" in title
    assert Image.open(tmp_path / "p.png").height > 9 * 64


def test_panels_of_what_was_not_logged_are_left_out(tmp_path: Path) -> None:
    gan = '{"pairs": %d, "l1": 0.5, "gan_shape": 1.0, "d_shape": 1.0, "pairs_per_second": 9.0}\n'
    plain = '{"pairs": %d, "l1": 0.5, "pairs_per_second": 9.0}\n'
    for name, line in (("gan", gan), ("plain", plain)):
        (tmp_path / f"{name}.jsonl").write_text("".join(line % number for number in (1, 2)))
        plot_losses(tmp_path / f"{name}.jsonl", tmp_path / f"{name}.png")
    widths = {name: Image.open(tmp_path / f"{name}.png").width for name in ("gan", "plain")}
    assert widths["plain"] == pytest.approx(widths["gan"] / 2, rel=0.02)
    main(["plot-log", str(tmp_path / "gan.jsonl"), "--out", str(tmp_path / "gan.svg")])
    main(["plot-log", str(tmp_path / "gan.jsonl"), "--out", str(tmp_path / "gan.pdf")])
    assert "<svg" in (tmp_path / "gan.svg").read_text()
    assert (tmp_path / "gan.pdf").read_bytes().startswith(b"%PDF")
