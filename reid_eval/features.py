"""Images to features, features to distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from reid_eval.backbones import ReidNet
from reid_eval.datasets import load_images
from reid_eval.precision import autocast
from reid_eval.runtime import InputError, progress
from reid_eval.transforms import to_float

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

READ_BLOCK = 1024
"""Images read at a time: a test set of any size fits."""


@torch.inference_mode()
def extract(
    model: ReidNet, images: NDArray[np.uint8] | Tensor, *, batch_size: int = 128, flip: bool = True, amp: str = "off"
) -> NDArray[np.float32]:
    """Features of images in memory, L2-normalised: float32 [N, D].

    Args:
        model: put into evaluation mode; its device is used.
        images: uint8 [N, 3, H, W], RGB.
        batch_size: images a pass.
        flip: average with the features of the mirrored image before normalising.
        amp: `bf16` or `off`.
    """
    model.eval()
    device = model.mean.device
    found = [torch.empty(0, model.width)]
    for start in range(0, len(images), batch_size):
        block = torch.as_tensor(images[start : start + batch_size])
        batch = to_float(block.to(device)).contiguous(memory_format=torch.channels_last)
        with autocast(amp, device):
            features = model.embed(batch).float()
            if flip:
                features = features + model.embed(batch.flip(3)).float()
        found.append(torch.nn.functional.normalize(features).cpu())
    return torch.cat(found).numpy()


def extract_files(
    model: ReidNet,
    root: Path,
    paths: Sequence[str],
    size: tuple[int, int],
    *,
    batch_size: int = 128,
    flip: bool = True,
    amp: str = "off",
) -> NDArray[np.float32]:
    """Features of image files, float32 [N, D] in the order of `paths`; see `extract` and `load_images`."""
    found = [np.empty((0, model.width), np.float32)]
    with progress("Extracting features", len(paths)) as bar:
        for start in range(0, len(paths), READ_BLOCK):
            block = load_images(root, paths[start : start + READ_BLOCK], size)
            found.append(extract(model, block, batch_size=batch_size, flip=flip, amp=amp))
            bar.advance(len(block))
    return np.concatenate(found)


def distances(
    query: NDArray[np.float32], gallery: NDArray[np.float32], metric: str = "cosine", chunk: int = 1024
) -> NDArray[np.float32]:
    """Distances float32 [Q, G] of features [Q, D] and [G, D], `chunk` queries at a time.

    `cosine` is 1 - cosine, 0..2; `euclidean` is the length of the difference. On normalised features both rank alike.

    Raises:
        InputError: unknown metric, or features of different width.
    """
    check_features(query, gallery, metric)
    if metric == "cosine":
        query, gallery = _normalised(query), _normalised(gallery)
    table = np.empty((len(query), len(gallery)), np.float32)
    for start in range(0, len(query), chunk):
        block = query[start : start + chunk]
        products = block @ gallery.T
        if metric == "cosine":
            table[start : start + chunk] = 1 - products
        else:
            squares = (block**2).sum(1)[:, None] + (gallery**2).sum(1) - 2 * products
            table[start : start + chunk] = np.sqrt(np.maximum(squares, 0))
    return table


def check_features(query: NDArray[np.float32] | Tensor, gallery: NDArray[np.float32] | Tensor, metric: str) -> None:
    """Check that features can be compared.

    Raises:
        InputError: unknown metric, or features of different width.
    """
    if metric not in ("cosine", "euclidean"):
        raise InputError(f"distance {metric!r}: choose from cosine, euclidean")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"query features have width {query.shape[1]}, gallery features {gallery.shape[1]}")


def _normalised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)
