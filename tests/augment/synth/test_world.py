"""Versions of the drawn world: what they share, what version 2 looks like, and that they are never mixed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from augment.pairs.training_recipe import SynthSource
from augment.quality.statistics import STATISTICS, image_statistics
from augment.synth.dataset import SynthSettings, embedded_path, facts, read_settings, write_dataset
from augment.synth.jpeg import compress
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from augment.synth.recording import draw_recorded, record
from augment.synth.stream import StreamSettings
from augment.synth.world import WORLD_2
from augment.table.table_recipe import SynthData
from reid_eval.runtime import InputError


def _drawn(world: int, count: int = 96) -> Rendered:
    index = torch.arange(count)
    return PedestrianRenderer(5, cameras=24, world=world).render(index + 1, index % 24 + 1, index % 2, index % 5)


@pytest.fixture(scope="module")
def worlds() -> dict[int, Rendered]:
    return {world: _drawn(world) for world in (1, 2)}


def test_bodies_poses_joints_and_masks_are_those_of_version_1(worlds: dict[int, Rendered]) -> None:
    old, new = worlds[1], worlds[2]
    assert torch.equal(old.mask, new.mask)
    for name in ("keypoints", "true_keypoints"):
        assert torch.equal(getattr(old, name).nan_to_num(-9), getattr(new, name).nan_to_num(-9))
    assert (old.image != new.image).flatten(1).any(1).all()


def test_the_statistics_of_version_2_lie_around_those_of_photographs(worlds: dict[int, Rendered]) -> None:
    """Bounds around 1,277 photographs: contrast 64, black 0.107, chroma 0.100, flat 2.6, saturation 0.241."""
    old, new = (
        dict(zip(STATISTICS, image_statistics(worlds[world].image).mean(0).tolist(), strict=True)) for world in (1, 2)
    )
    assert 48 < new["contrast"] < 68
    assert 0.03 < new["black"] < 0.15
    assert 0.06 < new["chroma"] < 0.15
    assert 1.5 < new["flat"] < 4.0
    assert 0.18 < new["saturation"] < 0.32
    assert old["contrast"] < 48
    assert old["flat"] > 4
    assert old["black"] < 0.03


def test_a_person_in_a_camera_mostly_stays_in_one_place() -> None:
    """Two sequences of the same people in one camera stand where they stood, mostly, in version 2."""
    pids = torch.arange(1, 41)
    alike = {}
    for world in (1, 2):
        renderer = PedestrianRenderer(5, cameras=4, world=world)
        rows = [(pids, pids % 4 + 1, torch.full_like(pids, seq), pids % 3) for seq in (0, 1)]
        place = [torch.stack(renderer._place(*renderer._draws(*row), renderer._camera(row[1]), row)) for row in rows]
        alike[world] = float((place[0] == place[1]).all(0).float().mean())
    assert alike[1] == 0
    assert 0.5 < alike[2] < 0.9


def test_jpeg_is_what_pillow_writes(worlds: dict[int, Rendered]) -> None:
    images = worlds[1].image[:6]
    for quality in (40, 75, 95):
        ours = compress(images, torch.full((6,), quality)).numpy().astype(float)
        theirs = []
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
            theirs.append(np.asarray(Image.open(buffer)).transpose(2, 0, 1))
        between = 10 * np.log10(255**2 / np.mean((ours - np.stack(theirs)) ** 2))
        loss = 10 * np.log10(255**2 / np.mean((images.numpy() - np.stack(theirs)) ** 2.0))
        assert between > 40, quality
        assert between > loss + 5, "nearer to the file than to what was compressed"


def test_jpeg_of_sides_that_are_no_multiple_of_a_block() -> None:
    image = torch.full((1, 3, 21, 13), 77, dtype=torch.uint8)
    assert compress(image, torch.tensor([90])).shape == image.shape
    assert (compress(image, torch.tensor([90])).int() - 77).abs().max() <= 2


def test_recording_is_of_the_image_not_of_its_batch() -> None:
    assert WORLD_2.recording is not None
    camera, number = torch.arange(20) % 7, torch.arange(20)
    picture = torch.rand(20, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    noise = torch.zeros(20, 64, 32)
    how = draw_recorded(WORLD_2.recording, 3, camera, (number,))
    whole = record(picture, how, noise)
    assert len(how.steps.unique()) > 4
    assert how.quality.min() >= 40
    assert how.quality.max() <= 95
    for i in (0, 7, 19):
        one = draw_recorded(WORLD_2.recording, 3, camera[i : i + 1], (number[i : i + 1],))
        assert torch.equal(record(picture[i : i + 1], one, noise[i : i + 1])[0], whole[i])


def test_versions_are_never_mixed(tmp_path_factory: pytest.TempPathFactory) -> None:
    new = SynthSettings(1, 1, 4, 2, size=(32, 16))
    old = replace(new, world=1)
    assert new.world == 2
    assert embedded_path(new) != embedded_path(old)
    assert facts(new) != facts(old)
    assert facts(old)["renderer"] == 1, "as records have it"
    assert "world" not in facts(old)
    root = write_dataset(tmp_path_factory.mktemp("old") / "set", old)
    assert read_settings(root) == old


def test_the_version_is_a_setting_everywhere() -> None:
    assert StreamSettings().world == 2
    assert SynthSource(source="synth").world == 2
    assert SynthSource(source="synth", world=1).open("cpu")._stream.settings.world == 1  # type: ignore[attr-defined]
    assert SynthData(source="synth").settings().world == 2
    assert SynthData(source="synth", world=1).settings().world == 1
    with pytest.raises(InputError, match="world is 3, must be one of 1, 2"):
        StreamSettings(world=3)
    with pytest.raises(InputError, match="world is 3"):
        SynthSettings(world=3).check()
