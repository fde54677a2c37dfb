"""Which engine is the fastest here: settles what a user left `auto`, and makes the engine.

`auto` on a CPU: bfloat16 where the processor has instructions for it and is faster with them; OpenVINO where it is
installed and faster than torch; the slim form where its directions ship with the weights, so that its loss is known.
Rates are measured once, in a few seconds, on a small network of the same kind, and kept in the user's cache under the
versions, the processor and the threads. On other devices `auto` is torch, whole, float32.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.generators.patn.engines import (
    AUTO,
    PLAIN,
    Engine,
    How,
    OpenVINOEngine,
    TorchEngine,
)
from augment.generators.patn.folded import FoldedPATN
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.openvino_extra import has_openvino
from augment.generators.patn.slim import slim_down
from augment.generators.patn.slim_file import make_slim, slim_for
from augment.runs import Say, cache_dir, package_version
from reid_eval.foreign import read_json
from reid_eval.limits import MOST_SMALL_BYTES
from reid_eval.precision import NARROWEST_ON_CPU, cpu_has_bf16
from reid_eval.runtime import InputError, RunError, sha256_bytes, write_json

if TYPE_CHECKING:
    from augment.generators.patn.patn_transfer import PATNTransfer

FASTER = 1.15
"""Times that something less usual must be faster to be taken: measurements differ by less on a quiet machine."""
_PROBE = {"ngf": 64, "n_blocks": 2, "norm": "batch", "dropout": 0.0}
_PROBE_IMAGES = 4


class Rates(BaseModel):
    """Images a second of the small network, by `backend precision`; only their ratios matter."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    machine: str
    rates: dict[str, float] = Field(max_length=10)


def settle(transfer: PATNTransfer, asked: How, say: Say) -> How:
    """Replace each `auto` by what is the fastest here.

    Args:
        transfer: the generator, on its device, at its depth.
        asked: what the user wants.
        say: told in one line what was chosen, if anything was left open.

    Raises:
        InputError: what was asked for is not to be had here.
    """
    if transfer.device.type != "cpu":
        return _on_device(asked, transfer.device)
    if AUTO not in (asked.backend, asked.form, asked.precision):
        return asked
    backend, form, precision = asked.backend, asked.form, asked.precision
    if form == AUTO:
        form = "slim" if slim_for(transfer) is not None else "whole"
    if precision == AUTO:
        precision = "bf16" if bf16_is_fast(transfer.size) else "float32"
    if backend == AUTO:
        backend = "openvino" if precision == "int8" or _openvino_is_faster(precision) else "torch"
    how = How(backend, form, precision)
    say(f"Engine: {how} (the fastest here at next to no loss; see docs/speed.md)")
    return how


def _on_device(asked: How, device: torch.device) -> How:
    how = How(
        *(plain if wanted == AUTO else wanted for wanted, plain in zip(_words(asked), _words(PLAIN), strict=True))
    )
    if how.backend == "openvino" or how.precision == "int8":
        raise InputError(f"OpenVINO and int8 are for CPUs, not for {device.type}: use torch there", "backend")
    return how


def _words(how: How) -> tuple[str, str, str]:
    return how.backend, how.form, how.precision


def make_engine(transfer: PATNTransfer, how: How, say: Say) -> Engine:
    """The engine that `how` says, nothing of which is `auto`.

    Raises:
        InputError: a library is not installed, or this form or precision is not to be had.
    """
    network = FoldedPATN(transfer.network)
    facts: dict[str, Any] = {}
    if how.form == "slim":
        found = slim_for(transfer) or make_slim(transfer, say)
        slim_down(network, found.directions)
        facts["slim_sha256"] = found.sha256
    if how.backend == "torch":
        return TorchEngine(network.to(transfer.device), how.form, how.precision, facts)
    calibration = None
    if how.precision == "int8":
        from augment.generators.patn.drawn_inputs import drawn_inputs

        calibration = drawn_inputs(transfer.size, transfer.sigma)
    facts["openvino"] = package_version("openvino")
    return OpenVINOEngine(network, how.form, how.precision, facts, calibration)


def bf16_is_fast(size: tuple[int, int]) -> bool:
    """Whether bfloat16 is right and clearly faster than float32 on this CPU, for images of (H, W)."""
    if not cpu_has_bf16() or size[1] < NARROWEST_ON_CPU:
        return False
    found = rates()
    return found["torch bf16"] >= FASTER * found["torch float32"]


def _openvino_is_faster(precision: str) -> bool:
    if not has_openvino():
        return False
    found = rates()
    own = f"openvino {precision}"
    return own in found and found[own] >= FASTER * found[f"torch {precision}"]


def rates() -> dict[str, float]:
    """Images a second of a small network by `backend precision`: from the cache, or measured now."""
    machine = sha256_bytes("\n".join(machine_facts()).encode())
    path = _cache(machine)
    if path is not None and (found := read_rates(path, machine)) is not None:
        return found
    found = measure()
    if path is not None:
        write_json(path, Rates(machine=machine, rates=found).model_dump())
    return found


def _cache(machine: str) -> Path | None:
    try:
        return cache_dir() / f"speed-{machine[:16]}.json"
    except RunError:  # no cache: measured every time
        return None


def read_rates(path: Path, machine: str) -> dict[str, float] | None:
    """Rates that are kept of a machine (the hash of its facts); None if there are none, or none of use."""
    try:
        kept = Rates.model_validate(read_json(path, MOST_SMALL_BYTES))
    except (OSError, ValueError, ValidationError):
        return None
    wanted = {f"torch {precision}" for precision in ("float32", "bf16")}
    good = kept.machine == machine and wanted <= set(kept.rates) and all(rate > 0 for rate in kept.rates.values())
    return kept.rates if good else None


def machine_facts() -> list[str]:
    """What rates depend on: versions, the processor and its instructions, threads."""
    versions = [f"{name} {package_version(name)}" for name in ("torch", "openvino")]
    return [*versions, platform.machine(), *_processor(), f"{torch.get_num_threads()} of {os.cpu_count()} threads"]


def _processor() -> list[str]:
    """Model and instructions as Linux tells them; elsewhere what Python and torch know."""
    wanted = ("model name", "flags", "Features")
    found: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in wanted:
                    found.setdefault(key.strip(), value.strip())
                if not line.strip():  # the first processor is told of
                    break
    except OSError:
        pass
    return [*found.values()] or [platform.processor(), torch.backends.cpu.get_cpu_capability()]


def measure(least: float = 0.25) -> dict[str, float]:
    """Rates of a small network in what can be had here; some seconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = PATNGenerator(**_PROBE).eval()  # type: ignore[arg-type]
        inputs = tuple(torch.rand(_PROBE_IMAGES, channels, 128, 64) for channels in (3, 18, 18))
    ways: dict[str, Callable[[], Engine]] = {
        "torch float32": lambda: TorchEngine(FoldedPATN(small), "whole", "float32"),
        "torch bf16": lambda: TorchEngine(FoldedPATN(small), "whole", "bf16"),
    }
    if not cpu_has_bf16():  # emulated, it takes for ever
        del ways["torch bf16"]
    if has_openvino():
        precision = "bf16" if cpu_has_bf16() else "float32"
        ways[f"openvino {precision}"] = lambda: OpenVINOEngine(FoldedPATN(small), "whole", precision)
    found = {}
    for name, way in ways.items():
        try:
            engine = way()
        except InputError:  # found, but cannot be imported
            continue
        found[name] = _PROBE_IMAGES / _seconds(lambda engine=engine: engine(*inputs), least)  # type: ignore[misc]
    return {"torch bf16": found["torch float32"], **found}


def _seconds(work: Callable[[], object], least: float) -> float:
    """The fastest of a few calls, after one that does not count: what others do on the machine only adds time."""
    work()
    best, until = float("inf"), time.perf_counter() + least
    while True:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > until:
            return best
