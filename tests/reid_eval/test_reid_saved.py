"""Networks in files: written, read, started from; timm's models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from reid_eval.backbones import build, check_backbone, load_model, save_model
from reid_eval.features import extract, extract_features
from reid_eval.model_file import METADATA_KEY, is_model_file, read_model_file
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.training import Trained, train_on

SMALL = TrainSettings(
    backbone="torchreid:osnet_x0_25", neck="bnneck", size=(64, 64), epochs=2, batch_size=4, device="cpu", amp="off"
)
People = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), np.uint8)


@pytest.fixture(scope="module")
def trained(images: NDArray[np.uint8]) -> Trained:
    return train_on(images, np.repeat(np.arange(4), 2), SMALL, 2, people=(3, 5, 8, 13))


@pytest.fixture(scope="module")
def file(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    save_model(path, trained.model, {"data": {"train": "somewhere", "n_train": 8}, "scores": {"mAP": 0.5}})
    return path


def test_a_network_comes_back_as_it_was(trained: Trained, file: Path, images: NDArray[np.uint8]) -> None:
    model = load_model(file)
    assert not model.training
    assert (model.people, model.settings, model.size, model.init) == ((3, 5, 8, 13), SMALL, (64, 64), "scratch")
    np.testing.assert_array_equal(extract(model, images), extract(trained.model, images))
    for key, value in trained.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)
    again = file.with_name("again.safetensors")
    facts = {"data": {"train": "somewhere", "n_train": 8}, "scores": {"mAP": 0.5}}
    assert save_model(again, model, facts) == read_model_file(file).sha256
    assert again.read_bytes() == file.read_bytes()


def test_a_file_says_what_it_is(file: Path) -> None:
    told = read_model_file(file).metadata
    assert told["people"] == [3, 5, 8, 13]
    assert told["settings"]["backbone"] == told["backbone"] == "torchreid:osnet_x0_25"
    assert told["data"]["n_train"] == 8
    assert told["scores"] == {"mAP": 0.5}
    assert set(told["versions"]) == {"torch", "numpy"}
    assert is_model_file(file)


def test_an_untrained_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only a trained one is saved"):
        save_model(tmp_path / "x.safetensors", build("torchreid:osnet_x0_25", 2))


def _changed(file: Path, target: Path, change: Callable[[dict, dict], None]) -> Path:
    whole = read_model_file(file)
    metadata, tensors = dict(whole.metadata), dict(whole.tensors)
    change(metadata, tensors)
    target.write_bytes(safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(metadata)}))
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: t.pop("classifier.weight"), "it has no classifier.weight"),
        (lambda m, t: t.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda m, t: t.update({"classifier.weight": torch.zeros(3, 3)}), "4 classes, classifier.weight is"),
        (lambda m, t: t["classifier.weight"].fill_(float("nan")), "1 not finite: classifier.weight"),
        (lambda m, t: m.update(format_version=9), "has format version 9, this program reads 1"),
        (lambda m, t: m.update(settings={"lr": -1}), "bad metadata"),
        (lambda m, t: m.update(settings=5), "bad metadata"),
        (lambda m, t: m.update(classes=10**12), "bad metadata"),
        (lambda m, t: m.update(people=[1]), "1 people for 4 classes"),
        (lambda m, t: m.update(width=7), "features of width 7, its backbone has 512"),
    ],
)
def test_files_that_were_changed(
    file: Path, tmp_path: Path, change: Callable[[dict, dict], None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(_changed(file, tmp_path / "bad.safetensors", change))


def test_files_that_are_none(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    with pytest.raises(InputError, match="can't read the network"):
        load_model(bad)
    for data in (b"", b"12345", b"\xff" * 8 + b"{}", (10).to_bytes(8, "little") + b"not a json"):
        bad.write_bytes(data)
        assert not is_model_file(bad)
        with pytest.raises(InputError, match="is not a readable safetensors file"):
            load_model(bad)
    bad.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(InputError, match="not a network that reid-eval saved"):
        load_model(bad)


def test_a_training_starts_from_a_saved_network(file: Path, images: NDArray[np.uint8], trained: Trained) -> None:
    labels, settings = np.repeat(np.arange(4), 2), replace(SMALL, init=str(file), lr=1e-9)
    same = train_on(images, labels, settings, 1, people=(3, 5, 8, 13)).model
    assert same.init.endswith("trunk and classifier, for the same people")
    torch.testing.assert_close(same.classifier.weight, trained.model.classifier.weight, atol=1e-5, rtol=0)
    other = train_on(images, labels, settings, 1, people=(3, 5, 8, 14)).model
    assert other.init.endswith("trunk; a new classifier")
    assert not torch.allclose(other.classifier.weight, trained.model.classifier.weight, atol=1e-3)
    with pytest.raises(InputError, match=r"holds a torchreid:osnet_x0_25, not a resnet50"):
        train_on(images, labels, replace(settings, backbone="resnet50", neck="none"), 1)


def test_features_of_anything(file: Path, images: NDArray[np.uint8], tmp_path: Path) -> None:
    from PIL import Image

    model = load_model(file).train()
    expected = extract_features(model, images, amp="off")
    assert model.training  # its mode stays as it was
    assert expected.shape == (8, 512)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    paths = [tmp_path / f"{n}.png" for n in range(8)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    np.testing.assert_allclose(extract_features(model, paths, amp="off"), expected, atol=1e-6)
    large = torch.from_numpy(images).repeat_interleave(2, 2).repeat_interleave(2, 3)
    np.testing.assert_allclose((extract_features(model, large, amp="off") * expected).sum(1), 1, atol=0.05)
    with pytest.raises(InputError, match=r"images are float32 \[8, 3, 64, 64\], expected uint8"):
        extract_features(model, images.astype(np.float32))


def test_timm_models(images: NDArray[np.uint8], tmp_path: Path) -> None:
    pytest.importorskip("timm")
    settings = replace(SMALL, backbone="timm:resnet10t", neck="none")
    check_backbone(settings.backbone)
    model = train_on(images, np.repeat(np.arange(4), 2), settings, 1, people=(1, 2, 3, 4)).model
    assert extract(model, images).shape == (8, 512)
    save_model(tmp_path / "timm.safetensors", model)
    np.testing.assert_array_equal(extract(load_model(tmp_path / "timm.safetensors"), images), extract(model, images))
    with pytest.raises(InputError, match=r"timm has no such model; did you mean .*resnet"):
        check_backbone("timm:resnet10tt")


def test_timm_models_of_one_size_are_built_for_it_with_their_own_normalisation(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    from reid_eval.backbones import build_for

    settings = replace(SMALL, backbone="timm:test_vit", size=(64, 32), neck="none")
    model = build_for(settings, 3, settings.size).eval()
    assert model.mean.flatten().tolist() == [0.5, 0.5, 0.5]  # not ImageNet's
    wide = np.zeros((1, 3, 64, 32), np.uint8)
    features = extract_features(model, wide, amp="off")
    assert features.shape == (1, 64)
    save_model(tmp_path / "vit.safetensors", model)
    np.testing.assert_array_equal(extract_features(load_model(tmp_path / "vit.safetensors"), wide, amp="off"), features)
    with pytest.raises(InputError, match=r"last_stride is for resnet50 .*: use 2"):
        build("timm:resnet10t", 2, last_stride=1)
    with pytest.raises(InputError, match=r"timm:test_vit does not take images of 33x32 \(Input height \(33\)"):
        build("timm:test_vit", 2, size=(33, 32))


def test_weights_of_timm_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def no_network(name: str, pretrained: bool, **options: object) -> None:
        assert pretrained
        raise OSError("no network\nand more")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(InputError, match=r"timm's weights of timm:resnet10t cannot be had \(no network\): use init"):
        build("timm:resnet10t", 2, init="imagenet")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'patn-augment\[timm\]'"):
        check_backbone("timm:resnet10t")
