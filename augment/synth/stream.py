"""The renderer as an endless training stream: generations of people nobody has seen, as tensors on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.synth.draws import hashed_uniforms
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from augment.synth.world import NEWEST, world_of
from reid_eval.runtime import InputError, progress

# Identities of data sets start at 1; the stream's start here, so that training never meets a data set's people.
STREAM_FIRST_PID = 1_000_000
PAIRINGS = ("identity", "camera")


@dataclass(frozen=True)
class StreamSettings:
    """What the stream draws.

    Attributes:
        seed: the world; cameras, scenes and people follow from it.
        identities: people in one generation.
        images_per_id: images of each of them, spread over two to four cameras.
        cameras: cameras, hence scenes, of the world.
        walk_images: images of one walk of a person past a camera, then another walk; 1 makes every view direction new.
        pairing: `identity` pairs any two images of a person (the paper's); `camera` only those of one camera, so that
            the photo tells the target's background, light and colours, as it has to when a data set is augmented.
        size: (height, width) in pixels.
        world: version of how everything is drawn; see `augment.synth.world`.
    """

    seed: int = 0
    identities: int = 512
    images_per_id: int = 8
    cameras: int = 64
    size: tuple[int, int] = (128, 64)
    walk_images: int = 3
    pairing: str = "identity"
    world: int = NEWEST

    def __post_init__(self) -> None:
        world_of(self.world)
        if self.pairing not in PAIRINGS:
            raise InputError(f"pairing must be one of {', '.join(PAIRINGS)}, got {self.pairing!r}")
        if self.pairing == "camera" and self.images_per_id < 8:
            raise InputError(f"pairing camera needs images_per_id of at least 8, got {self.images_per_id}")


class PedestrianStream:
    """Generation g of the stream is a pure function of (settings, g): resuming needs no state but g."""

    def __init__(self, settings: StreamSettings, device: torch.device | str = "cpu") -> None:
        self.settings = settings
        self.renderer = PedestrianRenderer(
            settings.seed, settings.size, cameras=settings.cameras, device=device, world=settings.world
        )

    def schedule(self, generation: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(pids, camids, seqs, frames), int64 `[identities * images_per_id]`, grouped by identity."""
        return self.rows(self.settings, generation)

    @staticmethod
    def rows(settings: StreamSettings, generation: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `schedule`, for any settings."""
        count, each = settings.identities, settings.images_per_id
        first = STREAM_FIRST_PID + generation * count
        pids = torch.arange(first, first + count, dtype=torch.int64)
        draws = hashed_uniforms(settings.seed, "stream schedule", (pids,), 6 + 2 * each)
        share = 2 + (draws[:, 0] * 3).to(torch.int64)  # cameras that see this person
        rank = torch.arange(each)
        which = rank[None, :] % share[:, None]
        places = (draws[:, 1:6] * settings.cameras).to(torch.int64) + 1
        camids = places.gather(1, which)
        seqs = (rank[None, :] // share[:, None]) // settings.walk_images
        frames = (draws[:, 6 : 6 + each] * 30).to(torch.int64)
        return pids.repeat_interleave(each), camids.flatten(), seqs.flatten(), frames.flatten()

    def generation(self, number: int, *, quiet: bool = False) -> Rendered:
        """Draw generation `number` (0, 1, 2, ...)."""
        rows = self.schedule(number)
        step = max(self.renderer.chunk, 256)
        pieces = []
        if quiet:
            return self.renderer.render(*rows)
        with progress(f"Rendering people, generation {number}", len(rows[0])) as bar:
            for start in range(0, len(rows[0]), step):
                pieces.append(self.renderer.render(*(row[start : start + step] for row in rows)))
                bar.advance(len(pieces[-1].pids))
        return Rendered(*(torch.cat(column) for column in zip(*pieces, strict=True)))


# Worlds of this seed are for measuring only: no recipe that ships trains on it.
UNSEEN_WORLD = 777
