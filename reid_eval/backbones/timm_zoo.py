"""timm's models under our interface. timm is an extra, imported at use."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from reid_eval.alike import did_you_mean
from reid_eval.runtime import InputError

PREFIX = "timm:"


class TimmTrunk(NamedTuple):
    """What `timm_trunk` builds."""

    trunk: nn.Module
    """Normalised images [B, 3, H, W] to features [B, D]."""
    width: int
    """D."""
    mean: tuple[float, ...]
    """Of the images it expects, RGB in 0..1."""
    std: tuple[float, ...]


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"backbones {PREFIX}NAME need timm, which does not import ({error}): run `pip install 'patn-augment[timm]'`"
        ) from error
    return timm


def check_timm(name: str) -> None:
    """Check a model's name without building it; `NAME.TAG` names pretrained weights as timm does.

    Raises:
        InputError: unknown; the message names those that are spelt alike.
    """
    timm = _timm()
    if timm.is_model(name):
        return
    known = timm_names()
    hint = did_you_mean(name.split(".")[0], known, 3) or f"timm has {len(known)}: see `timm.list_models()`"
    raise InputError(f"backbone '{PREFIX}{name}': timm has no such model; {hint.strip()}")


def timm_names() -> list[str]:
    """Names of timm's models."""
    names: list[str] = _timm().list_models()
    return names


def timm_trunk(name: str, size: tuple[int, int], imagenet: bool = False) -> TimmTrunk:
    """Build a model of timm's without its classifier, its last map averaged.

    Args:
        name: checked by `check_timm`.
        size: (H, W) of the images; models of one fixed size (ViT, Swin) are built for it.
        imagenet: timm's own weights, downloaded, or random ones.

    Raises:
        InputError: the weights cannot be downloaded, or the model gives no single vector or does not take this size.
    """
    import torch

    timm = _timm()
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    options: dict[str, Any] = {"img_size": size} if fixed else {}
    try:
        net = timm.create_model(name, pretrained=imagenet, num_classes=0, global_pool="avg", **options)
    except Exception as error:  # downloads and sizes fail in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if imagenet:
            raise InputError(
                f"timm's weights of {PREFIX}{name} cannot be had ({reason}): use init scratch or a weights file's path"
            ) from error
        raise InputError(f"{PREFIX}{name} cannot be built for images of {size[0]}x{size[1]} ({reason})") from error
    try:
        with torch.no_grad():
            features = net.eval()(torch.zeros(1, 3, *size))
        shape = tuple(features.shape)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{PREFIX}{name} does not take images of {size[0]}x{size[1]} ({reason})") from error
    if len(shape) != 2:
        raise InputError(f"{PREFIX}{name} gives features of shape {shape[1:]}, not one vector an image")
    told = net.pretrained_cfg
    return TimmTrunk(net.train(), int(shape[1]), tuple(told["mean"]), tuple(told["std"]))
