"""How images are made and written."""

from __future__ import annotations

from dataclasses import dataclass

from reid_eval.runtime import InputError

PRECISIONS = ("float32", "bf16")
CHUNK = 8
"""Images that a network sees at once on a CPU, whatever the batch size."""


@dataclass(frozen=True)
class RenderSettings:
    """How to render.

    Attributes:
        precision: `float32`, or `bf16`: three to five times faster on CPUs with AMX, but less exact.
        jpeg_quality: 1 to 100.
        batch_size: images a step. On a GPU the network sees so many at once, so the last bits of a number depend on
            it, and the manifest names it. On a CPU it sees `CHUNK` at a time, and no byte depends on this number.

    Raises:
        InputError: one of them is out of its range.
    """

    precision: str = "float32"
    jpeg_quality: int = 95
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size {self.batch_size}: expected 1 or more", "batch_size")
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"jpeg_quality {self.jpeg_quality}: expected 1 to 100", "quality")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision {self.precision!r}: choose from {', '.join(PRECISIONS)}", "precision")

    def chunk(self, device: str) -> int:
        """How many images a network sees at once on a kind of device, such as `cpu` or `cuda`."""
        return CHUNK if device == "cpu" else self.batch_size
