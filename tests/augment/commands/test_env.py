"""What a bug report says of a machine, and what it must not say of people."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from augment.commands import env
from augment.commands.main import main
from augment.runs import ALWAYS
from reid_eval import machine
from reid_eval.runtime import sha256_file

WEIGHTS = Path(env.__file__).parents[1] / "weights"


def report(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    main(["env", "--json", str(path)])
    return capsys.readouterr().out, json.loads(path.read_text())


def test_it_tells_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache/a").mkdir(parents=True)
    (tmp_path / "cache/a/b").write_bytes(b"x" * 1_500_000)
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    text, facts = report(tmp_path / "e.json", capsys)
    always = facts["packages"][ALWAYS]
    assert always["torch"] == torch.__version__.partition("+")[0] or always["torch"] == torch.__version__
    assert always["numpy"] == numpy.__version__
    assert f"numpy {numpy.__version__}" in text
    assert facts["cache"]["bytes"] == 1_500_000
    assert "1 files, 1.5 MB; " in text
    assert facts["weights"] == {path.stem: sha256_file(path) for path in WEIGHTS.glob("*.safetensors")}
    assert all(f"Weights {name}: {sha}\n" in text for name, sha in facts["weights"].items())
    assert facts["threads"]["torch"] == torch.get_num_threads()
    assert "OMP_NUM_THREADS=3" in text
    assert facts["cpu"]["cores"] >= 1
    assert facts["memory"]["total"] > 1 << 28


def test_names_of_people_and_machines_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home/marie-curie"
    home.mkdir(parents=True)
    for name, value in (("HOME", str(home)), ("USER", "marie"), ("LOGNAME", "curie7")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: "radium.example.org")
    for cache in (home / "cache", tmp_path / "data/marie/c", Path("/x/curie7.cache/c"), Path("/radium/c"), home):
        monkeypatch.setenv("PATN_AUGMENT_CACHE", str(cache))
        text, facts = report(tmp_path / "e.json", capsys)
        told = text + json.dumps(facts)
        assert [word for word in ("marie", "curie", "radium", str(home)) if word in told] == []
        assert "cache" in told
    assert facts["cache"]["folder"] == "~"
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(home / "cache"))
    assert "Cache: ~/cache, 0 files" in report(tmp_path / "e.json", capsys)[0]
    assert not (home / "cache").exists()  # looking makes nothing


def test_a_broken_installation_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(env, "required_packages", lambda: {ALWAYS: {"torch": ">=2"}, "x": {"no-such-package": ""}})
    for name in ("PATN_AUGMENT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("augment.runs.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    text, facts = report(tmp_path / "e.json", capsys)
    assert "GPU: ModuleNotFoundError: import of torch halted" in text
    assert "Threads: ModuleNotFoundError" in text
    assert "Extra x: no-such-package not installed\n" in text
    assert facts["packages"]["x"] == {"no-such-package": None}
    assert "Cache: RunError: this user has no home folder" in text


def test_processor_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2GHz\nflags\t\t: fpu avx2 amx_bf16 avx512_bf16x\n",
        "meminfo": "MemTotal:       2000 kB\nMemAvailable:   1000 kB\n",
        "cpu.max": "150000 100000\n",
        "memory.max": "1024\n",
        "driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\nGCC 12.2.0\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_LIMITS", tmp_path)
    cpu = machine.describe_cpu()
    assert (cpu["model"], cpu["flags"], cpu["limit"]) == ("Some CPU @ 2GHz", ["avx2", "amx_bf16"], 1.5)
    assert machine.describe_memory() == {"total": 2_048_000, "available": 1_024_000, "limit": 1024}
    assert machine.describe_gpus()["driver"] == "550.54.15"
    for name in ("cpuinfo", "meminfo", "cpu.max", "memory.max"):
        (tmp_path / name).unlink()
    assert machine.describe_cpu()["flags"] is None
    assert machine.describe_memory()["limit"] is None
