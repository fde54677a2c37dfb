"""OpenVINO and NNCF: the extra `openvino`, imported where it is used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from reid_eval.runtime import InputError


def need_openvino(module: str = "openvino") -> Any:
    """The library.

    Raises:
        InputError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = error.name or module
        raise InputError(f"{name} is not installed: pip install 'patn-augment[openvino]'", "backend") from None


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None
