"""Give every person of a re-identification data set more poses.

What `__all__` names is the Python API; `docs/python.md` shows it at work. Nothing heavy is imported before a name is
asked for, and nothing here reseeds a global generator or changes a global flag.

    >>> import augment
    >>> augment.read_keypoints(annotations).xy.shape
    (19, 18, 2)
    >>> sorted(augment.__all__)[:4]
    ['AugmentedDataset', 'BatchAugmenter', 'PoseTransfer', '__version__']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.api import augment_folder, plan_folder
    from augment.folder.mixed import AugmentedDataset
    from augment.generators.batch_augmenter import BatchAugmenter
    from augment.generators.open import open_generator as load_generator
    from augment.generators.transfer import PoseTransfer
    from augment.pose.keypoints import read_keypoints

    __version__: str

__all__ = [
    "AugmentedDataset",
    "BatchAugmenter",
    "PoseTransfer",
    "__version__",
    "augment_folder",
    "load_generator",
    "plan_folder",
    "read_keypoints",
]

# the module that a name comes from, and what it is called there
_HOMES = {
    "AugmentedDataset": ("augment.folder.mixed", "AugmentedDataset"),
    "BatchAugmenter": ("augment.generators.batch_augmenter", "BatchAugmenter"),
    "PoseTransfer": ("augment.generators.transfer", "PoseTransfer"),
    "augment_folder": ("augment.api", "augment_folder"),
    "load_generator": ("augment.generators.open", "open_generator"),
    "plan_folder": ("augment.api", "plan_folder"),
    "read_keypoints": ("augment.pose.keypoints", "read_keypoints"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from augment.runs import package_version

        return package_version("patn-augment")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
