"""Names to networks, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_eval.alike import did_you_mean
from reid_eval.backbones import timm_zoo, torchreid_zoo
from reid_eval.backbones.inception_v2 import inception_v2_trunk
from reid_eval.backbones.net import ReidNet
from reid_eval.backbones.resnet import resnet50_imagenet, resnet50_trunk
from reid_eval.foreign import read_foreign, reason_of
from reid_eval.limits import MOST_WEIGHTS_BYTES
from reid_eval.model_file import is_model_file, read_model_file
from reid_eval.runtime import InputError, first_five
from reid_eval.settings import TrainSettings
from reid_eval.torch_file import read_torch
from reid_eval.wheel_weights import WHEELS, trunk_state

BACKBONES: dict[str, Callable[[int], tuple[nn.Module, int]]] = {
    "resnet50": resnet50_trunk,
    "inception_v2": inception_v2_trunk,
}
"""Name to builder: `last_stride` to (trunk, width of its features). See `build` for torchreid's and timm's models."""

IMAGENET: dict[str, Callable[[], dict[str, Any]]] = {"resnet50": resnet50_imagenet}


def check_backbone(name: str) -> None:
    """Check a backbone's name without building it.

    Raises:
        InputError: unknown name; the message lists the known ones, or those that are spelt alike.
    """
    if name.startswith(timm_zoo.PREFIX):
        timm_zoo.check_timm(name.removeprefix(timm_zoo.PREFIX))
    elif name.startswith(torchreid_zoo.PREFIX):
        asked, known = name.removeprefix(torchreid_zoo.PREFIX), torchreid_zoo.torchreid_names()
        if asked not in known:
            hint = did_you_mean(asked, known, 3)
            raise InputError(f"backbone {name!r}: {hint}torchreid's models are {', '.join(known)}")
    elif name not in BACKBONES:
        raise InputError(
            f"backbone {name[:200]!r}: {_meant(name)}choose from {', '.join(BACKBONES)}, or {torchreid_zoo.PREFIX}NAME "
            f"or {timm_zoo.PREFIX}NAME for a model of torchreid or timm"
        )


def _meant(name: str) -> str:
    """A question, if a network is called nearly so: one of ours, or of those packages that are here."""
    if hint := did_you_mean(name, BACKBONES):
        return hint
    known: list[str] = []
    for prefix, names in (
        (torchreid_zoo.PREFIX, torchreid_zoo.torchreid_names),
        (timm_zoo.PREFIX, timm_zoo.timm_names),
    ):
        with suppress(InputError):  # that package is not installed
            known += [prefix + one for one in names()]
    return did_you_mean(name, known)


def build(
    name: str,
    num_classes: int,
    *,
    init: str = "scratch",
    last_stride: int = 2,
    neck: str = "none",
    size: tuple[int, int] = (128, 64),
    people: Sequence[int | str] | None = None,
) -> ReidNet:
    """Build a backbone with a classifier of `num_classes`.

    Args:
        name: `resnet50`, `inception_v2`, `torchreid:NAME` or `timm:NAME`.
        num_classes: identities to tell apart.
        init: `scratch`; `imagenet` (torchvision's weights, or torchreid's or timm's for their own models); `wheel`
            (ImageNet weights out of an installed package, see `reid_eval.wheel_weights`); or a file:
            a network that `save_model` wrote, whose classifier and neck are taken too where its people are `people`,
            or a `.safetensors` or torch file of a trunk. Loaded strictly; `ReidNet.init` says what was taken.
        last_stride: of the last stage; torchreid's and timm's models know 2 only.
        neck: see `ReidNet`.
        size: (H, W) of the images.
        people: pid or name of each label.

    Raises:
        InputError: unknown name or stride; weights that cannot be had, read or fitted.
    """
    check_backbone(name)
    net = _bare(name, num_classes, last_stride, neck, size, init == "imagenet")
    if init == "wheel":
        load_strictly(net.trunk, trunk_state(name, net.trunk.state_dict()), f"weights of {WHEELS[name].package}")
    elif init not in ("scratch", "imagenet"):
        init = start_from(net, name, Path(init), people)
    net.init = init
    net.people = None if people is None else tuple(people)
    return net


def build_for(
    settings: TrainSettings, num_classes: int, size: tuple[int, int], people: Sequence[int | str] | None = None
) -> ReidNet:
    """The network that `settings` ask for, which it remembers; see `build`."""
    net = build(
        settings.backbone,
        num_classes,
        init=settings.init,
        last_stride=settings.last_stride,
        neck=settings.neck,
        size=size,
        people=people,
    )
    net.settings = settings
    return net


def _bare(name: str, num_classes: int, last_stride: int, neck: str, size: tuple[int, int], imagenet: bool) -> ReidNet:
    """The network with random or ImageNet weights."""
    if name in BACKBONES:
        trunk, width = BACKBONES[name](last_stride)
        if imagenet:
            load_strictly(trunk, _imagenet(name), f"ImageNet weights of {name}")
        return ReidNet(trunk, width, num_classes, neck, size)
    if last_stride != 2:
        raise InputError(
            f"{name}: last_stride is for {' and '.join(BACKBONES)}, torchreid's and timm's models fix their own: use 2"
        )
    if name.startswith(timm_zoo.PREFIX):
        made = timm_zoo.timm_trunk(name.removeprefix(timm_zoo.PREFIX), size, imagenet)
        return ReidNet(made.trunk, made.width, num_classes, neck, size, made.mean, made.std)
    trunk, width = torchreid_zoo.torchreid_trunk(name.removeprefix(torchreid_zoo.PREFIX), imagenet)
    return ReidNet(trunk, width, num_classes, neck, size)


def start_from(net: ReidNet, name: str, path: Path, people: Sequence[int | str] | None) -> str:
    """Load a file into `net`, in place; returns what was taken, in words.

    Raises:
        InputError: unreadable, of another backbone, or tensors that do not fit.
    """
    if not is_model_file(path):
        load_strictly(net.trunk, read_state(path), str(path))
        return f"{path.name}: trunk"
    file = read_model_file(path)
    if file.metadata.get("backbone") != name:
        raise InputError(f"{path} holds a {file.metadata.get('backbone')}, not a {name}: give the same backbone")
    source = f"{path.name} (sha256 {file.sha256[:12]})"
    own = net.state_dict()
    fits = own.keys() == file.tensors.keys() and all(own[key].shape == file.tensors[key].shape for key in own)
    if fits and people is not None and file.metadata.get("people") == list(people):
        fit(net, file.tensors, str(path))
        return f"{source}: trunk and classifier, for the same people"
    trunk = {key.removeprefix("trunk."): value for key, value in file.tensors.items() if key.startswith("trunk.")}
    fit(net.trunk, trunk, str(path))
    return f"{source}: trunk; a new classifier"


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
    if not path.exists():
        raise InputError(f"init {str(path)!r}: no such file; choose scratch, imagenet, wheel or a weights file's path")
    if path.suffix == ".safetensors":
        from safetensors.torch import load

        try:
            state: Any = load(read_foreign(path, MOST_WEIGHTS_BYTES))
        except Exception as error:  # safetensors raises a dozen kinds on bad bytes
            raise InputError(f"{path}: cannot be read as weights ({reason_of(error)})") from error
    else:
        state = read_torch(path)
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
    fit(
        trunk,
        {key: value for key, value in state.items() if key in own or not key.startswith(("fc.", "classifier."))},
        source,
    )


def fit(module: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load `state`; every key of either side must be in the other.

    Raises:
        InputError: names the missing, unexpected and misshapen tensors, and one that holds no finite numbers.
    """
    own = module.state_dict()
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    shapes = sorted(key for key in set(own) & set(state) if own[key].shape != state[key].shape)
    faults = [
        f"{len(keys)} {what}: {first_five(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if wild := [key for key, value in state.items() if not value.isfinite().all()]:
        faults.append(f"{len(wild)} not finite: {first_five(wild)}")
    if faults:
        raise InputError(f"{source} does not fit this backbone: {'; '.join(faults)}")
    module.load_state_dict(dict(state))
