"""Images to features, features to distances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from reid_eval.backbones import ReidNet
from reid_eval.datasets.images import images_ahead
from reid_eval.helping import helping_threads
from reid_eval.precision import autocast, resolve_amp
from reid_eval.runtime import InputError, progress
from reid_eval.transforms import resized, to_float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESIZE_BLOCK = 1024
"""Images resized at a time."""


@torch.inference_mode()
def extract_features(
    model: ReidNet,
    images: NDArray[np.uint8] | Tensor | Sequence[Path | str],
    *,
    batch_size: int = 128,
    flip: bool | None = None,
    amp: str = "auto",
) -> NDArray[np.float32]:
    """Features of any images by a re-ID network, at its own size and normalisation, L2-normalised: float32 [N, D].

    Args:
        model: as `load_model` or `train` give it; its device is used, its mode stays as it was.
        images: uint8 [N, 3, H, W], RGB, or paths of image files, which are read a block at a time. Those of another
            size than the model's are resized (bicubic, anti-aliased).
        batch_size: images a pass.
        flip: average with the features of the mirrored image before normalising; None: as the model was trained to be
            evaluated, and yes if it does not say.
        amp: `auto` (bfloat16 where the device computes it fast), `bf16` or `off`.

    Raises:
        InputError: images of another kind or shape, or a file that cannot be read.
    """
    was_training, device = model.training, model.mean.device
    amp = resolve_amp(amp, device, model.size)
    if flip is None:
        flip = model.settings.eval_flip if model.settings is not None else True
    try:
        if isinstance(images, (np.ndarray, Tensor)):
            stack = _resized(torch.as_tensor(images), model.size)
            return extract(model, stack, batch_size=batch_size, flip=flip, amp=amp)
        paths = [str(Path(path).expanduser().absolute()) for path in images]
        return extract_files(model, Path("/"), paths, model.size, batch_size=batch_size, flip=flip, amp=amp)
    finally:
        model.train(was_training)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images uint8 [N, 3, H, W] at `size`.

    Raises:
        InputError: another kind or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"images are {str(images.dtype).removeprefix('torch.')} {list(images.shape)}, expected uint8 [N, 3, H, W]"
        )
    if tuple(images.shape[2:]) == size or not len(images):
        return images
    return torch.cat([resized(block, size).to(torch.uint8) for block in images.split(RESIZE_BLOCK)])


@torch.inference_mode()
def extract(
    model: ReidNet, images: NDArray[np.uint8] | Tensor, *, batch_size: int = 128, flip: bool = True, amp: str = "off"
) -> NDArray[np.float32]:
    """Features of images in memory, L2-normalised: float32 [N, D].

    Args:
        model: put into evaluation mode; its device is used. Its `size` is not looked at.
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
    """Features of image files, float32 [N, D] in the order of `paths`; see `extract` and `load_images`.

    A few batches are read while the network looks at one, so a test set of any size fits.
    """
    found = [np.empty((0, model.width), np.float32)]
    with progress("Extracting features", len(paths)) as bar, helping_threads(model.mean.device) as pool:
        for block in images_ahead(root, paths, size, batch_size, pool):
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
