"""The command `patn-augment env`: what a bug report should say of the machine. Heavy imports happen inside."""

from __future__ import annotations

import importlib.resources
import os
import platform
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.runs import ALWAYS, cache_place, package_version, required_packages
from reid_eval.foreign import reason_of
from reid_eval.machine import describe_cpu, describe_gpus, describe_memory, describe_system, describe_threads
from reid_eval.runtime import RunError, sha256_file

_GB = 1e9
_COMMON = 3  # letters of a name that may stand in any word


@command("Other")
def env() -> None:
    """Print versions, processor, memory, GPUs, cache and weights, for a bug report.

    Names of users and hosts are left out; a home folder is written as ~.

    \b
    patn-augment env --json machine.json
    """
    facts = describe_environment()
    for line in environment_lines(facts):
        echo(line)
    figures(facts)


def describe_environment() -> dict[str, Any]:
    """All of it, as plain values. What cannot be had says why in its place, as `error`."""
    facts = {
        "patn-augment": package_version("patn-augment"),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": describe_system(),
        "cpu": describe_cpu(),
        "memory": describe_memory(),
        "gpu": _tried(describe_gpus),
        "threads": _tried(describe_threads),
        "packages": _packages(),
        "cache": _tried(_cache),
        "weights": _tried(_weights),
    }
    hidden: dict[str, Any] = _anonymous(facts, _names())
    return hidden


def environment_lines(facts: dict[str, Any]) -> Iterator[str]:
    """It as text, a line a fact."""
    system, cpu, memory, gpu, threads = (facts[name] for name in ("system", "cpu", "memory", "gpu", "threads"))
    yield f"patn-augment {facts['patn-augment']}, Python {facts['python']}"
    yield f"System: {' '.join(system.values())}"
    usable = cpu["limit"] or cpu["usable_cores"] or cpu["cores"]
    yield f"Processor: {cpu['model'] or 'unknown'}; {cpu['cores']} cores, {usable} for this process"
    yield f"Instructions: {' '.join(cpu['flags'] or []) or ('none of note' if cpu['flags'] == [] else 'unknown')}"
    free = memory["available"]
    limit = f", limit {_size(memory['limit'])}" if memory["limit"] else ""
    yield f"Memory: {_size(memory['total'])}{f', {_size(free)} available' if free else ''}{limit}"
    yield from _gpu_lines(gpu)
    if "error" in threads:
        yield f"Threads: {threads['error']}"
    else:
        said = "".join(f", {name}={value}" for name, value in threads["environment"].items())
        yield f"Threads: torch {threads['torch']}, between operators {threads['torch_between']}{said}"
    for extra, found in facts["packages"].items():
        packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in found.items())
        yield f"{'Packages' if extra == ALWAYS else f'Extra {extra}'}: {packages}"
    yield _cache_line(facts["cache"])
    for name, sha in facts["weights"].items():
        yield f"Weights {name}: {sha}"


def _gpu_lines(gpu: dict[str, Any]) -> Iterator[str]:
    if "error" in gpu:
        yield f"GPU: {gpu['error']}"
        return
    versions = ", ".join(f"{name} {gpu[name]}" for name in ("cuda", "cudnn", "driver") if gpu[name])
    if not gpu["devices"]:
        yield f"GPU: {'MPS' if gpu['mps'] else 'none'}{f' ({versions})' if versions else ''}"
    for one in gpu["devices"]:
        yield f"GPU: {one['name']}, {_size(one['memory'])}, capability {one['capability']} ({versions})"


def _cache_line(cache: dict[str, Any]) -> str:
    if "error" in cache:
        return f"Cache: {cache['error']}"
    free = f"; {_size(cache['free'])} free" if cache["free"] is not None else ""
    return f"Cache: {cache['folder']}, {cache['files']} files, {_size(cache['bytes'])}{free}"


def _packages() -> dict[str, dict[str, str | None]]:
    """Version of each package that is asked for, by extra, or `ALWAYS`; None where it is not installed."""
    asked = required_packages() or {ALWAYS: dict.fromkeys(("torch", "torchvision", "numpy", "pandas", "pillow"), "")}
    versions = {name: package_version(name) for found in asked.values() for name in found}
    return {
        extra: {name: None if versions[name] == "unknown" else versions[name] for name in found}
        for extra, found in asked.items()
    }


def _cache() -> dict[str, Any]:
    """Where the cache is, or would be, and what is in it. Nothing is made."""
    folder = cache_place()
    sizes = [os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names]  # noqa: PTH118
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    free = shutil.disk_usage(there).free if there else None
    return {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes), "free": free}


def _weights() -> dict[str, str]:
    """SHA-256 of the files that ship, by name."""
    folder = importlib.resources.files("augment") / "weights"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".safetensors"))
    return {name.removesuffix(".safetensors"): sha256_file(str(folder / name)) for name in names}


def _tried(describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A report on an installation that is broken must not break."""
    try:
        return describe()
    except (OSError, ImportError, RuntimeError, RunError) as error:
        return {"error": f"{type(error).__name__}: {reason_of(error)}"}


def _names() -> dict[str, str]:
    """What must not be told, and what is written for it: homes, then users and hosts that are a part of a path."""
    homes = {os.environ.get("HOME", ""), os.path.expanduser("~")}  # noqa: PTH111 - it never raises
    homes |= {os.path.realpath(home) for home in homes if home}
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    users |= {Path(home).name for home in homes}
    host = socket.gethostname()
    told = {home: "~" for home in sorted(homes, key=len, reverse=True) if len(home) > 1 and home != "~"}
    words = [(user, "USER") for user in users] + [(name, "HOST") for name in (host, host.partition(".")[0])]
    return told | {name: word for name, word in words if len(name) >= _COMMON and name not in told}


def _anonymous(value: Any, names: dict[str, str]) -> Any:
    """`value` with names out of all paths in it."""
    if isinstance(value, dict):
        return {key: _anonymous(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_anonymous(one, names) for one in value]
    if not isinstance(value, str) or "/" not in value.replace(os.sep, "/"):
        return value
    for name, word in names.items():
        ends = r"(?![\w.-])" if word == "~" else r"(?![\w])"
        value = re.sub(r"(?<![\w.-])" + re.escape(name) + ends, word, value)
    return value


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count / _GB:,.1f} GB" if count >= _GB else f"{1000 * count / _GB:,.1f} MB"
