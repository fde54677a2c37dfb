"""Searches with the networks of a table's cells: one record for each entry of the recipe's `test`.

OUT/networks/KEY.safetensors    the trained network of each cell, so that entries can be added without training again
OUT/views/KEY/                  images beside the photos, made once for all networks (see `augment.search.store`)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from augment.generators.open import generator_sha256, open_generator
from augment.pose.keypoints import Keypoints, read_keypoints
from augment.search.extractors import reid_extractor
from augment.search.fusion import Floats, Parts, calibrate, fuse
from augment.search.makers import GeneratedViews, JitteredCopies, MirrorImage, ViewMaker
from augment.search.searched_photos import Photos, calibration_photos, photos_of
from augment.search.store import ViewStore
from augment.search.views import shipped_views
from augment.table.search_recipe import Jitter, Mask, Mirror, Oracle, Photo, Search, Views, poses_asked
from augment.table.study import Cell, SearchCell, Study, images_beside
from augment.table.table_recipe import SynthData
from augment.table.true_views import MaskedPhoto, TrueViews
from reid_eval.backbones import ReidNet
from reid_eval.features import extract_files
from reid_eval.harness import rank
from reid_eval.runtime import InputError
from reid_eval.settings import TrainSettings
from reid_eval.table import Record
from reid_eval.table.runner import Runner, made_on, queries_of, ranking_scores

DIGITS = (
    2  # of a query's precision in a record: a table holds hundreds, and over 480 queries means are right to 0.02 points
)


class Searcher:
    """Searches with one network after the other; views stay on the disk, makers in memory."""

    def __init__(self, study: Study, runner: Runner) -> None:
        self.study, self.runner = study, runner
        self.store = ViewStore(study.out / "views", study.data.sha256)
        self._makers: dict[Any, ViewMaker] = {}
        reid = study.reid
        names = [*reid.query["path"], *reid.gallery["path"]]
        self.others = calibration_photos(reid, study.data.joints())
        self.both = photos_of(reid, study.data.joints(), names), self.others

    def records(self, cell: Cell, model: ReidNet, amp: str) -> list[Record]:
        """Search in each way that has no record yet, and write the records."""
        missing = [search for search in self.study.searches(cell) if search.key not in self.study.records]
        if not missing:
            return []
        settings = replace(cell.settings, device=str(self.runner.stacks.device))
        looks = _Looks(self, missing, model, settings, amp)
        trained = self.study.records.read(cell.key)
        found = []
        for search in missing:
            found.append(self._record(search, looks, settings, trained))
            self.study.records.write(found[-1])
        return found

    def _record(self, cell: SearchCell, looks: _Looks, settings: TrainSettings, trained: Record) -> Record:
        start = time.perf_counter()
        search, reid = cell.search, self.study.reid
        parts, others = looks.parts(search)
        calibration = calibrate(others) if search.calibrate else None
        features = fuse(parts, search.pose_weight, calibration)
        count = len(reid.query)
        how = replace(settings, rerank=search.rerank)
        ranking = rank(features[:count], features[count:], reid, how, settings.device, search.gallery)
        cost = {"views": parts.views.shape[1], "views_seconds": looks.seconds(search), "photos": len(features)}
        return Record(
            key=cell.key,
            facts=cell.facts,
            scores=trained.scores.model_copy(update=ranking_scores(ranking)),
            queries=queries_of(reid.query["pid"].tolist(), ranking, DIGITS),
            made={
                **made_on(self.runner.stacks.device),
                "amp": looks.amp,
                "seconds": time.perf_counter() - start,
                **cost,
            },
        )

    def maker(self, search: Search, size: tuple[int, int]) -> ViewMaker:
        """What makes the images of a search: in poses that ship, of as many as any like search wants.

        Args:
            search: any but that of the photo alone.
            size: (H, W) that the network sees; a mirror image is of that, generated images are of their generator's.
        """
        key = images_beside(search), size
        if key not in self._makers:
            self._makers[key] = self._open(search, size)
        return self._makers[key]

    def _open(self, search: Search, size: tuple[int, int]) -> ViewMaker:
        study = self.study
        if isinstance(search, Mirror):
            return MirrorImage(size)
        if isinstance(search, Jitter):
            return JitteredCopies(size, search.copies, search.seed)
        if isinstance(search, Views):
            generator = open_generator(search.weights, study.device, search.blocks, allow_code=False)
            if search.weights_sha256 not in (None, found := generator_sha256(generator)):
                raise InputError(f"test {search.name!r}: {search.weights} is {found[:12]}..., not the one asked for")
            return GeneratedViews(generator, self._poses(search), search.precision)
        assert isinstance(study.recipe.data, SynthData)
        drawn = study.recipe.data.settings()
        if isinstance(search, Mask):
            return MaskedPhoto(drawn)
        assert isinstance(search, Oracle)
        return TrueViews(drawn, self._shipped(search), search.background == "kept")

    def _poses(self, search: Views) -> Keypoints | None:
        if isinstance(search.poses, int):
            return self._shipped(search)
        return None if search.poses == "own" else read_keypoints(Path(search.poses))

    def _shipped(self, search: Search) -> Keypoints:
        alike = [one for one in self.study.recipe.test if images_beside(one) == images_beside(search)]
        return shipped_views(max(poses_asked(one) for one in alike))


class _Looks:
    """All that one network has seen so far: features of photos, and of the images beside them."""

    def __init__(
        self, searcher: Searcher, searches: list[SearchCell], model: ReidNet, settings: TrainSettings, amp: str
    ) -> None:
        self.searcher, self.searches, self.model, self.settings, self.amp = searcher, searches, model, settings, amp
        self._extract = reid_extractor(model, amp=amp)
        self._photos = np.concatenate(searcher.runner.features(model, settings, amp)), self._files(searcher.others)
        self._views: dict[Any, _Views] = {}

    def parts(self, search: Search) -> tuple[Parts, Parts]:
        """Features for a search: of the test photos, and of those that calibrate it."""
        tested, others = self._photos
        if isinstance(search, Photo):
            return _alone(tested), _alone(others)
        views = self._seen(search)
        wanted = list(range(poses_asked(search) or views.tested.views.shape[1]))
        return views.tested.choose(wanted), views.others.choose(wanted)

    def seconds(self, search: Search) -> float:
        """What it took to make the images that a search looks at, of the test photos."""
        if isinstance(search, Photo):
            return 0.0
        views = self._seen(search)
        return views.seconds_a_view * (poses_asked(search) or views.tested.views.shape[1])

    def _seen(self, search: Search) -> _Views:
        key = images_beside(search)
        if key not in self._views:
            maker = self.searcher.maker(search, self.settings.size)
            first = max(poses_asked(one.search) for one in self.searches if images_beside(one.search) == key) or None
            stored = [self.searcher.store.ensure(maker, photos) for photos in self.searcher.both]
            parts = [one.beside(own, self._extract, first) for one, own in zip(stored, self._photos, strict=True)]
            self._views[key] = _Views(parts[0], parts[1], stored[0].seconds / maker.count)
        return self._views[key]

    def _files(self, photos: Photos) -> Floats:
        how = self.settings
        flags = {"batch_size": how.eval_batch_size, "flip": how.eval_flip, "amp": self.amp}
        return extract_files(self.model, photos.root, photos.names, how.size, **flags)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class _Views:
    """Features of the test photos and the images beside them, and of the others'."""

    tested: Parts
    others: Parts
    seconds_a_view: float


def _alone(photos: Floats) -> Parts:
    return Parts(photos, np.zeros((len(photos), 0, photos.shape[1]), np.float32), np.zeros(len(photos), np.bool_))
