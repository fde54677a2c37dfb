"""ResNet-50 (He et al., CVPR 2016) as torchvision builds it, without its classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from reid_eval.runtime import InputError


def resnet50_trunk(last_stride: int = 2) -> tuple[nn.Module, int]:
    """Images [B, 3, H, W] to pooled features [B, 2048].

    Args:
        last_stride: 2 as published, or 1, which doubles the last feature map's sides (bag of tricks: Luo et al.,
            CVPRW 2019). The parameters are the same.

    Raises:
        InputError: another stride.
    """
    from torchvision.models import resnet50

    if last_stride not in (1, 2):
        raise InputError(f"last_stride {last_stride}: expected 1 or 2")
    net = resnet50(weights=None)
    if last_stride == 1:
        block = net.layer4[0]
        block.conv2.stride = (1, 1)
        block.downsample[0].stride = (1, 1)
    net.fc = nn.Identity()
    return net, 2048


def resnet50_imagenet() -> dict[str, Any]:
    """State of torchvision's ImageNet weights (IMAGENET1K_V2), downloaded or from torch's cache."""
    from torchvision.models import ResNet50_Weights

    return cast("dict[str, Any]", ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False, check_hash=True))
