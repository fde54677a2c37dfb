"""One cell: train on images in memory, extract, rank. Images stay on the device from one cell to the next."""

from __future__ import annotations

import platform
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from reid_eval.backbones import ReidNet, save_model
from reid_eval.beside import Beside
from reid_eval.datasets import ReidData, load_images
from reid_eval.features import extract
from reid_eval.harness import rank
from reid_eval.ranking import Ranking
from reid_eval.rankings import top_lists, write_lists
from reid_eval.settings import TrainSettings
from reid_eval.table.cells import Point, Queries, Record, Scores
from reid_eval.training import Trained, Watch, train_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_STACKS = 4
"""Lists of images that stay on the device: the training set, query, gallery, and one generated set."""


@dataclass(frozen=True)
class TrainingSet:
    """What a cell trains on: images of the data set, maybe several times, and images of another folder."""

    real: tuple[str, ...]
    """Paths in the data set's training table."""
    folder: Path | None = None
    """Root of `others`."""
    others: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    """Of `real`, then of `others`."""
    made: tuple[bool, ...] = ()
    """Which of `others` are generated."""
    beside: Beside | None = field(default=None, compare=False)
    """Views of all of them, at the settings' size, where the settings ask for some."""

    @property
    def generated(self) -> int:
        """How many of all are generated."""
        return sum(self.made)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which are generated: bool [n]."""
        return np.array((*(False for _ in self.real), *self.made), np.bool_)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes, int64 [n]: ranks of the sorted pids."""
        return np.unique(self.pids, return_inverse=True)[1].reshape(-1).astype(np.int64)


class Stacks:
    """Images as uint8 [N, 3, H, W] on the device, the last few lists kept."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept: OrderedDict[Any, Tensor] = OrderedDict()

    def get(self, root: Path, paths: tuple[str, ...], size: tuple[int, int]) -> Tensor:
        """Those images, read at the first call."""
        key = (root, paths, size)
        if key not in self._kept:
            while len(self._kept) >= KEPT_STACKS:
                self._kept.popitem(last=False)
            self._kept[key] = torch.as_tensor(load_images(root, paths, size)).to(self.device)
        self._kept.move_to_end(key)
        return self._kept[key]


class Runner:
    """Computes cells on one data set and device."""

    def __init__(self, data: ReidData, device: torch.device) -> None:
        self.data, self.stacks = data, Stacks(device)
        self._paths = tuple(data.train["path"].tolist())
        self._row = {path: row for row, path in enumerate(self._paths)}

    def images(self, training: TrainingSet, size: tuple[int, int]) -> Tensor:
        """A cell's training images on the device."""
        index = torch.tensor([self._row[path] for path in training.real], dtype=torch.int64)
        whole = self.stacks.get(self.data.root, self._paths, size)
        parts = [whole[index.to(whole.device)]]
        if training.folder is not None:
            parts.append(self.stacks.get(training.folder, training.others, size))
        return torch.cat(parts)

    def run(
        self,
        key: str,
        facts: Mapping[str, Any],
        training: TrainingSet,
        settings: TrainSettings,
        steps: int,
        label: str = "",
        keep: Path | None = None,
        curve: int = 0,
        lists: Path | None = None,
    ) -> Record:
        """Train, evaluate, and describe both; `label` is the progress bar's, `keep` a file for the network, `curve`
        after how many steps each the network is evaluated besides (0: never), `lists` a file for the first of its
        rankings."""
        start = time.perf_counter()
        settings = replace(settings, device=str(self.stacks.device))
        images = self.images(training, settings.size)
        points: list[Point] = []

        def look(step: int, model: ReidNet, amp: str) -> None:
            points.append(_point(step, self.rank(model, settings, amp)))

        watch = Watch(curve, look) if curve else None
        trained = train_on(
            images, training.labels, settings, steps, training.mask, label, watch=watch, beside=training.beside
        )
        ranking = self.rank(trained.model, settings, trained.amp, lists)
        if curve:
            points = [one for one in points if one.steps < trained.steps] + [_point(trained.steps, ranking)]
        if keep is not None:
            save_model(keep, trained.model, {"key": key, "amp": trained.amp})
        return Record(
            key=key,
            facts=dict(facts),
            scores=self._scores(training, trained, ranking),
            queries=queries_of(self.data.query["pid"].tolist(), ranking),
            made={**made_on(self.stacks.device), "amp": trained.amp, "seconds": time.perf_counter() - start},
            curve=tuple(points),
        )

    def rank(self, model: ReidNet, settings: TrainSettings, amp: str, lists: Path | None = None) -> Ranking:
        """Evaluate a network on the data set's query and gallery; `lists` is a file for the first of its rankings."""
        query, gallery = self.features(model, settings, amp)
        if lists is not None:
            write_lists(lists, top_lists(query, gallery, self.data, settings, str(self.stacks.device)))
        return rank(query, gallery, self.data, settings, str(self.stacks.device))

    def features(
        self, model: ReidNet, settings: TrainSettings, amp: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A network's features of query and gallery: float32 [Q, D] and [G, D]."""
        query, gallery = (
            extract(
                model,
                self.stacks.get(self.data.root, tuple(table["path"].tolist()), settings.size),
                batch_size=settings.eval_batch_size,
                flip=settings.eval_flip,
                amp=amp,
            )
            for table in (self.data.query, self.data.gallery)
        )
        return query, gallery

    def _scores(self, training: TrainingSet, trained: Trained, ranking: Ranking) -> Scores:
        return Scores(
            **ranking_scores(ranking),
            n_train=len(training.pids),
            n_generated=training.generated,
            n_query=len(self.data.query),
            n_gallery=len(self.data.gallery),
            steps=trained.steps,
            train_accuracy=trained.accuracy,
        )


def made_on(device: torch.device) -> dict[str, Any]:
    """Device and versions, for a record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": device.type, "device_name": name, "torch": torch.__version__, "numpy": np.__version__}


def _point(steps: int, ranking: Ranking) -> Point:
    return Point(steps=steps, mAP=ranking.scores["mAP"], rank1=ranking.scores["rank1"])


def ranking_scores(ranking: Ranking) -> dict[str, Any]:
    """The fields of `Scores` that a ranking gives."""
    return {**ranking.scores, "n_skipped": len(ranking.skipped)}


def queries_of(pids: list[int], ranking: Ranking, digits: int = 6) -> Queries:
    """Scores of every query, to so many decimals."""
    rounded = [None if np.isnan(value) else round(float(value), digits) for value in ranking.precisions]
    return Queries(pids=pids, precisions=rounded, first_ranks=ranking.first_ranks.tolist())
