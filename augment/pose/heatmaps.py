"""Pose maps from joint coordinates, computed where the coordinates live and never stored.

One map a joint, `exp(-d² / 2σ²)` with d the distance in pixels to the joint, as the code of PATN (Zhu et al.,
CVPR 2019, section 3.1.1) draws them: σ = 6 at 128x64, and a map of zeros where the joint was not detected.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reid_eval.runtime import InputError


def pose_maps(keypoints: Tensor, size: tuple[int, int], sigma: float = 6.0) -> Tensor:
    """Draw a Gaussian around each joint.

    A Gaussian in x and y is the product of one in x and one in y, so only (H + W) exponentials a joint are
    computed, not H·W.

    Args:
        keypoints: float `[N, J, 2]`, (x, y) in pixels of the image; NaN in either coordinate means missing.
            J is 18 for PATN. Joints may lie outside the image: their tails still show.
        size: (H, W) of the maps, in pixels.
        sigma: standard deviation of the Gaussian, in pixels.

    Returns:
        float `[N, J, H, W]` in [0, 1], on the device and in the dtype of `keypoints`; zeros for missing joints.

    Raises:
        InputError: `keypoints` is not a float `[N, J, 2]`, or `size` or `sigma` is not positive.
    """
    if keypoints.ndim != 3 or keypoints.shape[-1] != 2 or not keypoints.is_floating_point():
        raise InputError(
            f"keypoints must be float [N, joints, 2], got {keypoints.dtype} {tuple(keypoints.shape)}: "
            "give (x, y) pixels with NaN for missing"
        )
    height, width = size
    if height <= 0 or width <= 0 or not sigma > 0:
        raise InputError(f"size and sigma must be positive, got size={size}, sigma={sigma}")
    missing = keypoints.isnan().any(dim=-1, keepdim=True)
    x, y = keypoints.masked_fill(missing, 0.0).unbind(dim=-1)
    along_x = _gaussian(x, width, sigma)
    along_y = _gaussian(y, height, sigma).masked_fill(missing, 0.0)
    return along_y.unsqueeze(-1) * along_x.unsqueeze(-2)


def _gaussian(centre: Tensor, length: int, sigma: float) -> Tensor:
    """`[N, J]` centres to `[N, J, length]`: the Gaussian sampled at pixels 0 ... length - 1."""
    pixels = torch.arange(length, device=centre.device, dtype=centre.dtype)
    return torch.exp((pixels - centre.unsqueeze(-1)).square() / (-2.0 * sigma**2))
