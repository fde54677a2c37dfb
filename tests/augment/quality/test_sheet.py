from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import standing
from PIL import Image

from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.generators.copy import CopyGenerator
from augment.pictures import grid
from augment.plan.sampler import plan_dataset
from augment.pose import load_annotations
from augment.pose.draw import draw_skeleton, skeleton_image
from augment.quality.sheet import folder_sheet, generation_sheet
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError

RED = np.full((20, 10, 3), (255, 0, 0), dtype=np.uint8)


def test_a_skeleton_is_drawn_where_the_joints_are() -> None:
    ground = np.zeros((128, 64, 3), dtype=np.uint8)
    drawn = draw_skeleton(ground, standing())
    assert not ground.any()
    for x, y in standing().astype(int):
        assert drawn[y, x].any()
    assert not drawn[120:].any()
    assert tuple(drawn[14, 32]) == (255, 0, 0)
    assert draw_skeleton(ground, standing(), scale=3).shape == (384, 192, 3)


def test_missing_joints_are_left_out() -> None:
    xy = standing()
    xy[[9, 10]] = np.nan
    drawn = draw_skeleton(np.zeros((128, 64, 3), dtype=np.uint8), xy)
    assert not drawn[80:, :32].any()
    assert drawn[80:, 32:].any()
    nobody = skeleton_image(np.full((18, 2), np.nan), (128, 64), background=7)
    assert (nobody == 7).all()


def test_a_grid_has_a_cell_an_image() -> None:
    sheet = grid([[RED, None], [RED]], scale=3, padding=4)
    assert sheet.size == (4 + 2 * 34, 4 + 2 * 64)
    pixels = np.array(sheet)
    assert (pixels == (255, 0, 0)).all(axis=-1).sum() == 2 * 30 * 60
    with pytest.raises(ValueError, match="at least one image"):
        grid([[None]])


def test_captions_take_room_and_ink() -> None:
    plain = grid([[RED, RED]])
    captioned = grid([[RED, RED]], column_captions=("one", "two words"), row_captions=("0002",))
    assert captioned.width > plain.width
    assert captioned.height > plain.height
    top = np.array(captioned)[: captioned.height - plain.height]
    assert (top < 100).any()


def test_a_generation_sheet_lays_quadruples_side_by_side() -> None:
    person = np.zeros((128, 64, 3), dtype=np.uint8)
    sheet = generation_sheet([person] * 3, [standing()] * 3, [person] * 3, [person, None, person], groups=2, scale=2)
    assert sheet.width > 8 * 128
    assert sheet.height > 2 * 256


def test_the_sheet_of_a_folder(tiny_data: ReidData, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_data.root)
    for ratio, out in ((0.5, tmp_path / "some"), (0.0, tmp_path / "none")):
        plan, _ = plan_dataset(tiny_data, keypoints, ratio=ratio)
        generate(Source(tiny_data, keypoints), plan, CopyGenerator(), out)
    folder_sheet(tmp_path / "some", tmp_path / "sheet.png", count=4)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 8 * 128
        assert 2 * 256 < sheet.height < 3 * 256
    with pytest.raises(InputError, match="has no generated image to show"):
        folder_sheet(tmp_path / "none")


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    names = "augment, augment.plan.sampler, augment.folder.manifest, augment.folder.generate"
    code = f"import {names}, sys; print('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
