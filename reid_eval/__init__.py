"""Person re-identification on any folder: data sets, backbones, training, Market-protocol metrics.

    >>> data = read_dataset(root)
    >>> trained = train(data, settings, steps=2)
    >>> extract_features(trained.model, images).shape
    (3, 2048)
    >>> 0 <= evaluate(trained.model, data).mAP <= 1
    True

`load_model` gives a network that `patn-augment reid-eval --save` wrote. Nothing heavy is imported before a name is
asked for, and nothing here reseeds a global generator or changes a global flag.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid_eval.backbones.saved import load_model
    from reid_eval.datasets.reader import read_dataset
    from reid_eval.features import extract_features
    from reid_eval.harness import evaluate
    from reid_eval.training import train

__all__ = ["evaluate", "extract_features", "load_model", "read_dataset", "train"]

_HOMES = {
    "evaluate": "reid_eval.harness",
    "extract_features": "reid_eval.features",
    "load_model": "reid_eval.backbones.saved",
    "read_dataset": "reid_eval.datasets.reader",
    "train": "reid_eval.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
