"""See it think: one transfer with the mask of every block, as figure 6 of Zhu et al., CVPR 2019, shows it.

A block's mask says where the image code changes and where it is kept (section 3.1.2, equation 3). It has as many
channels as the code; what is shown is their mean.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from augment.generators.base import PoseGenerator, as_pose, run_generator
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.pictures import colour_bar, grid, save_sheet
from augment.pose.draw import skeleton_image
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints, find_annotations, load_annotations
from augment.pose.skeleton import usable
from reid_eval.datasets import load_images
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError
from reid_eval.transforms import to_float, to_pictures

Picture = NDArray[np.uint8]
_SCALE = 2


def joints_of(image: Path, keypoints: Path | None, size: tuple[int, int]) -> NDArray[np.float32]:
    """An image's joints at `size` (H, W), `[18, 2]` (x, y) pixels: from `keypoints`, or from its data set's own files.

    A data set's files lie in the image's folder or in one of the two above it.

    Raises:
        InputError: no such image or row, or a shoulder or hip is missing.
    """
    old = image_size(image)
    folders = [image.parent, *list(image.resolve().parents)[1:3]]
    root = next((folder for folder in folders if find_annotations(folder)), None)
    if keypoints is None and root is None:
        raise InputError(
            f"{image}: its data set has no keypoints file: name one, or make it with `patn-augment poses` and the data "
            "set's folder",
            "keypoints",
        )
    table = load_annotations(root or image.parent, keypoints)
    row = _row_of(table, image)
    if row < 0:
        raise InputError(f"{image.name} has no row in {keypoints or root}: name a keypoints file that has one")
    xy = scale_joints(table.xy[row], old, size)
    if not usable(xy[None])[0]:
        raise InputError(f"{image.name}: a shoulder or hip is missing in its keypoints: choose another image")
    return xy


def _row_of(table: Keypoints, image: Path) -> int:
    """An image's row, -1 without one: rows carry file names, or paths in the data set where file names repeat."""
    parts = image.resolve().parts
    tails = ("/".join(parts[start:]) for start in range(1, len(parts)))
    return next((table.index[tail] for tail in tails if tail in table.index), -1)


@torch.no_grad()
def explain(
    generator: PoseGenerator, image: Picture, condition: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[Picture, list[NDArray[np.float32]]]:
    """Transfer one image and keep the masks.

    Args:
        generator: PATN; any other has no masks.
        image: uint8 `[H, W, 3]`, RGB, at the generator's size.
        condition: its joints `[18, 2]`, (x, y) pixels, NaN missing.
        target: the joints to draw it in, likewise.

    Returns:
        The image in the target pose, uint8 `[H, W, 3]`; each block's mask, its mean over channels, float32
        `[H/4, W/4]` in (0, 1), the first block first, none but of PATN.
    """
    before, after = (torch.from_numpy(xy)[None].to(generator.device) for xy in (condition, target))
    pixels = to_float(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(generator.device))
    if not isinstance(generator, PATNTransfer):
        return to_pictures(run_generator(generator, pixels, before, after))[0], []
    made, masks = generator.attention(pixels, as_pose(generator, before), as_pose(generator, after))
    return to_pictures(made)[0], [mask[0].mean(0).cpu().numpy() for mask in masks]


def heat(mask: NDArray[np.float32], low: float, high: float, size: tuple[int, int]) -> Picture:
    """A mask as colours, blue at `low` to red at `high`, enlarged to `size` (H, W): uint8 `[H, W, 3]`."""
    grey = np.clip((mask - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    large = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def explain_sheet(
    generator: PoseGenerator,
    image: Path,
    pose: Path,
    png: Path,
    *,
    keypoints: Path | None = None,
) -> list[NDArray[np.float32]]:
    """Picture of one transfer: condition, its pose, target pose, the mask of each block, result, pose donor.

    Without PATN there are no masks. All masks share one scale, from the lowest to the highest value in any of them; a
    second row tells each mask's own range.

    Raises:
        InputError: an image or its joints can't be read.
    """
    size = generator.size
    condition, target = (joints_of(path, keypoints, size) for path in (image, pose))
    photo, other = (
        np.asarray(load_images(path.parent, [path.name], size)[0].transpose(1, 2, 0)) for path in (image, pose)
    )
    made, masks = explain(generator, photo, condition, target)
    low, high = (min(float(m.min()) for m in masks), max(float(m.max()) for m in masks)) if masks else (0.0, 1.0)
    cells = [
        ("condition", photo),
        ("its pose", skeleton_image(condition, size)),
        ("target pose", skeleton_image(target, size)),
        *((f"mask {n}\n{m.min():.2f}-{m.max():.2f}", heat(m, low, high, size)) for n, m in enumerate(masks, 1)),
        ("generated", made),
        ("pose donor", other),
    ]
    large = [(name, picture.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)) for name, picture in cells]
    if masks:
        large.insert(3 + len(masks), ("scale of the masks", _scale_of(low, high, size[0] * _SCALE)))
    sheet = grid([[picture for _, picture in large]], column_captions=[name for name, _ in large], scale=1)
    save_sheet(sheet, png)
    return masks


def _scale_of(low: float, high: float, height: int) -> Picture:
    """Which colour is which value: the highest at the top."""
    values = np.linspace(high, low, height, dtype=np.float32)[:, None]
    return colour_bar(heat(values, low, high, (height, 1))[:, 0], f"{high:.2f} changed", f"{low:.2f} kept", 128)
