"""Signals that come at the worst moment: none gets lost, and none is waited upon for ever."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from fault_jobs import command

from augment.commands.main import main
from augment.generators.patn import train

torch.set_num_threads(1)


def in_a_callback_of_an_import(number: int, folder: Path) -> None:
    """Import something, and get a signal in the callback with which Python's import system forgets a module's lock.

    What is raised there Python prints and drops. A training has 2,500 such moments before its first step.
    """
    (folder / "fresh_module.py").write_text("")
    sys.path.insert(0, str(folder))

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name == "cb" and "importlib" in frame.f_code.co_filename:
            sys.setprofile(None)
            os.kill(os.getpid(), number)

    sys.setprofile(watch)
    try:
        importlib.import_module("fresh_module")
    finally:
        assert sys.getprofile() is None, "the signal was not sent"
        sys.path.remove(str(folder))
        del sys.modules["fresh_module"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "word", "code"), [(signal.SIGINT, "Interrupted.", 130),
                                                      (signal.SIGTERM, "Terminated.", 143)])  # fmt: skip
def test_a_signal_that_python_drops_ends_a_training(
    number: int, word: str, code: int, jobs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    real, steps = train.train_step, []

    def step(*arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 3:
            in_a_callback_of_an_import(number, tmp_path)
        return real(*arguments)

    monkeypatch.setattr(train, "train_step", step)
    with pytest.raises(SystemExit) as end:
        main(command("train", jobs_root, tmp_path))
    assert end.value.code == code
    assert capsys.readouterr().err.splitlines()[-1] == word
    assert len(steps) == 3
    main(command("train", jobs_root, tmp_path))
    assert (tmp_path / "run/generator.safetensors").is_file()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_the_last_moment_is_told(jobs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is done already; the code says that the process was asked to stop all the same."""

    def write_list(*_: Any) -> None:
        in_a_callback_of_an_import(signal.SIGTERM, tmp_path)

    monkeypatch.setattr("augment.start.recipe_training.write_list", write_list)
    with pytest.raises(SystemExit) as end:
        main(command("train", jobs_root, tmp_path))
    assert end.value.code == 143
