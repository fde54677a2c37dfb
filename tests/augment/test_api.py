"""What `import augment` gives: names, doctests, speed, and global state that stays as it was."""

from __future__ import annotations

import doctest
import importlib
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from movers import Marker
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

import augment
from augment.pose import Keypoints, read_keypoints
from reid_eval.datasets import read_dataset

DOCUMENTED = (
    "augment",
    "augment.api",
    "augment.generators.transfer",
    "augment.generators.batch_augmenter",
    "augment.folder.mixed",
)


class Photos(Dataset[Any]):
    """Training images of a folder: `(PIL image, pid, camid)`, transformed."""

    def __init__(self, root: Path, transform: Any) -> None:
        self.root, self.table, self.transform = root, read_dataset(root).train, transform

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        row = self.table.iloc[index]
        return self.transform(Image.open(self.root / row["path"])), int(row["pid"]), int(row["camid"])


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def scene(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the doctests speak of: a photo with joints, a generator, a data set and an augmented folder."""
    folder = tmp_path_factory.mktemp("api") / "augmented"
    shutil.copytree(tiny_root, folder)
    for path in sorted((folder / "bounding_box_train").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_gen0000.jpg"))
    keypoints = read_keypoints(tiny_root / "market-annotation-train.csv")
    photo = Image.open(tiny_root / "bounding_box_train" / keypoints.names[0]).convert("RGB")
    return {
        "annotations": tiny_root / "market-annotation-train.csv",
        "generator": Marker(sigma=6.0),
        "keypoints": keypoints,
        "root": tiny_root,
        "out": folder.with_name("made"),
        "photo": photo,
        "photos": Photos(tiny_root, to_tensor),
        "folder": folder,
        "to_tensor": to_tensor,
        "joints": keypoints.xy[0],
        "target": keypoints.xy[1],
        "np": np,
        "torch": torch,
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_doctests(name: str, scene: dict[str, Any]) -> None:
    found = doctest.testmod(
        importlib.import_module(name), extraglobs=dict(scene), optionflags=doctest.ELLIPSIS, raise_on_error=False
    )
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("name", augment.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(augment, name)
    assert name in dir(augment)
    if name == "__version__":
        assert value[:1].isdigit()
    else:
        assert len(value.__doc__.splitlines()[0]) > 10


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'augment' has no attribute 'generate_folder'"):
        _ = augment.generate_folder


def test_types_know_every_name() -> None:
    """What mypy reads under TYPE_CHECKING is what `__getattr__` gives."""
    text = Path(str(augment.__file__)).read_text()
    block = text[text.index("if TYPE_CHECKING:") : text.index("\n__all__")]
    for name, (module, attribute) in augment._HOMES.items():
        line = next(line for line in block.splitlines() if line.strip().startswith(f"from {module} import"))
        words = line.split("#")[0].replace(",", " ").split()
        assert attribute in words, line
        assert name == attribute or words[words.index(attribute) + 1 :][:2] == ["as", name], line


def test_import_is_light() -> None:
    """No torch, numpy, pandas or Pillow before a name is asked for."""
    code = "import sys, augment; dir(augment); print(sorted({'torch', 'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_weights_that_ship_move_a_person(scene: dict[str, Any]) -> None:
    """`load_generator` and `PoseTransfer` fit together, and the pose asked for decides what comes out."""
    transfer = augment.PoseTransfer(augment.load_generator("patn-synth-tiny", device="cpu"))
    photo, joints, target = scene["photo"], scene["joints"], scene["target"]
    moved, kept = (np.asarray(transfer(photo, joints, pose), dtype=int) for pose in (target, joints))
    assert moved.shape == kept.shape == (128, 64, 3)
    assert abs(moved - kept).mean() > 2
    assert abs(kept - np.asarray(photo, dtype=int)).mean() < 60


def global_state() -> dict[str, Any]:
    """Every global generator and flag that a training depends on."""
    return {
        "random": random.getstate(),
        "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],
        "torch": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn": [
            getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
        ],
        "autocast": torch.is_autocast_enabled("cpu"),
        "numpy errors": np.geterr(),
    }


def test_global_generators_and_flags_stay(scene: dict[str, Any], tiny_root: Path) -> None:
    batch = torch.full((8, 3, 128, 64), 0.25)  # before the states are taken
    pool: Keypoints = scene["keypoints"]
    joints: NDArray[np.float32] = pool.xy[:8]
    before = global_state()
    augment.read_keypoints(scene["annotations"])
    patn = augment.PoseTransfer(augment.load_generator("patn-synth-tiny", device="cpu"))
    patn(scene["photo"], scene["joints"], scene["target"])
    transfer = augment.PoseTransfer(scene["generator"])
    augmenter = augment.BatchAugmenter(scene["generator"], pool, rate=0.5)
    augmenter(batch, joints)
    names = [tiny_root / "bounding_box_train" / name for name in sorted(pool.names)]
    for mixed in (
        augment.AugmentedDataset(scene["photos"], scene["folder"], rate=0.5, transform=to_tensor),
        augment.AugmentedDataset.on_the_fly(scene["photos"], transfer, pool, names, rate=0.5, transform=to_tensor),
    ):
        mixed.set_epoch(2)
        _ = [mixed[index] for index in range(len(mixed))]
    after = global_state()
    assert [key for key in before if before[key] != after[key]] == []
