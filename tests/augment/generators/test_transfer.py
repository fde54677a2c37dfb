"""One call from photo to photo: kinds, sizes, ranges, seeds, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_person, standing
from movers import Broken, Marker, Noise
from numpy.typing import NDArray
from PIL import Image

from augment.generators.batch_augmenter import BatchAugmenter
from augment.generators.open import open_generator
from augment.generators.transfer import PoseTransfer, transfer_batch
from augment.pose import Keypoints
from augment.pose.geometry import scale_joints
from augment.pose.heatmaps import pose_maps
from reid_eval.runtime import InputError

JOINTS = standing()
TARGET = np.clip(JOINTS + np.array([6, -4], np.float32), 0, [63, 127]).astype(np.float32)


def photo(size: tuple[int, int] = (128, 64)) -> NDArray[np.uint8]:
    return draw_person(3, scale_joints(JOINTS, (128, 64), size), size)


def tensor(size: tuple[int, int] = (128, 64)) -> torch.Tensor:
    return torch.from_numpy(photo(size)).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(photo()), Image.fromarray(photo()).convert("L"), photo(), tensor(), tensor().float() / 255,
        tensor().double() / 255, (tensor().float() / 255).half(), (tensor().float() / 255).bfloat16(),
        tensor()[None], (tensor().float() / 255)[None],
    ],
    ids=["pil", "pil-grey", "numpy", "uint8", "float32", "float64", "float16", "bfloat16", "uint8s", "floats"],
)  # fmt: skip
@pytest.mark.parametrize("size", [(128, 64), (64, 32)])
def test_same_kind_size_and_dtype_as_came_in(image: Any, size: tuple[int, int]) -> None:
    made = PoseTransfer(Marker(size))(image, JOINTS, TARGET)
    assert type(made) is type(image)
    if isinstance(image, Image.Image):
        assert (made.size, made.mode) == (image.size, image.mode)
    else:
        assert (made.shape, made.dtype) == (image.shape, image.dtype)
    assert not np.array_equal(np.asarray(as_float(made)), np.asarray(as_float(image)))


def as_float(image: Any) -> Any:
    return image.float() if isinstance(image, torch.Tensor) else image


def test_pixels_are_those_of_the_generator_and_the_input_is_left_alone() -> None:
    marker, image = Marker(), photo()
    before = image.copy()
    made = PoseTransfer(marker)(image, JOINTS, TARGET)
    assert np.array_equal(image, before)
    expected = image.copy()
    for x, y in TARGET.astype(int):
        expected[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 255
    assert np.array_equal(made, expected)
    (given, source, target), *more = marker.calls
    assert not more
    assert (given.min() >= -1, given.max() <= 1, given.dtype) == (True, True, torch.float32)
    assert np.array_equal(source[0], JOINTS)
    assert np.array_equal(target[0], TARGET)
    # the same picture as a tensor, to the same pixels
    again = PoseTransfer(marker)(tensor(), JOINTS, TARGET)
    assert np.array_equal(again.permute(1, 2, 0).numpy(), expected)


def test_a_generator_with_sigma_gets_maps() -> None:
    marker = Marker(sigma=4.0)
    PoseTransfer(marker)(photo(), JOINTS, TARGET)
    _, source, target = marker.calls[0]
    assert torch.equal(source, pose_maps(torch.from_numpy(JOINTS)[None], (128, 64), 4.0))
    assert torch.equal(target, pose_maps(torch.from_numpy(TARGET)[None], (128, 64), 4.0))


@pytest.mark.parametrize("kind", ["picture", "tensor"])
def test_joints_move_with_the_pixels_when_sizes_differ(kind: str) -> None:
    """Photo 256x96, pose measured in 64x32, generator at 128x64: the marks are where the pose says."""
    own, lent = (256, 96), (64, 32)
    image = photo(own) if kind == "picture" else tensor(own)
    marker = Marker()
    target = scale_joints(TARGET, (128, 64), lent)
    made = PoseTransfer(marker)(image, scale_joints(JOINTS, (128, 64), own), target, target_size=lent)
    _, source, asked = marker.calls[0]
    np.testing.assert_allclose(source[0], JOINTS, atol=1e-4)
    np.testing.assert_allclose(asked[0], TARGET, atol=1e-4)
    pixels = made if isinstance(made, np.ndarray) else made.permute(1, 2, 0).numpy()
    x, y = scale_joints(TARGET, (128, 64), own)[10].round().astype(int)  # the right ankle, alone on its ground
    assert pixels[y, x].min() > 240
    assert pixels[y, x - 12].max() < 240


def test_pictures_are_resized_as_generate_resizes_them() -> None:
    """Bicubic by Pillow, to uint8, on both ways: the path of `augment.folder.render`."""
    image = Image.fromarray(photo((96, 40)))
    small = image.resize((64, 128), Image.Resampling.BICUBIC)

    class Copy(Marker):
        def transfer(self, image: torch.Tensor, *poses: Any) -> torch.Tensor:
            return image

    joints = scale_joints(JOINTS, (128, 64), (96, 40))
    made = PoseTransfer(Copy())(image, joints, joints)
    assert np.array_equal(np.asarray(made), np.asarray(small.resize((40, 96), Image.Resampling.BICUBIC)))


def test_tensors_are_resized_by_the_same_filter() -> None:
    joints = scale_joints(JOINTS, (128, 64), (96, 40))
    transfer = PoseTransfer(Marker())
    a = transfer(photo((96, 40)), joints, joints).astype(int)
    b = transfer(tensor((96, 40)), joints, joints).permute(1, 2, 0).numpy().astype(int)
    assert abs(a - b).mean() < 0.5  # Pillow rounds and cuts in between


def test_value_range() -> None:
    half = tensor().float() / 255
    plain = PoseTransfer(Marker())(half, JOINTS, TARGET)
    signed = PoseTransfer(Marker(), value_range=(-1, 1))(half * 2 - 1, JOINTS, TARGET)
    torch.testing.assert_close(signed, plain * 2 - 1)
    with pytest.raises(InputError, match=r"reach from -1\.00 to 1\.00, expected 0 to 1: give the value_range"):
        PoseTransfer(Marker())(half * 2 - 1, JOINTS, TARGET)
    with pytest.raises(InputError, match=r"reach from 0\.00 to 255\.00, expected 0 to 1"):
        PoseTransfer(Marker())(tensor().float(), JOINTS, TARGET)
    with pytest.raises(InputError, match="black < white"):
        PoseTransfer(Marker(), value_range=(1, 0))


def test_a_batch_is_its_images() -> None:
    images = torch.stack([tensor().float() / 255, tensor().flip(2).float() / 255])
    joints, targets = np.stack([JOINTS, TARGET]), np.stack([TARGET, JOINTS])
    transfer = PoseTransfer(Marker())
    made = transfer(images, torch.from_numpy(joints), torch.from_numpy(targets))
    for number in range(2):
        assert torch.equal(made[number], transfer(images[number], joints[number], targets[number]))
    assert transfer(images[:0], joints[:0], targets[:0]).shape == (0, 3, 128, 64)


def test_an_image_draws_from_its_own_seed() -> None:
    images = torch.rand(3, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    poses = np.stack([JOINTS] * 3)
    transfer = PoseTransfer(Noise(), seed=7)
    before = torch.get_rng_state()
    made = transfer(images, poses, poses)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made, transfer(images, poses, poses))
    assert torch.equal(made[:2], transfer(images[:2], poses[:2], poses[:2]))
    assert not torch.equal(made[0], made[1])
    assert torch.equal(made[0], transfer(images[0], JOINTS, JOINTS))
    assert not torch.equal(made, transfer(images, poses, poses, seed=8))


def test_the_result_can_be_trained_on() -> None:
    made = PoseTransfer(Marker())(tensor().float() / 255, JOINTS, TARGET)
    weight = torch.ones(1, requires_grad=True)
    (made * weight).sum().backward()
    assert weight.grad is not None
    assert not made.requires_grad


def test_an_autocast_around_it_changes_nothing() -> None:
    class Half(Marker):
        def transfer(self, image: torch.Tensor, *poses: Any) -> torch.Tensor:
            kernel = torch.full((3, 3, 3, 3), 1 / 27)
            return torch.nn.functional.conv2d(image, kernel, padding=1)

    image = tensor().float() / 255
    plain = PoseTransfer(Half())(image, JOINTS, TARGET)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(PoseTransfer(Half())(image, JOINTS, TARGET), plain)
    coarse = PoseTransfer(Half(), precision="bf16")(image, JOINTS, TARGET)
    assert not torch.equal(coarse, plain)
    torch.testing.assert_close(coarse, plain, atol=0.01, rtol=0)


def test_a_missing_joint_is_missing_in_both_coordinates() -> None:
    marker = Marker()
    joints = JOINTS.copy()
    joints[0, 1] = np.nan
    PoseTransfer(marker)(photo(), joints, TARGET)
    assert marker.calls[0][1][0, 0].isnan().all()
    assert np.isfinite(joints[0, 0])  # the caller's array is its own


def test_unusable_joints_are_refused_by_name() -> None:
    transfer = PoseTransfer(Marker())
    lame = JOINTS.copy()
    lame[[5, 11]] = np.nan
    with pytest.raises(InputError, match="joints of the photo lack Lsho, Lhip: both shoulders and both hips"):
        transfer(photo(), lame, TARGET)
    with pytest.raises(InputError, match="target joints lack Lsho, Lhip"):
        transfer(photo(), JOINTS, lame)
    with pytest.raises(InputError, match=r"joints of the photo \(image 1 of 2\) lack Lsho, Lhip"):
        transfer(torch.stack([tensor()] * 2), np.stack([JOINTS, lame]), np.stack([TARGET] * 2))


@pytest.mark.parametrize(
    ("joints", "words"),
    [
        (JOINTS[:17], r"shape \[17, 2\], expected \[18, 2\]"),
        (np.stack([JOINTS] * 2), "2 poses for 1 images"),
        (np.where(np.arange(18)[:, None] == 4, -1, JOINTS), r"a joint at \(-1, -1\); a missing joint is NaN"),
        (np.where(np.arange(18)[:, None] == 4, np.inf, JOINTS), "infinite coordinates"),
    ],
)
def test_other_joints_are_refused(joints: NDArray[np.float32], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PoseTransfer(Marker())(photo(), joints, TARGET)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("RGBA", (64, 128)), r"mode RGBA: give image.convert\('RGB'\)"),
        (np.zeros((128, 64, 3), np.float32), r"image is float32 \[128, 64, 3\]: expected a PIL image"),
        ("photo.jpg", "image is str"),
        (torch.zeros(128, 64, 3), r"image tensor \(128, 64, 3\): expected \[3, H, W\]"),
        (torch.zeros(3, 128, 64, dtype=torch.int64), "image tensor of torch.int64"),
    ],
)
def test_other_images_are_refused(image: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PoseTransfer(Marker())(image, JOINTS, TARGET)


def test_bad_generators_are_refused() -> None:
    with pytest.raises(InputError, match="Linear is no generator: no attribute name, no attribute size"):
        PoseTransfer(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="generator broken gave values that are not finite"):
        PoseTransfer(Broken())(photo(), JOINTS, TARGET)
    with pytest.raises(InputError, match="precision 'int8': choose from float32, bf16"):
        PoseTransfer(Marker(), precision="int8")

    class Large(Marker):
        def transfer(self, image: torch.Tensor, *poses: Any) -> torch.Tensor:
            return image.repeat(1, 1, 2, 2)

    with pytest.raises(InputError, match=r"generator marker gave \(1, 3, 256, 128\) for images \(1, 3, 128, 64\)"):
        transfer_batch(Large(), torch.zeros(1, 3, 128, 64), JOINTS[None], TARGET[None], [0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_come_back_to_their_device() -> None:
    """Generator on the GPU, images on either side; the values agree with the CPU's."""
    image = tensor((256, 128)).float() / 255
    joints, target = (scale_joints(xy, (128, 64), (256, 128)) for xy in (JOINTS, TARGET))
    expected = PoseTransfer(open_generator("patn-synth-tiny", "cpu"))(image, joints, target)
    transfer = PoseTransfer(open_generator("patn-synth-tiny", "cuda"))
    for device in ("cpu", "cuda"):
        made = transfer(image.to(device), joints, torch.from_numpy(target).to(device))
        assert made.device.type == device
        torch.testing.assert_close(made.cpu(), expected, atol=0.02, rtol=0)
    batch, poses = image[None].to("cuda") * 2 - 1, joints[None]
    pool = Keypoints(("a.jpg",), target[None])
    mixed, generated = BatchAugmenter(transfer.generator, pool, rate=1)(batch, poses)
    assert (mixed.device.type, generated.device.type) == ("cuda", "cuda")
    torch.testing.assert_close((mixed[0].cpu() + 1) / 2, expected, atol=0.02, rtol=0)
