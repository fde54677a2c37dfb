"""Had the generator seen the images that were 'removed'? What its weights say of their training, against a plan.

Weights say what they were trained on in one of these ways, looked for in this order:
    a file beside them, `NAME.training_images.txt` for `NAME.safetensors`: an image name or path a line;
    `info.training_images` in their metadata: a list of names, or `{"sha256": ..., "count": ...}` as
        `names_digest` makes it;
    `info.data`, as our own training writes it: the endless synthetic stream (no image of any data set), or `the train
        split of NAME`.
Names are compared without folder and suffix. Weights that say nothing are `unknown`, never `leakage-free`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from augment.generators.weights import names_digest
from reid_eval.datasets.names import image_stem
from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import pandas as pd

    from augment.generators.weights import WeightsFile
    from reid_eval.datasets import ReidData

Label = Literal["leakage-free", "leaky", "unknown"]
WORST: tuple[Label, ...] = ("leakage-free", "unknown", "leaky")
_STREAM = re.compile(r"synthetic pedestrians\b.*\bendless stream\b")
_SPLIT = re.compile(r"the (train|query|gallery) split of (.+)")


@dataclass(frozen=True)
class Seen:
    """What a generator was trained on: `names`, or a `digest` of them, or a whole `split`; None of them: unknown."""

    names: frozenset[str] | None = None
    digest: str | None = None
    split: tuple[str, str] | None = None
    """(split, name of the data set's folder)."""


@dataclass(frozen=True)
class Verdict:
    """Of one generator on one plan."""

    label: Label
    reason: str


def seen_images(file: WeightsFile, path: Path | None) -> Seen:
    """Read what weights say; `path` is their file, None for those that ship.

    Raises:
        InputError: the file beside them cannot be read.
    """
    beside = path.with_suffix(".training_images.txt") if path else None
    if beside is not None and beside.is_file():
        try:
            lines = beside.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {beside}: {error}") from None
        return Seen(names=frozenset(image_stem(line.strip()) for line in lines if line.strip()))
    info = file.metadata.get("info", {})
    listed = info.get("training_images")
    if isinstance(listed, list):
        return Seen(names=frozenset(image_stem(str(name)) for name in listed))
    if isinstance(listed, dict) and "sha256" in listed:
        return Seen(digest=str(listed["sha256"]))
    told = str(info.get("data", ""))
    if _STREAM.search(told):
        return Seen(names=frozenset())
    split = _SPLIT.fullmatch(told)
    return Seen(split=(split[1], split[2])) if split else Seen()


def judge(seen: Seen, plan: pd.DataFrame, data: ReidData) -> Verdict:
    """Whether the generator had seen images that the plan drops, or that the evaluation tests on."""
    dropped = {image_stem(path) for path in plan.loc[plan["action"] == "drop", "image"]}
    kept = {image_stem(path) for path in plan.loc[plan["action"] == "keep", "image"]}
    test = {image_stem(path) for table in (data.query, data.gallery) for path in table["path"]}
    if seen.names is not None:
        return _judge_names(seen.names, dropped, test)
    if seen.digest == names_digest(kept):
        return Verdict("leakage-free", "trained on exactly the kept images")
    whole = seen.digest == names_digest(kept | dropped) or seen.split == ("train", data.root.name)
    if whole and dropped:
        return Verdict("leaky", f"trained on the whole training split: all {len(dropped)} dropped images")
    if whole:
        return Verdict("leakage-free", "trained on the training split, of which nothing is dropped")
    if seen.split and seen.split[1] == data.root.name:
        return Verdict("leaky", f"trained on the {seen.split[0]} split, which is tested on")
    return Verdict("unknown", "its weights do not say which images it was trained on")


def _judge_names(names: frozenset[str], dropped: set[str], test: set[str]) -> Verdict:
    leaks = []
    if gone := len(names & dropped):
        leaks.append(f"{gone} of the {len(dropped)} dropped images")
    if tested := len(names & test):
        leaks.append(f"{tested} of the {len(test)} test images")
    if leaks:
        return Verdict("leaky", f"trained on {' and '.join(leaks)}")
    return Verdict("leakage-free", "trained on none of the dropped images, and on no test image")
