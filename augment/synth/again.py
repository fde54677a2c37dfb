"""The people of a drawn data set once more: in other poses, truly rendered, or without their background.

What a pose generator is asked to make of a photo can be drawn here: the same person, clothes, bag, place, light and
camera in the pose asked for. That bounds what a generator can do, which must guess what the photo hides, and is what a
study of its worth compares with.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from augment.synth.dataset import Shot, SynthSettings, encode_jpeg, jpeg_qualities, plan_shots, read_settings
from augment.synth.gait_poses import gait_postures
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError, first_five

NEUTRAL = (124, 116, 104)
"""RGB of what is masked out: ImageNet's mean, near zero after the normalisation that re-ID networks use."""


def drawn_in_poses(
    settings: SynthSettings, names: Sequence[str], poses: Sequence[str], device: torch.device | str = "cpu"
) -> Tensor:
    """People of a drawn data set, truly rendered in poses of the library that ships: uint8 `[N, V, 3, H, W]`, RGB.

    Person, clothes, bag, place, light and camera (blur, exposure, colours, noise) are those of the photo; nothing
    stands in front, and the frame is the library's: the joints lie on the library's, but for the body's breadth.
    No file's compression, only what the world's recorder does. An image depends on its name and pose alone, not on
    what else is drawn.

    Args:
        settings: of the data set; see `augment.synth.dataset.read_settings`.
        names: N of its images, such as `0001_c1s1_000051_00.jpg`.
        poses: V rows of the library, such as `stand/view150@128x64`.
        device: where to draw.

    Raises:
        InputError: a name that the data set does not have, or a pose that the library does not have.
    """
    if not (names and poses):
        _shots(settings, names), gait_postures(poses)
        return torch.empty(len(names), len(poses), 3, *settings.size, dtype=torch.uint8)
    image = render_in_poses(settings, names, poses, device).image.cpu()
    return image.view(len(names), len(poses), *image.shape[1:])


def render_in_poses(
    settings: SynthSettings, names: Sequence[str], poses: Sequence[str], device: torch.device | str = "cpu"
) -> Rendered:
    """As `drawn_in_poses`, with masks and joints: `N * V` images, all poses of the first name first."""
    rows = _rows(_shots(settings, names))
    posture = gait_postures(poses)
    which = torch.arange(len(poses)).repeat(len(names))
    each = [row.repeat_interleave(len(poses)) for row in rows]
    return _renderer(settings, device).render(*each, posture=posture.each(lambda value: value[which]))


def drawn_in_pose_of(
    settings: SynthSettings, names: Sequence[str], others: Sequence[str], device: torch.device | str = "cpu"
) -> Tensor:
    """People of a drawn data set, truly rendered in the poses of other images of it: uint8 `[N, 3, H, W]`, RGB.

    The person of `names[i]` in the motion, view and box of `others[i]`, the box scaled with the body, so that the
    joints lie on the other image's, but for the body's breadth. The rest is as in `drawn_in_poses`.

    Raises:
        InputError: a name that the data set does not have, or not as many `others` as `names`.
    """
    if not names and not others:
        return torch.empty(0, 3, *settings.size, dtype=torch.uint8)
    return render_in_pose_of(settings, names, others, device).image.cpu()


def render_in_pose_of(
    settings: SynthSettings, names: Sequence[str], others: Sequence[str], device: torch.device | str = "cpu"
) -> Rendered:
    """As `drawn_in_pose_of`, with masks and joints."""
    if len(names) != len(others):
        raise InputError(f"{len(names)} images, but {len(others)} whose poses they shall take", "others")
    renderer = _renderer(settings, device)
    posture = renderer.posture(*_rows(_shots(settings, others)))
    return renderer.render(*_rows(_shots(settings, names)), posture=posture)


def photos_of_shots(
    settings: SynthSettings, shots: Sequence[Shot], device: torch.device | str = "cpu"
) -> tuple[NDArray[np.uint8], list[int]]:
    """Photos of a drawn world, as its data set has them or would have: uint8 `[N, 3, H, W]`, RGB, before the file's
    compression, and the JPEG quality of each.

    Args:
        settings: of the data set.
        shots: N, of `augment.synth.dataset.plan_shots` or `further_shots`.
        device: where to draw.
    """
    settings.check()
    if not shots:
        return np.empty((0, 3, *settings.size), np.uint8), []
    renderer = _renderer(settings, device)
    drawn = renderer.render(*_rows(list(shots)))
    return drawn.image.cpu().numpy(), jpeg_qualities(renderer, drawn)


def masked_photos(
    data: SynthSettings | Path | str, names: Sequence[str], device: torch.device | str = "cpu"
) -> NDArray[np.uint8]:
    """Photos of a drawn data set with all but the visible person in `NEUTRAL`: uint8 `[N, 3, H, W]`, RGB.

    Args:
        data: the data set's folder, whose files are read; or its settings, then the photos are drawn and compressed as
            the data set's are.
        names: N of its images.
        device: where to draw.

    Raises:
        InputError: no drawn data set, a name that it does not have, or a file that is not there or was changed in size.
    """
    settings = data if isinstance(data, SynthSettings) else read_settings(data)
    shots = _shots(settings, names)
    if not shots:
        return np.empty((0, 3, *settings.size), np.uint8)
    renderer = _renderer(settings, device)
    drawn = renderer.render(*_rows(shots))
    if isinstance(data, SynthSettings):
        qualities = jpeg_qualities(renderer, drawn)
        photos = np.stack([_compressed(*one) for one in zip(drawn.image.cpu().numpy(), qualities, strict=True)])
    else:
        photos = np.stack([_photo(Path(data) / shot.split / shot.name, settings.size) for shot in shots])
    mask = drawn.mask.cpu().numpy()[:, None]
    return np.where(mask, photos, np.array(NEUTRAL, np.uint8)[None, :, None, None])


def _photo(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    image = read_image(path)
    if image.shape[:2] != tuple(size):
        found, drawn = (f"{height}x{width}" for height, width in (image.shape[:2], size))
        raise InputError(f"{path} is {found}, was drawn as {drawn}: draw the data set again", "root")
    return image.transpose(2, 0, 1)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(encode_jpeg(image, quality))) as file:
        return np.asarray(file, np.uint8).transpose(2, 0, 1)


def _shots(settings: SynthSettings, names: Sequence[str]) -> list[Shot]:
    settings.check()
    known = {shot.name: shot for shot in plan_shots(settings)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(names)} images are not in the data set that is drawn with these settings, "
            f"such as {first_five(unknown)}",
            "names",
        )
    return [known[name] for name in names]


def _rows(shots: list[Shot]) -> list[Tensor]:
    """The numbers that determine the pictures: pids, camids, seqs, frames."""
    return [torch.tensor([getattr(shot, key) for shot in shots]) for key in ("pid", "camid", "seq", "frame")]


def _renderer(settings: SynthSettings, device: torch.device | str) -> PedestrianRenderer:
    return _renderer_of(settings.seed, tuple(settings.size), settings.cameras, str(device), settings.world)


@lru_cache(maxsize=1)
def _renderer_of(seed: int, size: tuple[int, int], cameras: int, device: str, world: int) -> PedestrianRenderer:
    """The last one is kept: its scenes take as long to paint as a hundred people."""
    return PedestrianRenderer(seed, size, cameras=cameras, device=device, world=world)
