"""Transforms, schedule, the training step and loop, features and distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reid_eval import precision
from reid_eval.backbones import build
from reid_eval.beside import Beside, ViewStack
from reid_eval.features import distances, extract
from reid_eval.losses import Targets
from reid_eval.precision import resolve_amp
from reid_eval.runtime import InputError
from reid_eval.sampling import batches
from reid_eval.settings import PRESETS, TrainSettings, preset_name, settings_from
from reid_eval.training import budget, learning_rate, make_optimizer, measure_statistics, train_on, train_step
from reid_eval.transforms import draw_shifts, erase, move, to_float

SMALL = TrainSettings(
    size=(64, 64),
    epochs=15,
    batch_size=8,
    optimizer="adam",
    lr=5e-4,
    schedule="cosine",
    warmup_epochs=2,
    bn_batches=4,
    device="cpu",
)


People = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]]


@pytest.mark.parametrize("backbone", ["resnet50", "inception_v2"])
def test_overfits_four_identities(backbone: str, people: People) -> None:
    images, labels = people(4, 4)
    images = images[..., 16:48].copy()
    trained = train_on(images, labels, replace(SMALL, backbone=backbone, size=(64, 32)))
    with torch.inference_mode():
        logits = trained.model(to_float(torch.as_tensor(images)))[1]
    assert (logits.argmax(1).numpy() == labels).all()
    assert trained.losses[-1] < 0.3 < trained.losses[0]
    assert trained.accuracy > 0.9
    assert trained.steps == 30


def test_the_bag_of_tricks_overfits_four_identities(people: People) -> None:
    images, labels = people(4, 4)
    images = images[..., 16:48].copy()
    small = {"backbone": "torchreid:osnet_x0_25", "last_stride": 2, "size": (64, 32), "batch_size": 16, "pad": 2}
    short = {"lr": 2e-3, "epochs": 48, "warmup_epochs": 4.0, "schedule": "cosine", "bn_batches": 8, "device": "cpu"}
    bot = replace(PRESETS["bot"], **small, **short, erasing=0.0)
    trained = train_on(images, labels, bot, generated=np.arange(16) % 4 == 3)
    with torch.inference_mode():
        logits = trained.model(to_float(torch.as_tensor(images)))[1]
    assert (logits.argmax(1).numpy() == labels).all()
    features = extract(trained.model, images, flip=False)
    nearest = (features @ features.T - 2 * np.eye(16)).argmax(1)
    assert (labels[nearest] == labels).all()


def test_bnneck_scales_but_does_not_shift() -> None:
    model = build("torchreid:osnet_x0_25", 3, neck="bnneck").train()
    images = torch.rand(6, 3, 64, 32) * 2 - 1
    before, logits = model(images)
    after = model.neck(before)
    torch.testing.assert_close(after.mean(0), torch.zeros(512), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, after @ model.classifier.weight.T)
    assert model.classifier.bias is None
    head = {id(parameter) for parameter in model.head()}
    assert head == {id(model.neck.weight), id(model.classifier.weight)}
    groups = make_optimizer(model, PRESETS["bot"]).param_groups
    assert {id(parameter) for parameter in groups[1]["params"]} == head
    model.eval()
    torch.testing.assert_close(model.embed(images), model.neck(model(images)[0]))


def test_generated_images_bear_on_the_training(people: People) -> None:
    images, labels = people(3, 4)
    images = images[..., 16:48].copy()
    plain = replace(SMALL, backbone="torchreid:osnet_x0_25", size=(64, 32), bn_batches=0)
    made = np.arange(12) % 2 == 1

    def losses(generated: np.ndarray | None, **changes: object) -> list[float]:
        return train_on(images, labels, replace(plain, **changes), 2, generated).losses  # type: ignore[arg-type]

    hard = losses(made)
    assert hard == losses(None) == losses(None, generated_label="lsro", generated_share=0.5)
    assert len({tuple(hard), *(tuple(losses(made, generated_label=label)) for label in ("lsr", "lsro"))}) == 3
    assert losses(made, generated_share=0.25) != hard != losses(made, generated_weight=0.5)


def test_same_seed_same_network(people: People) -> None:
    images, labels = people(3, 3)
    settings = replace(SMALL, backbone="torchreid:osnet_x0_25", pad=2, erasing=0.5, label_smoothing=0.1, seed=5)
    first, second, other = (
        train_on(images, labels, s, steps=4) for s in (settings, settings, replace(settings, seed=6))
    )
    assert first.losses == second.losses != other.losses
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    features = extract(first.model, images, batch_size=4)
    np.testing.assert_array_equal(features, extract(second.model, images, batch_size=4))


def test_train_step_lowers_the_loss(people: People) -> None:
    torch.manual_seed(0)
    model = build("torchreid:osnet_x0_25", 3).train()
    optimizer = make_optimizer(model, replace(SMALL, lr=1e-3))
    images, labels = people(3, 2)
    batch = to_float(torch.as_tensor(images))
    targets = Targets(torch.as_tensor(labels), torch.zeros(6, dtype=torch.bool))
    losses = [train_step(model, optimizer, batch, targets, SMALL)[0].item() for _ in range(6)]
    assert losses[-1] < losses[0]


def test_bad_training_input(people: People) -> None:
    images, labels = people(1, 4)
    with pytest.raises(InputError, match="at least two identities, this data set has 1"):
        train_on(images, labels, SMALL)
    images, labels = people(2, 2)
    with pytest.raises(InputError, match=r"the training diverged \(loss nan\): lower lr"):
        train_on(images, labels, replace(SMALL, optimizer="sgd", lr=1e30, warmup_epochs=0), steps=5)


def moved(images: torch.Tensor, index: torch.Tensor, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Images `index`, shifted and mirrored by chance."""
    shift, mirror = draw_shifts(len(index), pad, generator)
    return move(images, index, shift, mirror & flip)


def test_shifts_and_mirrors_move_whole_images() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (5, 3, 12, 6), dtype=torch.uint8)
    index = torch.tensor([4, 4, 0, 2, 1, 3, 0, 1])
    assert torch.equal(moved(images, index, 0, False, generator), images[index])
    flipped = moved(images, index, 0, True, generator)
    mirrored = [torch.equal(out, images[i].flip(2)) for out, i in zip(flipped, index, strict=True)]
    same = [torch.equal(out, images[i]) for out, i in zip(flipped, index, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert any(mirrored)
    assert any(same)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for out, i in zip(moved(images, index, 2, False, generator), index, strict=True):
        windows = [padded[i, :, y : y + 12, x : x + 6] for y in range(5) for x in range(5)]
        assert any(torch.equal(out, window) for window in windows)


def test_erasing_paints_one_rectangle_of_the_mean_colour() -> None:
    images = torch.zeros(64, 3, 32, 16, dtype=torch.uint8)
    erased = erase(images, 0.5, torch.Generator().manual_seed(0))
    touched = erased[:, 0] == 124
    hit = touched.flatten(1).any(1)
    assert 20 <= int(hit.sum()) <= 44
    for mask in touched[hit]:
        rows, cols = mask.any(1), mask.any(0)
        assert int(mask.sum()) == int(rows.sum() * cols.sum())
    share = touched[hit].float().mean((1, 2))
    assert float(share.min()) > 0.005
    assert float(share.max()) < 0.5
    assert torch.equal(erase(images, 0.0, torch.Generator()), images)
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_batches_are_full_and_fair() -> None:
    order = batches(5, 3, torch.Generator().manual_seed(0))
    drawn = torch.cat([next(order) for _ in range(5)])
    assert sorted(drawn[:5].tolist()) == sorted(drawn[5:10].tolist()) == [0, 1, 2, 3, 4]
    assert next(batches(2, 7, torch.Generator())).shape == (7,)


def test_schedule() -> None:
    step = TrainSettings(lr_steps=(40, 50), warmup_epochs=10)
    rates = [learning_rate(step, epoch) for epoch in (0, 5, 20, 40, 55)]
    assert rates == pytest.approx([0, 0.5, 1, 0.1, 0.01], abs=1e-3)
    cosine = TrainSettings(schedule="cosine", epochs=10)
    assert [learning_rate(cosine, epoch) for epoch in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    assert budget(33, TrainSettings(epochs=2, batch_size=16)) == 6
    assert budget(33, TrainSettings(epochs=2, batch_size=16, max_steps=4)) == 4


def test_pretrained_trunk_learns_slower() -> None:
    model = build("torchreid:osnet_x0_25", 2)
    slow = make_optimizer(model, replace(PRESETS["ide"], init="imagenet")).param_groups
    assert [group["lr"] for group in slow] == pytest.approx([0.005, 0.05])
    assert [group["lr"] for group in make_optimizer(model, PRESETS["ide"]).param_groups] == [0.05, 0.05]


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert [resolve_amp(amp, cpu) for amp in ("auto", "bf16", "off")] == ["bf16", "bf16", "off"]
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert resolve_amp("auto", cpu) == "off"
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert resolve_amp("auto", cpu, (64, 32)) == "off"
    with pytest.raises(InputError, match="images 32 pixels wide are computed wrong on a CPU; use amp off"):
        resolve_amp("bf16", cpu, (64, 32))
    with pytest.raises(InputError, match="choose from auto, bf16, off"):
        resolve_amp("fp8", cpu)


def test_narrowest_width_is_computed_right_in_bf16() -> None:
    """The last strided convolution of a network that halves five times, for the narrowest images that we allow."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(256, 256, 3, 2, padding=1, bias=False)
    for height in (4, 8, 16):
        images = torch.randn(8, 256, height, precision.NARROWEST_ON_CPU // 16)
        images, exact = images.contiguous(memory_format=torch.channels_last), conv(images)
        with precision.autocast("bf16", images.device):
            torch.testing.assert_close(conv(images).float(), exact, atol=0.05, rtol=0.05)


def test_settings_errors() -> None:
    with pytest.raises(
        InputError, match=r"unknown epoch \(did you mean epochs\?\), learn; the known ones are backbone, init"
    ):
        settings_from("quick", {"learn": 1, "epoch": 2})
    with pytest.raises(InputError, match="preset 'slow': choose from quick, ide, bot"):
        settings_from("slow")
    with pytest.raises(
        InputError, match=r"epochs is 0, should be at least 1; optimizer is 'lion', should be 'sgd' or 'adam'"
    ):
        settings_from("ide", {"optimizer": "lion", "epochs": 0})
    with pytest.raises(InputError, match="epochs is '3', should be an integer; flip is 1, should be a boolean"):
        settings_from("ide", {"epochs": "3", "flip": 1})
    with pytest.raises(InputError, match=r"size\[1\] is missing"):
        TrainSettings(size=(128,))  # type: ignore[arg-type]
    changed = settings_from("ide", {"size": [128, 64], "lr": 1, "seed": None})
    assert (changed.size, changed.lr, changed.seed) == ((128, 64), 1, 0)
    assert preset_name(changed) == "custom"
    assert preset_name(settings_from("ide", {"seed": 4, "backbone": "inception_v2"})) == "ide"


def test_features_are_normalised_and_flip_invariant(people: People) -> None:
    model = build("torchreid:osnet_x0_25", 2)
    images, _ = people(2, 3)
    features = extract(model, images, batch_size=4)
    assert features.shape == (6, 512)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(features, extract(model, images[..., ::-1].copy()), atol=1e-4)
    assert extract(model, images[:0]).shape == (0, 512)


def test_distances() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(7, 8)).astype(np.float32)
    plain = np.linalg.norm(query[:, None] - gallery[None], axis=2)
    np.testing.assert_allclose(distances(query, gallery, "euclidean", chunk=2), plain, atol=1e-5)
    cosine = [[1 - q @ g / np.linalg.norm(q) / np.linalg.norm(g) for g in gallery] for q in query]
    np.testing.assert_allclose(distances(query, gallery, chunk=3), cosine, atol=1e-6)
    with pytest.raises(InputError, match="choose from cosine, euclidean"):
        distances(query, gallery, "l1")
    with pytest.raises(InputError, match="width 8, gallery features 4"):
        distances(query, gallery[:, :4])


class Watched(torch.nn.Module):
    """Batch normalisation that keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(images)


@pytest.mark.parametrize(("which", "mean"), [("real", -1.0), ("all", 0.0), ("sampler", -0.5)])
def test_statistics_are_of_the_images_that_the_setting_says(which: str, mean: float) -> None:
    """Real images are black, generated ones white, half of all; the sampler takes a quarter of generated ones."""
    stack = torch.zeros(16, 3, 8, 8, dtype=torch.uint8)
    stack[8:] = 255
    labels, generated = np.arange(16) % 8, np.arange(16) >= 8
    settings = TrainSettings(
        bn_batches=8, bn_statistics=which, batch_size=8, generated_share=0.25 if which == "sampler" else 0.0
    )
    model = Watched()
    measure_statistics(model, stack, labels, generated, settings)  # type: ignore[arg-type]
    torch.testing.assert_close(model.norm.running_mean, torch.full((3,), mean), atol=0.1, rtol=0)
    assert not model.norm.training or model.training


@pytest.mark.parametrize(("known", "mean"), [(8, 0.5), (4, -0.25)])
def test_statistics_are_of_photos_with_their_views(known: int, mean: float) -> None:
    """Photos are black, three views of each white; a photo without views stands for them: by hand (24 - 8) / 32."""
    stack, device = torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.device("cpu")
    settings = TrainSettings(bn_batches=2, batch_size=8, views=3)
    beside = Beside(np.full((8, 3, 3, 8, 8), 255, np.uint8), np.arange(8) < known)
    views = ViewStack(beside, 8, settings, (8, 8), device)
    model = Watched()
    measure_statistics(model, stack, np.arange(8), np.zeros(8, bool), settings, views=views)  # type: ignore[arg-type]
    torch.testing.assert_close(model.norm.running_mean, torch.full((3,), mean))


def test_statistics_of_generated_images_alone_where_there_are_no_others() -> None:
    stack = torch.full((8, 3, 8, 8), 255, dtype=torch.uint8)
    model = Watched()
    settings = TrainSettings(bn_batches=2, batch_size=4)
    measure_statistics(model, stack, np.arange(8), np.ones(8, bool), settings)  # type: ignore[arg-type]
    torch.testing.assert_close(model.norm.running_mean, torch.ones(3))


def test_training_leaves_the_callers_generators_and_flags_alone(people: People) -> None:
    import random

    def state() -> tuple[object, ...]:
        name, keys, *rest = np.random.get_state()
        flags = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.get_num_threads())
        return random.getstate(), name, tuple(keys), tuple(rest), tuple(torch.get_rng_state().tolist()), flags

    images, labels = people(3, 4)
    before = state()
    settings = replace(SMALL, backbone="torchreid:osnet_x0_25", epochs=1, batch_size=4)
    first = train_on(images, labels, settings, 2)
    assert state() == before
    torch.rand(7)  # and what the caller draws changes no training
    again = train_on(images, labels, settings, 2)
    assert first.losses == again.losses
