"""The protocol of generators, what names and code open, and the two controls: copy and warp."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from drawn import draw_dataset, draw_person, hashes, standing
from torch import Tensor
from toy import Toy

from augment.commands.main import cli
from augment.generators.base import PoseGenerator, check_generator, output_seed, run_generator
from augment.generators.copy import CopyGenerator
from augment.generators.open import CONTROLS, facts_of, generator_sha256, open_generator
from augment.generators.patn.builders import build_generator
from augment.generators.patn.load import save_generator
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.generators.warp import WarpGenerator
from reid_eval.runtime import InputError

THIRD_PARTY = """
import torch

class Noise:
    name, size, pose_channels, sigma = "noise", (128, 64), 18, None

    def __init__(self, device):
        self.device = device

    def transfer(self, image, condition_pose, target_pose, generators=()):
        draws = [torch.rand(image.shape[1:], generator=one) for one in generators]
        return torch.stack(draws) * 2 - 1

    def describe(self):
        return {"generator": "noise"}

class Half:
    name = "half"

    def __init__(self, device):
        pass

def broken(device):
    raise RuntimeError("no licence file")

number = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_generators.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_generators", raising=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = build_generator("patn_tiny", ngf=4, n_blocks=2, any_depth=True)
    save_generator(path, network, {"size": [32, 16], "settings": {"sigma": 2.0}})
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("people"), {1: 4, 2: 4}, {3: 4})


def joints(*poses: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(poses))


def photo(pose: np.ndarray) -> Tensor:
    return torch.from_numpy(draw_person(1, pose)).permute(2, 0, 1)[None].float() / 127.5 - 1


class Wrong(CopyGenerator):
    """Gives what it is told."""

    name = "wrong"

    def __init__(self, made: Any) -> None:
        super().__init__((4, 4))
        self.made = made

    def transfer(self, image: Tensor, *_: Any) -> Any:
        return self.made(image)


# The protocol


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda image: image[:, :, :2], r"generator wrong gave \(2, 3, 2, 4\) for images \(2, 3, 4, 4\)"),
        (lambda image: [image], "generator wrong gave list for images"),
        (lambda image: image * torch.nan, "generator wrong gave values that are not finite"),
        (lambda image: image / 0, "not finite"),
        (lambda image: image + 200, r"generator wrong gave values from 2\d\d to 2\d\d: it must return .* \[-1, 1\]"),
    ],
)
def test_what_is_no_image_is_refused_by_name(made: Any, message: str) -> None:
    image, pose = torch.rand(2, 3, 4, 4), torch.rand(2, 18, 2)
    with pytest.raises(InputError, match=message):
        run_generator(Wrong(made), image, pose, pose)
    assert torch.equal(run_generator(Wrong(lambda image: image.double()), image, pose, pose), image)


def test_poses_come_as_the_generator_wants_them() -> None:
    seen: list[Sequence[Any]] = []

    class Looks(Toy):
        def transfer(self, image: Tensor, source: Tensor, target: Tensor, generators: Any = ()) -> Tensor:
            seen.append((source, target, [one.initial_seed() for one in generators]))
            return image

    image, pose = torch.zeros(2, 3, 128, 64), joints(standing(), standing() + 2)
    run_generator(Looks(), image, pose, pose.flip(0), [7, 1 << 62])
    source, target, seeds = seen.pop()
    assert source.shape == target.shape == (2, 18, 128, 64)
    assert torch.equal(source, target.flip(0))
    assert seeds == [7, 1 << 62]
    looks = Looks()
    looks.sigma = None  # type: ignore[assignment]
    run_generator(looks, image, pose, pose.flip(0))
    source, target, seeds = seen.pop()
    assert torch.equal(source, pose)
    assert torch.equal(target, pose.flip(0))
    assert seeds == [0, 1]
    with pytest.raises(InputError, match="1 seeds for 2 images"):
        run_generator(looks, image, pose, pose, [1])


def test_seeds_of_outputs_are_fixed() -> None:
    assert output_seed("bounding_box_train/0002_c1s1_000451_03_gen0007.jpg") == 1047597244849515867
    assert len({output_seed(f"{n}.jpg") for n in range(1000)}) == 1000
    assert max(output_seed(f"{n}.jpg") for n in range(1000)) < 1 << 63


def test_everything_that_is_missing_is_named() -> None:
    with pytest.raises(
        InputError, match=r"x is no generator: no attribute name, .*no attribute device, no method tran"
    ):
        check_generator(object(), "x")
    toy = Toy()
    toy.size, toy.sigma, toy.pose_channels = (128, 0), -1.0, 25
    message = r"size \(128, 0\) is not .*, sigma -1.0 is neither .*, pose_channels is 25; poses have 18 joints"
    with pytest.raises(InputError, match=message):
        check_generator(toy, "x")
    for good in (Toy(), CopyGenerator(), WarpGenerator(), PATNTransfer(build_generator("patn_tiny", ngf=4))):
        assert check_generator(good, "x") is good
        assert isinstance(good, PoseGenerator)


# What names open


def test_weights_open_as_patn(small: Path) -> None:
    generator = open_generator(str(small), "cpu", blocks=1)
    assert isinstance(generator, PATNTransfer)
    assert (generator.name, generator.size, generator.sigma) == ("small.safetensors", (32, 16), 2.0)
    assert (generator.pose_channels, generator.device, generator.blocks) == (18, torch.device("cpu"), 1)
    told = generator.describe()
    assert told["weights_sha256"] == generator.weights_sha256 == generator_sha256(generator)
    assert (told["blocks"], facts_of(generator)) == (1, {"blocks": 1})
    shipped = open_generator("patn-synth-tiny", "cpu")
    assert (shipped.name, shipped.size, shipped.sigma) == ("patn-synth-tiny", (128, 64), 6.0)
    assert facts_of(shipped) == {}


def test_controls_open_by_name() -> None:
    copy, warp = (open_generator(f"entry:{name}", "cpu") for name in CONTROLS)
    assert (copy.name, warp.name) == ("entry:copy", "entry:warp")
    assert generator_sha256(copy) != generator_sha256(warp)
    assert generator_sha256(copy) == generator_sha256(CopyGenerator()) != generator_sha256(CopyGenerator((64, 32)))
    assert facts_of(copy) == {"generator": copy.describe()}
    with pytest.raises(InputError, match="no generator entry:nobody: installed are copy, warp"):
        open_generator("entry:nobody", "cpu")
    with pytest.raises(InputError, match="entry:copy has no blocks"):
        open_generator("entry:copy", "cpu", blocks=2)


@pytest.mark.usefixtures("code")
def test_somebody_elses_code() -> None:
    noise = open_generator("my_generators:Noise", "cpu")
    assert (noise.name, noise.describe()) == ("noise", {"generator": "noise"})
    for spec, message in {
        "my_generators:Half": "my_generators:Half is no generator: no attribute size, .*no method describe; see",
        "my_generators:broken": "cannot be built: RuntimeError: no licence file",
        "my_generators:number": "number is a int, not something to call",
        "my_generators:nothing": "my_generators has no nothing",
        "not_there_at_all:x": "cannot be imported: ModuleNotFoundError",
    }.items():
        with pytest.raises(InputError, match=message):
            open_generator(spec, "cpu")
    with pytest.raises(InputError, match="is code: name it on the command line"):
        open_generator("my_generators:Noise", "cpu", allow_code=False)


@pytest.mark.usefixtures("code")
def test_entry_points_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    points = [metadata.EntryPoint("noise", "my_generators:Noise", "patn_augment.generators")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    assert open_generator("entry:noise", "cpu").name == "noise"
    with pytest.raises(InputError, match="installed are copy, noise, warp"):
        open_generator("entry:nobody", "cpu")


@pytest.mark.usefixtures("code")
def test_a_stochastic_generator_gives_the_same_bytes(people: Path, tmp_path: Path) -> None:
    """An output's seed is its own: batch size, shards and neighbours change nothing."""
    base = ["generate", str(people), "--ratio", "3", "--mode", "add", "--device", "cpu"]
    for name, more in {"whole": [], "small": ["--batch-size", "1"]}.items():
        command = [*base, "--weights", "my_generators:Noise", "--out", str(tmp_path / name), *more]
        assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    for shard in ("1/3", "0/3", "2/3"):
        command = [*base, "--weights", "my_generators:Noise", "--out", str(tmp_path / "parts"), "--shard", shard]
        assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "small") == hashes(tmp_path / "parts")
    made = [sha for name, sha in hashes(tmp_path / "whole").items() if "_gen" in name]
    assert len(set(made)) == len(made) == 24


# The commands


@pytest.mark.parametrize("name", ["copy", "warp"])
def test_the_controls_work_in_the_commands(people: Path, tmp_path: Path, name: str) -> None:
    images = sorted((people / "bounding_box_train").iterdir())
    two = [str(images[0]), str(images[3]), "--out", str(tmp_path / "e.png")]
    sheet, figures = str(tmp_path / "m.png"), str(tmp_path / "m.json")
    here, entry = ["--data", str(people)], f"entry:{name}"
    for command, told in {
        ("measure", entry, *here, "--pairs", "8", "--sheet", sheet, "--json", figures): "8 pairs: L1",
        ("explain", *two, "--weights", entry): "has no masks",
        ("quality", "--weights", entry, *here, "--pairs", "4", "--metric", "colour"): "4 generated images",
        (
            "generate",
            str(people),
            "--ratio",
            "0.5",
            "--weights",
            entry,
            "--out",
            str(tmp_path / "out"),
        ): "generated training",
    }.items():
        ended = CliRunner().invoke(cli, [*command, "--device", "cpu"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        assert told in ended.output
    for command in (
        ["convert", entry, "--out", str(tmp_path / "c"), "--dtype", "int8"],
        ["depth-curve", entry, "--out", "d.png"],
    ):
        with pytest.raises(InputError, match=f"{command[0]} needs PATN weights, entry:{name} has none"):
            CliRunner().invoke(cli, [*command, "--device", "cpu"], catch_exceptions=False)
    manifest = (tmp_path / "out/augmentation/manifest.json").read_text()
    assert f'"generator": "{name}"' in manifest
    assert f'"weights": "entry:{name}"' in manifest


# The warp


def test_warping_to_its_own_pose_keeps_the_person() -> None:
    image, pose = photo(standing()), joints(standing())
    made = WarpGenerator().transfer(image, pose, pose)
    torso = made[:, :, 30:60, 26:38] - image[:, :, 30:60, 26:38]
    assert float(torso.abs().mean()) < 0.02


def test_a_limb_goes_where_the_target_has_it() -> None:
    """The right forearm is painted red; in the target it is raised sideways."""
    raised = standing()
    raised[3], raised[4] = (14, 30), (4, 34)
    image = photo(standing())
    red = torch.tensor((1.0, -1.0, -1.0))
    image[0, :, 44:66, 14:22] = red[:, None, None]
    made = WarpGenerator().transfer(image, joints(standing()), joints(raised))[0]
    assert float((made[:, 32, 9] - red).abs().max()) < 0.1  # the middle of the forearm
    assert float((made[:, 56, 18] - red).abs().max()) > 0.5  # where it was there is ground again


def test_missing_joints() -> None:
    image, pose = photo(standing()), standing()
    warp = WarpGenerator()
    for gone in ([3, 4], [9, 10, 12, 13], list(range(18)), [2, 5, 8, 11], [0, 14, 15, 16, 17]):
        holes = pose.copy()
        holes[gone] = np.nan
        for source, target in ((holes, pose), (pose, holes), (holes, holes)):
            made = run_generator(warp, image, joints(source), joints(target))
            assert float(made.std()) > 0.05
    armless = pose.copy()
    armless[[3, 4, 6, 7]] = np.nan
    raised = pose.copy()
    raised[4] = (2, 20)
    with_arms, without = (warp.transfer(image, joints(pose), joints(target)) for target in (raised, armless))
    assert not torch.allclose(with_arms, without, atol=0.05)
    legless = pose.copy()
    legless[[9, 10, 12, 13]] = np.nan
    whole, guessed = (warp.transfer(image, joints(pose), joints(target)) for target in (pose, legless))
    assert float((whole - guessed).abs().mean()) < 0.1


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    poses = [standing() + rng.integers(-4, 5, (18, 2)).astype(np.float32) for _ in range(6)]
    images = torch.cat([photo(pose) for pose in poses])
    warp, targets = WarpGenerator(), joints(*reversed(poses))
    together = warp.transfer(images, joints(*poses), targets)
    assert torch.equal(together, warp.transfer(images, joints(*poses), targets))
    alone = torch.cat([warp.transfer(images[i : i + 1], joints(poses[i]), targets[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(warp.transfer(images, joints(*poses), targets), together, atol=1e-4, rtol=0)


def test_it_is_nearer_to_the_truth_than_the_photo() -> None:
    from augment.quality.errors import measure, unseen_pairs

    pairs = unseen_pairs(identities=8, images_per_id=3)
    assert measure(WarpGenerator(), pairs, 24).share < 0.85
    assert measure(CopyGenerator(), pairs, 8).share == pytest.approx(1.0)
