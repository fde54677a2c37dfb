"""Training on photos together with views of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_eval.backbones import BACKBONES, ReidNet
from reid_eval.beside import Beside, ViewStack, fused, look
from reid_eval.losses import Targets
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.training import draw, make_optimizer, train_on, train_step
from reid_eval.transforms import move, to_float

SIZE = (32, 32)
SETTINGS = TrainSettings(backbone="little", size=SIZE, batch_size=4, lr=0.05, pad=2, bn_batches=2, device="cpu",
                         amp="off", views=2, views_weight=3.0, views_photo_weight=0.5)  # fmt: skip
CPU = torch.device("cpu")
People = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def little(last_stride: int) -> tuple[torch.nn.Module, int]:
    layers = (torch.nn.Conv2d(3, 6, 5, 4), torch.nn.BatchNorm2d(6), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2))
    return torch.nn.Sequential(*layers, torch.nn.Flatten()), 24


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "little", little)


@pytest.fixture
def material() -> tuple[NDArray[np.uint8], NDArray[np.int64], Beside]:
    """Eight images of four people, three views of each but the last two."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (8, 3, *SIZE), np.uint8)
    views = draw.integers(0, 256, (8, 3, 3, *SIZE), np.uint8)
    return images, np.arange(8) // 2, Beside(views, np.arange(8) < 6)


def test_what_is_trained_for_is_what_is_searched_by() -> None:
    """The formula of `augment.search.fusion`, in plain loops; a test of that package compares the two themselves."""
    draw = np.random.default_rng(1)
    photos, views = draw.normal(size=(5, 7)), draw.normal(size=(5, 3, 7))
    known = np.array([True, False, True, True, False])
    found = fused(torch.from_numpy(photos), torch.from_numpy(views), torch.from_numpy(known), 2.5).numpy()
    for row in range(5):
        own = photos[row] / np.linalg.norm(photos[row])
        mean = sum(view / np.linalg.norm(view) for view in views[row]) / 3
        wanted = own + 2.5 * mean if known[row] else own
        np.testing.assert_allclose(found[row], wanted / np.linalg.norm(wanted), atol=1e-12)


def test_views_move_with_their_photo(material: tuple[Any, Any, Beside]) -> None:
    _, _, beside = material
    stack = ViewStack(beside, 8, SETTINGS, SIZE, CPU)
    index, shift, mirror = torch.tensor([7, 2]), torch.tensor([[0, 0], [1, -2]]), torch.tensor([True, False])
    views, known = stack.batch(index, shift, mirror)
    assert known.tolist() == [False, True]
    assert views.shape == (4, 3, *SIZE)
    pixels = views.add(1).mul(127.5).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(pixels[:2], beside.images[7, :2, :, :, ::-1])
    moved = move(torch.from_numpy(beside.images[2, :2]), torch.arange(2), shift[[1, 1]], mirror[[1, 1]])
    np.testing.assert_array_equal(pixels[2:], moved.numpy())
    assert not pixels[2:, :, -1].any()  # black where it left
    assert not pixels[2:, :, :, :2].any()


def plain_step(model: ReidNet, images: Tensor, views: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """The loss of a step, image by image: batch normalisation alone looks at all of them at once."""
    rows = [*images]
    for photo, mine, there in zip(images, views.unflatten(0, (len(images), 2)), known.tolist(), strict=True):
        rows += [*mine] if there else [photo, photo]
    features = model.trunk((torch.stack(rows) * 0.5 + 0.5 - model.mean) / model.std)
    total = torch.zeros(())
    for row, label in enumerate(labels.tolist()):
        photo = features[row]
        both = photo / photo.norm()
        if known[row]:
            one, two = features[len(labels) + 2 * row], features[len(labels) + 2 * row + 1]
            both = both + 3.0 * (one / one.norm() + two / two.norm()) / 2
        both = both / both.norm() * photo.norm()
        for feature, weight in ((both, 1.0), (photo, 0.5)):
            logits = model.classifier.weight @ feature + model.classifier.bias
            total = total - weight * (logits[label] - logits.exp().sum().log()) / len(labels)
    return total


def test_a_step_is_that_of_the_plain_reference(material: tuple[Any, Any, Beside]) -> None:
    images, labels, beside = material
    torch.manual_seed(0)
    model = ReidNet(*little(2), 4, size=SIZE).train()
    other = deepcopy(model)
    index = torch.tensor([0, 3, 6, 4])
    batch, targets = to_float(torch.from_numpy(images[index])), Targets(torch.from_numpy(labels[index]), index < 0)
    views = ViewStack(beside, 8, SETTINGS, SIZE, CPU).batch(index, torch.zeros(4, 2, dtype=torch.int64), index < 0)
    loss, _ = train_step(model, make_optimizer(model, SETTINGS), batch, targets, SETTINGS, beside=views)
    wanted = plain_step(other, batch, *views, targets.labels)
    optimizer = make_optimizer(other, SETTINGS)
    wanted.backward()
    optimizer.step()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    for (name, got), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("neck", ["none", "bnneck"])
def test_where_no_view_is_known_both_looks_are_one(material: tuple[Any, Any, Beside], neck: str) -> None:
    images, _, beside = material
    model = ReidNet(*little(2), 4, neck, size=SIZE).train()
    batch, views = to_float(torch.from_numpy(images)), to_float(torch.from_numpy(beside.images[:, :2])).flatten(0, 1)
    own, both = look(model, batch, views, torch.zeros(8, dtype=torch.bool), 3.0)
    torch.testing.assert_close(own.features, both.features)
    torch.testing.assert_close(own.logits, both.logits)
    own, both = look(model, batch, views, torch.ones(8, dtype=torch.bool), 3.0)
    assert (own.logits - both.logits).abs().max() > 0.01
    torch.testing.assert_close(both.features.norm(dim=1), own.features.norm(dim=1))


def test_without_views_nothing_changes_bit_for_bit(material: tuple[Any, Any, Beside]) -> None:
    images, labels, beside = material
    none = replace(SETTINGS, views=0, views_weight=9.0, views_photo_weight=0.0)
    bare = TrainSettings(**{k: v for k, v in none.to_dict().items() if not k.startswith("views")})
    assert none.facts() == bare.facts()  # records of before stay good
    first, second, third = (
        train_on(images, labels, settings, 5, beside=one)
        for settings, one in ((bare, None), (none, beside), (SETTINGS, beside))
    )
    assert first.losses == second.losses != third.losses
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert third.losses == train_on(images, labels, SETTINGS, 5, beside=beside).losses
    # The draws are those of the training without views: the two see the same photos.
    made = np.zeros(8, np.bool_)
    assert torch.equal(draw(labels, made, 5, bare, SIZE, CPU).index, draw(labels, made, 5, SETTINGS, SIZE, CPU).index)


def test_training_with_views_learns(people: People) -> None:
    images, labels = people(4, 4)
    images = images[:, :, ::2, ::2].copy()
    beside = Beside(np.stack([images[:, :, :, ::-1], np.roll(images, 1, 3)], 1), np.ones(16, np.bool_))
    settings = replace(SETTINGS, size=(images.shape[2], images.shape[3]), optimizer="adam", lr=0.01, batch_size=8)
    trained = train_on(images, labels, settings, 80, beside=beside)
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    assert trained.accuracy > 0.8


def test_views_that_cannot_be(material: tuple[Any, Any, Beside]) -> None:
    images, labels, beside = material

    def training(one: Beside | None, **changes: Any) -> None:
        train_on(images, labels, replace(SETTINGS, **changes), 1, beside=one)

    with pytest.raises(InputError, match="2 views of each training image are asked for, none are given") as error:
        training(None)
    assert error.value.argument == "views"
    with pytest.raises(InputError, match="views: 4 of each image are asked for, 3 are given"):
        training(beside, views=4)
    with pytest.raises(InputError, match=r"views must be uint8 \[8, V, 3, 32, 32\], got uint8 \[7, 3, 3, 32, 32\]"):
        training(Beside(beside.images[:7], beside.known))
    with pytest.raises(InputError, match=r"known must be bool \[8\], got bool \[7\]"):
        training(Beside(beside.images, beside.known[:7]))
    with pytest.raises(InputError, match="batch_size 4096 with 64 views each of images of 1024x512 are over"):
        replace(SETTINGS, batch_size=4096, views=64, size=(1024, 512))
