"""Names to networks, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_eval.backbones.inception_v2 import inception_v2_trunk
from reid_eval.backbones.net import ReidNet
from reid_eval.backbones.resnet import resnet50_imagenet, resnet50_trunk
from reid_eval.backbones.zoo import PREFIX, torchreid_names, torchreid_trunk
from reid_eval.runtime import InputError, first_five

BACKBONES: dict[str, Callable[[int], tuple[nn.Module, int]]] = {
    "resnet50": resnet50_trunk,
    "inception_v2": inception_v2_trunk,
}
"""Name to builder: `last_stride` to (trunk, width of its features). `torchreid:NAME` is taken as well, see `build`."""

IMAGENET: dict[str, Callable[[], dict[str, Any]]] = {"resnet50": resnet50_imagenet}


def check_backbone(name: str) -> None:
    """Check a backbone's name without building it.

    Raises:
        InputError: unknown name; the message lists the known ones.
    """
    if name.startswith(PREFIX):
        known = torchreid_names()
        if name.removeprefix(PREFIX) not in known:
            raise InputError(f"backbone {name!r}: torchreid's models are {', '.join(known)}")
    elif name not in BACKBONES:
        raise InputError(
            f"backbone {name!r}: choose from {', '.join(BACKBONES)}, or {PREFIX}NAME for a torchreid model"
        )


def build(name: str, num_classes: int, *, init: str = "scratch", last_stride: int = 2, neck: str = "none") -> ReidNet:
    """Build a backbone with a classifier of `num_classes`.

    Args:
        name: `resnet50`, `inception_v2`, or `torchreid:NAME`.
        num_classes: identities to tell apart.
        init: `scratch`; `imagenet` (torchvision's weights, or torchreid's for its own models); or the path of a
            `.safetensors` or torch file, loaded strictly but for the classifier.
        last_stride: of the last stage; torchreid's models know 2 only.
        neck: see `ReidNet`.

    Raises:
        InputError: unknown name or stride; weights that cannot be had, read or fitted.
    """
    check_backbone(name)
    if name.startswith(PREFIX):
        if last_stride != 2:
            raise InputError(
                f"{name}: last_stride is for {' and '.join(BACKBONES)}, torchreid's models fix their own: use 2"
            )
        trunk, width = torchreid_trunk(name.removeprefix(PREFIX), imagenet=init == "imagenet")
    else:
        trunk, width = BACKBONES[name](last_stride)
        if init == "imagenet":
            load_strictly(trunk, _imagenet(name), f"ImageNet weights of {name}")
    net = ReidNet(trunk, width, num_classes, neck)
    if init not in ("scratch", "imagenet"):
        load_strictly(net.trunk, read_state(Path(init)), init)
    return net


def _imagenet(name: str) -> dict[str, Any]:
    if name not in IMAGENET:
        raise InputError(f"torchvision has no ImageNet weights for {name}: use init scratch or a weights file's path")
    try:
        return IMAGENET[name]()
    except Exception as error:  # no network, proxy errors, wrong hash, read-only cache
        reason = str(error).split("\n")[0]
        raise InputError(
            f"ImageNet weights of {name} cannot be downloaded ({reason}): use init scratch or a weights file's path"
        ) from error


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file, by name; no code in it is run.

    A dict under the key `state_dict` is opened, and the prefixes `module.` and `trunk.` are taken off.

    Raises:
        InputError: the file is missing, unreadable, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"init {str(path)!r}: no such file; choose scratch, imagenet or a weights file's path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds on bad bytes
        raise InputError(f"{path}: cannot be read as weights ({str(error).splitlines()[0]})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: expected a dict of tensors (a state_dict)")
    return {key.removeprefix("module.").removeprefix("trunk."): value for key, value in state.items()}


def load_strictly(trunk: nn.Module, state: dict[str, Any], source: str) -> None:
    """Load `state` into `trunk`; only a classifier (`fc.*`, `classifier.*`) may be left over.

    Raises:
        InputError: names the missing, unexpected and misshapen tensors.
    """
    own = trunk.state_dict()
    state = {key: value for key, value in state.items() if key in own or not key.startswith(("fc.", "classifier."))}
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    shapes = sorted(key for key in set(own) & set(state) if own[key].shape != state[key].shape)
    faults = [
        f"{len(keys)} {what}: {first_five(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if faults:
        raise InputError(f"{source} does not fit this backbone: {'; '.join(faults)}")
    trunk.load_state_dict(state)
