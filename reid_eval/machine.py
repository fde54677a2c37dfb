"""What a machine is: processor, memory, GPUs, threads. Plain values for bug reports; no names of anybody."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

FLAGS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "bf16",
    "i8mm",
)
"""Instructions that the speed and the last bits of a network depend on, by Linux' names; the last two are of ARM."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY")
_PROC = Path("/proc")
_LIMITS = Path("/sys/fs/cgroup")


def describe_system() -> dict[str, str]:
    """Operating system, kernel, architecture, C library."""
    library = " ".join(platform.libc_ver())
    names = {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
    return {**names, "libc": library} if library else names


def describe_cpu() -> dict[str, Any]:
    """Model, flags of `FLAGS` that it has, cores, cores that this process may use, and a container's limit in cores.

    What this system does not tell is None.
    """
    text = _read(_PROC / "cpuinfo")
    model = re.search(r"^(?:model name|Model|cpu model)\s*: *(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:(.+)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    quota, _, period = _read(_LIMITS / "cpu.max").partition(" ")
    return {
        "model": model[1].strip() if model else platform.processor() or None,
        "flags": None if has is None else [flag for flag in FLAGS if flag in has],
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "limit": round(int(quota) / int(period), 2) if quota.isdecimal() and period.strip().isdecimal() else None,
    }


def describe_memory() -> dict[str, int | None]:
    """Bytes there are, bytes that can be had, and a container's limit; None for what this system does not tell."""
    text, limit = _read(_PROC / "meminfo"), _read(_LIMITS / "memory.max").strip()
    found = {name: re.search(rf"^{name}: *(\d+) kB", text, re.MULTILINE) for name in ("MemTotal", "MemAvailable")}
    total, free = (1024 * int(match[1]) if match else None for match in found.values())
    if total is None:
        with suppress(OSError, ValueError, AttributeError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"total": total, "available": free, "limit": int(limit) if limit.isdecimal() else None}


def describe_gpus() -> dict[str, Any]:
    """Versions of CUDA, cuDNN and the driver, and the devices that torch sees."""
    import torch

    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        one = torch.cuda.get_device_properties(index)
        devices.append({"name": one.name, "memory": one.total_memory, "capability": f"{one.major}.{one.minor}"})
    driver = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", _read(_PROC / "driver/nvidia/version"))
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if devices else None,
        "driver": driver[0] if driver else None,
        "mps": torch.backends.mps.is_available(),
        "devices": devices,
    }


def usable_cores() -> float:
    """Cores that this process may use: of the machine, of its affinity, of its container, whichever is least."""
    cpu = describe_cpu()
    return float(min(value for value in (cpu["cores"], cpu["usable_cores"], cpu["limit"], 1 << 20) if value))


_BUSY = 1.5
"""Threads to a core, of this process and of others, from which on this one is said to be hindered."""


def busy_note(threads: int, running: bool = False) -> str | None:
    """One line where other work keeps the cores busy, and what helps; None where it does not, or nobody can tell.

    The load is the system's mean of the last minute. The threads of a network wait for each other at every layer, so
    that one that gets no core holds up all.

    Args:
        threads: that this process computes with.
        running: they have been at work for the last minute, and are in the load already.
    """
    try:
        others = max(0.0, os.getloadavg()[0] - (threads if running else 0))
    except OSError:
        return None
    cores = usable_cores()
    if others + threads <= _BUSY * cores:
        return None
    helps = ["fewer other processes", "a device of its own"]
    if threads > (free := max(1, int(cores - others))):
        helps.insert(0, f"OMP_NUM_THREADS={free} before the command, since its threads wait for each other")
    return (
        f"This machine is busy: other work keeps {others:.1f} of {cores:g} cores, so this is slower than it could be. "
        f"What helps: {'; '.join(helps)}."
    )


def describe_threads() -> dict[str, Any]:
    """Threads of torch, and what the environment says of them."""
    import torch

    said = {name: value for name in _THREADS if (value := os.environ.get(name)) is not None}
    return {"torch": torch.get_num_threads(), "torch_between": torch.get_num_interop_threads(), "environment": said}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
