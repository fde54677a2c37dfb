"""The metrics against hand-worked values and plain oracles, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import SIZE, draw_person, some_pose, standing
from toy import Toy

from augment.commands.main import main
from augment.folder.generate import generate
from augment.folder.source import Source
from augment.plan.sampler import make_plan
from augment.pose import JOINTS, load_annotations
from augment.pose.library import shipped_library
from augment.pose.skeleton import normalise
from augment.quality.catalogue import METRICS
from augment.quality.coverage import pose_diversity, pose_space, pose_space_picture
from augment.quality.detection import Detector
from augment.quality.extras import Unavailable, need
from augment.quality.inception import Inception, frechet_distance, inception_score
from augment.quality.joints import head_boxes, pckh
from augment.quality.likeness import colour_drift, cosine, part_colours
from augment.quality.material import folder_material
from augment.quality.metrics import Material, Tools, measure_quality
from augment.quality.perceptual import Lpips
from augment.quality.similarity import joints_mask, l1, masked, ssim
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError

RNG = np.random.default_rng(0)


def images(count: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    """Smooth random pictures, uint8 [count, H, W, 3]."""
    small = RNG.integers(30, 220, (count, size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
    return small.repeat(4, 1).repeat(4, 2)


def ssim_oracle(x: np.ndarray, y: np.ndarray, span: float) -> float:
    """Wang et al. 2004, equation 13, pixel by pixel with an 11x11 Gaussian window; mean where the window fits."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = []
    for channel in range(3):
        a, b = x[..., channel].astype(float), y[..., channel].astype(float)
        for row in range(5, a.shape[0] - 5):
            for column in range(5, a.shape[1] - 5):
                p, q = (m[row - 5 : row + 6, column - 5 : column + 6] for m in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_l1_of_black_and_white_is_two() -> None:
    black, white = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 255, np.uint8)
    np.testing.assert_allclose(l1(black, white), [2.0])
    np.testing.assert_allclose(l1(white, white), [0.0])
    half = white.copy()
    half[:, :4] = 0
    np.testing.assert_allclose(l1(half, white), [1.0])


def test_ssim_is_the_formula_with_the_generated_range() -> None:
    made, real = images(2), images(2)
    made[0] = made[0] // 2 + 40  # a narrow range of its own
    spans = [int(i.max()) - int(i.min()) for i in made]
    expected = [ssim_oracle(r, m, span) for r, m, span in zip(real, made, spans, strict=True)]
    np.testing.assert_allclose(ssim(made, real), expected, atol=1e-6)
    expected = [ssim_oracle(r, m, 255) for r, m in zip(real, made, strict=True)]
    np.testing.assert_allclose(ssim(made, real, authors=False), expected, atol=1e-6)
    assert abs(ssim(made, real) - ssim(made, real, authors=False)).max() > 1e-3


def test_ssim_of_the_same_image_and_of_a_constant_one() -> None:
    real = images(1)
    np.testing.assert_allclose(ssim(real, real), [1.0])
    np.testing.assert_allclose(ssim(np.full_like(real, 9), real), [0.0])


def test_mask_is_limbs_eight_pixels_wide() -> None:
    xy = np.full((18, 2), np.nan, np.float32)
    assert not joints_mask(xy, (64, 32)).any()
    xy[9] = [16, 20]  # a knee alone: a disc of radius 4
    rows, columns = np.mgrid[:64, :32]
    inside = (rows - 20) ** 2 + (columns - 16) ** 2 < 16
    mask = joints_mask(xy, (64, 32))
    assert mask[inside].all()
    assert mask.sum() <= inside.sum() + 8  # closing fills the corners of the disc
    xy[10] = [16, 50]  # and its ankle: all that is nearer than 4 to the line
    mask = joints_mask(xy, (64, 32))
    assert mask[20:51, 13:20].all()
    assert not mask[20:51, :12].any()
    assert not mask[20:51, 21:].any()
    assert not mask[:16].any()
    assert not mask[55:].any()
    np.testing.assert_array_equal(masked(np.full((1, 64, 32, 3), 7, np.uint8), mask[None])[0, ..., 0] == 7, mask)


def test_mask_covers_the_trunk() -> None:
    mask = joints_mask(standing(), SIZE)
    assert mask[45, 24]  # beside the line from shoulder to hip
    assert 0.15 < mask.mean() < 0.5
    assert not mask[:, 58:].any()


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
    with pytest.raises(InputError, match="cannot be read as weights"):
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

    for build, option in ((Inception, "--inception"), (Lpips, "--lpips"), (detector, "--detector")):
        with pytest.raises(Unavailable, match=rf"cannot be downloaded \(.*\): give {option} FILE"):
            build()


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
    measure = Lpips(file)
    np.testing.assert_allclose(measure(made, real), total.detach().numpy(), rtol=1e-3)
    np.testing.assert_allclose(measure(made, made), 0, atol=1e-7)
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="is not torchvision's AlexNet"):
        Lpips(file)


def pckh_oracle(found: np.ndarray, asked: np.ndarray) -> tuple[int, int]:
    """The authors' loops, joint by joint, with -1 for missing."""
    right = valid = 0
    for p, t in zip(np.nan_to_num(found, nan=-1), np.nan_to_num(asked, nan=-1), strict=True):
        head = [t[j] for j in (0, 1, 14, 15, 16, 17) if t[j][0] != -1 and t[j][1] != -1]
        if len(head) < 2:
            continue
        width = max(h[0] for h in head) - min(h[0] for h in head)
        height = max(h[1] for h in head) - min(h[1] for h in head)
        for j in range(18):
            valid += t[j][1] != -1
            if -1 not in (*p[j], *t[j]):
                right += abs(p[j][0] - t[j][0]) < width * 0.5 and abs(p[j][1] - t[j][1]) < height * 0.5
    return right, valid


def test_pckh_by_hand() -> None:
    asked = standing()[None]
    np.testing.assert_allclose(head_boxes(asked), [[8, 14]])  # ears 28..36, eyes 12 to neck 26
    found = asked.copy()
    assert pckh(found, asked).share == 1.0
    found[0, 2] += [3.9, 6.9]  # just inside half a box
    found[0, 3] += [4.0, 0.0]  # on its edge, which is wrong
    found[0, 4] += [0.0, 7.5]
    found[0, 5] = np.nan
    result = pckh(found, asked)
    assert (result.right, result.asked, result.images) == (15, 18, 1)
    asked[0, [0, 14, 15, 16, 17]] = np.nan  # the neck alone is no head
    assert np.isnan(pckh(found, asked).share)


def test_pckh_is_the_authors_loops() -> None:
    rng = np.random.default_rng(3)
    asked = np.stack([some_pose(rng) for _ in range(40)])
    asked[:5, [0, 14, 15, 16]] = np.nan
    found = asked + rng.normal(0, 4, asked.shape)
    found[rng.random((40, 18)) < 0.2] = np.nan
    result = pckh(found, asked)
    assert (result.right, result.asked) == pckh_oracle(found, asked)


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


def test_part_colours_and_their_drift() -> None:
    white = np.full((*SIZE, 3), 255, np.uint8)
    black_shirt = white.copy()
    black_shirt[20:72] = 0
    a, b = part_colours(white, standing()), part_colours(black_shirt, standing())
    np.testing.assert_allclose(a, np.tile([50, 0, 0], (4, 1)), atol=0.1)  # L* of white is 100, halved
    np.testing.assert_allclose(b[0], [0, 0, 0], atol=5)
    np.testing.assert_allclose(b[3], [50, 0, 0], atol=0.1)
    assert colour_drift(a, a) == 0
    by_hand = np.linalg.norm(a - b, axis=1) @ [3, 1, 2, 1] / 7
    assert colour_drift(a, b) == pytest.approx(by_hand)
    assert by_hand > (3 * 50 + 50) / 7 - 0.1
    legless = standing()
    legless[[9, 10, 12, 13]] = np.nan
    assert np.isnan(part_colours(white, legless)[2:]).all()
    assert np.isnan(colour_drift(a, np.full((4, 3), np.nan)))


def test_cosine() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(cosine(a, np.array([[0.0, 2.0], [6.0, 8.0]])), [0.0, 1.0])


def test_identity_by_a_reid_network(tmp_path: Path) -> None:
    from reid_eval.backbones import build

    torch.manual_seed(0)
    file = tmp_path / "reid.pth"
    torch.save(build("torchreid:osnet_x0_25", 1).trunk.state_dict(), file)
    m = material(4)
    tools = Tools(reid=file, reid_backbone="torchreid:osnet_x0_25")
    assert measure_quality(m, tools, ["identity"]).value("identity") == pytest.approx(1, abs=1e-5)
    strangers = np.stack([draw_person(40 + i, xy) for i, xy in enumerate(m.poses)])
    other = Material(m.generated, m.poses, strangers, m.poses, m.crowd)
    assert measure_quality(other, tools, ["identity"]).value("identity") < 0.9999


def test_diversity_by_hand() -> None:
    a, b = standing(), standing()
    torso = 66 - 27
    b[JOINTS.index("Rwri")] += [torso, 0]  # one joint of eighteen moved by one torso length
    xy, pids = np.stack([a, b, a, a]), np.array([1, 1, 2, 2])
    assert pose_diversity(xy, pids) == pytest.approx(np.sqrt(1 / 18) / 2, abs=1e-5)
    assert np.isnan(pose_diversity(xy[:1], pids[:1]))


def test_coverage_counts_cells() -> None:
    space, library = pose_space(), shipped_library()
    np.testing.assert_array_equal(space.cells(library.xy), np.arange(108))
    moved = library.xy * 1.7 + 20  # place and size do not matter
    np.testing.assert_array_equal(space.cells(moved), np.arange(108))
    xy, pids = library.xy[[0, 0, 5, 9]], np.array([4, 4, 4, 8])
    assert space.coverage(xy, pids) == pytest.approx((2 + 1) / 2 / 108)
    occupancy = space.occupancy(xy, pids)
    assert occupancy[0] == occupancy[5] == occupancy[9] == 0.5
    assert np.isfinite(normalise(library.xy)[:, 2]).all()
    picture = pose_space_picture(space, np.zeros(108), occupancy)
    assert picture.shape[1] > 24 * 32
    changed = np.flatnonzero((picture != pose_space_picture(space, np.zeros(108), np.zeros(108))).any((0, 2)))
    assert len(changed) > 0
    assert changed.min() > picture.shape[1] // 2  # what is after stands on the right


def material(count: int = 12) -> Material:
    rng = np.random.default_rng(1)
    poses = np.stack([some_pose(rng) for _ in range(count)])
    people = np.stack([draw_person(7, xy) for xy in poses])
    return Material(people, poses, people, poses, people, real=people)


class Exact:
    """An estimator that knows."""

    name = "exact"

    def __init__(self, poses: np.ndarray) -> None:
        self.poses, self.at = poses, 0

    def __call__(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        self.at += len(images)
        return self.poses[self.at - len(images) : self.at], np.ones((len(images), 18), np.float32)


def test_the_perfect_generator() -> None:
    m = material()
    report = measure_quality(m, Tools(estimator=lambda: Exact(m.poses)), ["l1", "ssim", "mask_ssim", "pckh", "colour"])
    values = {r.name: r.value for r in report.results}
    assert values == pytest.approx({"l1": 0, "ssim": 1, "mask_ssim": 1, "pckh": 1, "colour": 0})
    assert next(r for r in report.results if r.name == "pckh").count == int(np.isfinite(m.poses[..., 0]).sum())


def test_what_cannot_be_had_is_left_out_or_an_error() -> None:
    m = material()
    with pytest.raises(InputError, match="identity: needs a re-ID network"):
        measure_quality(m, Tools(), ["identity"])
    with pytest.raises(InputError, match="no metric 'psnr': choose from l1, ssim"):
        measure_quality(m, Tools(), ["psnr"])
    without = Material(m.generated, m.poses, m.conditions, m.condition_poses, m.crowd)
    with pytest.raises(InputError, match="ssim: needs the real image in the target pose"):
        measure_quality(without, Tools(), ["ssim"])


def test_every_metric_is_described() -> None:
    for name, metric in METRICS.items():
        assert metric.better in ("higher", "lower"), name
        assert metric.unit, name
        assert metric.source, name


@pytest.fixture(scope="module")
def augmented(tiny_data: ReidData, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keypoints = load_annotations(tiny_root)
    plan = make_plan(
        tiny_data.train, keypoints, ratio=0.5, pose_source="library", library=shipped_library(), mode="add"
    )
    out = tmp_path_factory.mktemp("augmented") / "out"
    generate(Source(tiny_data, keypoints, shipped_library()), plan, Toy(), out=out)
    return out


def test_a_folder_gains_coverage_from_the_library(augmented: Path, tiny_root: Path) -> None:
    m = folder_material(augmented, tiny_root)
    assert len(m.generated) == 10
    assert m.real is None
    report = measure_quality(m, Tools(), ["colour", "diversity", "coverage"])
    for name in ("diversity", "coverage"):
        result = next(r for r in report.results if r.name == name)
        assert result.before is not None
        assert result.value > result.before
    few = folder_material(augmented, count=3)
    assert len(few.generated) == 3
    assert len(few.poses_after) == len(m.poses_after)


def test_the_command_on_a_folder(augmented: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, table, space = tmp_path / "q.json", tmp_path / "q.csv", tmp_path / "space.png"
    words = ["--metric", "colour", "--metric", "coverage", "--json", str(target), "--csv", str(table)]
    main(["quality", str(augmented), *words, "--pose-space", str(space), "--device", "cpu"])
    assert "pose coverage" in capsys.readouterr().out
    measured = json.loads(target.read_text())
    assert [row["metric"] for row in measured["metrics"]] == ["colour", "coverage"]
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["value"]) == pytest.approx(measured["metrics"][1]["value"])
    assert space.stat().st_size > 1000


def test_the_command_on_pairs(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "q.json"
    words = ["--data", str(tiny_root), "--count", "8", "--metric", "ssim", "--metric", "mask_ssim", "--metric", "l1"]
    main(["quality", "--pairs", "patn-synth-tiny", *words, "--json", str(target), "--device", "cpu"])
    values = {row["metric"]: row["value"] for row in json.loads(target.read_text())["metrics"]}
    assert 0.05 < values["ssim"] < 0.95
    assert values["mask_ssim"] > values["ssim"]
    assert json.loads(target.read_text())["data"] == tiny_root.name
    assert "8 generated images" in capsys.readouterr().out


def test_the_command_needs_one_thing_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["quality"])
    assert error.value.code == 2
    assert "give an augmented folder, or --pairs" in capsys.readouterr().err
