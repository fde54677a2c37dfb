"""Libraries that only the metrics need, imported where they are used."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from reid_eval.runtime import InputError
from reid_eval.torch_file import read_torch


class Unavailable(InputError):
    """A metric cannot be had here: a library or weights are missing. The message is one line.

    Attributes:
        needs: the field of `augment.quality.metrics.Tools` that would help (`material` for other images), if one would;
            the command line names its option.
    """

    def __init__(self, message: str, needs: str | None = None) -> None:
        super().__init__(message)
        self.needs = needs


def need(module: str, extra: str) -> Any:
    """Import a module of an extra.

    Raises:
        Unavailable: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(f"{error.name or module} is not installed: pip install 'patn-augment[{extra}]'") from None


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """A torch file of tensors; no code in it is run.

    Raises:
        InputError: it cannot be read so.
    """
    state = read_torch(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: expected a dict of tensors (a state_dict)")
    return state


def not_downloaded(what: str, needs: str, error: Exception) -> Unavailable:
    """The error for weights that could not be downloaded; `needs` as `Unavailable` has it."""
    reason = str(error).split("\n")[0] or type(error).__name__
    return Unavailable(f"weights of {what} cannot be downloaded ({reason}): give a file of them", needs)
