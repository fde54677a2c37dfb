"""Threads that read and write while a network computes, such that it is hindered least."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from reid_eval.machine import usable_cores

_MOST = 8
_TURN = 0.0005
"""Seconds. The thread that feeds a network asks for Python's lock after every layer, and may have to wait so long for
it each time; Python's own value is ten times as much."""


def helpers_for(device: torch.device) -> int:
    """How many threads: a network on a CPU wants the cores itself, one on anything else wants to be fed."""
    cores = int(usable_cores())
    return max(1, min(_MOST, cores // 4 if device.type == "cpu" else cores))


@contextmanager
def helping_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """A pool of them for a network on `device`; within, Python's threads take turns more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN))
    try:
        with ThreadPoolExecutor(helpers_for(device)) as pool:
            yield pool
    finally:
        sys.setswitchinterval(before)
