"""What a report is asked to be."""

from __future__ import annotations

from dataclasses import dataclass

MOST_IMAGES = 10_000


@dataclass(frozen=True)
class Settings:
    """How a page is made.

    Attributes:
        images: generated images to show at most; more are sampled, and the page says so.
        measure: take figures of an augmented folder, and judge images that no gate has seen. Takes a while.
        device: where that computes.
        seed: of what is sampled.
    """

    images: int = MOST_IMAGES
    measure: bool = True
    device: str = "auto"
    seed: int = 0
