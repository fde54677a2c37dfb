"""Exits before the last block: what they change, how they start, how they are drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augment.folder.carry import Source
from augment.folder.generate import generate
from augment.generators.patn.blocks import is_norm
from augment.generators.patn.builders import build_generator, patn_tiny
from augment.generators.patn.load import load_generator, save_generator
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import build_state
from augment.generators.patn.step import blocks_at
from augment.generators.patn.train import train_generator
from augment.generators.weights import read_weights
from augment.pairs.tensors import TensorPairs
from augment.plan.sampler import make_plan
from augment.pose import load_annotations
from augment.quality.depth import depth_curve
from augment.quality.plots import plot_depths, plot_losses
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError

torch.set_num_threads(1)
SMALL: dict[str, Any] = {"ngf": 4, "n_blocks": 3}


def inputs(size: tuple[int, int] = (16, 8)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(2, channels, *size, generator=generator) for channels in (3, 18, 18)]


def pairs() -> TensorPairs:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    joints = rng.uniform(0, 8, (6, 18, 2)).astype(np.float32)
    return TensorPairs(images, joints, np.arange(6) // 3 + 1, masks=np.ones((6, 16, 16), np.uint8))


def settings(**changes: Any) -> PATNTrainSettings:
    plain = {
        "generator": "patn_tiny", "overrides": {**SMALL, "any_depth": True}, "ndf": 4, "d_blocks": 1, "batch_size": 2,
        "constant_steps": 4, "decay_steps": 2, "epoch_steps": 1, "pool_size": 2, "perceptual": "off",
    }  # fmt: skip
    return PATNTrainSettings(**{**plain, **changes})


@pytest.mark.parametrize("norm_name", ["batch", "instance"])
def test_leaving_early_is_a_network_of_fewer_blocks(norm_name: str) -> None:
    deep = build_generator("patn_tiny", **SMALL, norm=norm_name, any_depth=True).eval()
    with torch.no_grad():
        for parameter in deep.parameters():  # a fresh start maps everything to nearly the same grey
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    shallow = build_generator("patn_tiny", ngf=4, n_blocks=2, norm=norm_name).eval()
    wanted = shallow.state_dict()
    own = {k: v for k, v in deep.state_dict().items() if k in wanted}
    shallow.load_state_dict(own)
    norms = [layer for layer in shallow.model.stream1_up if is_norm(layer)]
    for norm, exit_norm in zip(norms, deep.exits[1], strict=True):  # type: ignore[index, call-overload]
        norm.load_state_dict(exit_norm.state_dict())
    torch.testing.assert_close(deep.use_blocks(2)(*inputs()), shallow(*inputs()))
    full = deep.use_blocks(3)(*inputs())
    assert not torch.equal(full, shallow(*inputs()))
    assert len(deep.use_blocks(2).attention(*inputs())[1]) == 2


def test_each_exit_keeps_statistics_of_its_own() -> None:
    deep = build_generator("patn_tiny", **SMALL, any_depth=True).train()
    assert deep.exits is not None
    before = [{k: v.clone() for k, v in norms.state_dict().items()} for norms in deep.exits]
    last = {k: v.clone() for k, v in deep.model.stream1_up.state_dict().items()}
    deep.use_blocks(1)(*inputs())
    after = [norms.state_dict() for norms in deep.exits]
    assert not all(map(torch.equal, before[0].values(), after[0].values()))
    assert all(map(torch.equal, before[1].values(), after[1].values()))
    assert all(map(torch.equal, last.values(), deep.model.stream1_up.state_dict().values()))


def test_a_plain_generator_has_one_depth_and_says_so() -> None:
    plain = build_generator("patn_tiny", **SMALL)
    assert "any_depth" not in plain.architecture
    with pytest.raises(InputError, match="serve 3 blocks only"):
        plain.use_blocks(2)
    with pytest.raises(InputError, match="1 to 3"):
        plain.use_blocks(4)
    with pytest.raises(InputError, match="serve 3 blocks only"):
        depth_curve(PATNTransfer(plain.eval()), pairs(), 2)


def test_weights_keep_their_exits(tmp_path: Path) -> None:
    deep = build_generator("patn_tiny", **SMALL, any_depth=True).eval()
    save_generator(tmp_path / "deep.safetensors", deep, {}, "float32")
    again = load_generator(str(tmp_path / "deep.safetensors"))
    torch.testing.assert_close(again.use_blocks(1)(*inputs()), deep.use_blocks(1)(*inputs()))
    assert read_weights(str(tmp_path / "deep.safetensors")).metadata["architecture"]["any_depth"] is True


def test_plain_weights_start_an_any_depth_training(tmp_path: Path) -> None:
    plain = build_generator("patn_tiny", **SMALL).eval()
    plain.model.stream1_up[1].running_mean.fill_(0.25)
    save_generator(tmp_path / "plain.safetensors", plain, {}, "float32")
    state = build_state(settings(init_weights=str(tmp_path / "plain.safetensors")))
    torch.testing.assert_close(state.generator.eval().use_blocks(3)(*inputs()), plain(*inputs()))
    assert state.generator.exits is not None
    assert float(state.generator.exits[0][0].running_mean.mean()) == 0.25  # type: ignore[index]


def test_exits_are_drawn_by_step_and_share() -> None:
    chosen = settings(exit_share=0.6)
    architecture = build_generator("patn_tiny", **SMALL, any_depth=True).architecture
    drawn = Counter(blocks_at(step, architecture, chosen) for step in range(600))
    assert drawn == Counter(blocks_at(step, architecture, chosen) for step in range(600))
    assert set(drawn) == {1, 2, 3}
    assert 200 < drawn[3] < 280
    assert abs(drawn[1] - drawn[2]) < 60
    assert {blocks_at(step, {"n_blocks": 3}, chosen) for step in range(50)} == {3}


def test_training_an_any_depth_generator_and_its_curve(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    result = train_generator(settings(), pairs(), tmp_path / "run")
    generator = PATNTransfer.open(str(result.weights))
    points = depth_curve(generator, pairs(), 4, speed_batch=1)
    assert [point.blocks for point in points] == [1, 2, 3]
    assert all(-1 <= point.ssim <= 1 and point.l1 > 0 and point.images_per_second > 0 for point in points)
    assert generator.blocks == 3
    plot_depths(points, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    json.dumps([point.to_dict() for point in points])
    plot_losses(tmp_path / "run" / "train.jsonl", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("{}", "is not the train.jsonl"), ("x", "is not")])
def test_what_is_no_log(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(InputError, match=message):
        plot_losses(tmp_path / "log", tmp_path / "losses.png")


def test_a_folder_is_begun_for_one_depth(tmp_path: Path, tiny_data: ReidData) -> None:
    """Weights alone do not tell two depths apart: the manifest does, and an unfinished folder goes on with its own."""
    torch.manual_seed(0)
    weights = tmp_path / "any.safetensors"
    save_generator(weights, patn_tiny(ngf=4, n_blocks=2, dropout=0.0, any_depth=True), {"data": "x", "size": [128, 64]})
    keypoints = load_annotations(tiny_data.root)
    source, plan = Source(tiny_data, keypoints), make_plan(tiny_data.train, keypoints, ratio=0.2)
    early, whole = (PATNTransfer.open(weights).use_blocks(blocks) for blocks in (1, 2))
    manifest = generate(source, plan, early, tmp_path / "out")
    assert manifest is not None
    assert manifest.job.arguments == {"blocks": 1}
    with pytest.raises(InputError, match=r"made with other settings \(blocks: 1, now None\)"):
        generate(source, plan, whole, tmp_path / "out", resume=True)
