"""What each row trains on: plans, generators, other methods' folders, and the facts that go into a cell's key.

OUT/plans/DATA/*.csv        the plans, read again where they are, so that records stay valid on another machine
OUT/folders/...             augmented folders, made when a cell needs them (see `augment.table.cell_folders`)
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from augment.folder.layout import PLAN
from augment.plan.file import TRAIN as TRAIN_FOLDER
from augment.plan.file import plan_text, read_plan, write_plan
from augment.plan.sampler import plan_dataset
from augment.pose.keypoints import Keypoints
from augment.search.views import poses_at, shipped_views
from augment.synth.dataset import SynthSettings, embedded_path, further_shots, plan_shots
from augment.synth.dataset import facts as drawn_facts
from augment.table.filtered import CHOICE, read_choice
from augment.table.other_folders import check_share, planned_share
from augment.table.row_generators import RowGenerator, row_generator
from augment.table.table_data import TableData, files_sha
from augment.table.table_recipe import (
    Column,
    Drawn,
    Duplicate,
    Folder,
    Generated,
    LeaveOut,
    MorePeople,
    MoreReal,
    Row,
    TrulyDrawn,
    WithViews,
)
from reid_eval.datasets import ReidData, check_images, read_dataset
from reid_eval.runtime import InputError, sha256_bytes, sha256_file
from reid_eval.table import cell_key
from reid_eval.table.runner import TrainingSet

JPEG_QUALITY = 95


@dataclass
class TrainingSets:
    """The training sets of a table. Seeds are those of plans. Pickles, for worker processes.

    Attributes:
        out: of the table; plans and folders are in it.
        data: the data set.
        device: where generators work.
        writes: whether plans are kept in the folder; a dry run keeps none.
    """

    out: Path
    data: TableData
    device: str
    writes: bool = True
    _plans: dict[str, pd.DataFrame] = field(default_factory=dict)
    _generators: dict[tuple[str, bool], RowGenerator] = field(default_factory=dict)
    _folders: dict[Path, tuple[ReidData, str]] = field(default_factory=dict)

    def plan(self, column: Column, seed: int, row: Row | Generated | None = None) -> pd.DataFrame:
        """The plan of a column and a plan seed, from `out/plans` where it is there; poses as `row` wants them."""
        source, exclude, library = "dataset", False, None
        if isinstance(row, Generated):
            source, exclude, library = row.pose_source, row.exclude_same_image, row_library(row)
        elif isinstance(row, TrulyDrawn):
            source, exclude = row.pose_source, row.exclude_same_image
        which = f"{source}{len(library) if library else ''}{'-other' if exclude else ''}"
        name = f"{column.name}-{which}-seed{seed}.csv"
        if name not in self._plans:
            path = self.out / "plans" / self.data.sha256[:12] / name
            if path.is_file():
                self._plans[name] = read_plan(path)
            else:
                self._plans[name], _ = plan_dataset(
                    self.data.reid,
                    self.data.joints(),
                    ratio=column.ratio,
                    mode=column.mode,
                    pose_source=source,
                    library=library,
                    exclude_same_image=exclude,
                    seed=seed,
                )
                if self.writes:
                    write_plan(path, self._plans[name])
        return self._plans[name]

    def generator(self, row: Generated, column: Column, seed: int) -> RowGenerator:
        """The generator of a row in a column."""
        return self.known(_filled(row.weights, column, seed), row.asked_for)

    def viewer(self, row: WithViews, column: Column, seed: int) -> RowGenerator:
        """The generator of a row's views in a column."""
        return self.known(_filled(row.weights, column, seed))

    def known(self, spec: str, code: bool = False) -> RowGenerator:
        """A generator by what `open_generator` takes, looked at once; `code`: whether that may be code to import."""
        if (spec, code) not in self._generators:
            self._generators[spec, code] = row_generator(spec, self.device, code)
        return self._generators[spec, code]

    def other(self, row: Folder, column: Column, seed: int) -> tuple[ReidData, str]:
        """The data set of another method and the hash of its training files.

        Raises:
            InputError: it cannot be read, trains on people that are tested on, or its plan keeps another share of the
                real images than the column stands for.
        """
        path = Path(_filled(row.folder, column, seed))
        if path not in self._folders:
            found, own = read_dataset(path), self.data.reid
            check_images(found, ("train",))
            tested = set(own.query["pid"]) | set(own.gallery["pid"])
            if leaked := sorted(pid for pid in set(found.train["pid"]) & tested if pid > 0):
                raise InputError(f"{path} trains on {len(leaked)} identities that are tested on: {leaked[:5]}")
            self._folders[path] = found, files_sha(found, ("train",))
        check_share(row, column, self._folders[path][0], self.data.reid, planned_share(self.plan(column, seed)))
        return self._folders[path]

    def asked(self, row: Row, column: Column, seed: int) -> TrainingSet:
        """What a row trains on in a column. Generated images need not be there yet, and the gate may give some up."""
        if isinstance(row, Folder):
            data, _ = self.other(row, column, seed)
            return TrainingSet(
                real=(),
                folder=data.root,
                others=tuple(data.train["path"]),
                pids=tuple(data.train["pid"].tolist()),
                made=tuple((data.train["source"] == "generated").tolist()),
            )
        return self._planned(row, column, seed, self.plan(column, seed, row))

    def made(self, row: Row, column: Column, seed: int) -> TrainingSet:
        """As `asked`, once the images are there: of a gated row, what its plan came to."""
        asked = self.asked(row, column, seed)
        if not (isinstance(row, Generated) and asked.others):
            return asked
        if row.gate:  # what the gate gave up is not there, and a real image is in its place
            asked = self._planned(row, column, seed, read_plan(self.folder(row, column, seed) / PLAN))
        return asked if row.filter is None else chosen(asked, read_choice(self.choice(row, column, seed)))

    def choice(self, row: Generated, column: Column, seed: int) -> Path:
        """Where the names of the images that a row's filter left are, or will be."""
        folder = self.folder(row, column, seed)
        return folder.with_name(f"{folder.name}.{cell_key(filter_facts(row))[:10]}.json")

    def _planned(self, row: Row, column: Column, seed: int, plan: pd.DataFrame) -> TrainingSet:
        kept, made = plan[plan["action"] == "keep"], plan[plan["action"] == "generate"]
        pids = (*kept["pid"].tolist(), *made["pid"].tolist())
        if isinstance(row, MorePeople):
            return self._with_more(row, tuple(kept["image"]), tuple(kept["pid"].tolist()))
        if isinstance(row, LeaveOut | WithViews) or made.empty:
            return TrainingSet(tuple(kept["image"]), pids=tuple(kept["pid"].tolist()))
        if isinstance(row, Duplicate):
            return TrainingSet((*kept["image"], *made["condition"]), pids=pids)
        if isinstance(row, MoreReal):
            shots = further_shots(self._renderer(), wanted_photos(row, made))
            pids = (*kept["pid"].tolist(), *(shot.pid for shot in shots))
            others = tuple(f"{shot.split}/{shot.name}" for shot in shots)
            return TrainingSet(tuple(kept["image"]), self.folder(row, column, seed), others, pids, (False,) * len(made))
        assert isinstance(row, (Generated, TrulyDrawn))
        folder = self.folder(row, column, seed)
        return TrainingSet(tuple(kept["image"]), folder, tuple(made["output"]), pids, (True,) * len(made))

    def _with_more(self, row: MorePeople, kept: tuple[str, ...], pids: tuple[int, ...]) -> TrainingSet:
        """Beside what is kept, the training images of another drawn world; they are drawn when a cell needs them."""
        settings = row.settings()
        shots = [shot for shot in plan_shots(settings) if shot.split == TRAIN_FOLDER]
        after = max(int(self.data.reid.train["pid"].max()), 0)
        return TrainingSet(
            kept,
            embedded_path(settings),
            tuple(f"{shot.split}/{shot.name}" for shot in shots),
            (*pids, *(shot.pid + after for shot in shots)),
            (False,) * len(shots),
        )

    def folder(self, row: Generated | TrulyDrawn | MoreReal, column: Column, seed: int) -> Path:
        """Where the images of a generator's row are, or will be, or those that are drawn for a row."""
        spec: str
        if isinstance(row, Drawn):
            spec, digest = str(row.kind), cell_key(self._drawing(row, column, seed))[:10]
        else:
            spec, digest = self.generator(row, column, seed).spec, cell_key(self._generation(row, column, seed))[:10]
        # Named after what makes it: rows that only learn from it in another way share it.
        return self.out / "folders" / f"{slug(Path(spec).stem)}-p{column.name}-plan{seed}-{digest}"

    def facts(self, row: Row, column: Column, seed: int) -> dict[str, Any]:
        """What determines the images of a training set: for a key."""
        training = self.asked(row, column, seed)
        others: dict[str, Any] | None = None
        if isinstance(row, Folder):
            others = {"files": self.other(row, column, seed)[1]}
        elif isinstance(row, MorePeople):
            others = {"synth": drawn_facts(row.settings())}
        elif isinstance(row, Generated) and training.others:
            others = {**self._generation(row, column, seed), **({"filter": filter_facts(row)} if row.filter else {})}
        elif isinstance(row, WithViews):
            others = {"views": self._views(row, column, seed)}
        elif isinstance(row, Drawn) and training.others:
            others = self._drawing(row, column, seed)
        real = sha256_bytes("\n".join(training.real).encode())
        return {"data": self.data.sha256, "real": real, "others": others}

    def _renderer(self) -> SynthSettings:
        """What the data set was drawn with."""
        if self.data.drawn is None:
            raise InputError("only drawn people can be drawn again: this data set is a folder")
        return self.data.drawn

    def _drawing(self, row: TrulyDrawn | MoreReal, column: Column, seed: int) -> dict[str, Any]:
        how = {"cameras": row.cameras} if isinstance(row, MoreReal) else {"jpeg_quality": JPEG_QUALITY}
        plan = sha256_bytes(plan_text(self.plan(column, seed, row)).encode())
        return {"drawn": row.kind, "plan": plan, "synth": drawn_facts(self._renderer()), **how}

    def _views(self, row: WithViews, column: Column, seed: int) -> dict[str, Any]:
        generator = self.viewer(row, column, seed)
        poses = sha256_bytes(poses_at(shipped_views(row.poses), generator.size).tobytes())
        made = {"weights": generator.sha256, "size": list(generator.size), "precision": row.precision, "poses": poses}
        return {**made, "statistics": "photos and views"}

    def _generation(self, row: Generated, column: Column, seed: int) -> dict[str, Any]:
        generator = self.generator(row, column, seed)
        return {
            "plan": sha256_bytes(plan_text(self.plan(column, seed, row)).encode()),
            "weights": generator.sha256,
            "size": list(generator.size),
            "sigma": generator.sigma,
            "precision": row.precision,
            "jpeg_quality": JPEG_QUALITY,
            **({"gate": gate_facts(row, seed)} if row.gate else {}),
        }


def wanted_photos(row: MoreReal, made: pd.DataFrame) -> dict[int, list[int | None]]:
    """The photos that a row wants in place of a plan's generated images, for `augment.synth.dataset.further_shots`."""
    camids = made["camid"].tolist() if row.cameras == "condition" else [None] * len(made)
    wanted: dict[int, list[int | None]] = {}
    for pid, camid in zip(made["pid"].tolist(), camids, strict=True):
        wanted.setdefault(pid, []).append(camid)
    return wanted


def filter_facts(row: Generated) -> dict[str, Any]:
    """What determines which images a row's filter leaves, besides the images."""
    assert row.filter is not None
    return {**row.filter.model_dump(), "version": CHOICE}


def chosen(training: TrainingSet, names: frozenset[str]) -> TrainingSet:
    """A training set with only those of its generated images."""
    stays = [name in names for name in training.others]
    count = len(training.real)
    pids = (*training.pids[:count], *itertools.compress(training.pids[count:], stays))
    others, made = itertools.compress(training.others, stays), itertools.compress(training.made, stays)
    return replace(training, others=tuple(others), pids=pids, made=tuple(made))


def row_library(row: Generated) -> Keypoints | None:
    """The poses that a row's images come in, where it names a library."""
    return shipped_views(row.library) if row.pose_source == "library" else None


def gate_facts(row: Generated, seed: int) -> dict[str, Any]:
    """What determines the gate of a gated row besides the data set: it is set on that, by the estimator that ships.

    Args:
        row: tells where other poses are looked for.
        seed: of the plan, and of those draws.

    Raises:
        InputError: no estimator ships with this installation.
    """
    from augment.estimators.agreement import reference_poses
    from augment.estimators.posenet.weights_file import shipped_weights
    from augment.gate.calibrate import COUNT, FALSE_ALARMS, VERSION
    from augment.gate.redraw import DRAWS, RETRIES

    file = shipped_weights()
    if file is None:
        raise InputError("this installation has no weights of the estimator synth: rows with `gate: true` need them")
    return {
        "estimator": sha256_file(file),
        "version": VERSION,
        "images": COUNT,
        "false_alarms": FALSE_ALARMS,
        "retries": RETRIES,
        "draws": DRAWS,
        "pose_source": row.pose_source,
        "exclude_same_image": row.exclude_same_image,
        "seed": seed,
        "references": sha256_bytes(reference_poses((128, 64)).tobytes()),
    }


def _filled(template: str, column: Column, seed: int) -> str:
    return template.replace("{p}", column.name).replace("{seed}", str(seed))


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "row"
