"""OpenVINO and NNCF: the extra `openvino`, imported where it is used, in a process that lives on after them."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@functools.cache
def core() -> Any:
    """The one `openvino.Core` of the process, with its processor's plugin; it stays.

    `openvino.compile_model` makes a core for every network. Where the processor has AMX, the plugin of each gives the
    thread a stack for signals, and as it goes puts back the one that it found, which may be gone with the core before
    it: the next signal (a child that ends is enough) then ends the process by SIGSEGV.
    """
    made = need_openvino().Core()
    made.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin now, before others that come and go
    return made


class _SignalStack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Leaves this thread's stack for signals as it was, whatever cores come and go meanwhile (`core` says why)."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
