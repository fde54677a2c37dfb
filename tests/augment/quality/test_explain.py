"""The picture of one transfer, and generating with fewer blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from drawn import draw_dataset, draw_person, hashes, standing
from PIL import Image

from augment.commands.main import cli, main
from augment.generators.patn.builders import build_generator
from augment.generators.patn.load import save_generator
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.pose.keypoints import Keypoints, write_keypoints
from augment.quality.explain import explain, heat, joints_of
from reid_eval.runtime import InputError


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("people"), {1: 4, 2: 4}, {3: 3})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "deep.safetensors"
    generator = build_generator("patn_tiny", ngf=4, n_blocks=3, any_depth=True)
    with torch.no_grad():
        for parameter in generator.parameters():  # a fresh start maps everything to nearly the same grey
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    save_generator(path, generator, {"size": [128, 64]})
    return path


def test_masks_are_means_over_channels() -> None:
    torch.manual_seed(0)
    generator = build_generator("patn_tiny", ngf=4, n_blocks=2).eval()
    image, pose = draw_person(1, standing()), standing()
    made, masks = explain(PATNTransfer(generator), image, pose, pose + 3)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert [mask.shape for mask in masks] == [(32, 16), (32, 16)]
    assert all(0 < mask.min() <= mask.max() < 1 for mask in masks)


def test_heat_runs_from_blue_to_red() -> None:
    colours = heat(np.array([[0.0, 1.0]], dtype=np.float32), 0.0, 1.0, (1, 2))
    assert colours[0, 0].tolist()[2] > 100 > colours[0, 0].tolist()[0]
    assert colours[0, 1].tolist()[0] > 100 > colours[0, 1].tolist()[2]


def test_the_command_draws_every_mask(people: Path, weights: Path, tmp_path: Path) -> None:
    names = sorted((people / "bounding_box_train").iterdir())
    command = ["explain", str(names[0]), str(names[5]), "--out", str(tmp_path / "out.png")]
    widths = {}
    for blocks in (3, 1):
        ended = CliRunner().invoke(
            cli,
            [*command, "--weights", str(weights), "--blocks", str(blocks), "--device", "cpu"],
            catch_exceptions=False,
        )
        assert ended.exit_code == 0
        assert ended.output.count("Block") == blocks
        widths[blocks] = Image.open(tmp_path / "out.png").width
    assert widths[3] > widths[1] + 128


def test_joints_are_found_from_the_image(people: Path, tmp_path: Path) -> None:
    image = min((people / "bounding_box_train").iterdir())
    assert joints_of(image, None, (128, 64)).shape == (18, 2)
    stray = tmp_path / "stray.jpg"
    Image.fromarray(draw_person(1, standing())).save(stray)
    with pytest.raises(InputError, match="no keypoints file: name one"):
        joints_of(stray, None, (128, 64))
    with pytest.raises(InputError, match=r"stray\.jpg has no row"):
        joints_of(stray, people / "market-annotation-train.csv", (128, 64))


def test_joints_of_equally_named_images(tmp_path: Path) -> None:
    """One folder an identity, each with a 0.jpg: rows carry paths."""
    names = [f"train/{pid:04d}/0.jpg" for pid in (1, 2)]
    poses = np.stack([standing(), standing() + 3])
    for name, pose in zip(names, poses, strict=True):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(draw_person(1, pose)).save(tmp_path / name)
    write_keypoints(tmp_path / "keypoints-all.csv", Keypoints(tuple(names), poses))
    for file in (None, tmp_path / "keypoints-all.csv"):
        for name, pose in zip(names, poses, strict=True):
            np.testing.assert_array_equal(joints_of(tmp_path / name, file, (128, 64)), pose)


def test_generate_with_fewer_blocks(people: Path, weights: Path, tmp_path: Path) -> None:
    base = ["generate", str(people), "--ratio", "0.5", "--weights", str(weights), "--device", "cpu"]
    for name, blocks in (("one", "1"), ("three", "3")):
        assert CliRunner().invoke(cli, [*base, "--out", str(tmp_path / name), "--blocks", blocks]).exit_code == 0
    one, three = (hashes(tmp_path / name / "bounding_box_train") for name in ("one", "three"))
    assert one.keys() == three.keys()
    assert one != three


def test_depths_that_weights_do_not_serve(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_generator(tmp_path / "plain.safetensors", build_generator("patn_tiny", ngf=4, n_blocks=3), {})
    with pytest.raises(SystemExit) as ended:
        main(
            ["generate", str(people), "--ratio", "0.5", "--weights", str(tmp_path / "plain.safetensors"),
             "--device", "cpu", "--blocks", "2", "--out", str(tmp_path / "out")]
        )  # fmt: skip
    assert ended.value.code == 2
    assert "serve 3 blocks only" in capsys.readouterr().err
