"""Engines: the folded network, the slim form, OpenVINO, int8, what `auto` comes to, and what folders keep of it."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from drawn import draw_dataset, hashes

from augment.commands.main import cli
from augment.folder.manifest import MANIFEST, read_manifest
from augment.generators.copy import CopyGenerator
from augment.generators.open import check_engine, open_generator, pick_weights, use_engine
from augment.generators.patn import speed
from augment.generators.patn.builders import build_generator
from augment.generators.patn.drawn_inputs import drawn_inputs
from augment.generators.patn.engines import How, OpenVINOEngine, TorchEngine
from augment.generators.patn.folded import FoldedPATN
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.load import save_generator
from augment.generators.patn.openvino_extra import core
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.generators.patn.slim import (
    SLIM_KEY,
    Directions,
    Inputs,
    Shares,
    find_directions,
    principal,
    slim_down,
)
from augment.generators.patn.slim_file import KIND, make_slim, measure_slim, slim_for, write_slim
from augment.generators.weights import read_weights, write_weights
from reid_eval.runtime import InputError


def small(norm: str = "batch", any_depth: bool = False) -> PATNGenerator:
    """A small network whose BatchNorm has seen something, so that folding has work to do."""
    torch.manual_seed(3)
    made = build_generator("patn_tiny", ngf=8, n_blocks=3, norm=norm, any_depth=any_depth)
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made.eval()


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return drawn_inputs((128, 64), 6.0, 6)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_generator(path, small(), {"size": [128, 64], "data": "nothing"})
    return path


@pytest.mark.parametrize(("norm", "depth"), [("batch", 3), ("instance", 3), ("batch", 2)])
def test_folding_changes_nothing(inputs: Inputs, norm: str, depth: int) -> None:
    network = small(norm, any_depth=depth < 3).use_blocks(depth)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = FoldedPATN(network)
    with torch.inference_mode():
        assert torch.allclose(folded(*inputs), network(*inputs), atol=2e-5)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    folded.to(torch.bfloat16)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_directions_of_what_has_few_dimensions() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 5)).Q
    y = (torch.randn(4, 8, 8, 5) @ basis.T + 3).permute(0, 3, 1, 2)
    found = principal(y, 1e-6)
    assert found.vectors.shape == (64, 16)  # five, rounded up
    assert torch.allclose(found.mean, y.mean((0, 2, 3)), atol=1e-4)
    rest = basis - found.vectors @ (found.vectors.T @ basis)
    assert rest.abs().max() < 1e-4


def test_the_slim_form_is_cheaper_and_close(inputs: Inputs) -> None:
    network = small()
    slim = FoldedPATN(network)
    found = find_directions(slim, inputs, Shares(0.0, (1e-3, 1e-3), (1e-3, 1e-3)))
    assert found
    count = {one: sum(value.numel() for value in net.parameters()) for one, net in (("whole", FoldedPATN(network)),
                                                                                     ("slim", slim))}  # fmt: skip
    assert count["slim"] < count["whole"]
    with torch.inference_mode():
        apart = (slim(*inputs) - network(*inputs)).abs().mean()
        scale = network(*inputs).abs().mean()
    assert 0 < apart < 0.1 * scale
    again = slim_down(FoldedPATN(network), found)  # what was found is all that the form needs
    with torch.inference_mode():
        assert torch.equal(again(*inputs), slim(*inputs))


def test_directions_that_do_not_fit_are_refused() -> None:
    network = FoldedPATN(small())
    good = Directions(torch.zeros(64), torch.zeros(64, 16))
    with pytest.raises(InputError, match=r"has no convolution blocks\.7\.pose\.1"):
        slim_down(network, {"blocks.7.pose.1": good})
    with pytest.raises(InputError, match=r"blocks.0.pose.1: directions \(64, 16\) for 32 channels"):
        slim_down(network, {"blocks.0.pose.1": good})


def test_shipped_directions_are_those_of_the_shipped_weights() -> None:
    """What they lose on people nobody measured: docs/speed.md tells it of more."""
    transfer = PATNTransfer.open("patn-synth")
    assert slim_for(PATNTransfer.open("patn-synth-tiny")) is None
    assert slim_for(transfer.use_blocks(2)) is not None  # a part of them
    found = slim_for(transfer.use_blocks(9))
    assert found is not None
    some = drawn_inputs((128, 64), 6.0, 2, first=9)
    with torch.inference_mode():
        whole = transfer.network(*some)
    slim = TorchEngine(slim_down(FoldedPATN(transfer.network), found.directions), "slim", "float32")(*some)
    assert (slim - whole).abs().mean() * 127.5 < 2.5  # grey levels


def test_the_cache_keeps_directions_and_mistrusts_itself(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "cache"))
    transfer, said = PATNTransfer.open(weights), []
    first = make_slim(transfer, said.append)
    assert make_slim(transfer, said.append).sha256 == first.sha256
    assert len(said) == 1  # measured once
    (kept,) = (tmp_path / "cache/slim").iterdir()
    for damage in (b"", kept.read_bytes()[:-9], b"\xff" * 64):
        kept.write_bytes(damage)
        assert make_slim(transfer, said.append).sha256 == first.sha256
    write_slim(kept, measure_slim(transfer, count=2), "0" * 64, transfer.blocks)  # of other weights
    assert make_slim(transfer, said.append).sha256 == first.sha256
    assert len(said) == 5
    with pytest.raises(InputError, match="write the weights to one first"):
        make_slim(PATNTransfer(small()), said.append)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"blocks.0.pose.1.mean": torch.zeros(32)},
        {"a.mean": torch.zeros(8), "a.vectors": torch.zeros(9, 8)},
        {"a.mean": torch.zeros(8), "a.vectors": torch.zeros(2, 7)},
    ],
)
def test_files_of_directions_from_strangers(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from augment.generators.patn.slim import directions_of

    write_weights(tmp_path / "x.safetensors", tensors, {}, "float32", SLIM_KEY)
    with pytest.raises(InputError, match="get the file again"):
        directions_of(read_weights(tmp_path / "x.safetensors", SLIM_KEY, KIND))


def test_torch_engines(inputs: Inputs) -> None:
    network = small()
    with torch.inference_mode():
        plain = network(*inputs)
    exact, half = (TorchEngine(FoldedPATN(network), "whole", precision)(*inputs) for precision in ("float32", "bf16"))
    assert torch.allclose(exact, plain, atol=2e-5)
    assert half.dtype == torch.float32
    assert 1e-5 < (half - plain).abs().mean() < 0.02
    with pytest.raises(InputError, match="int8 needs OpenVINO"):
        TorchEngine(FoldedPATN(network), "whole", "int8")


def test_openvino_gives_the_same(inputs: Inputs) -> None:
    pytest.importorskip("openvino")
    network = small()
    with torch.inference_mode():
        plain = network(*inputs)
    engine = OpenVINOEngine(FoldedPATN(network), "whole", "float32")
    assert engine.how == How("openvino", "whole", "float32")
    assert torch.allclose(engine(*inputs), plain, atol=1e-3)
    one = engine(*(value[:1] for value in inputs))  # another number of images
    assert torch.allclose(one, plain[:1], atol=1e-3)
    assert torch.equal(engine(*inputs), engine(*inputs))


def test_threads_of_openvino_are_not_pinned(inputs: Inputs) -> None:
    """Pinned ones begin with the first core in every process: two on two cores then take turns on one."""
    pytest.importorskip("openvino")
    engine = OpenVINOEngine(FoldedPATN(small().eval()), "whole", "float32")
    engine(*inputs)
    (compiled,) = engine._compiled.values()
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_int8_computes_in_8_bits(inputs: Inputs) -> None:
    pytest.importorskip("nncf")
    network = small()
    engine = OpenVINOEngine(FoldedPATN(network), "whole", "int8", calibration=inputs)
    with torch.inference_mode():
        plain = network(*inputs)
    assert 0 < (engine(*inputs) - plain).abs().mean() < 0.1
    layers = [node.get_rt_info() for node in engine._of_shape(tuple(inputs[0].shape)).get_runtime_model().get_ops()]
    precisions = [_text(info["runtimePrecision"]) for info in layers if "Convolution" in _text(info["layerType"])]
    assert precisions, "no convolution found"
    if "int8" in _text_capabilities():
        assert sum(one in ("i8", "u8") for one in precisions) > 0.8 * len(precisions), precisions


AFTERWARDS = """
import gc, subprocess, sys, torch
from augment.generators.patn.builders import build_generator
from augment.generators.patn.engines import OpenVINOEngine
from augment.generators.patn.folded import FoldedPATN

network = build_generator("patn_tiny", ngf=8, n_blocks=1).eval()
inputs = tuple(torch.zeros(2, channels, 32, 16) for channels in (3, 18, 18))
engine = OpenVINOEngine(FoldedPATN(network), "whole", sys.argv[1], calibration=inputs)
for count in (2, 1):  # a compiled network each
    engine(*(value[:count] for value in inputs))
del engine
gc.collect()
list(torch.utils.data.DataLoader([1.0, 2.0], num_workers=2))  # hears of its workers' end by a signal
subprocess.run([sys.executable, "-c", ""], check=True)
"""


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_process_lives_on_after_its_engines(precision: str) -> None:
    pytest.importorskip("nncf" if precision == "int8" else "openvino")
    ended = subprocess.run([sys.executable, "-c", AFTERWARDS, precision], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr  # -11, on a processor with AMX, where cores come and go


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def _text_capabilities() -> str:
    return " ".join(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")).lower()


def test_without_openvino_the_error_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch, "openvino")
    with pytest.raises(InputError, match=r"openvino is not installed: pip install 'patn-augment\[openvino\]'"):
        use_engine(open_generator(weights, "cpu"), How("openvino", "whole", "float32"))


def _hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name: str, *more: Any, **others: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *more, **others)

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(builtins, "__import__", refuse)


# What `auto` comes to


def as_if(monkeypatch: pytest.MonkeyPatch, rates: dict[str, float], bf16: bool = True) -> None:
    monkeypatch.setattr(speed, "rates", lambda: rates)
    monkeypatch.setattr(speed, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(speed, "has_openvino", lambda: any(name.startswith("openvino") for name in rates))


@pytest.mark.parametrize(
    ("rates", "bf16", "backend", "precision"),
    [
        ({"torch float32": 4, "torch bf16": 8}, True, "torch", "bf16"),
        ({"torch float32": 4, "torch bf16": 4.1}, True, "torch", "float32"),
        ({"torch float32": 4, "torch bf16": 8}, False, "torch", "float32"),
        ({"torch float32": 4, "torch bf16": 8, "openvino bf16": 12}, True, "openvino", "bf16"),
        ({"torch float32": 4, "torch bf16": 8, "openvino bf16": 8.2}, True, "torch", "bf16"),
        ({"torch float32": 4, "torch bf16": 4, "openvino float32": 6}, False, "openvino", "float32"),
    ],
)
def test_auto_takes_the_fastest(
    weights: Path, monkeypatch: pytest.MonkeyPatch, rates: dict[str, float], bf16: bool, backend: str, precision: str
) -> None:
    as_if(monkeypatch, rates, bf16)
    said: list[str] = []
    how = speed.settle(open_generator(weights, "cpu"), How("auto", "auto", "auto"), said.append)  # type: ignore[arg-type]
    assert how == How(backend, "whole", precision)  # no directions ship for these weights
    assert said == [f"Engine: {how} (the fastest here at next to no loss; see docs/speed.md)"]


def test_rates_are_measured_once_for_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path))
    found, asked = {"torch float32": 4.0, "torch bf16": 8.0}, []
    monkeypatch.setattr(speed, "measure", lambda: asked.append(1) or dict(found))
    assert speed.rates() == speed.rates() == found
    assert len(asked) == 1
    (kept,) = tmp_path.glob("speed-*.json")
    for text in ("", "[]", '{"machine": "x", "rates": {}}', kept.read_text().replace("4.0", "-4.0"), "[" * 99):
        kept.write_text(text)
        assert speed.rates() == found
    assert len(asked) == 6
    monkeypatch.setattr(speed, "machine_facts", lambda: ["another machine"])
    assert speed.rates() == found
    assert len(asked) == 7


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_PROBE", {"ngf": 8, "n_blocks": 1, "norm": "batch", "dropout": 0.0})
    found = speed.measure(least=0.0)
    assert {"torch float32", "torch bf16"} <= set(found)
    assert all(rate > 0 for rate in found.values())


def test_generators_that_are_not_patn() -> None:
    copy = CopyGenerator()
    assert use_engine(copy, How("auto", "auto", "auto")) == How("torch", "whole", "float32")
    for asked, told in {
        How("openvino"): "it has no openvino engine",
        How("torch", "slim"): "it has no slim engine",
        How("torch", "whole", "int8"): "it has no int8 engine",
    }.items():
        with pytest.raises(InputError, match=told):
            use_engine(copy, asked)
    with pytest.raises(InputError, match="needs an engine"):
        check_engine(copy, "int8")
    with pytest.raises(InputError, match="backend 'tensorrt': choose from auto, torch, openvino"):
        How("tensorrt")


def test_the_whole_network_is_the_default_where_an_engine_is_made() -> None:
    assert pick_weights(None, "cpu", engine=True) == "patn-synth"
    assert pick_weights(None, "cpu") == "patn-synth-tiny"
    assert pick_weights("mine", "cpu", engine=True) == "mine"


# Folders


def generate(*words: object) -> str:
    done = CliRunner().invoke(cli, ["generate", "--device", "cpu", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_folder_keeps_its_engine(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "cache"))
    people = draw_dataset(tmp_path / "people", {1: 4, 2: 4}, {3: 4})
    base = [people, "--ratio", "0.5", "--weights", weights, "--out"]
    said = generate(*base, tmp_path / "a", "--form", "slim", "--precision", "bf16", "--backend", "torch")
    assert "precision: bf16" in said
    job = read_manifest(tmp_path / "a").job
    assert (job.backend, job.precision, job.arguments["form"]) == ("torch", "bf16", "slim")
    assert len(job.arguments["slim_sha256"]) == 64
    # what is left open is what the folder was begun with, whatever is the fastest here
    as_if(monkeypatch, {"torch float32": 9, "torch bf16": 1})
    (tmp_path / "a" / MANIFEST).rename(tmp_path / "kept.json")
    (tmp_path / "a/augmentation/unfinished.json").write_text(json.dumps(job.model_dump(mode="json")))
    made = sorted((tmp_path / "a/bounding_box_train").glob("*_gen*"))
    made[0].unlink()
    generate(*base, tmp_path / "a", "--resume")
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "kept.json").read_bytes()
    with pytest.raises(InputError, match="precision: bf16, now float32"):
        generate(*base, tmp_path / "a", "--resume", "--precision", "float32")
    generate(*base, tmp_path / "b", "--form", "whole", "--precision", "float32", "--backend", "torch")
    assert "form" not in read_manifest(tmp_path / "b").job.arguments


def test_openvino_writes_the_same_bytes_again(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    people = draw_dataset(tmp_path / "people", {1: 4, 2: 4}, {3: 4})
    ways = ["--backend", "openvino", "--form", "whole", "--precision", "float32"]
    for name in ("a", "b"):
        generate(people, "--ratio", "0.5", "--weights", weights, "--out", tmp_path / name, *ways)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    job = read_manifest(tmp_path / "a").job
    assert (job.backend, job.precision) == ("openvino", "float32")
    again = [people, "--ratio", "0.5", "--weights", weights, "--out", tmp_path / "a", "--resume"]
    with pytest.raises(InputError, match="backend: openvino, now torch"):
        generate(*again, "--backend", "torch")
