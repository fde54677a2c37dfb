"""Training recipes: one YAML file, one experiment. Unknown keys are errors, and all errors are shown at once."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from reid_eval.runtime import InputError

if TYPE_CHECKING:
    import torch

    from augment.patn import PairSource, TrainSettings


class SynthSource(BaseModel):
    """Training pairs from the endless synthetic stream; see `augment.synth.stream`."""

    model_config = ConfigDict(extra="forbid")
    source: Literal["synth"]
    seed: int = 0
    identities: int = 512
    images_per_id: int = 8
    cameras: int = 64
    walk_images: int = 3
    pairing: Literal["identity", "camera"] = "identity"
    size: tuple[int, int] = (128, 64)
    steps_per_generation: int = 500

    def open(self, device: torch.device | str) -> PairSource:
        """Build the stream on `device`."""
        from augment.synth.stream import StreamPairs, StreamSettings

        names = {field.name for field in fields(StreamSettings)}
        settings = StreamSettings(**{key: value for key, value in self.model_dump().items() if key in names})
        return StreamPairs(settings, device, steps_per_generation=self.steps_per_generation)


class FolderSource(BaseModel):
    """Pairs from one split of a data set on disk (the training split, to train), held in memory as uint8."""

    model_config = ConfigDict(extra="forbid")
    source: Literal["folder"]
    root: str
    keypoints: str | None = None
    layout: str = "auto"
    split: Literal["train", "query", "gallery"] = "train"
    plan: str | None = None
    pairs: str | None = None
    size: tuple[int, int] = (128, 64)
    seed: int = 0

    def open(self, device: torch.device | str) -> PairSource:
        """Read the images and joints of the split."""
        from augment.folder_pairs import folder_pairs

        options = self.model_dump(exclude={"source", "root"})
        return folder_pairs(self.root, device=device, **options)


class Recipe(BaseModel):
    """A parsed recipe: where pairs come from (`data`) and how to train (`train`, fields of `TrainSettings`)."""

    model_config = ConfigDict(extra="forbid")
    data: SynthSource | FolderSource
    train: dict[str, Any] = {}

    def described(self) -> str:
        """The training data in words, for the weights' metadata."""
        if isinstance(self.data, SynthSource):
            return f"synthetic pedestrians, augment.synth, world {self.data.seed} (endless stream)"
        part = "what a plan keeps of " if self.data.plan else ""
        return f"{part}the {self.data.split} split of {Path(self.data.root).name}"

    def settings(self) -> TrainSettings:
        """The training settings.

        Raises:
            InputError: unknown or unusable settings, all in one message.
        """
        from augment.patn import TrainSettings

        known = {field.name for field in fields(TrainSettings)}
        values = {key: _number(value) if key not in _WORDS else value for key, value in self.train.items()}
        if unknown := sorted(set(self.train) - known):
            raise InputError(
                f"recipe: unknown keys under train: {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        try:
            return TypeAdapter(TrainSettings).validate_python(values)
        except ValidationError as error:
            raise InputError(f"recipe: train: {_problems(error)}") from None


def recipe_path(name: str) -> Path:
    """The file of a recipe: a path as it is, or the name of a recipe that ships.

    Raises:
        InputError: neither; the message lists the recipes that ship.
    """
    if Path(name).is_file():
        return Path(name)
    root = Path(str(files("recipes")))
    shipped = sorted(path.stem for path in root.rglob("patn_*.yaml"))
    if name in shipped:
        return root / f"{name}.yaml"
    raise InputError(f"no recipe {name!r}: give a file, or one of {', '.join(shipped)}")


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and replace values (`train.lr=1e-4`, values in YAML).

    Raises:
        InputError: unreadable YAML, unknown keys, values of the wrong type; all of them in one message.
    """
    path = recipe_path(name)
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a recipe is a mapping with the keys data and train")
    for override in overrides:
        _apply(raw, override)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{path}: {_problems(error)}") from None


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set {override}: write KEY=VALUE, such as train.lr=1e-4")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"--set {override}: {parent} is not a group of settings")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not YAML") from None


# Settings that are words or names: a file called 1e5 stays a name.
_WORDS = ("generator", "gan", "perceptual", "init_weights", "precision", "batchnorm_gain", "batchnorm")


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; people who write a learning rate mean the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
