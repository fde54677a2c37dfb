"""A trained network searched with generated views: what `reid_eval.compare` asks at test time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.generators.open import generator_sha256, open_to_look
from augment.pose.keypoints import Keypoints, empty_keypoints, read_keypoints
from augment.search.extractors import reid_extractor
from augment.search.fusion import Floats, Parts, calibrate, fuse
from augment.search.makers import GeneratedViews
from augment.search.searched_photos import Photos, calibration_photos, photos_of
from augment.search.store import ViewStore
from augment.search.views import VIEWS, default_weight, shipped_views
from reid_eval.backbones import ReidNet
from reid_eval.datasets import ReidData
from reid_eval.features import extract_files
from reid_eval.harness import SearchFeatures
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.yaml_recipes import problems_of


class SearchSettings(BaseModel):
    """How test images are searched for: the group `test` of a re-ID recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    poses: Annotated[int, Field(ge=0, le=len(VIEWS))] | str = 4
    """How many of `augment.search.views.VIEWS`, or a file of poses; 0: photos alone."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of the views against the photo; None: `augment.search.views.default_weight` of the network."""
    weights: str | None = None
    """Of the generator; None: the best for the device."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the generator; `auto`: whatever engine is the fastest here at next to no loss."""

    def keypoints(self) -> Keypoints:
        """The poses themselves.

        Raises:
            InputError: the file cannot be read.
        """
        if isinstance(self.poses, str):
            return read_keypoints(Path(self.poses))
        return shipped_views(self.poses) if self.poses else empty_keypoints()


def search_settings(values: Mapping[str, Any], source: str) -> SearchSettings:
    """Settings from a recipe's group `test`.

    Raises:
        InputError: unknown keys or values that cannot be; `source` says where they stand.
    """
    try:
        return SearchSettings.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: test: {problems_of(error, SearchSettings)}") from None


class ViewSearch:
    """Searches a data set's query and gallery with generated views beside the photos; a `reid_eval.harness.Searcher`.

    The views are made once, whatever the number of networks. Calibrated on training people of the same data set.

    Args:
        data: whose query and gallery are searched.
        keypoints: of its images, training images too.
        settings: poses, weight, generator.
        device: where the generator works.
        folder: for the views; the caller's to remove.
        allow_code: whether `settings.weights` may be code to import: only if a person wrote it on the command line.

    Raises:
        InputError: no such generator or poses, or no pose to search in.
    """

    def __init__(
        self,
        data: ReidData,
        keypoints: Keypoints,
        settings: SearchSettings,
        device: str,
        folder: Path,
        allow_code: bool = False,
    ) -> None:
        poses = settings.keypoints()
        if not len(poses.names):
            raise InputError("there is no pose to search in: ask for one or more", "poses")
        generator, self._how = open_to_look(settings.weights, device, settings.precision, allow_code=allow_code)
        self.data, self.settings = data, settings
        self.maker = GeneratedViews(generator, poses, self._how.precision)
        self._store = ViewStore(folder, str(data.root))
        self._queries = len(data.query)
        self._tested = photos_of(data, keypoints, [*data.query["path"], *data.gallery["path"]])
        self._others = calibration_photos(data, keypoints)

    def __call__(self, model: ReidNet, settings: TrainSettings, amp: str) -> SearchFeatures:
        """Features of query and gallery, fused with those of the views."""
        start = time.perf_counter()
        tested, seconds = self._parts(self._tested, model, settings, amp)
        calibration = None
        if len(self._others) > 1:
            calibration = calibrate(self._parts(self._others, model, settings, amp)[0])
        weight = default_weight(settings.init) if self.settings.weight is None else self.settings.weight
        features = fuse(tested, weight, calibration)
        took = time.perf_counter() - start
        facts = self._facts(tested, weight, seconds, took)
        return SearchFeatures(features[: self._queries], features[self._queries :], self.name, facts)

    @property
    def name(self) -> str:
        """In print."""
        return f"{self.maker.count} view{'s' * (self.maker.count > 1)}"

    def _parts(self, photos: Photos, model: ReidNet, how: TrainSettings, amp: str) -> tuple[Parts, float]:
        """Features of photos and their views, and the seconds that the views took."""
        stored = self._store.ensure(self.maker, photos)
        extract = reid_extractor(model, amp=amp, flip=how.eval_flip)
        batch, flip = how.eval_batch_size, how.eval_flip
        own: Floats = extract_files(model, photos.root, photos.names, model.size, batch_size=batch, flip=flip, amp=amp)
        return stored.beside(own, extract), stored.seconds

    def _facts(self, parts: Parts, weight: float, seconds: float, took: float) -> dict[str, Any]:
        made = int(parts.known.sum()) * self.maker.count
        rate = made / max(seconds, 1e-9)
        generator, poses = self.maker.generator, self.maker.poses
        return {
            "about": f"weight {weight:g} by {generator.name}, {int(parts.known.sum())} of "
            f"{len(parts.known)} test images have usable joints; {rate:.1f} images/s generated",
            "poses": list(poses.names) if poses is not None else [],
            "weight": weight,
            "generator": generator.name,
            "generator_sha256": generator_sha256(generator),
            "precision": self._how.precision,
            "engine": str(self._how),
            "images_with_views": int(parts.known.sum()),
            "images": len(parts.known),
            "calibrated_on": len(self._others),
            "generated": made,
            "seconds_generating": round(seconds, 3),
            "seconds_features": round(took, 3),
        }
