"""From heat maps to coordinates and back: the target of the training, and what is read off at the end."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.estimators.posenet.network import STRIDE
from augment.pose.skeleton import MIRROR

_REACH = 3  # cells around the peak that the sub-pixel position is averaged over


def cell_centres(count: int, device: torch.device | str) -> Tensor:
    """Where the centres of `count` cells lie along one axis, in pixels of the image (pixel centres at integers)."""
    return torch.arange(count, device=device) * STRIDE + (STRIDE - 1) / 2


def target_maps(xy: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Probabilities to train towards: a Gaussian around each joint, summing to 1 over the cells.

    Args:
        xy: float `[B, 18, 2]`, (x, y) pixels; NaN gives a map of zeros.
        size: (rows, columns) of cells.
        sigma: in pixels of the image.

    Returns:
        `[B, 18, rows, columns]`.
    """
    missing = xy.isnan().any(-1)
    x, y = xy.nan_to_num(0.0).unbind(-1)
    along_y, along_x = (
        torch.softmax(-((cell_centres(n, xy.device) - centre[..., None]) ** 2) / (2 * sigma**2), dim=-1)
        for n, centre in ((size[0], y), (size[1], x))
    )
    return (along_y[..., :, None] * along_x[..., None, :]).masked_fill(missing[..., None, None], 0.0)


def decode(maps: Tensor, reach: int = _REACH) -> tuple[Tensor, Tensor]:
    """Read positions off heat maps: the peak, made finer by the mean of the cells around it.

    Args:
        maps: float `[B, 18, rows, columns]` logits.
        reach: how many cells to each side of the peak count.

    Returns:
        `[B, 18, 2]` (x, y) pixels, and `[B, 18]` the probability in [0, 1] of the joint lying among those cells.
    """
    rows, columns = maps.shape[-2:]
    share = maps.float().flatten(2).softmax(-1)
    # The peak of the map summed over 3x3 cells: a lone bright cell does not win over a hill.
    hills = F.avg_pool2d(share.view(maps.shape), 3, 1, 1, divisor_override=1)
    peak = hills.flatten(2).argmax(-1)
    row, column = peak // columns, peak % columns
    steps = torch.arange(-reach, reach + 1, device=maps.device)
    r, c = row[..., None] + steps, column[..., None] + steps
    inside = ((r >= 0) & (r < rows))[..., :, None] & ((c >= 0) & (c < columns))[..., None, :]
    index = r.clamp(0, rows - 1)[..., :, None] * columns + c.clamp(0, columns - 1)[..., None, :]
    near = share.gather(-1, index.flatten(2)).view(index.shape) * inside
    mass = near.sum((-2, -1))
    offset = torch.stack([(near.sum(-2) * steps).sum(-1), (near.sum(-1) * steps).sum(-1)], -1)
    cells = torch.stack([column, row], -1) + offset / mass.clamp_min(1e-9)[..., None]
    return cells * STRIDE + (STRIDE - 1) / 2, mass


def mass_near(maps: Tensor, xy: Tensor, sigma: Tensor) -> Tensor:
    """How likely joints lie near given places: the heat maps' share under a Gaussian of height 1 there.

    Args:
        maps: float `[B, 18, rows, columns]` logits.
        xy: `[B, P, 18, 2]`, P places for each joint, (x, y) pixels; NaN gives 0.
        sigma: `[B]`, of the Gaussians, pixels of the image.

    Returns:
        float32 `[B, P, 18]` in [0, 1].
    """
    variance = (sigma.to(maps.device, torch.float32) ** 2)[:, None, None, None]
    share = maps.float().flatten(2).softmax(-1).view(maps.shape)
    x, y = xy.nan_to_num(0.0).unbind(-1)
    down, across = (
        torch.exp(-((cell_centres(count, maps.device) - centre[..., None]) ** 2) / (2 * variance))
        for count, centre in ((maps.shape[2], y), (maps.shape[3], x))
    )
    near = (torch.einsum("bjhw,bpjw->bpjh", share, across) * down).sum(-1)
    return near.masked_fill(xy.isnan().any(-1), 0.0)


def flip_back(maps: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """What the network said of the mirrored images, as it would have said it of the images themselves."""
    order = torch.tensor(MIRROR, device=maps.device)
    return maps.flip(-1)[:, order], seen[:, order]
