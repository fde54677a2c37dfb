"""What images look like as signals, whoever is in them: contrast, blacks, colour edges, grain, spectrum.

For comparing drawn people with photographs. A figure is of one image; a set's is the mean over its images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from augment.synth.stream import UNSEEN_WORLD, PedestrianStream, StreamSettings
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError, progress

STATISTICS = {
    "contrast": "standard deviation of the luma of an image, grey levels",
    "black": "pixels whose luma is below 8, share",
    "white": "pixels whose luma is above 247, share",
    "saturation": "HSV saturation, mean, 0 to 1",
    "chroma": "mean gradient of Cb and Cr over that of luma",
    "gradient": "mean gradient of luma, grey levels a pixel",
    "flat": "median absolute Laplacian of luma in the calmer half of an image, grey levels",
    "band 16+": "spectrum: luma power at periods above 16 pixels, share",
    "band 8-16": "the same, periods of 8 to 16 pixels",
    "band 4-8": "the same, periods of 4 to 8 pixels",
    "band 2-4": "the same, periods below 4 pixels",
}
"""Name to what it is, with its unit, in the order of the table."""

_BATCH = 256
_LEAST_SIDE = 8
_BLACK, _WHITE = 8.0, 247.0
_EDGES = (1 / 16, 1 / 8, 1 / 4)  # cycles a pixel


def image_statistics(images: Tensor) -> Tensor:
    """The figures of `STATISTICS` for each image, in that order: float64 `[N, 11]`, on the CPU.

    Args:
        images: uint8 `[N, 3, H, W]`, RGB, at least 8 pixels a side. Every image is looked at as it lies: figures in
            pixels compare only between images of one size.
    """
    return torch.cat([_figures(part.float()).cpu().double() for part in images.split(_BATCH)])


def folder_statistics(folder: Path, count: int | None = None) -> Tensor:
    """As `image_statistics` of the images below a folder: all, or `count` of them evenly spread in order of name.

    Raises:
        InputError: it holds no images, or they differ in size or are too small.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = [path for path in paths if "masks" not in path.relative_to(folder).parts]
    if not paths:
        raise InputError(f"{folder} holds no images")
    if count is not None and count < len(paths):
        paths = [paths[i * len(paths) // count] for i in range(count)]
    sizes, figures = set(), []
    with progress("Measuring images", len(paths)) as bar:
        for start in range(0, len(paths), _BATCH):
            images = [read_image(path) for path in paths[start : start + _BATCH]]
            sizes |= {image.shape[:2] for image in images}
            if len(sizes) > 1 or min(*next(iter(sizes))) < _LEAST_SIDE:
                least = f"at least {_LEAST_SIDE} pixels a side"
                raise InputError(f"{folder}: images must be of one size, {least}, to compare")
            figures.append(image_statistics(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)))
            bar.advance(len(images))
    return torch.cat(figures)


def drawn_statistics(world: int, count: int = 512, device: torch.device | str = "cpu") -> Tensor:
    """As `image_statistics` of `count` drawn people whom no training meets, by a version of the drawn world."""
    settings = StreamSettings(UNSEEN_WORLD, -(-count // 4), 4, 64, world=world)
    stream = PedestrianStream(settings, device)
    return image_statistics(stream.renderer.render(*(row[:count] for row in stream.schedule(0))).image)


def statistics_table(sets: Mapping[str, Tensor]) -> str:
    """Markdown: a row a figure, a column a set, mean and standard deviation over its images."""
    head = ["", *(f"{name} ({len(figures)})" for name, figures in sets.items()), "what"]
    lines = [head, ["---"] * len(head)]
    for i, (name, meaning) in enumerate(STATISTICS.items()):
        lines.append([name, *(_cell(figures[:, i]) for figures in sets.values()), meaning])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(values: Tensor) -> str:
    digits = 1 if float(values.mean()) >= 2 else 3
    return f"{float(values.mean()):.{digits}f} ± {float(values.std(correction=0)):.{digits}f}"


def summaries(sets: Mapping[str, Tensor]) -> dict[str, dict[str, dict[str, float]]]:
    """The same as plain values: set, figure, its `mean` and `sd`; `images` is how many a set has."""
    return {
        name: {figure: {"mean": float(values[:, i].mean()), "sd": float(values[:, i].std(correction=0))}
               for i, figure in enumerate(STATISTICS)} | {"images": {"count": len(values)}}
        for name, values in sets.items()
    }  # fmt: skip


def compared(folders: Sequence[Path], worlds: Sequence[int], count: int | None = None) -> dict[str, Tensor]:
    """Figures of folders and of versions of the drawn world, by name; `count` images at most of each."""
    found = {str(folder.name or folder): folder_statistics(folder, count) for folder in folders}
    return found | {f"world {world}": drawn_statistics(world, count or 512) for world in worlds}


def _figures(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    high, low = rgb.amax(1), rgb.amin(1)
    edges = _gradient(luma)
    colour_edges = (_gradient(0.564 * (blue - luma)) + _gradient(0.713 * (red - luma))) / 2
    steep = edges.mean((1, 2))
    figures = [
        luma.flatten(1).std(1, correction=0),
        (luma < _BLACK).float().mean((1, 2)),
        (luma > _WHITE).float().mean((1, 2)),
        ((high - low) / high.clamp_min(1.0)).mean((1, 2)),
        colour_edges.mean((1, 2)) / steep.clamp_min(1e-6),
        steep,
        _flat(luma, edges),
    ]
    return torch.cat([torch.stack(figures, 1), _bands(luma)], 1)


def _gradient(plane: Tensor) -> Tensor:
    """Central differences: `[N, H - 2, W - 2]` magnitudes."""
    across = (plane[:, 1:-1, 2:] - plane[:, 1:-1, :-2]) / 2
    down = (plane[:, 2:, 1:-1] - plane[:, :-2, 1:-1]) / 2
    return (across.square() + down.square()).sqrt()


def _flat(luma: Tensor, edges: Tensor) -> Tensor:
    """Median absolute Laplacian where the gradient, averaged over 5 x 5 pixels, is below its median in the image."""
    around = luma[:, 1:-1, 2:] + luma[:, 1:-1, :-2] + luma[:, 2:, 1:-1] + luma[:, :-2, 1:-1]
    laplacian = (around - 4 * luma[:, 1:-1, 1:-1]).abs().flatten(1)
    calm = F.avg_pool2d(edges[:, None], 5, stride=1, padding=2, count_include_pad=False)[:, 0].flatten(1)
    inside = calm <= calm.median(1, keepdim=True).values
    return laplacian.masked_fill(~inside, torch.nan).nanmedian(1).values


def _bands(luma: Tensor) -> Tensor:
    """Shares of the power without the mean, `[N, 4]`, coarse to fine; 0 for an image of one colour."""
    height, width = luma.shape[1:]
    window = torch.hann_window(height, device=luma.device)[:, None] * torch.hann_window(width, device=luma.device)
    mean = (luma * window).sum((1, 2), keepdim=True) / window.sum()
    power = torch.fft.fft2((luma - mean) * window).abs().square()
    down, across = (torch.fft.fftfreq(n, device=luma.device) for n in (height, width))
    frequency = (down[:, None].square() + across.square()).sqrt()
    limits = (0.0, *_EDGES, 1.0)
    parts = [power[:, (frequency >= a) & (frequency < b)].sum(1) for a, b in pairwise(limits)]
    total = torch.stack(parts, 1)
    return total / total.sum(1, keepdim=True).clamp_min(1e-6)
