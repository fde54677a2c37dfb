"""Runs tests in a process forked from one that has the libraries, with a module changed or with its lines watched."""

from __future__ import annotations

import ast
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 12 << 30
"""Of address space: a changed number may ask for any amount."""


_WAITS = 30
"""Times its share of a processor that a fork may take by the clock: others may be at work on the machine."""


class Watch:
    """A pytest plugin: which lines of the files each test runs, and how much of a processor's time it takes."""

    def __init__(self, files: set[str]) -> None:
        self.files = files
        self.lines: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.shared: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.seconds: dict[str, float] = defaultdict(float)
        self._now: dict[str, set[int]] = {}

    def _trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if name not in self.files:
            return None
        if event == "line":
            self._now.setdefault(name, set()).add(frame.f_lineno)
        return self._trace

    def _watched(self, test: str, into: dict[str, set[int]]) -> Iterator[None]:
        self._now, start = {}, time.process_time()
        sys.settrace(self._trace)
        threading.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self.seconds[test] += time.process_time() - start
            for name, lines in self._now.items():
                into[name] |= lines

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """What fixtures run counts for all tests of the folder: another test may share it."""
        yield from self._watched(item.nodeid, self.shared[str(item.path.parent)])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """What the test itself runs."""
        yield from self._watched(item.nodeid, self.lines[item.nodeid])

    def found(self) -> dict[str, Any]:
        """Of each test: seconds, and lines by file."""
        tests = {}
        for test, seconds in self.seconds.items():
            shared = self.shared[str((ROOT / test.split("::")[0]).parent)]
            lines = {name: sorted(self.lines[test][name] | shared[name]) for name in self.files}
            tests[test] = {"seconds": seconds, "lines": lines}
        return tests


class _Finder(importlib.abc.MetaPathFinder):
    """Gives one module from a changed tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        if name != self.name:
            return None
        code = compile(self.tree, str(self.path), "exec", dont_inherit=True)

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return code

        return importlib.util.spec_from_file_location(name, self.path, loader=Loader(name, str(self.path)))


def _pytest(words: list[str], plugin: object, folder: str) -> int:
    without = [f"no:{name}" for name in ("cacheprovider", "xdist", "unraisableexception", "threadexception")]
    fixed = ["-x", "-q", "--assert=plain", f"--basetemp={folder}/t", *(word for one in without for word in ("-p", one))]
    return int(pytest.main([*fixed, *words], plugins=[plugin]))


def _forked(work: Callable[[], int], seconds: float, quiet: bool = True) -> int | None:
    """Exit code of `work` in a forked process; None if it took more of a processor's time, or waits for ever."""
    sys.stdout.flush()
    gc.freeze()  # what is here already is looked through in no fork
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.RLIM_INFINITY))
            if quiet:
                nothing = os.open(os.devnull, os.O_RDWR)
                for stream in (0, 1, 2):
                    os.dup2(nothing, stream)
            code = work()
        except BaseException:
            code = 98
        finally:
            os._exit(code)
    end = time.monotonic() + _WAITS * seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.005)


def watched(tests: tuple[str, ...], modules: list[str]) -> dict[str, Any]:
    """Tests as they are: `tests` (seconds, lines) and `libraries`, names of what they import from elsewhere.

    Raises:
        RuntimeError: they fail.
    """
    with tempfile.TemporaryDirectory(prefix="patn-mutants-") as folder:
        kept = Path(folder, "watched.json")

        def work() -> int:
            watch = Watch({str(ROOT / module) for module in modules})
            code = _pytest(list(tests), watch, folder)
            own = [name for name, module in sys.modules.items() if _is_library(module)]
            kept.write_text(json.dumps({"tests": watch.found(), "libraries": sorted(own)}))
            return code

        code = _forked(work, 900, quiet=False)
        if code != 0:
            raise RuntimeError(f"the tests fail without any change: exit code {code}")
        found: dict[str, Any] = json.loads(kept.read_text())
        return found


def _is_library(module: ModuleType) -> bool:
    path = str(getattr(module, "__file__", "") or "")
    return "site-packages" in path


class _Hasty:
    """A pytest plugin: the first failure ends the process."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        os._exit(int(exitstatus))


def ask(module: str, tree: ast.Module, tests: list[str], seconds: float) -> str:
    """What the tests say of a changed module: `killed`, `survived`, `timeout`."""

    with tempfile.TemporaryDirectory(prefix="patn-mutants-") as folder:

        def work() -> int:
            name = module.removesuffix(".py").replace("/", ".")
            sys.meta_path.insert(0, _Finder(name, ROOT / module, tree))
            return _pytest(tests, _Hasty(), folder)

        code = _forked(work, seconds)
    if code is None:
        return "timeout"
    return "survived" if code == 0 else "killed"
