"""Trained networks to files and back. The files' format is `reid_eval.model_file`'s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid_eval.backbones.build import build, fit
from reid_eval.backbones.net import ReidNet
from reid_eval.limits import MOST_SIDE
from reid_eval.model_file import ModelFile, read_model_file, write_model_file
from reid_eval.runtime import InputError, kept_generators
from reid_eval.settings import TrainSettings


def save_model(path: Path | str, model: ReidNet, facts: Mapping[str, Any] | None = None) -> str:
    """Write a trained network as safetensors with metadata, atomically; the same network and facts give the same bytes.

    Args:
        path: where to, usually `*.safetensors`.
        model: as `train` gives it: it knows its settings, its people and its images' size.
        facts: JSON-able, for the metadata: `data` (names and counts), `scores` and the like.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: the network was built but not trained, or the facts are not JSON.
    """
    if model.settings is None:
        raise InputError("this network has no training settings: only a trained one is saved")
    metadata = {
        **(facts or {}),
        "settings": {**model.settings.to_dict(), "init": Path(model.settings.init).name},
        "init": model.init,
        "backbone": model.settings.backbone,
        "people": list(model.people) if model.people is not None else None,
        "classes": model.classifier.out_features,
        "width": model.width,
        "size": list(model.size),
        "versions": versions(),
    }
    return write_model_file(path, model.state_dict(), metadata)


def load_model(path: Path | str | ModelFile, device: torch.device | str = "cpu") -> ReidNet:
    """The network of a file that `save_model` wrote, in evaluation mode; every key of either is in the other.

    Args:
        path: the file, or what `read_model_file` gave (its `sha256` names the bytes, its `metadata` says the rest).
        device: where the network goes.

    Raises:
        InputError: unreadable, not one of ours, metadata that cannot be, or a key missing, unexpected or of another
            shape; the message names it.
    """
    file = path if isinstance(path, ModelFile) else read_model_file(path)
    settings, people, size, classes = _parts(file)
    with kept_generators():
        model = build(settings.backbone, classes, last_stride=settings.last_stride, neck=settings.neck, size=size)
    if model.width != file.metadata.get("width"):
        raise InputError(
            f"{file.source}: features of width {file.metadata.get('width')}, its backbone has {model.width}"
        )
    fit(model, file.tensors, file.source)
    model.settings, model.people, model.init = settings, people, str(file.metadata.get("init", settings.init))
    return model.to(device).to(memory_format=torch.channels_last).eval()


def _parts(file: ModelFile) -> tuple[TrainSettings, tuple[int | str, ...] | None, tuple[int, int], int]:
    """Settings, people, (H, W) and number of classes that a file's metadata tell."""
    told = file.metadata
    try:
        settings = TrainSettings(**told["settings"])
        people = None if told["people"] is None else tuple(told["people"])
        (height, width), classes = told["size"], told["classes"]
        if not all(type(number) is int and 0 < number <= MOST_SIDE for number in (height, width)):
            raise InputError(f"size {str(told['size'])[:80]}")
        last = file.tensors.get("classifier.weight")  # which is what memory would be taken for
        if type(classes) is not int or last is None or last.shape[:1] != (classes,):
            there = "it has no classifier.weight" if last is None else f"classifier.weight is {tuple(last.shape)}"
            raise InputError(f"{str(classes)[:80]} classes, {there}")
        if people is not None and not all(isinstance(one, (int, str)) for one in people):
            raise InputError("people that are neither numbers nor names")
        if people is not None and len(people) != classes:
            raise InputError(f"{len(people)} people for {classes} classes")
    except (KeyError, TypeError, ValueError) as error:  # an InputError is a ValueError
        raise InputError(
            f"{file.source}: bad metadata ({str(error)[:500]}): get it again, or update the program"
        ) from None
    return settings, people, (height, width), classes


def versions() -> dict[str, str]:
    """Of what makes a network."""
    import numpy

    return {"torch": torch.__version__, "numpy": numpy.__version__}
