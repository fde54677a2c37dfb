"""Had the generator seen the images that were 'removed'? What it says of its training, against a plan.

Weights say what they were trained on in one of these ways, looked for in this order:
    a file beside them, `NAME.training_images.txt` for `NAME.safetensors`: an image name or path a line, the images that
        the whole chain saw;
    `info.training_images` in their metadata: a list of names, or `{"sha256": ..., "count": ...}` as
        `names_digest` makes it;
    `info.data`, as our own training writes it: the endless synthetic stream (no image of any data set), or `the train
        split of NAME`.
Weights that were trained further saw what those saw that they started from: every stage of `info.init` is looked at
(see `augment.generators.lineage`), and a chain that ends in the dark is `unknown`. So is all that cannot be proven.

Images are told apart by as much of their path as it takes, suffix left off: by the file's name alone where no two have
the same (Market-1501), with the identity's folder where every folder has a `0.jpg`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from augment.generators.lineage import lineage, list_file, listed_images
from augment.generators.weights import available_weights, names_digest, weights_sha256
from reid_eval.datasets.names import image_stem

if TYPE_CHECKING:
    import pandas as pd

    from augment.generators.weights import WeightsFile
    from reid_eval.datasets import ReidData

Label = Literal["leakage-free", "leaky", "unknown"]
WORST: tuple[Label, ...] = ("leakage-free", "unknown", "leaky")
NOTHING = "nothing"
"""What `describe()["trained_on"]` of a generator says that has no training."""
_STREAM = re.compile(r"synthetic pedestrians\b.*\bendless stream\b")
_SPLIT = re.compile(r"the (train|query|gallery) split of (.+)")


@dataclass(frozen=True)
class Seen:
    """What one training saw: `names`, or a `digest` of them, or a whole `split`; None of them: unknown."""

    names: frozenset[str] | None = None
    """Paths or names of images."""
    digest: str | None = None
    split: tuple[str, str] | None = None
    """(split, name of the data set's folder)."""


@dataclass(frozen=True)
class History:
    """What a generator's whole training saw.

    Attributes:
        stages: of each training of the chain, the last first.
        starts: names of the weights that each stage but the last started from.
        gap: why the chain is not known to its end, None if it is.
    """

    stages: tuple[Seen, ...]
    starts: tuple[str, ...] = ()
    gap: str | None = None


@dataclass(frozen=True)
class Leak:
    """What is known of one generator and one plan: the label, and why."""

    label: Label
    reason: str


UNTRAINED = History((Seen(names=frozenset()),))


def weights_history(file: WeightsFile, name: str, path: Path | None) -> History:
    """What weights say of their training and of those before it.

    Args:
        file: the weights.
        name: of the weights, for messages.
        path: their file, None for those that ship.

    Raises:
        InputError: the list beside them cannot be read.
    """
    listed = frozenset(listed_images(path)) if path is not None and list_file(path).is_file() else None
    facts: Mapping[str, Any] = lineage(file, name)
    started = _start_setting(file.info)
    stages: list[Seen] = []
    starts: list[str] = []
    while True:
        seen = _seen(facts)
        # The list has the images of all stages that know theirs.
        covered = listed is not None and (not stages or seen.digest is not None)
        stages.append(Seen(names=listed) if covered else seen)
        if "init" not in facts or not isinstance(facts["init"], Mapping | None):
            break
        if facts["init"] is None:
            return History(tuple(stages), tuple(starts))
        facts = _looked_up(facts["init"])
        starts.append(str(facts.get("weights", "other weights")))
    if len(stages) > 1:
        return History(tuple(stages), tuple(starts), f"nothing is known of what {starts[-1]} started from")
    if started:
        return History(tuple(stages), (), f"it started from {started}, and it is not known what that was trained on")
    # A list that somebody put beside weights without a history of their own is meant to be all they have seen.
    return History(tuple(stages), (), None if listed is not None else "its weights do not say what they started from")


def described_history(described: Mapping[str, Any]) -> History:
    """What a generator without a weights file of ours says of its training in `describe()`."""
    if described.get("trained_on") == NOTHING:
        return UNTRAINED
    return History((), (), "it does not say what it was trained on")


def _start_setting(info: Mapping[str, Any]) -> str:
    settings = info.get("settings")
    return str(settings.get("init_weights") or "") if isinstance(settings, Mapping) else ""


def _looked_up(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of weights that a file started from; where it has no more than a name, those that ship are asked."""
    name = facts.get("weights")
    if {"data", "training_images", "init"} & set(facts) or name not in available_weights():
        return facts
    return lineage(str(name)) if weights_sha256(str(name)) == facts.get("sha256") else facts


def _seen(facts: Mapping[str, Any]) -> Seen:
    listed = facts.get("training_images")
    if isinstance(listed, list):
        return Seen(names=frozenset(map(str, listed)))
    if isinstance(listed, dict) and "sha256" in listed:
        return Seen(digest=str(listed["sha256"]))
    told = str(facts.get("data", ""))
    if _STREAM.search(told):
        return Seen(names=frozenset())
    split = _SPLIT.fullmatch(told)
    return Seen(split=(split[1], split[2])) if split else Seen()


def find_leak(history: History, plan: pd.DataFrame, data: ReidData) -> Leak:
    """Whether a generator had seen images that the plan drops, or that the evaluation tests on: the worst stage's."""
    images = _Images(plan, data)
    found = [images.leak(seen) for seen in history.stages]
    for place, start in enumerate(history.starts, 1):
        if found[place].label != "leakage-free":
            found[place] = Leak(found[place].label, f"it started from {start}: {found[place].reason}")
    if history.gap is not None:
        found.append(Leak("unknown", history.gap))
    return max(found, key=lambda leak: WORST.index(leak.label))


class _Images:
    """The images that a plan keeps and drops and those of the test, found by as much of their path as tells them apart.

    Args:
        plan: with the columns `action` and `image`.
        data: the data set.
    """

    def __init__(self, plan: pd.DataFrame, data: ReidData) -> None:
        self.root = data.root.name
        self.kept, self.dropped = (set(plan.loc[plan["action"] == action, "image"]) for action in ("keep", "drop"))
        self.test = {path for table in (data.query, data.gallery) for path in table["path"]}
        train, everything = self.kept | self.dropped, self.kept | self.dropped | self.test
        longest = max((len(_parts(path)) for path in everything), default=1)
        self.depth = next((n for n in range(1, longest) if self._tell_apart(train, n)), longest)
        self.by_tail: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in everything:
            for tail in {_parts(path)[-n:] for n in range(1, self.depth + 1)}:
                self.by_tail[tail].add(path)

    def _tell_apart(self, train: set[str], depth: int) -> bool:
        """Whether so many parts of a path, from its end, tell training images from each other and from the test."""
        tails = {_parts(path)[-depth:] for path in train}
        return len(tails) == len(train) and tails.isdisjoint(_parts(path)[-depth:] for path in self.test)

    def leak(self, seen: Seen) -> Leak:
        """What one training saw of them."""
        dropped = len(self.dropped)
        if seen.names is not None:
            return self._named(seen.names)
        if seen.digest is not None and seen.digest == self._digest(self.kept):
            return Leak("leakage-free", "trained on exactly the kept images")
        every = seen.digest is not None and seen.digest == self._digest(self.kept | self.dropped)
        if every or seen.split == ("train", self.root):
            if dropped:
                return Leak("leaky", f"trained on the whole training split: all {dropped} dropped images")
            return Leak("leakage-free", "trained on the training split, of which nothing is dropped")
        if seen.split and seen.split[1] == self.root:
            return Leak("leaky", f"trained on the {seen.split[0]} split, which is tested on")
        return Leak("unknown", "its weights do not say which images it was trained on")

    def _named(self, names: Iterable[str]) -> Leak:
        bad, sure, maybe = self.dropped | self.test, set[str](), 0
        for name in names:
            images, compared = self._find(name)
            if compared and images <= bad:
                sure |= images
            elif images & bad:
                maybe += 1
        leaks = []
        for what, those in (("dropped", self.dropped), ("test", self.test)):
            if seen := len(sure & those):
                leaks.append(f"{seen} of the {len(those)} {what} images")
        if leaks:
            return Leak("leaky", f"trained on {' and '.join(leaks)}")
        if maybe:
            return Leak("unknown", f"{maybe} names of its training images may be those of dropped or test images")
        return Leak("leakage-free", "trained on none of the dropped images, and on no test image")

    def _find(self, name: str) -> tuple[Set[str], bool]:
        """The images that a name may mean, and whether nothing in the name speaks against it."""
        parts = _parts(name)
        longest = min(len(parts), self.depth)
        for length in range(longest, 0, -1):
            if images := self.by_tail.get(parts[-length:]):
                return images, length == longest  # shorter: of another folder, which may be a copy
        return set(), True

    def _digest(self, paths: set[str]) -> str | None:
        """Digest of the names of images; None where other images may have the same."""
        digest = names_digest(paths)
        bare = names_digest(PurePosixPath(path).name for path in paths)
        return digest if self.depth == 1 or digest != bare else None


def _parts(path: str) -> tuple[str, ...]:
    """A path's folders and the file's name without its suffix."""
    place = PurePosixPath(path)
    return (*place.parts[:-1], image_stem(place.name))
