"""Labels of generated images and triplets against values worked by hand; batches that know real from generated."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional

from reid_eval.losses import Targets, identity_loss, reid_loss, smoothing, triplet_loss
from reid_eval.runtime import InputError
from reid_eval.sampling import Deck, make_batches, pk_batches, shared_batches
from reid_eval.settings import TrainSettings

LN2, LN4 = 0.6931472, 1.3862944
# Softmax (1/2, 1/4, 1/8, 1/8): the negative logarithms are 1, 2, 3 and 3 times ln 2, on average 2.25 times.
LOGITS = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()


def one(label: int, generated: bool, **settings: object) -> float:
    targets = Targets(torch.tensor([label]), torch.tensor([generated]))
    return reid_loss(torch.zeros(1, 2), LOGITS, targets, TrainSettings(**settings)).item() / LN2  # type: ignore[arg-type]


def test_labels_of_generated_images_by_hand() -> None:
    assert one(1, False) == pytest.approx(2)
    assert one(1, True, generated_label="hard") == pytest.approx(2)
    # 0.8 on the label and 0.2 spread over four: 0.8 x 2 + 0.2 x 2.25.
    assert one(1, True, generated_label="lsr", generated_smoothing=0.2) == pytest.approx(2.05)
    assert one(1, False, generated_label="lsr", generated_smoothing=0.2) == pytest.approx(2)
    # Uniform: 2.25 whatever the label.
    assert [one(label, True, generated_label="lsro") for label in range(4)] == pytest.approx([2.25] * 4)
    assert one(2, False, generated_label="lsro") == pytest.approx(3)
    # A real image's own smoothing is left alone, and `hard` has it as well.
    for label in ("hard", "lsr", "lsro"):
        assert one(0, False, generated_label=label, label_smoothing=0.4) == pytest.approx(0.6 + 0.4 * 2.25)
    assert one(0, True, label_smoothing=0.4) == pytest.approx(0.6 + 0.4 * 2.25)


def test_identity_loss_is_torchs_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels, ones = torch.randn(6, 5), torch.randint(0, 5, (6,)), torch.ones(6)
    for smooth in (0.0, 0.1):
        expected = functional.cross_entropy(logits, labels, label_smoothing=smooth)
        torch.testing.assert_close(identity_loss(logits, labels, ones * smooth, ones), expected)


def test_weight_of_generated_images() -> None:
    """A real image of loss 1 and a generated one of loss 3, in ln 2."""
    targets = Targets(torch.tensor([0, 2]), torch.tensor([False, True]))

    def loss(weight: float) -> float:
        settings = TrainSettings(generated_weight=weight)
        return reid_loss(torch.zeros(2, 2), LOGITS.repeat(2, 1), targets, settings).item() / LN2

    assert [loss(weight) for weight in (1.0, 0.5, 0.0)] == pytest.approx([2, (1 + 1.5) / 1.5, 1])


def test_smoothing_image_by_image() -> None:
    generated = torch.tensor([False, True])
    settings = TrainSettings(label_smoothing=0.1, generated_label="lsr", generated_smoothing=0.3)
    assert smoothing(generated, settings).tolist() == pytest.approx([0.1, 0.3])
    assert smoothing(generated, replace(settings, generated_label="lsro")).tolist() == pytest.approx([0.1, 1])


def test_triplets_by_hand() -> None:
    """On a line: identity 0 at 0 and 3, identity 1 at 1 and 7; margin 0.5."""
    features = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    labels, ones = torch.tensor([0, 0, 1, 1]), torch.ones(4)
    # Anchors: 3 - 1, 3 - 2, 6 - 1, 6 - 4, each + 0.5.
    assert triplet_loss(features, labels, ones, 0.5).item() == pytest.approx((2.5 + 1.5 + 5.5 + 2.5) / 4)
    weight = torch.tensor([1.0, 1.0, 0.5, 1.0])
    assert triplet_loss(features, labels, weight, 0.5).item() == pytest.approx((2.5 + 1.5 + 5.5 / 2 + 2.5) / 3.5)
    # Without the image at 1: identity 1 has no pair left, the others' nearest stranger is at 7.
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert triplet_loss(features, labels, weight, 2.0).item() == pytest.approx((0 + 3 + 2 - 4) / 2)


def test_triplets_that_cannot_be_formed_cost_nothing_and_copies_have_a_slope() -> None:
    features = torch.zeros(4, 2, requires_grad=True)
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3]):
        loss = triplet_loss(features * 1.0, torch.tensor(labels), torch.ones(4), 0.3)
        loss.backward()
        assert loss.item() == 0
    loss = triplet_loss(features * 1.0, torch.tensor([0, 0, 1, 1]), torch.ones(4), 0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.3, abs=1e-5)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_lsro_images_are_no_part_of_triplets() -> None:
    features = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    targets = Targets(torch.tensor([0, 0, 1, 1]), torch.tensor([False, False, True, False]))
    settings = TrainSettings(losses=("triplet",), triplet_margin=2.0)
    zeros = torch.zeros(4, 2)
    lsro = reid_loss(features, zeros, targets, replace(settings, generated_label="lsro")).item()
    assert lsro == pytest.approx(0.5)
    assert reid_loss(features, zeros, targets, settings).item() == pytest.approx((4 + 3 + 7 + 4) / 4)
    both = reid_loss(features, zeros, targets, replace(settings, losses=("id", "triplet"), triplet_weight=2.0))
    assert both.item() == pytest.approx(LN2 + 2 * 18 / 4, abs=1e-4)


def test_a_deck_deals_every_card_before_any_comes_again() -> None:
    deck = Deck([3, 5, 8], torch.Generator().manual_seed(0))
    drawn = torch.cat([deck.draw(2) for _ in range(6)]).reshape(4, 3)
    assert all(sorted(row) == [3, 5, 8] for row in drawn.tolist())


def test_a_fixed_share_of_every_batch() -> None:
    generated = np.arange(20) >= 12
    order = shared_batches(generated, Fraction(2), 8, torch.Generator().manual_seed(0))
    drawn = torch.stack(list(islice(order, 6)))
    assert [int(generated[row].sum()) for row in drawn.numpy()] == [2] * 6
    real = drawn[:, :6].reshape(3, 12)
    assert all(sorted(row) == list(range(12)) for row in real.tolist())


def people() -> tuple[np.ndarray, np.ndarray]:
    """Five identities: two with 3 real and 5 generated images, one with real images only, two small ones."""
    labels = np.array([0] * 8 + [1] * 8 + [2] * 6 + [3] * 3 + [4] * 2)
    generated = np.isin(np.arange(27), [3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 24])
    shuffled = np.random.default_rng(0).permutation(27)
    return labels[shuffled], generated[shuffled]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_batches_of_identities(share: float) -> None:
    labels, generated = people()
    order = pk_batches(labels, generated, 12, 4, Fraction(4 * share), torch.Generator().manual_seed(0))
    drawn = torch.stack(list(islice(order, 50))).numpy()
    for row in drawn:
        assert sorted(Counter(labels[row].tolist()).values()) == [4, 4, 4]
        for identity in set(labels[row]) & {0, 1, 3}:
            fake = int(generated[row[labels[row] == identity]].sum())
            assert fake == 2 if share else 0 <= fake <= 4
    seen = Counter(labels[drawn].reshape(-1).tolist())
    assert max(seen.values()) - min(seen.values()) <= 4 * 2  # balanced over identities, whatever their size
    for identity in range(5):
        own = Counter(drawn[labels[drawn] == identity].tolist())
        assert len(own) == (labels == identity).sum()
    if not share:
        own = Counter(drawn[labels[drawn] == 2].tolist())
        assert max(own.values()) - min(own.values()) <= 1


def test_settings_choose_the_batches() -> None:
    labels, generated = people()
    plain = TrainSettings(batch_size=12)

    def first(settings: TrainSettings, fake: np.ndarray = generated) -> list[int]:
        return next(make_batches(labels, fake, settings, torch.Generator().manual_seed(0))).tolist()

    assert sorted(Counter(labels[first(replace(plain, sampler="pk"))]).values()) == [4, 4, 4]
    assert generated[first(replace(plain, generated_share=0.5))].sum() == 6
    # Without generated images a share means nothing.
    assert first(replace(plain, generated_share=0.5), np.zeros(27, bool)) == first(plain)
    with pytest.raises(InputError, match=r"batches of 24 with 4 images an identity need 6 identities, .* has 5"):
        first(replace(plain, sampler="pk", batch_size=24))


@pytest.mark.parametrize("share", [0.0625, 0.125, 0.3, 0.5, 0.625, 0.99])
@pytest.mark.parametrize("sampler", ["pk", "shuffle"])
def test_any_share_is_kept_on_average(share: float, sampler: str) -> None:
    """Also one that no batch can hold: 0.125 of four images an identity is one image in every second identity."""
    labels = np.repeat(np.arange(6), 8)
    generated = np.tile(np.arange(8) % 2 == 1, 6)
    settings = TrainSettings(sampler=sampler, batch_size=8, images_per_id=4, generated_share=share)
    order = make_batches(labels, generated, settings, torch.Generator().manual_seed(3))
    drawn = [generated[next(order).numpy()] for _ in range(300)]
    counts = np.array([batch.sum() for batch in drawn])
    assert counts.mean() / 8 == pytest.approx(share, abs=0.003)
    people = 2 if sampler == "pk" else 1
    assert counts.max() - counts.min() <= people  # each holds the share rounded down or up
    if sampler == "pk":
        each = np.array([batch.reshape(2, 4).sum(1) for batch in drawn]).ravel()
        assert set(each) <= {int(4 * share), int(4 * share) + 1}
