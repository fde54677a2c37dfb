"""Which images make up a batch: shuffled passes, or P identities with K images each; real apart from generated.

All draws come from one CPU generator, so a seed gives the same batches on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Deck:
    """Cards dealt in shuffled passes joined end to end: none comes again before all others have come."""

    def __init__(self, cards: Sequence[int] | NDArray[np.int64] | Tensor, generator: torch.Generator) -> None:
        self.cards, self.generator = torch.as_tensor(cards), generator
        self.left = self.cards[:0]

    def draw(self, count: int) -> Tensor:
        """The next `count` cards, int64 [count]."""
        while len(self.left) < count:
            order = torch.randperm(len(self.cards), generator=self.generator)
            self.left = torch.cat([self.left, self.cards[order]])
        drawn, self.left = self.left[:count], self.left[count:]
        return drawn


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless int64 [size] batches: shuffled passes over 0..count-1 joined end to end, so every batch is full."""
    deck = Deck(range(count), generator)
    while True:
        yield deck.draw(size)


class Dither:
    """Whole numbers whose mean is a given share: each is it rounded up or down, and no run of them is off by one.

    Args:
        share: what they are on average, exact.
        generator: where the first stands in the pattern is drawn from it, unless the share is a whole number.
    """

    def __init__(self, share: Fraction, generator: torch.Generator) -> None:
        self.top, self.bottom = share.numerator, share.denominator
        self.rest = 0 if self.bottom == 1 else int(torch.randint(self.bottom, (), generator=generator))

    def next(self) -> int:
        """The next number."""
        whole, self.rest = divmod(self.rest + self.top, self.bottom)
        return whole


def shared_batches(
    generated: NDArray[np.bool_], share: Fraction, size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Endless batches of which `share` images are generated on average; each kind has its own shuffled passes.

    Args:
        generated: bool [N].
        share: of a batch's images, 0..size; see `Dither`.
        size: of a batch.
        generator: on the CPU.
    """
    dither = Dither(share, generator)
    decks = _both(range(len(generated)), generated, generator)
    while True:
        fake = dither.next()
        yield torch.cat([decks[False].draw(size - fake), decks[True].draw(fake)])


def pk_batches(
    labels: NDArray[np.int64],
    generated: NDArray[np.bool_],
    size: int,
    images_per_id: int,
    share: Fraction,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """Endless batches of size / K different identities with K images each, for the triplet loss.

    Identities come in shuffled passes, and so do the images of each. With a `share`, so many of an identity's K are
    generated on average, for as many identities as have both kinds; without, they come as they are mixed.

    Args:
        labels: int64 [N].
        generated: bool [N].
        size: of a batch, a multiple of `images_per_id`.
        images_per_id: K. An identity with fewer images gives some of them twice.
        share: of an identity's images, 0..K, 0 for free; see `Dither`.
        generator: on the CPU.

    Raises:
        InputError: there are fewer than size / K identities.
    """
    groups = _groups(labels)
    people = size // images_per_id
    if len(groups) < people:
        raise InputError(
            f"sampler pk: batches of {size} with {images_per_id} images an identity need {people} identities, "
            f"the training set has {len(groups)}: lower batch_size"
        )
    dither = Dither(share, generator)
    identities = Deck(range(len(groups)), generator)
    mixed = [Deck(group, generator) for group in groups]
    apart = [_both(group.tolist(), generated, generator) for group in groups]

    def images(identity: int) -> Tensor:
        decks = apart[identity]
        if not share or not (len(decks[True].cards) and len(decks[False].cards)):
            return mixed[identity].draw(images_per_id)
        fake = dither.next()
        return torch.cat([decks[False].draw(images_per_id - fake), decks[True].draw(fake)])

    while True:
        yield torch.cat([images(identity) for identity in _distinct(identities, people)])


def make_batches(
    labels: NDArray[np.int64], generated: NDArray[np.bool_], settings: TrainSettings, generator: torch.Generator
) -> Iterator[Tensor]:
    """The batches that `settings` ask for: endless int64 [batch_size].

    Raises:
        InputError: as in `pk_batches`.
    """
    each = settings.images_per_id if settings.sampler == "pk" else settings.batch_size
    share = settings.share_per(each) if generated.any() else Fraction(0)
    if settings.sampler == "pk":
        return pk_batches(labels, generated, settings.batch_size, settings.images_per_id, share, generator)
    if share and not generated.all():
        return shared_batches(generated, share, settings.batch_size, generator)
    return batches(len(labels), settings.batch_size, generator)


def _groups(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of every identity's images, by label."""
    import numpy as np

    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    return np.split(order, starts[1:])


def _both(cards: Sequence[int], generated: NDArray[np.bool_], generator: torch.Generator) -> dict[bool, Deck]:
    """Decks of the real and of the generated images among `cards`."""
    return {
        kind: Deck(torch.tensor([card for card in cards if generated[card] == kind], dtype=torch.int64), generator)
        for kind in (False, True)
    }


def _distinct(deck: Deck, count: int) -> list[int]:
    """`count` different cards; one that comes twice, where two passes join, is put under the next."""
    found: list[int] = []
    late: list[int] = []
    while len(found) < count:
        [card] = deck.draw(1).tolist()
        (late if card in found else found).append(card)
    deck.left = torch.cat([torch.tensor(late, dtype=torch.int64), deck.left])
    return found
