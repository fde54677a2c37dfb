"""Figures of images as signals, on images whose figures are known by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from augment.commands.main import cli
from augment.quality.statistics import STATISTICS, folder_statistics, image_statistics
from reid_eval.runtime import InputError


def _of(image: torch.Tensor) -> dict[str, float]:
    return dict(zip(STATISTICS, image_statistics(image[None].to(torch.uint8))[0].tolist(), strict=True))


def test_halves_of_black_and_grey() -> None:
    image = torch.zeros(3, 64, 32)
    image[:, :, 16:] = 200
    found = _of(image)
    assert found["contrast"] == pytest.approx(100, abs=0.1)
    assert found["black"] == 0.5
    assert found["white"] == found["saturation"] == found["flat"] == 0
    assert found["chroma"] == pytest.approx(0, abs=1e-4)


def test_a_wave_lies_in_its_band() -> None:
    for period, band in ((32, "band 16+"), (12, "band 8-16"), (6, "band 4-8"), (3, "band 2-4")):
        wave = 128 + 60 * torch.sin(2 * torch.pi * torch.arange(192) / period)
        found = _of(wave.expand(3, 192, 192).round())
        assert found[band] > 0.95, band


def test_pure_red_is_saturated() -> None:
    image = torch.zeros(3, 16, 16)
    image[0] = 255
    assert _of(image)["saturation"] == 1


def test_the_command_tables_folders_and_worlds(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (64, 128), (i * 20, 90, 30)).save(tmp_path / f"{i}.png")
    done = CliRunner().invoke(cli, ["image-statistics", str(tmp_path), "--world", "2", "--count", "4"])
    assert done.exit_code == 0, done.output
    assert f"| {tmp_path.name} (3) | world 2 (4) |" in done.output
    assert done.output.count("\n") == 2 + len(STATISTICS)


def test_folders_that_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        folder_statistics(tmp_path)
    for side in (16, 24):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    with pytest.raises(InputError, match="must be of one size"):
        folder_statistics(tmp_path)
