from __future__ import annotations

import threading

import pytest

from augment.synth import workers as module


class Interrupted(threading.Barrier):
    """Ctrl-C reaches the main thread while it waits for the others."""

    def wait(self, timeout: float | None = None) -> int:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return super().wait(timeout)


def renderers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("render")]


def test_an_interruption_of_the_start_leaves_no_thread_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    before = renderers()
    with monkeypatch.context() as patch:
        patch.setattr(module.threading, "Barrier", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            module.workers.__wrapped__()
    for thread in set(renderers()) - set(before):
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert module.workers.__wrapped__().submit(int, "7").result(timeout=5) == 7
