from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from drawn import hashes

from augment.generators.patn.batch import PairBatch
from augment.generators.patn.load import load_generator
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import build_state
from augment.generators.patn.step import LOSS_NAMES, train_step
from augment.generators.patn.train import TrainingDivergedError, load_checkpoint, save_checkpoint, train_generator
from augment.generators.weights import read_weights, weights_sha256
from augment.pairs.tensors import TensorPairs
from reid_eval.runtime import InputError

torch.set_num_threads(1)

TINY: dict[str, Any] = {
    "generator": "patn_tiny",
    "overrides": {"ngf": 4, "n_blocks": 2},
    "ndf": 4,
    "d_blocks": 1,
    "batch_size": 2,
    "constant_steps": 4,
    "decay_steps": 2,
    "epoch_steps": 1,
    "pool_size": 3,
    "perceptual": "off",
    "checkpoint_every": 2,
    "log_every": 1,
}


def settings(**changes: Any) -> PATNTrainSettings:
    return PATNTrainSettings(**{**TINY, **changes})


def pairs(seed: int = 0, people: int = 3, each: int = 3, size: tuple[int, int] = (16, 8)) -> TensorPairs:
    rng = np.random.default_rng(7)
    count = people * each
    images = rng.integers(0, 256, (count, 3, *size), dtype=np.uint8)
    keypoints = rng.uniform(0, 8, (count, 18, 2)).astype(np.float32)
    masks = np.zeros((count, *size), dtype=np.uint8)
    masks[:, 4:12] = 255
    return TensorPairs(images, keypoints, np.arange(count) // each + 1, seed=seed, masks=masks)


def weights(state_or_path: Any) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint's networks and optimizers, flat."""
    flat: dict[str, torch.Tensor] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            flat[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}")

    walk(torch.load(state_or_path, weights_only=True), "")
    return flat


def assert_same_bits(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    assert [k for k in left if not torch.equal(left[k], right[k])] == []


# Settings


def test_defaults_are_the_paper() -> None:
    s = PATNTrainSettings()
    assert (s.total_steps, s.total_steps * s.batch_size) == (87_500, 2_800_000)
    assert (s.lr, s.beta1, s.lambda_gan, s.lambda_l1, s.lambda_perceptual) == (2e-4, 0.5, 5, 10, 10)
    assert (s.gan, s.pool_size, s.ndf, s.d_blocks, s.sigma) == ("bce", 50, 64, 3, 6)
    assert (s.ema_decay, s.gan_start, s.mask_weight) == (0, 0, 0)


def test_schedule_is_their_lambda_rule() -> None:
    s = PATNTrainSettings()
    for epoch in (1, 2, 498, 499, 500, 501, 600, 699, 700):  # theirs count from 1, their scheduler from 0
        expected = 2e-4 * (1.0 - max(0, (epoch - 1) + 1 + 1 - 500) / float(200 + 1))
        for step in ((epoch - 1) * 125, epoch * 125 - 1):
            assert s.learning_rate(step) == pytest.approx(expected, abs=1e-12)
    assert s.learning_rate(87_499) == pytest.approx(0, abs=1e-12)
    assert settings(decay_steps=0).learning_rate(3) == 2e-4


def test_all_bad_settings_at_once() -> None:
    with pytest.raises(InputError) as caught:
        settings(gan="wgan", batch_size=0, lr=0, beta1=1, precision="int8", epoch_steps=3, overrides={"norm": "x"})
    for part in (
        "gan must be one of bce, lsgan, hinge, got 'wgan'",
        "batch_size must be at least 1",
        "lr must be positive",
        "beta1 must be in",
        "precision must be one of float32, bf16",
        "multiples of epoch_steps 3",
        "should be 'batch' or 'instance'",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="mask_weight must be at least 0, got nan; lr must be positive, got inf"):
        settings(mask_weight=float("nan"), lr=float("inf"))
    with pytest.raises(InputError, match="nothing to train"):
        settings(constant_steps=0, decay_steps=0)


# The loop


def test_trains_logs_and_exports(tmp_path: Path) -> None:
    seen: list[int] = []
    result = train_generator(
        settings(ema_decay=0.9), pairs(), tmp_path, info={"data": "noise"}, on_checkpoint=lambda s: seen.append(s.step)
    )
    assert (result.step, result.finished, seen) == (6, True, [2, 4, 6])
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert set(LOSS_NAMES) <= lines[0].keys()
    assert lines[-1]["lr"] == 0
    assert result.weights is not None
    info = read_weights(result.weights).metadata["info"]
    assert (info["data"], info["pairs_seen"], info["perceptual"], info["size"]) == ("noise", 12, "off", [16, 8])
    state = build_state(settings(ema_decay=0.9))
    load_checkpoint(result.checkpoint, state, settings(ema_decay=0.9))
    assert state.average is not None
    assert not torch.equal(*(next(n.parameters()) for n in (state.average, state.generator)))
    exported = next(load_generator(result.weights).parameters())
    torch.testing.assert_close(exported, next(state.average.parameters()), atol=1e-3, rtol=1e-3)


class Killed(Exception):
    pass


class KilledAt:
    """A source that dies when asked for one step, as a process killed during it does."""

    def __init__(self, source: TensorPairs, step: int) -> None:
        self.source, self.step, self.size = source, step, source.size

    def sample(self, step: int, batch_size: int) -> PairBatch:
        if step == self.step:
            raise Killed
        return self.source.sample(step, batch_size)


@pytest.mark.parametrize("kill_at", [1, 3, 5])
@pytest.mark.parametrize("extras", [{}, {"ema_decay": 0.5, "gan_start": 2, "precision": "bf16", "mask_weight": 2.0}])
def test_killed_and_resumed_is_the_same_bit_for_bit(tmp_path: Path, kill_at: int, extras: dict[str, Any]) -> None:
    s = settings(**extras)
    whole = train_generator(s, pairs(), tmp_path / "whole")
    with pytest.raises(Killed):
        train_generator(s, KilledAt(pairs(), kill_at), tmp_path / "parts")
    torch.manual_seed(99)  # another process starts from another random state
    resumed = train_generator(dataclasses.replace(s, log_every=2), pairs(), tmp_path / "parts", resume=True)
    assert_same_bits(whole.checkpoint, resumed.checkpoint)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "train.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("extras", [{}, {"ema_decay": 0.5, "precision": "bf16"}])
def test_the_same_seed_gives_the_same_checkpoint_byte_for_byte(tmp_path: Path, extras: dict[str, Any]) -> None:
    """Also where it was killed and resumed, under another name, and from settings that are equal but not the same."""
    whole = train_generator(settings(**extras), pairs(), tmp_path / "whole").checkpoint.read_bytes()
    with pytest.raises(Killed):
        train_generator(settings(**extras), KilledAt(pairs(), 3), tmp_path / "parts")
    torch.manual_seed(99)
    again = PATNTrainSettings(**json.loads(json.dumps({**TINY, **extras})))
    assert train_generator(again, pairs(), tmp_path / "parts", resume=True).checkpoint.read_bytes() == whole
    other = train_generator(settings(**extras, seed=1), pairs(), tmp_path / "other").checkpoint.read_bytes()
    assert other != whole


def test_time_limit_stops_with_a_checkpoint(tmp_path: Path) -> None:
    whole = train_generator(settings(), pairs(), tmp_path / "whole")
    for step in range(1, 7):
        part = train_generator(settings(max_seconds=0), pairs(), tmp_path / "parts", resume=True)
        assert (part.step, part.finished) == (step, step == 6)
    assert_same_bits(whole.checkpoint, part.checkpoint)
    again = train_generator(settings(), pairs(), tmp_path / "parts", resume=True)  # nothing left to do
    assert (again.finished, again.losses) == (True, whole.losses)
    assert_same_bits(whole.checkpoint, again.checkpoint)
    assert weights_sha256(again.weights or "") == weights_sha256(whole.weights or "")


def test_resume_errors(tmp_path: Path) -> None:
    train_generator(settings(), pairs(), tmp_path)
    with pytest.raises(InputError, match="already holds a training: resume it"):
        train_generator(settings(), pairs(), tmp_path)
    with pytest.raises(InputError, match=r"other settings: batch_size was 2, is 3; lr was 0.0002, is 0.1"):
        train_generator(settings(batch_size=3, lr=0.1), pairs(), tmp_path, resume=True)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"can't resume from .*checkpoint.pt .*remove it to start afresh"):
        train_generator(settings(), pairs(), tmp_path, resume=True)


def test_a_refused_resumption_leaves_the_run_as_it_was(tiny_root: Path, tmp_path: Path) -> None:
    from augment.start.recipe_training import open_training, train_recipe

    recipe, out = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump({"data": {"source": "folder", "root": str(tiny_root), "size": [16, 8]},
                                      "train": TINY}))  # fmt: skip
    train_recipe(open_training(str(recipe), out), out, device="cpu")
    before = hashes(out)
    assert json.loads((out / "run.json").read_text())["recipe"]["train"]["batch_size"] == 2
    for change in ("train.lambda_l1=2.0", "data.seed=1", "train.seed=3"):
        with pytest.raises(InputError, match="can't resume"):
            train_recipe(open_training(str(recipe), out, (change,), resume=True), out, device="cpu", resume=True)
        assert hashes(out) == before


class Poisoned(KilledAt):
    def sample(self, step: int, batch_size: int) -> PairBatch:
        batch = self.source.sample(step, batch_size)
        if step == self.step:
            batch.target_image[0, 0, 0, 0] = float("nan")
        return batch


@pytest.mark.parametrize("check_every", [0, 5])
def test_non_finite_loss_stops_and_keeps_the_good_checkpoint(tmp_path: Path, check_every: int) -> None:
    s = settings(check_every=check_every, log_every=6)
    source = pairs()
    with pytest.raises(
        TrainingDivergedError, match=r"step 3: total is nan, l1 is nan.*condition_rows.*last good state"
    ):
        train_generator(s, Poisoned(source, 3), tmp_path)
    culprit = json.loads((tmp_path / "nonfinite.json").read_text())
    assert culprit["step"] == 3
    assert culprit["fed"] == source.sample(3, 2).fed
    resumed = train_generator(s, source, tmp_path, resume=True)
    assert resumed.finished
    assert_same_bits(resumed.checkpoint, train_generator(s, source, tmp_path / "clean").checkpoint)


def test_non_finite_weight_is_never_saved(tmp_path: Path) -> None:
    state = build_state(settings())
    save_checkpoint(tmp_path / "c.pt", state, settings())
    before = (tmp_path / "c.pt").read_bytes()
    with torch.no_grad():
        next(state.shape.network.parameters()).fill_(float("inf"))
    with pytest.raises(TrainingDivergedError, match=r"D_S weight model.1.weight is not finite; the last good"):
        save_checkpoint(tmp_path / "c.pt", state, settings())
    assert (tmp_path / "c.pt").read_bytes() == before


def test_overfits_one_batch() -> None:
    s = settings(constant_steps=40, decay_steps=0, lambda_gan=0.0, lr=5e-3, d_dropout=0.0)
    state, batch = build_state(s), pairs().sample(0, 2)
    losses = [train_step(state, copy.copy(batch), s)[1].item() for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]


def test_fine_tuning_starts_from_given_weights(tmp_path: Path) -> None:
    first = train_generator(settings(), pairs(), tmp_path / "first")
    state = build_state(settings(init_weights=str(first.weights)))
    loaded = load_generator(str(first.weights))
    assert all(map(torch.equal, loaded.state_dict().values(), state.generator.state_dict().values()))
    with pytest.raises(InputError, match=r"train.init_weights .* the training builds"):
        build_state(settings(init_weights=str(first.weights), overrides={"ngf": 8, "n_blocks": 2}))


def test_sheets_and_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drawn: list[int] = []
    chosen = settings(sheet_every=2, tensorboard=True)
    plain = train_generator(settings(), pairs(), tmp_path / "plain")
    result = train_generator(chosen, pairs(), tmp_path / "run", on_sheet=lambda state: drawn.append(state.step))
    assert drawn == [2, 4, 6]
    assert plain.losses == result.losses  # looking changes nothing
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"l1", "lr", "pairs_per_second"} <= set(events.Tags()["scalars"])
    logged = [json.loads(line)["l1"] for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert [event.value for event in events.Scalars("l1")] == pytest.approx(logged)


def test_previews_are_always_the_same_pairs() -> None:
    source = pairs()
    first = source.preview(3)
    source.sample(4, 2)
    assert torch.equal(first.image, source.preview(3).image)


# Discriminators of patches

PATCHES = {
    "discriminators": "patches",
    "gan": "hinge",
    "lambda_gan": 1.0,
    "gan_ratio": 0.5,
    "lambda_features": 1.0,
    "lambda_grid": 0.1,
}


def test_a_killed_training_with_patches_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    s = settings(**PATCHES, gan_start=1, d_alone=2)
    whole = train_generator(s, pairs(size=(32, 16)), tmp_path / "whole")
    train_generator(dataclasses.replace(s, max_seconds=1e-9), pairs(size=(32, 16)), tmp_path / "parts")
    parts = train_generator(s, pairs(size=(32, 16)), tmp_path / "parts", resume=True)
    assert_same_bits(whole.checkpoint, parts.checkpoint)
    assert whole.losses["gan_weight"] > 0


def test_discriminators_at_chance_stop_the_training(tmp_path: Path) -> None:
    s = settings(**{**PATCHES, "d_lr": 1e-12, "stop_at_chance": 3, "constant_steps": 20})
    with pytest.raises(TrainingDivergedError, match=r"step \d+: the discriminators' hinge loss has been above 0.9 "):
        train_generator(s, pairs(size=(32, 16)), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert 1 <= len(lines) <= 4
