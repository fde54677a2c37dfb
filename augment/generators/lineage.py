"""What went into weights, down the whole chain of trainings that each start from another's weights.

A training writes into its weights' `info`:
    data                words, such as `the train split of Market-1501`
    training_images     `{"sha256": names_digest, "count": n}` of the photographs seen; absent where there were none
    licence
    init                None if it started from random weights, else the same facts of the weights that it started from,
                        with their `weights` (name) and `sha256`, and so on
A key that is absent says that it is not known. Beside `NAME.safetensors` lies `NAME.training_images.txt`: the images
seen by the whole chain, as far as they are known, one a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from augment.generators.weights import WeightsFile, read_weights
from reid_eval.foreign import read_lines, reason_of
from reid_eval.runtime import InputError, write_text

_FACTS = ("data", "training_images", "licence")


def _first_stage(name: str) -> dict[str, Any]:
    data = "synthetic pedestrians, augment.synth, world 2019 (endless stream)"
    return {"weights": f"{name}, stage one", "data": data, "licence": "MIT", "init": None}


# What ships was trained in two stages before trainings wrote their start down: see `augment/weights/*.md`.
_KNOWN_STARTS = {
    "edd0254ce4c68f749c104fa7f14e01c36ade13fc34957757c3ca30a1566cc315": _first_stage("patn-synth"),
    "827a67109109f7f8f5f44f6f4b31f3c837683e053cfa1470b5c08b6fe623016f": _first_stage("patn-synth-tiny"),
}


def lineage(weights: Path | str | WeightsFile, name: str = "") -> dict[str, Any]:
    """The facts of weights and of all that they started from, as `info.init` of a training from them holds them.

    Args:
        weights: a file, the name of weights that ship, or what `read_weights` gave.
        name: what to call them; default: their file's name.

    Raises:
        InputError: an unknown name, or a file that can't be read.
    """
    file = weights if isinstance(weights, WeightsFile) else read_weights(weights)
    if not isinstance(weights, WeightsFile):
        name = name or Path(weights).name
    info = file.info
    facts: dict[str, Any] = {"weights": name or file.source, "sha256": file.sha256}
    facts |= {key: info[key] for key in _FACTS if key in info}
    settings = info.get("settings")
    if "init" in info:
        facts["init"] = info["init"]
    elif file.sha256 in _KNOWN_STARTS:
        facts["init"] = _KNOWN_STARTS[file.sha256]
    elif isinstance(settings, Mapping) and settings.get("init_weights") == "":
        facts["init"] = None
    return facts


def licence_of(own: str, init: Mapping[str, Any] | None) -> str:
    """The licence of a training's weights, from its data's and its start's: MIT only where both are."""
    if init is None or init.get("licence") == "MIT":
        return own
    before = init.get("licence") or "unspecified"
    return f"{'unspecified' if own == 'MIT' else own}; started from {init['weights']} ({before})"


def list_file(weights: Path | str) -> Path:
    """Where the list of a weights file's training images lies."""
    return Path(weights).with_suffix(".training_images.txt")


def listed_images(weights: Path | str) -> list[str]:
    """The images that the list beside a weights file names; none where there is no list, as beside weights that ship.

    Raises:
        InputError: the list can't be read.
    """
    path = list_file(weights)
    if Path(weights).suffix != ".safetensors" or not path.is_file():
        return []
    try:
        lines = read_lines(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {reason_of(error)}") from None
    return [line.strip() for line in lines if line.strip()]


def write_list(weights: Path | str, names: Iterable[str]) -> None:
    """Write the list beside a weights file, sorted, each image once; nothing where there are none."""
    if names := sorted(set(names)):
        write_text(list_file(weights), "".join(f"{name}\n" for name in names))
