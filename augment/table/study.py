"""The cells of a table: what each trains on, its key, and the folders that PATN fills for it.

    OUT/records/KEY.json        one a training; KEY is the hash of all that determines it
    OUT/plans/DATA/*.csv        the plans, read again where they are, so that records stay valid on another machine
    OUT/folders/...             augmented folders, made when a cell needs them
    OUT/table.md, .csv, .tex, .png

A cell's key does not depend on device, folder names or other machines' paths. The data set enters as the hash of its
files, or of its settings where it is synthetic.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from augment.folder.layout import PLAN
from augment.generators.weights import trained_for
from augment.plan.file import plan_text, read_plan, write_plan
from augment.plan.sampler import plan_dataset
from augment.pose.keypoints import Keypoints, load_annotations
from augment.table.cell_folders import JPEG_QUALITY, gate_facts
from augment.table.leaks import WORST, Label, Verdict, judge, seen_images
from augment.table.table_recipe import Column, Duplicate, Folder, LeaveOut, Patn, Row, SynthData, TableRecipe
from reid_eval.datasets import ReidData, check_images, read_dataset
from reid_eval.runtime import InputError, sha256_bytes, sha256_file
from reid_eval.settings import TrainSettings
from reid_eval.table import Grid, Records, cell_key
from reid_eval.table.grid import Place
from reid_eval.table.runner import TrainingSet

if TYPE_CHECKING:
    from augment.gate.judge import Gate
    from augment.generators.weights import WeightsFile


@dataclass(frozen=True)
class Cell:
    """One training of the table; `place` is the first of those that share it."""

    key: str
    place: Place
    column: Column
    facts: dict[str, Any]
    settings: TrainSettings

    @property
    def name(self) -> str:
        """In print."""
        where = self.place
        return f"{where.backbone}, {where.row}, p = {self.column.label}, seed {where.seed}"


@dataclass
class Study:
    """A recipe with its data set: knows all cells, and what each trains on. Pickles, for worker processes."""

    recipe: TableRecipe
    out: Path
    data: ReidData
    data_sha: str
    keypoints: Keypoints | None
    _plans: dict[str, pd.DataFrame] = field(default_factory=dict)
    _weights: dict[str, WeightsFile] = field(default_factory=dict)
    _folders: dict[Path, tuple[ReidData, str]] = field(default_factory=dict)
    gates: dict[tuple[int, int], Gate] = field(default_factory=dict)
    """Set on this data set for images of a size (H, W), for all gated rows."""

    def __getstate__(self) -> dict[str, Any]:
        # Workers read weights themselves: as tensors they would go through shared memory, which is often small.
        return {**self.__dict__, "_weights": {}, "gates": {}}

    @property
    def records(self) -> Records:
        """The folder's records."""
        return Records(self.out / "records")

    @property
    def steps(self) -> int:
        """Optimisation steps of every cell: the budget of the whole training set."""
        from reid_eval.training import budget

        return budget(len(self.data.train), self.recipe.settings(self.recipe.backbones[0], self.recipe.seeds[0]))

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Of the table, from the left."""
        return tuple(Column(value) for value in self.recipe.columns)

    def plan(self, column: Column, seed: int, row: Row | None = None) -> pd.DataFrame:
        """The plan of a column and a plan seed, from `out/plans` where it is there; poses as `row` wants them."""
        source, exclude = (row.pose_source, row.exclude_same_image) if isinstance(row, Patn) else ("dataset", False)
        name = f"{column.name}-{source}{'-other' if exclude else ''}-seed{seed}.csv"
        if name not in self._plans:
            path = self.out / "plans" / self.data_sha[:12] / name
            if path.is_file():
                self._plans[name] = read_plan(path)
            else:
                self._plans[name], _ = plan_dataset(
                    self.data,
                    self.joints(),
                    ratio=column.ratio,
                    mode=column.mode,
                    pose_source=source,
                    exclude_same_image=exclude,
                    seed=seed,
                )
                write_plan(path, self._plans[name])
        return self._plans[name]

    def joints(self) -> Keypoints:
        """Keypoints of the data set's images."""
        if self.keypoints is None:
            raise InputError("this table needs keypoints: give data.keypoints in the recipe")
        return self.keypoints

    def weights(self, row: Patn, column: Column, seed: int) -> tuple[str, WeightsFile]:
        """The generator of a row in a column: its name and file."""
        from augment.generators.weights import read_weights

        name = _filled(row.weights, column, seed)
        if name not in self._weights:
            self._weights[name] = read_weights(name)
        return name, self._weights[name]

    def other(self, row: Folder, column: Column, seed: int) -> tuple[ReidData, str]:
        """The data set of another method and the hash of its training files."""
        path = Path(_filled(row.folder, column, seed))
        if path not in self._folders:
            found = read_dataset(path)
            check_images(found, ("train",))
            tested = set(self.data.query["pid"]) | set(self.data.gallery["pid"])
            if leaked := sorted(pid for pid in set(found.train["pid"]) & tested if pid > 0):
                raise InputError(f"{path} trains on {len(leaked)} identities that are tested on: {leaked[:5]}")
            self._folders[path] = found, _files_sha(found, ("train",))
        return self._folders[path]

    def training(self, row: Row, column: Column, seed: int) -> TrainingSet:
        """What a row trains on in a column, `seed` being the plan's. Generated images need not be there yet.

        Once they are, a gated row trains on what its plan came to: see `cell_training`.
        """
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

    def _planned(self, row: Row, column: Column, seed: int, plan: pd.DataFrame) -> TrainingSet:
        kept, made = plan[plan["action"] == "keep"], plan[plan["action"] == "generate"]
        pids = (*kept["pid"].tolist(), *made["pid"].tolist())
        if isinstance(row, LeaveOut) or made.empty:
            return TrainingSet(tuple(kept["image"]), pids=tuple(kept["pid"].tolist()))
        if isinstance(row, Duplicate):
            return TrainingSet((*kept["image"], *made["condition"]), pids=pids)
        assert isinstance(row, Patn)
        folder = self.folder(row, column, seed)
        return TrainingSet(tuple(kept["image"]), folder, tuple(made["output"]), pids, (True,) * len(made))

    def folder(self, row: Patn, column: Column, seed: int) -> Path:
        """Where the images of a `patn` row are, or will be."""
        name, file = self.weights(row, column, seed)
        digest = cell_key(self._generation(row, column, seed, file))[:10]
        # Named after what makes it: rows that only learn from it in another way share it.
        return self.out / "folders" / f"{_slug(Path(name).stem)}-p{column.name}-plan{seed}-{digest}"

    def _generation(self, row: Patn, column: Column, seed: int, file: WeightsFile) -> dict[str, Any]:
        size, sigma = trained_for(file.metadata)
        return {
            "plan": sha256_bytes(plan_text(self.plan(column, seed, row)).encode()),
            "weights": file.sha256,
            "size": list(size),
            "sigma": sigma,
            "precision": row.precision,
            "jpeg_quality": JPEG_QUALITY,
            **({"gate": gate_facts(row, seed)} if row.gate else {}),
        }

    def _others(self, row: Row, column: Column, seed: int, training: TrainingSet) -> dict[str, Any] | None:
        """What determines the images that are not the data set's."""
        if isinstance(row, Folder):
            return {"files": self.other(row, column, seed)[1]}
        if isinstance(row, Patn) and training.others:
            return self._generation(row, column, seed, self.weights(row, column, seed)[1])
        return None

    @cached_property
    def places(self) -> dict[Place, Cell]:
        """Every cell of the table by its place: seed by seed, so that an unfinished table has whole seeds."""
        found: dict[Place, Cell] = {}
        for seed in self.recipe.seeds:
            told = {(row.name, c.name): self._facts(row, c, seed) for row in self.recipe.rows for c in self._of(row)}
            for backbone in self.recipe.backbones:
                for row in self.recipe.rows:
                    for column in self._of(row):
                        place = Place(backbone, row.name, column.label, seed)
                        found[place] = self._cell(place, column, *told[row.name, column.name])
        return found

    def _of(self, row: Row) -> list[Column]:
        """The columns that a row has."""
        listed = row.columns if isinstance(row, Folder) else None
        return [column for column in self.columns if listed is None or column.value in listed]

    def _facts(self, row: Row, column: Column, seed: int) -> tuple[dict[str, Any], bool]:
        """What determines a training but for its settings, and whether it has generated images."""
        plan_seed = self.recipe.plan_seed(seed)
        training = self.training(row, column, plan_seed)
        facts = {
            "data": self.data_sha,
            "real": sha256_bytes("\n".join(training.real).encode()),
            "others": self._others(row, column, plan_seed, training),
            "steps": self.steps,
        }
        return facts, training.generated > 0

    def _cell(self, place: Place, column: Column, facts: dict[str, Any], generated: bool) -> Cell:
        settings = self.recipe.settings(place.backbone, place.seed, self.row(place.row))
        if not generated:
            settings = settings.without_generated()
        told = settings.facts()
        if settings.init not in ("scratch", "imagenet"):
            told["init"] = sha256_file(settings.init)
        facts = {**facts, "settings": told}
        return Cell(cell_key(facts), place, column, facts, settings)

    @cached_property
    def cells(self) -> list[Cell]:
        """The trainings, each once, in the order in which they are done."""
        first: dict[str, Cell] = {}
        for cell in self.places.values():
            first.setdefault(cell.key, cell)
        return list(first.values())

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.recipe.rows if row.name == name)

    def cell_training(self, cell: Cell) -> TrainingSet:
        """What a cell trains on, once its images are there."""
        row, seed = self.row(cell.place.row), self.recipe.plan_seed(cell.place.seed)
        asked = self.training(row, cell.column, seed)
        if not (isinstance(row, Patn) and row.gate and asked.others):
            return asked
        # What the gate gave up is not there, and a real image is in its place.
        return self._planned(row, cell.column, seed, read_plan(self.folder(row, cell.column, seed) / PLAN))

    def verdicts(self, row: Patn) -> dict[str, Verdict]:
        """Column's label to the worst verdict over the plans, where the row generates anything."""
        found: dict[str, Verdict] = {}
        for column in self.columns:
            for seed in dict.fromkeys(map(self.recipe.plan_seed, self.recipe.seeds)):
                plan = self.plan(column, seed, row)
                if not (plan["action"] == "generate").any():
                    continue
                name, file = self.weights(row, column, seed)
                path = Path(name) if Path(name).suffix == ".safetensors" else None
                verdict = judge(seen_images(file, path), plan, self.data)
                old = found.get(column.label, verdict)
                found[column.label] = max(old, verdict, key=lambda v: WORST.index(v.label))
        return found

    def grid(self) -> Grid:
        """The layout of the table, its rows labelled with what the leak check found."""
        labels, notes = {}, [self._about()]
        for row in self.recipe.rows:
            if isinstance(row, Patn):
                label, told = leak_notes(row, self.verdicts(row))
                labels[row.name] = f"{row.name} ({label})"
                notes += told
        return Grid(
            title=self.recipe.title,
            rows=tuple(row.name for row in self.recipe.rows),
            columns=tuple(column.label for column in self.columns),
            backbones=self.recipe.backbones,
            seeds=self.recipe.seeds,
            baseline=self.recipe.baseline_row,
            keys={place: cell.key for place, cell in self.places.items()},
            labels=labels,
            notes=tuple(notes),
        )

    def _about(self) -> str:
        every = {name: self.recipe.settings(name, self.recipe.seeds[0]) for name in self.recipe.backbones}
        starts = " and ".join(f"{name} from {_init_words(settings.init)}" for name, settings in every.items())
        settings = every[self.recipe.backbones[0]]
        people = self.data.train.loc[self.data.train["pid"] > 0, "pid"].nunique()
        kind = "synthetic data set" if isinstance(self.recipe.data, SynthData) else f"data set {self.data.root.name}"
        return (
            f"{kind[0].upper()}{kind[1:]}: {people} training identities, {len(self.data.train)} images; p is the share "
            f"of each identity's images that is kept. Networks start: {starts}; "
            f"{settings.size[0]}x{settings.size[1]}, batches of {settings.batch_size}, {settings.optimizer}, "
            f"learning rate {settings.lr:g}."
        )


def _init_words(init: str) -> str:
    return {"scratch": "random weights (no ImageNet)", "imagenet": "ImageNet weights"}.get(init, Path(init).name)


def leak_notes(row: Patn, verdicts: dict[str, Verdict]) -> tuple[Label, list[str]]:
    """The row's label, the worst of its columns', and sentences that say why."""
    label: Label = max((verdict.label for verdict in verdicts.values()), key=WORST.index, default="leakage-free")
    told = Counter((verdict.label, verdict.reason) for verdict in verdicts.values())
    notes = []
    for (kind, reason), _ in told.items():
        where = ", ".join(
            name for name, verdict in verdicts.items() if (verdict.label, verdict.reason) == (kind, reason)
        )
        head = "LEAK: the" if kind == "leaky" else "The"
        notes.append(f"{head} generator of `{row.name}` ({row.weights}) is {kind} at p = {where}: {reason}.")
    return label, notes


def open_study(recipe: TableRecipe, out: Path, device: str) -> Study:
    """Open the recipe's data set, drawing it if it is synthetic and not there yet.

    Raises:
        InputError: no such data set, unreadable images, or keypoints that do not fit.
    """
    from augment.pose.check import check_keypoints
    from augment.synth.dataset import embedded_dataset, facts
    from reid_eval.harness import check_test
    from reid_eval.runtime import resolve_device

    if isinstance(recipe.data, SynthData):
        drawn = recipe.data.settings()
        root, _ = embedded_dataset(drawn, resolve_device(device))
        data = read_dataset(root)
        digest = cell_key({"synth": facts(drawn)})
        keypoints = load_annotations(root)
    else:
        root = Path(recipe.data.root)
        data = read_dataset(root, recipe.data.layout)
        check_images(data)
        files = _files_sha(data, ("train", "query", "gallery"))
        override = Path(recipe.data.keypoints) if recipe.data.keypoints else None
        keypoints = load_annotations(root, override)
        check_keypoints(data, keypoints)
        joints = sha256_bytes("\n".join(keypoints.names).encode() + keypoints.xy.tobytes())
        digest = cell_key({"files": files, "keypoints": joints})
    check_test(data)
    return Study(recipe, out, data, digest, keypoints)


def _files_sha(data: ReidData, splits: tuple[str, ...]) -> str:
    """SHA-256 of a data set's file names and bytes."""
    from augment.folder.manifest import file_entries

    names = [path for split in splits for path in data.split(split)["path"]]
    entries = file_entries(data.root, names)
    lines = [f"{split}\t{path}\t{entries[path].sha256}" for split in splits for path in data.split(split)["path"]]
    return sha256_bytes("\n".join(lines).encode())


def _filled(template: str, column: Column, seed: int) -> str:
    return template.replace("{p}", column.name).replace("{seed}", str(seed))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "row"
