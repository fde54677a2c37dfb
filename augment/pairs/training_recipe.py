"""Training recipes: one YAML file, one experiment. Unknown keys are errors, and all errors are shown at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from augment.runs import recipes_folder
from reid_eval.alike import unknown_keys
from reid_eval.limits import LARGEST_INTEGER, MOST_SIDE, MOST_STREAM_PIXELS
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import plain_number, problems_of, read_recipe, recipe_file

if TYPE_CHECKING:
    import torch

    from augment.generators.patn.batch import PairSource
    from augment.generators.patn.settings import PATNTrainSettings


Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]


class SynthSource(BaseModel):
    """Training pairs from the endless synthetic stream; see `augment.synth.stream`."""

    model_config = ConfigDict(extra="forbid")
    source: Literal["synth"]
    seed: Seed = 0
    identities: Annotated[int, Field(ge=1, le=1 << 20)] = 512
    images_per_id: Annotated[int, Field(ge=2, le=1000)] = 8
    cameras: Annotated[int, Field(ge=1, le=10_000)] = 64
    walk_images: Annotated[int, Field(ge=1, le=1000)] = 3
    pairing: Literal["identity", "camera"] = "identity"
    size: tuple[Side, Side] = (128, 64)
    world: Literal[1, 2] = 2
    steps_per_generation: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] = 500

    @model_validator(mode="after")
    def _fits(self) -> SynthSource:
        pixels = self.identities * self.images_per_id * self.size[0] * self.size[1]
        if pixels > MOST_STREAM_PIXELS:
            raise ValueError(f"a generation of {pixels} pixels, at most {MOST_STREAM_PIXELS} are drawn at a time")
        return self

    def open(self, device: torch.device | str) -> PairSource:
        """Build the stream on `device`."""
        from augment.pairs.stream import StreamPairs
        from augment.synth.stream import StreamSettings

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
    size: tuple[Side, Side] = (128, 64)
    seed: Seed = 0

    def open(self, device: torch.device | str) -> PairSource:
        """Read the images and joints of the split."""
        from augment.pairs.photos import folder_pairs

        options = self.model_dump(exclude={"source", "root"})
        return folder_pairs(self.root, device=device, **options)


class Recipe(BaseModel):
    """A parsed recipe: where pairs come from (`data`) and how to train (`train`, fields of `PATNTrainSettings`)."""

    model_config = ConfigDict(extra="forbid")
    data: Annotated[SynthSource | FolderSource, Field(discriminator="source")]
    train: dict[str, Any] = {}

    def described(self) -> str:
        """The training data in words, for the weights' metadata."""
        if isinstance(self.data, SynthSource):
            drawn = f"world {self.data.seed}, drawn by version {self.data.world}"
            return f"synthetic pedestrians, augment.synth, {drawn} (endless stream)"
        part = "what a plan keeps of " if self.data.plan else ""
        return f"{part}the {self.data.split} split of {_folder_name(self.data.root)}"

    def licence(self) -> str:
        """Of what a training on this data gives, its start left aside: photographs have rights that we don't know."""
        if isinstance(self.data, SynthSource):
            return "MIT"
        return f"unspecified; trained on {_folder_name(self.data.root)}"

    def settings(self) -> PATNTrainSettings:
        """The training settings.

        Raises:
            InputError: unknown or unusable settings, all in one message.
        """
        from augment.generators.patn.settings import PATNTrainSettings

        known = {field.name for field in fields(PATNTrainSettings)}
        values = {key: plain_number(value) if key not in _WORDS else value for key, value in self.train.items()}
        if unknown := sorted(set(self.train) - known):
            raise InputError(
                f"recipe: unknown keys under train: {unknown_keys(unknown, known)}; known: {', '.join(sorted(known))}"
            )
        try:
            return TypeAdapter(PATNTrainSettings).validate_python(values)
        except ValidationError as error:
            raise InputError(f"recipe: train: {problems_of(error)}") from None


def _folder_name(root: str) -> str:
    """`.` has a name, too."""
    return (Path.cwd() / root).name or Path(root).resolve().name


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and replace values (`train.lr=1e-4`, values in YAML).

    Raises:
        InputError: unreadable YAML, unknown keys, values of the wrong type; all of them in one message.
    """
    path = recipe_file(name, "patn_", "recipe", recipes_folder())
    return check_recipe(read_recipe(path, "a recipe is a mapping with the keys data and train", overrides), str(path))


def check_recipe(raw: dict[str, Any], path: str) -> Recipe:
    """A recipe from plain values.

    Args:
        raw: a mapping with the keys data and train.
        path: where it is from, for messages.

    Raises:
        InputError: as `load_recipe`.
    """
    faults = []
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        faults.append(problems_of(error, SynthSource, FolderSource, Recipe))
    train = raw.get("train", {})
    if isinstance(train, dict) and all(isinstance(key, str) for key in train):
        try:
            Recipe(data=SynthSource(source="synth"), train=train).settings()
        except InputError as error:
            faults.append(str(error).removeprefix("recipe: "))
    if faults:
        raise InputError(f"{path}: {'; '.join(faults)}")
    return recipe


# Settings that are words or names: a file called 1e5 stays a name.
_WORDS = (
    *("generator", "gan", "discriminators", "perceptual", "init_weights", "precision"),
    *("batchnorm_gain", "batchnorm"),
)
