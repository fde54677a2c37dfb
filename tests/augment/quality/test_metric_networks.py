"""Metrics that look with a network: their formulas, and how their weights are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy import Toy

from augment.quality.detection import Detector
from augment.quality.extras import Unavailable, need
from augment.quality.inception import Inception, frechet_distance, inception_score
from augment.quality.perceptual import Lpips
from reid_eval.runtime import InputError

RNG = np.random.default_rng(0)


def images(count: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    """Smooth random pictures, uint8 [count, H, W, 3]."""
    small = RNG.integers(30, 220, (count, size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
    return small.repeat(4, 1).repeat(4, 2)


def test_inception_score_of_known_distributions() -> None:
    same = np.tile([0.5, 0.3, 0.2], (20, 1))
    assert inception_score(same)[0] == pytest.approx(1.0)
    sure = np.eye(4)[np.arange(40) % 4]  # each part of four sees each of four classes once
    assert inception_score(sure)[0] == pytest.approx(4.0)
    two = np.array([[0.9, 0.1], [0.1, 0.9]] * 10)
    divergence = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    score, spread = inception_score(two)
    assert score == pytest.approx(np.exp(divergence))
    assert spread == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InputError, match="as many images, got 9"):
        inception_score(sure[:9])


def test_frechet_distance_by_hand_and_against_the_matrix_root() -> None:
    from scipy.linalg import sqrtm

    a = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])  # covariance diag(2/3, 8/3)
    b = a * [3.0, 0.5] + [5.0, 0.0]  # diag(6, 2/3), shifted by 5
    by_hand = 25 + (np.sqrt(6) - np.sqrt(2 / 3)) ** 2 + (np.sqrt(8 / 3) - np.sqrt(2 / 3)) ** 2
    assert frechet_distance(a, b) == pytest.approx(by_hand)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    a, b = RNG.normal(size=(50, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6))
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="two sets of two or more"):
        frechet_distance(a, b[:1])


def test_inception_reads_weights_from_a_file_without_running_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = need("torch_fidelity.feature_extractor_inceptionv3", "quality")
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        random = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    file = tmp_path / "inception.pth"
    torch.save(random.state_dict(), file)
    out = Inception(file)(images(2))
    assert out.features.shape == (2, 2048)
    np.testing.assert_allclose(out.probabilities.sum(1), 1)
    torch.save({"model": Toy()}, file)  # pickled code
    with pytest.raises(InputError, match="holds code or objects, not only tensors"):
        Inception(file)
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not fit torch-fidelity's Inception"):
        Inception(file)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", "/nonexistent-cache")
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)

    def detector() -> Detector:
        return Detector(name="ssdlite320_mobilenet_v3_large")

    for build, needs in ((Inception, "inception"), (Lpips, "lpips"), (detector, "detector")):
        with pytest.raises(Unavailable, match=r"cannot be downloaded \(.*\): give a file of them$") as error:
            build()
        assert error.value.needs == needs


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(Unavailable, match=r"no_such_library is not installed: pip install 'patn-augment\[quality\]'"):
        need("no_such_library", "quality")


def test_lpips_is_its_formula(tmp_path: Path) -> None:
    import torchmetrics
    from torchvision.models import alexnet

    torch.manual_seed(0)
    network = alexnet(weights=None).eval()
    file = tmp_path / "alexnet.pth"
    torch.save(network.state_dict(), file)
    made, real = images(2, (64, 64)), images(2, (64, 64))
    heads = torch.load(
        Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth", "cpu", weights_only=True
    )
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    features: list[list[torch.Tensor]] = []
    for batch in (made, real):
        x = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = (x - shift.view(1, 3, 1, 1)) / scale.view(1, 3, 1, 1)
        found = []
        for number, layer in enumerate(network.features):
            x = layer(x)
            if number in (1, 4, 7, 9, 11):  # after each ReLU
                found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        features.append(found)
    total = torch.zeros(2)
    for level, (a, b) in enumerate(zip(*features, strict=True)):
        total += ((a - b) ** 2 * heads[f"lin{level}.model.1.weight"]).sum(1).mean((1, 2))
    usual = torch.hub.get_dir()
    measure = Lpips(file)
    assert torch.hub.get_dir() == usual
    np.testing.assert_allclose(measure(made, real), total.detach().numpy(), rtol=1e-3)
    np.testing.assert_allclose(measure(made, made), 0, atol=1e-7)
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="is not torchvision's AlexNet"):
        Lpips(file)


def test_detection_score_is_the_best_person() -> None:
    answers = iter(
        [
            {"scores": torch.tensor([0.9, 0.7, 0.4]), "labels": torch.tensor([3, 1, 1])},
            {"scores": torch.tensor([0.9]), "labels": torch.tensor([3])},
        ]
    )

    class Fake(torch.nn.Module):
        def forward(self, batch: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            assert all(float(image.max()) <= 1 for image in batch)
            return [next(answers) for _ in batch]

    np.testing.assert_allclose(Detector(model=Fake())(images(2)), [0.7, 0.0], atol=1e-6)
    with pytest.raises(InputError, match="choose from ssd300_vgg16"):
        Detector(name="yolo")


def test_a_torchvision_detector_runs_from_a_file(tmp_path: Path) -> None:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(0)
    file = tmp_path / "ssd.pth"
    torch.save(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict(), file)
    scores = Detector(file, name="ssdlite320_mobilenet_v3_large")(images(1))
    assert scores.shape == (1,)
    assert 0 <= scores[0] <= 1
