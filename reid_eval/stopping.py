"""Ctrl-C and SIGTERM: both end a run in the same way, at once and cleanly, and neither can get lost.

A signal raises `KeyboardInterrupt` wherever the main thread is just then. Where that is a finaliser, a weak reference's
callback or the import of a C extension, Python or the extension drops it, and the run would go on to its end; so it is
noted, and raised again at the next step of a progress bar or the next file.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked: int | None = None


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGINT and SIGTERM raise `KeyboardInterrupt`, and are noted.

    A signal that the process was started to ignore (`nohup`, a background job of a script) stays ignored. Outside the
    main thread nothing changes.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked = None
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heeded = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in heeded:
            signal.signal(number, _stop)
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
        _asked = None


def stopped_by() -> int | None:
    """The number of the signal that asked this process to stop, if one did."""
    return _asked


def check_stopped() -> None:
    """Stop if a signal asked for it.

    Raises:
        KeyboardInterrupt: one did, and what it raised then was dropped somewhere.
    """
    if _asked is not None:
        raise KeyboardInterrupt


def _stop(number: int, _: FrameType | None) -> None:
    global _asked
    _asked = number
    raise KeyboardInterrupt
