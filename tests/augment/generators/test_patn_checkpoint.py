from __future__ import annotations

import collections
import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from augment.generators.patn.authors import import_checkpoint
from augment.generators.patn.builders import build_generator
from augment.generators.patn.generator import PATNGenerator
from augment.generators.patn.load import load_generator, save_generator
from augment.generators.weights import available_weights, read_weights, weights_sha256
from reid_eval.runtime import InputError

SMALL = {"ngf": 4, "n_blocks": 2}


def small(**overrides: object) -> PATNGenerator:
    torch.manual_seed(1)
    model = build_generator("patn_tiny", **{**SMALL, **overrides})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_()
    return model


def run(model: PATNGenerator) -> torch.Tensor:
    maps = torch.linspace(0, 1, 18 * 64).reshape(1, 18, 8, 8)
    with torch.no_grad():
        return model.eval()(maps[:, :3], maps, maps.flip(2))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_round_trip(tmp_path: Path, norm: str) -> None:
    model, path = small(norm=norm), tmp_path / "sub" / "w.safetensors"
    digest = save_generator(path, model, {"pairs": 12, "note": "ä"}, dtype="float32")
    assert digest == weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_generator(str(path))
    assert not loaded.training
    assert torch.equal(run(loaded), run(model))
    metadata = read_weights(path).metadata
    assert metadata["architecture"] == model.architecture
    assert metadata["info"] == {"pairs": 12, "note": "ä"}
    assert (metadata["name"], metadata["dtype"], metadata["format_version"]) == ("patn", "float32", 1)


def test_float16_is_small_close_and_repeatable(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    first = save_generator(path, model, {})
    assert first == save_generator(tmp_path / "again.safetensors", model, {})
    stored = read_weights(path).tensors
    assert stored["model.att.0.conv_block_stream1.1.weight"].dtype == torch.float16
    assert stored["model.att.0.conv_block_stream1.2.running_mean"].dtype == torch.float32
    loaded = load_generator(path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert (run(loaded) - run(model)).abs().max() < 5e-3


def test_name_of_builder_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_generator(path, build_generator("patn_tiny"), {})
    assert read_weights(path).metadata["name"] == "patn_tiny"
    assert path.stat().st_size < 7.5e6


def test_unknown_name_lists_what_ships() -> None:
    with pytest.raises(
        InputError,
        match=r"no weights named 'patn-none': did you mean patn-synth\? give a .safetensors file or one of: ",
    ) as caught:
        load_generator("patn-none")
    assert all(name in str(caught.value) for name in available_weights())


def test_bad_saves(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="dtype must be one of float16, float32, int8, got 'int4'"):
        save_generator(path, model, {}, dtype="int4")
    with pytest.raises(InputError, match="not JSON"):
        save_generator(path, model, {"x": object()})
    with torch.no_grad():
        model.model.stream1_up[7].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError, match=r"model.stream1_up.7.weight is not finite in float16"):
        save_generator(path, model, {})
    assert list(tmp_path.iterdir()) == []


def rewrite(path: Path, change: object, metadata: dict[str, object] | None = None) -> None:
    file = read_weights(path)
    tensors = dict(file.tensors)
    change(tensors)  # type: ignore[operator]
    text = json.dumps({**file.metadata, **(metadata or {})})
    safetensors.torch.save_file(tensors, path, {"patn_augment": text})


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        (lambda t: t.pop("model.stream1_up.7.bias"), {}, "1 missing: model.stream1_up.7.bias$"),
        (lambda t: t.update(extra=torch.ones(1)), {}, "1 unexpected: extra$"),
        (
            lambda t: t.update({"model.stream1_up.7.bias": torch.ones(4)}),
            {},
            r"1 of another shape: model.stream1_up.7.bias \(4,\) for \(3,\)$",
        ),
        (lambda t: t["model.stream1_up.7.bias"].fill_(float("nan")), {}, "stream1_up.7.bias holds values that are not"),
        (lambda t: t.update({"model.stream1_up.7.bias": torch.ones(3, dtype=torch.int64)}), {}, "not finite numbers"),
        (lambda t: None, {"format_version": 2}, "format version 2, this program reads 1"),
        (lambda t: None, {"architecture": {"ngf": 4, "depth": 2}}, "bad architecture.*depth"),
        (lambda t: None, {"architecture": None}, "bad architecture"),
    ],
)
def test_wrong_contents(tmp_path: Path, change: object, metadata: dict[str, object], message: str) -> None:
    path = tmp_path / "w.safetensors"
    save_generator(path, small(), {})
    rewrite(path, change, metadata)
    with pytest.raises(InputError, match=message):
        load_generator(path)


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"can't read weights .*w.safetensors: No such file"):
        load_generator(path)
    save_generator(path, small(), {})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [rng.bytes(n) for n in (8, 64, 5000)] + [b"\xff" * 64, whole + b"x"]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(InputError, match="not a readable safetensors file"):
            load_generator(path)
    safetensors.torch.save_file({"x": torch.ones(1)}, path)
    with pytest.raises(InputError, match="no 'patn_augment' metadata"):
        load_generator(path)


def test_what_ships_is_told_from_what_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that claims more bytes than the file has is never read."""
    save_generator(tmp_path / "good.safetensors", small(), {})
    (tmp_path / "huge.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "short.safetensors").write_bytes(b"\x01")
    (tmp_path / "list.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors", {"patn_pose": "{}"})
    monkeypatch.setattr("augment.generators.weights._folder", lambda: tmp_path)
    assert available_weights() == ["good"]
    assert available_weights("patn_pose") == ["other"]


# The authors' files


def authors_file(path: Path, model: PATNGenerator, **extra: torch.Tensor) -> collections.OrderedDict[str, torch.Tensor]:
    """What their code saves: a plain state dict; PyTorch 0.3.1 had no batch counters and the older container."""
    state = collections.OrderedDict(
        (key, value) for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")
    )
    state.update(extra)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return state


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_import(tmp_path: Path, norm: str, dropout: float) -> None:
    model = small(norm=norm, dropout=dropout)
    authors_file(tmp_path / "latest_net_netG.pth", model)
    report = import_checkpoint(tmp_path / "latest_net_netG.pth", tmp_path / "out.safetensors")
    assert report.architecture == model.architecture
    assert report.parameters == sum(p.numel() for p in model.parameters())
    assert (report.dropped, report.without_prefix) == ((), 0)
    assert report.sha256 == weights_sha256(report.path)
    assert torch.equal(run(load_generator(report.path)), run(model))


def test_import_of_todays_pytorch_and_data_parallel(tmp_path: Path) -> None:
    model = small()
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "g.pth")
    report = import_checkpoint(tmp_path / "g.pth", tmp_path / "out.safetensors")
    assert report.without_prefix == len(state)
    assert "removed DataParallel" in report.lines()[-1]
    assert torch.equal(run(load_generator(report.path)), run(model))
    torch.save({**state, "model.stream1_up.7.bias": torch.zeros(3)}, tmp_path / "g.pth")
    with pytest.raises(InputError, match=r"model.stream1_up.7.bias is there twice"):
        import_checkpoint(tmp_path / "g.pth", tmp_path / "out.safetensors")


def test_import_drops_instance_norm_statistics_and_says_so(tmp_path: Path) -> None:
    model = small(norm="instance")
    statistics = {
        "model.stream1_down.2.running_mean": torch.zeros(4),
        "model.att.1.conv_block_stream1.7.running_var": torch.ones(16),
        "model.att.1.conv_block_stream1.7.num_batches_tracked": torch.tensor(3),
    }
    authors_file(tmp_path / "g.pth", model, **statistics)
    report = import_checkpoint(tmp_path / "g.pth", tmp_path / "out.safetensors")
    assert report.dropped == tuple(sorted(statistics))
    assert "dropped 3 InstanceNorm statistics" in "\n".join(report.lines())
    assert torch.equal(run(load_generator(report.path)), run(model))
    authors_file(tmp_path / "g.pth", model, **{"model.stream1_down.3.running_mean": torch.zeros(4)})  # no norm there
    with pytest.raises(InputError, match=r"1 unexpected: model.stream1_down.3.running_mean"):
        import_checkpoint(tmp_path / "g.pth", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.att.1.conv_block_stream1.7.bias"), "1 missing: model.att.1.conv_block_stream1.7.bias"),
        (lambda s: s.pop("model.stream1_down.1.weight"), "not a PATN generator: no key model.stream1_down.1.weight"),
        (lambda s: s.update({"model.fine.0.weight": torch.ones(1)}), "1 unexpected: model.fine.0.weight"),
        (lambda s: s.update({"model.stream1_up.7.bias": torch.ones(1)}), r"stream1_up.7.bias \(1,\) for \(3,\)"),
        (lambda s: s.update({"model.stream1_down.1.weight": torch.ones(4)}), r"has shape \(4,\)"),
        (lambda s: s.update({"model.stream2_down.1.weight": torch.ones(4, 35, 7, 7)}), "35 channels, not two poses"),
        (lambda s: s.update({"model.stream1_up.7.bias": torch.full((3,), torch.inf)}), "not finite numbers"),
        (lambda s: s.update({"epoch": 3}), "entry 'epoch' is a int, not a named tensor"),
        (
            lambda s: [s.pop(k) for k in list(s) if ".att." in k],
            "bad architecture: n_blocks: .*greater than or equal to 1",
        ),
    ],
)
def test_import_names_what_is_wrong(tmp_path: Path, change: object, message: str) -> None:
    state = authors_file(tmp_path / "g.pth", small())
    change(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(InputError, match=message):
        import_checkpoint(tmp_path / "g.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


class Attack:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.witness),)


def test_import_refuses_code(tmp_path: Path) -> None:
    path, witness = tmp_path / "g.pth", tmp_path / "ran"
    torch.save({"model.stream1_down.1.weight": Attack(witness)}, path)
    with pytest.raises(InputError, match=r"^[^\n]*holds code or objects, not only tensors: refused[^\n]*$"):
        import_checkpoint(path, tmp_path / "out.safetensors")
    path.write_bytes(pickle.dumps(Attack(witness)))
    with pytest.raises(InputError, match=r"refused|not a readable"):
        import_checkpoint(path, tmp_path / "out.safetensors")
    assert not witness.exists()


def test_import_of_unreadable_files(tmp_path: Path) -> None:
    path, out = tmp_path / "g.pth", tmp_path / "out.safetensors"
    with pytest.raises(InputError, match=r"can't read .*g.pth: No such file"):
        import_checkpoint(path, out)
    authors_file(path, small())
    whole = path.read_bytes()
    torch.save(small().state_dict(), path)
    zipped = path.read_bytes()
    rng = np.random.default_rng(0)
    for data in [b"", b"abc", whole[:300], whole[: len(whole) // 2], zipped[: len(zipped) // 2], rng.bytes(3000)]:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"not a readable PyTorch file|refused"):
            import_checkpoint(path, out)
    for wrong in ([torch.ones(1)], torch.ones(1), {}):
        torch.save(wrong, path)
        with pytest.raises(InputError, match="not a state dict"):
            import_checkpoint(path, out)


def test_int8_is_half_of_float16_and_near_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = build_generator("patn_tiny", n_blocks=1).eval()
    sizes = {}
    for dtype in ("float16", "int8"):
        save_generator(tmp_path / f"{dtype}.safetensors", generator, {"a": 1}, dtype)
        sizes[dtype] = (tmp_path / f"{dtype}.safetensors").stat().st_size
    assert sizes["int8"] < 0.56 * sizes["float16"]
    again = load_generator(str(tmp_path / "int8.safetensors"))
    for key, value in generator.state_dict().items():
        if value.ndim > 1:
            step = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True) / 127
            assert ((again.state_dict()[key] - value).abs() <= 0.5001 * step).all()
        elif value.is_floating_point():
            assert torch.equal(again.state_dict()[key], value)


def test_int8_of_a_channel_of_zeros(tmp_path: Path) -> None:
    generator = build_generator("patn_tiny", n_blocks=1)
    with torch.no_grad():
        generator.model.stream1_down[1].weight[0] = 0
    save_generator(tmp_path / "w.safetensors", generator, {}, "int8")
    assert (load_generator(str(tmp_path / "w.safetensors")).model.stream1_down[1].weight[0] == 0).all()
