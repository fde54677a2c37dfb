"""Threads for thousands of small operators."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def workers() -> ThreadPoolExecutor:
    """One thread a core, each running its operators alone.

    Thousands of small operators shared out over cores meet at a barrier each; on a busy machine that is fifty times
    slower. Whole chunks in parallel never wait for each other.
    """

    count = os.cpu_count() or 1
    before = torch.get_num_threads()
    started = threading.Barrier(count + 1)

    def alone() -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        with suppress(threading.BrokenBarrierError):
            started.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="render", initializer=alone)
    try:
        for _ in range(count):
            pool.submit(lambda: None)
        started.wait()
    except (
        BaseException
    ):  # Ctrl-C, or no more threads to be had: those that wait would wait for ever, and Python for them
        started.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        # Setting it in a thread also sets what threads that start later get; give everyone else back what they had.
        torch.set_num_threads(before)
    return pool
