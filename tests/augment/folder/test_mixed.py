"""`AugmentedDataset`: what is swapped and when, for what, in workers and out of them, and that nothing else changes."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from movers import Marker
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from augment.folder.mixed import AugmentedDataset
from augment.generators.transfer import PoseTransfer
from augment.pose import Keypoints, load_annotations
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError

GENERATED = (255, 0, 0)


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


class Photos(Dataset[Any]):
    """The training images of a folder, as `(image, label, camera)` with labels and cameras from 0, or as dicts."""

    num_classes = 3

    def __init__(self, root: Path, form: str = "tuple", transform: Callable[[Image.Image], Any] = to_tensor) -> None:
        data = read_dataset(root)
        table = data.train[data.train["source"] == "real"]
        self.paths = [str(root / path) for path in table["path"]]
        self.labels, self.cameras = table["pid"].tolist(), table["camid"].tolist()
        self.pids = sorted(set(self.labels))
        self.form, self.transform = form, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        image = self.transform(Image.open(self.paths[index]).convert("RGB"))
        label, camera = self.pids.index(self.labels[index]), self.cameras[index] - 1
        if self.form == "tuple":
            return image, label, camera, f"note {index}"
        return {"img": image, "pid": label, "camid": camera, "impath": self.paths[index], "dsetid": 0}


@pytest.fixture(scope="module")
def folder(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn data set with red generated images: two of person 2 (both cameras), one of 7 (camera 1), none of 11."""
    root = tmp_path_factory.mktemp("mixed") / "augmented"
    shutil.copytree(tiny_root, root)
    for name in ("0002_c1s1_000001_00_gen0000", "0002_c2s1_000002_00_gen0001", "0007_c1s1_000001_00_gen0000"):
        Image.new("RGB", (64, 128), GENERATED).save(root / "bounding_box_train" / f"{name}.jpg")
    return root


PIDS = {2: 0, 7: 1, 11: 2}


def mixed(root: Path, folder: Path, *, form: str = "tuple", rate: float = 1.0, **options: Any) -> AugmentedDataset:
    given = {"transform": to_tensor, "label": PIDS.get, "camera": lambda camid: camid - 1, **options}
    return AugmentedDataset(Photos(root, form), folder, rate=rate, **given)


def is_red(image: torch.Tensor) -> bool:
    return bool(image[0].float().mean() > 240) and bool(image[1:].float().mean() < 15)


def test_people_with_generated_images_are_swapped_others_stay(tiny_root: Path, folder: Path) -> None:
    photos, both = Photos(tiny_root), mixed(tiny_root, folder)
    assert len(both) == len(photos) == 19
    seen = set()
    for index in range(19):
        real, (image, label, camera, note, generated) = photos[index], both[index]
        assert (label, note) == (real[1], f"note {index}")
        assert generated is (label != 2)  # person 11 has none
        assert is_red(image) == generated
        if generated:
            seen.add((label, camera))
        else:
            assert torch.equal(image, real[0])
            assert camera == real[2]
    assert seen == {(0, 0), (0, 1), (1, 0)}  # the camera is that of the generated image


def test_dict_items(tiny_root: Path, folder: Path) -> None:
    for item in (mixed(tiny_root, folder, form="dict")[index] for index in (0, 18)):
        assert list(item) == ["img", "pid", "camid", "impath", "dsetid", "generated"]
        assert item["generated"] == ("_gen" in Path(item["impath"]).name) == is_red(item["img"]) == (item["pid"] == 0)
        assert Path(item["impath"]).is_file()


def test_other_keys(tiny_root: Path, folder: Path) -> None:
    class FastReid(Photos):
        def __getitem__(self, index: int) -> Any:
            image, label, camera, _ = super().__getitem__(index)
            return {"images": image, "targets": label, "camids": camera, "img_paths": self.paths[index]}

    keys = ("images", "targets", "camids", "img_paths")
    options: dict[str, Any] = {"rate": 1.0, "transform": to_tensor, "label": PIDS.get, "camera": lambda c: c - 1}
    item = AugmentedDataset(FastReid(tiny_root), folder, keys=keys, **options)[0]
    assert item["generated"]
    assert is_red(item["images"])
    assert "_gen" in item["img_paths"]
    with pytest.raises(InputError, match="item 0 has no 'img', only images, targets, camids, img_paths: give keys"):
        AugmentedDataset(FastReid(tiny_root), folder, **options)[0]
    with pytest.raises(InputError, match="expected those of image, pid, camid and path"):
        AugmentedDataset(FastReid(tiny_root), folder, keys=["images"], **options)


def test_pairs_of_image_and_label_will_do(tiny_root: Path, folder: Path) -> None:
    class Pairs(Photos):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[:2]

    image, label, generated = AugmentedDataset(Pairs(tiny_root), folder, rate=1.0, transform=to_tensor, label=PIDS.get)[
        0
    ]
    assert (is_red(image), label, generated) == (True, 0, True)


def due(dataset: AugmentedDataset) -> list[bool]:
    return [dataset.is_due(index) for index in range(len(dataset))]


def test_the_draw_is_a_pure_function_of_seed_epoch_and_index(tiny_root: Path, folder: Path) -> None:
    both = mixed(tiny_root, folder, rate=0.5)
    first = due(both)
    assert 3 < sum(first) < 16
    items = [both[index] for index in range(19)]
    assert [item[4] for item in items] == [hit and item[1] != 2 for hit, item in zip(first, items, strict=True)]
    both.set_epoch(1)
    assert due(both) != first
    both.set_epoch(0)
    backwards = [both[index] for index in reversed(range(19))][::-1]
    for a, b in zip(items, backwards, strict=True):
        assert torch.equal(a[0], b[0])
        assert a[1:] == b[1:]
    assert due(mixed(tiny_root, folder, rate=0.5, seed=1)) != first
    # what a lower rate swaps, a higher one swaps too
    assert all(high for low, high in zip(first, due(mixed(tiny_root, folder, rate=0.8)), strict=True) if low)


def test_which_image_changes_with_the_epoch(tiny_root: Path, folder: Path) -> None:
    both = mixed(tiny_root, folder, form="dict")
    found = set()
    for epoch in range(12):
        both.set_epoch(epoch)
        found.add(Path(both[0]["impath"]).name)
    assert found == {"0002_c1s1_000001_00_gen0000.jpg", "0002_c2s1_000002_00_gen0001.jpg"}


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_the_rate_is_kept(tiny_root: Path, folder: Path, rate: float) -> None:
    both = mixed(tiny_root, folder, rate=rate)
    total = 0
    for epoch in range(100):
        both.set_epoch(epoch)
        total += sum(due(both))
    assert abs(total / 1900 - rate) < (0.04 if 0 < rate < 1 else 1e-9)


def test_workers_give_what_the_main_process_gives(tiny_root: Path, folder: Path) -> None:
    """Workers that live on from epoch to epoch, too."""
    both = mixed(tiny_root, folder, rate=0.5)
    loader: DataLoader[Any] = DataLoader(both, batch_size=19, num_workers=2, persistent_workers=True)
    flags = []
    for epoch in (0, 1):
        both.set_epoch(epoch)
        images, _, _, _, generated = next(iter(loader))
        assert generated.dtype == torch.bool
        flags.append(generated.tolist())
        here = [both[index] for index in range(19)]
        assert generated.tolist() == [item[4] for item in here]
        assert torch.equal(images, torch.stack([item[0] for item in here]))
    assert flags[0] != flags[1]


def test_no_global_generator_is_touched(tiny_root: Path, folder: Path) -> None:
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
    both = mixed(tiny_root, folder, rate=0.5)
    for epoch in range(2):
        both.set_epoch(epoch)
        _ = [both[index] for index in range(19)]
    assert states == (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist())


def test_it_can_be_pickled_and_stands_for_the_wrapped_set(tiny_root: Path, folder: Path) -> None:
    both = AugmentedDataset(Photos(tiny_root), folder, rate=0.5, transform=to_tensor, label=PIDS.get)
    both.set_epoch(3)
    again = pickle.loads(pickle.dumps(both))
    assert (again.epoch, due(again)) == (3, due(both))
    assert both.num_classes == 3
    assert both.paths == both.dataset.paths
    with pytest.raises(AttributeError):
        _ = both.nothing_of_the_kind
    assert len(both + both) == 38  # torch's ConcatDataset
    assert [both[-1][3], both[18][3]] == ["note 18"] * 2
    with pytest.raises(IndexError):
        both[19]


def test_pil_images_need_no_transform_but_tensors_do(tiny_root: Path, folder: Path) -> None:
    options: dict[str, Any] = {"transform": None}
    with pytest.raises(InputError, match="generated images are PIL images, the data set's are not: give the transform"):
        mixed(tiny_root, folder, **options)[0]
    photos = Photos(tiny_root, transform=lambda image: image)
    image = AugmentedDataset(photos, folder, rate=1.0, label=PIDS.get, camera=lambda c: c - 1)[0][0]
    assert isinstance(image, Image.Image)


def test_labels_and_cameras_that_do_not_fit_are_refused(tiny_root: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"item 0 has pid 0, .* has 2, 7, 11: give label, from its pids to yours"):
        mixed(tiny_root, folder, label=None)[0]
    with pytest.raises(InputError, match=r"item 0 has camid 0, .* has 1, 2: give camera, likewise"):
        mixed(tiny_root, folder, camera=None)[0]


def test_folders_without_generated_images_are_refused(tiny_root: Path) -> None:
    with pytest.raises(InputError, match="no generated image in its training split"):
        AugmentedDataset(Photos(tiny_root), tiny_root, rate=0.5)
    with pytest.raises(InputError, match="rate 2: expected 0 to 1"):
        AugmentedDataset(Photos(tiny_root), tiny_root, rate=2)
    with pytest.raises(InputError, match="item 0 is int: expected"):
        AugmentedDataset([1, 2], _Nothing(), rate=1)[0]


class _Nothing:
    def draw(self, index: int, pid: Any, camid: Any, number: int) -> None:
        return None


def test_damaged_images_are_named(tiny_root: Path, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(folder, root)
    for path in root.glob("bounding_box_train/*_gen*.jpg"):
        path.write_bytes(b"\xff\xd8 cut")
    with pytest.raises(InputError, match=r"_gen000\d\.jpg: cannot read this image"):
        mixed(tiny_root, root)[0]


@pytest.fixture
def keypoints(tiny_root: Path) -> Keypoints:
    return load_annotations(tiny_root)


def on_the_fly(root: Path, marker: Marker, keypoints: Keypoints, **options: Any) -> AugmentedDataset:
    photos = Photos(root)
    given = {"rate": 1.0, "transform": to_tensor, **options}
    return AugmentedDataset.on_the_fly(photos, PoseTransfer(marker), keypoints, photos.paths, **given)


def test_photos_are_redrawn_on_the_fly(tiny_root: Path, tiny_data: ReidData, keypoints: Keypoints) -> None:
    marker = Marker()
    both = on_the_fly(tiny_root, marker, keypoints)
    names = [Path(path).name for path in tiny_data.train["path"]]
    unusable = [names.index(name) for name in ("0011_c1s1_000001_00.jpg", "0011_c2s1_000002_00.jpg")]
    asked = []
    for index in range(19):
        real, item = both.dataset[index], both[index]
        assert item[1:4] == real[1:4]
        assert item[4] is (index not in unusable)
        if item[4]:
            given, source, target = marker.calls.pop()
            expected = both.dataset[index][0].float() / 127.5 - 1
            torch.testing.assert_close(given[0], expected)
            np.testing.assert_array_equal(source[0], keypoints.xy[keypoints.index[names[index]]])
            row = int(np.flatnonzero([np.array_equal(target[0], xy, equal_nan=True) for xy in keypoints.xy])[0])
            assert keypoints.usable[row]
            assert keypoints.names[row] != names[index]  # never its own pose
            asked.append(row)
    assert len(set(asked)) > 8
    again = on_the_fly(tiny_root, Marker(), keypoints)
    assert torch.equal(again[4][0], both[4][0])


def test_a_pool_of_its_own(tiny_root: Path, keypoints: Keypoints) -> None:
    pool = Keypoints(("walk@256x128", "none"), np.stack([keypoints.xy[0] * 2 + 0.5, np.full((18, 2), np.nan)]))
    pool = Keypoints(pool.names, pool.xy.astype(np.float32))
    marker = Marker()
    both = on_the_fly(tiny_root, marker, keypoints, poses=pool)
    assert both[3][4]
    np.testing.assert_allclose(marker.calls[0][2][0], keypoints.xy[0], atol=1e-4)


def test_photos_and_joints_must_fit(tiny_root: Path, keypoints: Keypoints) -> None:
    photos, transfer = Photos(tiny_root), PoseTransfer(Marker())
    with pytest.raises(InputError, match="3 photos for a data set of 19 items"):
        AugmentedDataset.on_the_fly(photos, transfer, keypoints, photos.paths[:3], rate=1)
    with pytest.raises(InputError, match="none of 19 photos has joints"):
        AugmentedDataset.on_the_fly(photos, transfer, keypoints, [f"{i}.jpg" for i in range(19)], rate=1)
    nobody = keypoints.take([], [])
    with pytest.raises(InputError, match="none of the 0 poses"):
        AugmentedDataset.on_the_fly(photos, transfer, keypoints, photos.paths, rate=1, poses=nobody)
