"""The generators of a table's rows: what they are, for keys and leaks, and the networks themselves. Nothing else here
knows weights files from other people's code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.generators.base import PoseGenerator
from augment.generators.open import ENTRY, generator_sha256, is_code, open_generator
from augment.generators.patn.load import trained_for
from augment.generators.weights import read_weights
from augment.table.leaks import History, described_history, weights_history


@dataclass(frozen=True)
class RowGenerator:
    """A generator without its network.

    Attributes:
        spec: what `open_generator` takes.
        sha256: what tells it from others, in keys and manifests.
        size: (H, W) of its images in pixels.
        sigma: of its pose maps in pixels; None if it takes joints.
        history: what its training saw.
        code: whether `spec` may be code to import.
    """

    spec: str
    sha256: str
    size: tuple[int, int]
    sigma: float | None
    history: History
    code: bool = False

    def open(self, device: str) -> PoseGenerator:
        """The generator itself."""
        return open_generator(self.spec, device, allow_code=self.code)


def row_generator(spec: str, device: str, code: bool) -> RowGenerator:
    """Look at a generator. Weights are read, not built; anything else is opened and asked.

    Args:
        spec: see `augment.generators.open`.
        device: where it will work.
        code: whether `spec` may be code to import: only if no file named it.

    Raises:
        InputError: as `open_generator`.
    """
    if spec.startswith(ENTRY) or is_code(spec):
        generator = open_generator(spec, device, allow_code=code)
        size, history = generator.size, described_history(generator.describe())
        return RowGenerator(spec, generator_sha256(generator), size, generator.sigma, history, code)
    file = read_weights(spec)
    size, sigma = trained_for(file)
    path = Path(spec) if Path(spec).suffix == ".safetensors" else None
    return RowGenerator(spec, file.sha256, size, sigma, weights_history(file, Path(spec).name, path))
