"""The shipped estimator: network, heat maps, augmentation, training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.estimators.accuracy import best_thresholds, joint_accuracy
from augment.estimators.posenet.augmentation import Luck, _affine, _mirror, _warp, augment, blocky
from augment.estimators.posenet.estimator import SynthEstimator, letterbox, locate
from augment.estimators.posenet.maps import decode, flip_back, target_maps
from augment.estimators.posenet.network import BUILDERS, build_network
from augment.estimators.posenet.training import CHECKPOINT, LOG, train_poses
from augment.estimators.posenet.training_settings import CALIBRATION_WORLD, PoseTrainSettings, pose_settings
from augment.estimators.posenet.weights_file import load_weights, save_weights
from augment.pose.skeleton import MIRROR
from reid_eval.runtime import InputError

TINY = PoseTrainSettings(
    network="posenet_tiny",
    identities=2,
    images_per_id=2,
    cameras=1,
    pool=2,
    steps_per_generation=2,
    steps=5,
    batch_size=4,
    log_every=1,
    checkpoint_every=2,
)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_network_shapes(name: str) -> None:
    network = build_network(name).eval()
    maps, seen = network(torch.zeros(2, 3, 64, 32))
    assert maps.shape == (2, 18, 32, 16)
    assert seen.shape == (2, 18)
    assert sum(p.numel() for p in network.parameters()) * 2 < 10e6


def test_unknown_network() -> None:
    with pytest.raises(InputError, match="no pose network 'x'"):
        build_network("x")


def test_decoding_finds_what_the_target_says() -> None:
    xy = torch.rand(4, 18, 2) * torch.tensor([44.0, 108.0]) + 10
    maps = target_maps(xy, (64, 32), sigma=2.0)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(4, 18))
    found, mass = decode(maps.log())
    assert (found - xy).abs().max() < 0.05
    assert mass.min() > 0.99


def test_decoding_at_the_border_and_of_a_lone_cell() -> None:
    maps = torch.full((1, 18, 16, 8), -20.0)
    maps[0, :, 0, 0] = 5.0
    found, mass = decode(maps)
    torch.testing.assert_close(found, torch.full((1, 18, 2), 0.5), atol=1e-3, rtol=0)
    assert mass.min() > 0.99


def test_missing_joints_have_no_target() -> None:
    xy = torch.full((1, 18, 2), torch.nan)
    assert target_maps(xy, (8, 4), 2.0).eq(0).all()


def test_flip_back_undoes_the_mirror() -> None:
    xy = torch.rand(1, 18, 2) * torch.tensor([63.0, 127.0])
    flipped = torch.stack([63 - xy[:, list(MIRROR), 0], xy[:, list(MIRROR), 1]], -1)
    seen = torch.arange(18.0)[None]
    maps, back = flip_back(target_maps(flipped, (64, 32), 2.0), seen[:, list(MIRROR)])
    torch.testing.assert_close(maps, target_maps(xy, (64, 32), 2.0))
    torch.testing.assert_close(back, seen)


def _dots(xy: torch.Tensor) -> torch.Tensor:
    """A picture of white dots, `[B, 1, 128, 64]`."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(64.0), indexing="ij")
    squares = (x - xy[:, :, 0, None, None]) ** 2 + (y - xy[:, :, 1, None, None]) ** 2
    return torch.exp(-squares / 4).sum(1, keepdim=True)


def test_joints_move_as_the_picture_does() -> None:
    generator = torch.Generator().manual_seed(3)
    luck = Luck(generator, 6)
    point = torch.tensor([[[40.0, 50.0]]]).repeat(6, 1, 1)
    matrix, shift = _affine(luck, (128, 64), luck.between(0.8, 1.2), 0.1, luck.normal(2) * 0.03)
    moved = _warp(_dots(point), matrix, shift, "zeros")[:, 0]
    middle = torch.tensor([31.5, 63.5])
    expected = (matrix[:, None] @ (point - middle)[..., None])[..., 0] + middle + shift[:, None]
    total = moved.sum((1, 2))
    x = (moved.sum(1) * torch.arange(64.0)).sum(1) / total
    y = (moved.sum(2) * torch.arange(128.0)).sum(1) / total
    assert (torch.stack([x, y], -1) - expected[:, 0]).abs().max() < 0.15


def test_mirroring_exchanges_left_and_right() -> None:
    luck = Luck(torch.Generator().manual_seed(0), 32)
    picture = torch.rand(32, 3, 8, 4)
    xy = torch.rand(32, 18, 2) * 3
    seen = torch.rand(32, 18) < 0.5
    image, joints, there = _mirror(picture, xy, seen, luck)
    flipped = (image != picture).flatten(1).any(1)
    assert 0 < flipped.sum() < 32
    assert torch.equal(image[flipped], picture[flipped].flip(3))
    torch.testing.assert_close(joints[flipped][:, 2, 0], 3 - xy[flipped][:, 5, 0])
    assert torch.equal(there[flipped][:, 16], seen[flipped][:, 17])
    assert torch.equal(joints[~flipped], xy[~flipped])


def test_augmented_batches_are_a_function_of_the_generator() -> None:
    image = torch.randint(0, 256, (8, 3, 128, 64), dtype=torch.uint8)
    mask = torch.zeros(8, 128, 64, dtype=torch.bool)
    mask[:, 20:110, 20:44] = True
    xy = torch.rand(8, 18, 2) * torch.tensor([63.0, 127.0])
    xy[0, 3] = torch.nan
    seen = torch.ones(8, 18, dtype=torch.bool)
    first, second = (augment(image, mask, xy, seen, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert first.image.min() >= -1
    assert first.image.max() <= 1
    there = ~first.xy.isnan().any(-1)
    assert not (first.seen & ~there).any(), "a joint outside of the picture is not seen"
    assert first.xy[there].min() >= -0.5
    assert (first.xy[there] < torch.tensor([63.5, 127.5])).all()
    assert not torch.equal(first.image, augment(image, mask, xy, seen, torch.Generator().manual_seed(6)).image)


def test_fine_rounding_changes_little_and_coarse_much() -> None:
    picture = torch.rand(2, 3, 16, 16)
    fine, coarse = (blocky(picture, torch.full((2, 1, 1, 1, 1, 1), step)) for step in (1e-4, 0.5))
    torch.testing.assert_close(fine, picture, atol=2e-3, rtol=0)
    assert (coarse - picture).abs().mean() > 0.05


def test_training_is_resumed_to_the_bit(tmp_path: Path) -> None:
    whole = train_poses(TINY, tmp_path / "whole")
    state = torch.load(tmp_path / "whole" / CHECKPOINT, weights_only=True)
    assert state["state"]["step"] == 5
    assert state["drawn"] == 3

    class _KilledError(Exception): ...

    import augment.estimators.posenet.training as module

    with pytest.MonkeyPatch.context() as patch:
        original = module._Loop._save
        calls = []

        def save(self: module._Loop) -> None:
            original(self)
            calls.append(1)
            if len(calls) == 2:
                raise _KilledError

        patch.setattr(module._Loop, "_save", save)
        with pytest.raises(_KilledError):
            train_poses(TINY, tmp_path / "parts")
    with pytest.raises(InputError, match="already holds a training"):
        train_poses(TINY, tmp_path / "parts")
    parts = train_poses(TINY, tmp_path / "parts", resume=True)
    for (key, a), b in zip(whole.network.state_dict().items(), parts.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]
    with pytest.raises(InputError, match=r"lr was 0\.002, is 0\.1"):
        train_poses(TINY.model_copy(update={"lr": 0.1}),
                    tmp_path / "parts", resume=True)  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun")
    train_poses(TINY.model_copy(update={"steps": 3}), out)
    return out


@pytest.mark.parametrize(
    "change",
    [
        {"state": None}, {"drawn": None}, {"drawn": 0}, {"drawn": 9}, {"drawn": 10**30}, {"drawn": True},
        {"render_seconds": "1"}, {"render_seconds": float("nan")}, {"state.step": -1}, {"state.step": None},
        {"state.seconds": float("inf")}, {"state.network": None}, {"state.average": {}}, {"state.optimizer": 5},
    ],
    ids=str,
)  # fmt: skip
def test_checkpoints_that_are_none(begun: Path, tmp_path: Path, change: dict[str, object]) -> None:
    contents = torch.load(begun / CHECKPOINT, weights_only=True)
    for key, value in change.items():
        part, _, inner = key.partition(".")
        if inner:
            contents[part][inner] = value
        else:
            contents[part] = value
    torch.save(contents, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=r"can't resume from .*checkpoint.pt \(.*\): remove it to start afresh"):
        train_poses(TINY.model_copy(update={"steps": 3}), tmp_path, resume=True)


def test_numbers_of_the_optimizer_and_lines_of_the_log_are_our_own(begun: Path, tmp_path: Path) -> None:
    contents = torch.load(begun / CHECKPOINT, weights_only=True)
    for group in contents["state"]["optimizer"]["param_groups"]:
        group.update(weight_decay=0.9, betas=(0.1, 0.2))
    torch.save(contents, tmp_path / CHECKPOINT)
    (tmp_path / LOG).write_bytes(b'null\n{"step": "1"}\n\xff\n' + b"[" * 100_000 + b"\n" + (begun / LOG).read_bytes())
    done = train_poses(TINY.model_copy(update={"steps": 3}), tmp_path, resume=True)
    assert done.facts["steps"] == 3
    again = torch.load(tmp_path / CHECKPOINT, weights_only=True)["state"]["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in again] == [TINY.weight_decay, 0.0]
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2, 3]


def test_training_learns(tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"steps": 24, "lr": 1e-2, "batch_size": 8, "steps_per_generation": 99})
    train_poses(settings, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    first, last = (np.mean([line["place"] for line in part]) for part in (lines[:3], lines[-3:]))
    assert last < first - 0.3


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="world 778 is kept for measuring") as caught:
        PoseTrainSettings(world=CALIBRATION_WORLD, steps=0, lr=float("nan"), network="resnet")
    for problem in ("steps: Input should be greater than 0", "lr: Input should be a finite number", "posenet_tiny"):
        assert problem in str(caught.value)
    with pytest.raises(InputError, match="write KEY=VALUE"):
        pose_settings(("colour",))
    with pytest.raises(InputError, match="colour: unknown key; known: batch_size"):
        pose_settings(("colour=1",))
    with pytest.raises(InputError, match="steps: Input should be a valid integer"):
        pose_settings(("steps=many",))
    with pytest.raises(InputError, match=r"size.*multiple of 16"):
        pose_settings(("size=100x64",))
    assert pose_settings(("size=256x128", "lr=1e-4"), seed=3, steps=None).model_dump(mode="json") == {
        **PoseTrainSettings().model_dump(mode="json"), "size": [256, 128], "lr": 1e-4, "seed": 3
    }  # fmt: skip


def test_the_training_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train_poses(TINY.model_copy(update={"steps": 1}), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    settings = PoseTrainSettings(lr=1.0, warmup=0.1)
    assert settings.rate(0.0) == pytest.approx(0.02)
    assert settings.rate(0.1) == pytest.approx(1.0)
    assert settings.rate(0.55) == pytest.approx(0.5)
    assert settings.rate(1.0) == pytest.approx(0.0)


def test_weights_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("posenet_tiny").eval()
    path = tmp_path / "w.safetensors"
    sha = save_weights(path, network, (128, 64), [0.25] * 18, {"data": "none"})
    loaded = load_weights(path)
    assert (loaded.size, loaded.thresholds[0], loaded.info, loaded.sha256) == ((128, 64), 0.25, {"data": "none"}, sha)
    images = torch.randint(0, 256, (2, 3, 128, 64), dtype=torch.uint8)
    for a, b in zip(locate(network, images), locate(loaded.network, images), strict=True):
        torch.testing.assert_close(a, b, atol=0.2, rtol=0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_weights(path)
    with pytest.raises(InputError, match="can't read weights"):
        load_weights(tmp_path / "none.safetensors")


def test_a_mirrored_image_gives_the_mirrored_pose(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("posenet_tiny").eval()
    images = torch.randint(0, 256, (2, 3, 128, 64), dtype=torch.uint8)
    xy, score = locate(network, images)
    other, other_score = locate(network, images.flip(3))
    torch.testing.assert_close(other[..., 1], xy[:, list(MIRROR), 1], atol=1e-3, rtol=0)
    torch.testing.assert_close(other[..., 0], 63 - xy[:, list(MIRROR), 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(other_score, score[:, list(MIRROR)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(128, 64), (256, 256), (300, 80), (33, 20)])
def test_letterbox_goes_back(size: tuple[int, int]) -> None:
    point = (size[1] * 2 // 3, size[0] // 3)
    image = torch.zeros(3, *size, dtype=torch.uint8)
    image[:, point[1] - 1 : point[1] + 2, point[0] - 1 : point[0] + 2] = 255
    boxed = letterbox(image, (128, 64))
    assert boxed.image.shape == (3, 128, 64)
    weight = boxed.image[0].float()
    y = (weight.sum(1) * torch.arange(128.0)).sum() / weight.sum()
    x = (weight.sum(0) * torch.arange(64.0)).sum() / weight.sum()
    back = boxed.to_image(torch.stack([x, y]))
    assert (back - torch.tensor(point)).abs().max() < 0.6 * max(boxed.scale, 1)
    torch.testing.assert_close(boxed.from_image(back), torch.stack([x, y]))


def test_estimator_takes_images_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_weights(path, build_network("posenet_tiny"), (128, 64), [0.0] * 9 + [1.1] * 9, {})
    estimator = SynthEstimator(path, batch_size=2)
    sizes = ((128, 64), (90, 70), (256, 176))
    images = [np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    xy, score = estimator(images)
    assert xy.shape == (3, 18, 2)
    assert score.shape == (3, 18)
    assert not np.isnan(xy[:, :9]).any()
    assert np.isnan(xy[:, 9:]).all()
    for pose, image in zip(xy[:, :9], images, strict=True):
        assert (pose >= 0).all()
        assert (pose[:, 0] <= image.shape[1] - 1).all()
        assert (pose[:, 1] <= image.shape[0] - 1).all()
    assert estimator([])[0].shape == (0, 18, 2)


def test_thresholds_by_hand() -> None:
    score = np.tile(np.array([[0.9], [0.8], [0.3], [0.2]]), (1, 18))
    there = np.tile(np.array([[True], [True], [False], [False]]), (1, 18))
    there[:, 5] = False
    best = best_thresholds(score, there)
    assert 0.3 < best[0] <= 0.8
    assert best[5] == 0.5


def test_figures_by_hand() -> None:
    truth = np.full((2, 18, 2), np.nan)
    truth[0, 0] = (10, 10)
    truth[0, 1] = (20, 20)
    truth[1, 0] = (30, 30)
    xy = np.full((2, 18, 2), 100.0)
    xy[0, 0] = (13, 14)  # 5 pixels away: within 0.05 of 128
    xy[0, 1] = (20, 30)  # 10 pixels: within 0.1
    xy[1, 0] = (30, 30)  # right, but not reported
    reported = np.zeros((2, 18), bool)
    reported[0, :3] = True
    result = joint_accuracy(xy, reported, truth, 128)
    assert result["pck05"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["pck10"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["located05"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["located10"] == 1.0
    assert result["error"] == 7.5
    assert result["precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["joints"]["nose"]["pck05"] == 0.5
    assert result["joints"]["Rsho"]["pck05"] is None


def test_figures_know_front_taken_for_back() -> None:
    truth = np.random.default_rng(0).uniform(0, 64, (1, 18, 2)) * 4
    xy = truth[:, list(MIRROR)]
    result = joint_accuracy(xy, np.ones((1, 18), bool), truth, 128)
    assert result["located05"] < 0.5
    assert result["located05_unsided"] == 1.0


def test_the_shipped_weights_find_unseen_people() -> None:
    from augment.estimators.accuracy import synthetic_people
    from augment.estimators.build import build_estimator
    from augment.estimators.posenet.weights_file import shipped_weights
    from augment.pose.skeleton import seen

    file = shipped_weights()
    assert file is not None
    assert file.stat().st_size < 10e6
    people = synthetic_people(identities=4)
    estimator = build_estimator("synth")
    xy, scores = estimator(list(people.images.permute(0, 2, 3, 1).numpy()))
    measured = joint_accuracy(np.nan_to_num(xy), seen(xy), people.xy, 128)
    assert measured["pck05"] > 0.9
    assert measured["precision"] > 0.85
    assert scores.shape == (16, 18)
    wide = np.pad(people.images[0].permute(1, 2, 0).numpy(), ((0, 0), (20, 20), (0, 0)), mode="edge")
    moved, _ = estimator([wide])
    near = np.abs(moved[0] - [20, 0] - xy[0]) < 3
    assert near[seen(xy[0]) & seen(moved[0])].mean() > 0.8


def test_shipped_weights_tell_no_machine() -> None:
    from augment.estimators.posenet.weights_file import shipped_weights

    file = shipped_weights()
    assert file is not None
    info = json.dumps(load_weights(file).info)
    assert "/" not in info.replace("--", "")
