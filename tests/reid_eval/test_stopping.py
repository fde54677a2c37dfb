from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reid_eval.runtime import progress, write_text
from reid_eval.stopping import check_stopped, stoppable, stopped_by


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """In the background of a script SIGINT is ignored from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Finalised:
    """Something whose end a signal falls into: Python drops what is raised there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # the handler runs here
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_python_drops_still_stops_the_run(number: int, tmp_path: Path) -> None:
    with stoppable():
        one = Finalised(number)
        del one
        assert stopped_by() == number
        with progress("Working", 3) as bar, pytest.raises(KeyboardInterrupt):
            bar.advance()
        with pytest.raises(KeyboardInterrupt):
            write_text(tmp_path / "a.txt", "a")
        assert list(tmp_path.iterdir()) == []
    assert stopped_by() is None
    check_stopped()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_and_handlers_come_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            check_stopped()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
