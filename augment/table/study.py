"""The cells of a table and their keys.

A cell's key hangs on all that bears on its scores, and on nothing else: not on folder names, other machines' paths, or
the order in which a recipe names networks, rows, columns and seeds. The data set enters as the hash of its files, or of
its settings where it is synthetic; the precision as what it comes to on the device, so that a training in bfloat16 and
one in float32 are two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from augment.table.search_recipe import Search, Views
from augment.table.table_data import TableData, open_data
from augment.table.table_recipe import Column, Folder, MorePeople, Row, TableRecipe
from augment.table.training_sets import TrainingSets
from reid_eval.datasets import ReidData
from reid_eval.precision import resolve_amp
from reid_eval.runtime import resolve_device, sha256_file
from reid_eval.settings import TrainSettings
from reid_eval.table import Records, cell_key
from reid_eval.table.grid import Place
from reid_eval.table.runner import TrainingSet
from reid_eval.training import budget
from reid_eval.wheel_weights import WHEELS

LISTS = "lists"


@dataclass(frozen=True)
class Cell:
    """One training of the table; `place` is the first of those that share it."""

    key: str
    place: Place
    column: Column
    facts: dict[str, Any]
    settings: TrainSettings
    steps: int
    """Of optimisation, at most."""
    curve: int = 0
    """Evaluated after each so many steps besides; 0: at the end only."""

    @property
    def name(self) -> str:
        """In print."""
        where = self.place
        return f"{where.backbone}, {where.row}, p = {self.column.label}, seed {where.seed}"

    def key_in(self, amp: str) -> str:
        """The key of the same training in another precision, `bf16` or `off`."""
        return cell_key({**self.facts, "settings": {**self.facts["settings"], "amp": amp}})


@dataclass(frozen=True)
class SearchCell:
    """One search with the network of a cell."""

    key: str
    cell: Cell
    search: Search
    facts: dict[str, Any]


@dataclass
class Study:
    """A recipe with its data set: knows all cells, and what each trains on. Pickles, for worker processes.

    Attributes:
        recipe: the rows, columns, networks and seeds.
        out: folder of records, plans and folders.
        data: the data set.
        device: where the cells are computed, such as `cuda:0`.
        writes: whether plans are kept in the folder.
        sets: what the rows train on.
    """

    recipe: TableRecipe
    out: Path
    data: TableData
    device: str
    writes: bool = True
    sets: TrainingSets = field(init=False)

    def __post_init__(self) -> None:
        self.sets = TrainingSets(self.out, self.data, self.device, self.writes)

    @property
    def reid(self) -> ReidData:
        """The data set's images."""
        return self.data.reid

    @property
    def records(self) -> Records:
        """The folder's records."""
        return Records(self.out / "records")

    def network(self, cell: Cell) -> Path | None:
        """Where the trained network of a cell is kept, if it is: where something is to be searched with it."""
        return self.out / "networks" / f"{cell.key}.safetensors" if self.recipe.test else None

    def lists(self, cell: Cell) -> Path:
        """Where the first of a cell's rankings are kept."""
        return self.out / LISTS / f"{cell.key}.npz"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Of the table, from the left."""
        return tuple(Column(value) for value in self.recipe.columns)

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.recipe.rows if row.name == name)

    def steps(self, backbone: str) -> int:
        """Optimisation steps of a network's cells: the budget of the whole training set, whatever a cell trains on."""
        return budget(len(self.reid.train), self.recipe.settings(backbone, self.recipe.seeds[0]))

    @cached_property
    def places(self) -> dict[Place, Cell]:
        """Every cell of the table by its place: seed by seed, so that an unfinished table has whole seeds."""
        found: dict[Place, Cell] = {}
        listed = [(row, column) for row in self.recipe.rows for column in self.columns_of(row)]
        told: dict[int, list[tuple[dict[str, Any], bool]]] = {}  # seeds share plans
        for seed in self.recipe.seeds:
            plan_seed = self.recipe.plan_seed(seed)
            if plan_seed not in told:
                told[plan_seed] = [self._images(row, column, plan_seed) for row, column in listed]
            for backbone in self.recipe.backbones:
                for (row, column), images in zip(listed, told[plan_seed], strict=True):
                    place = Place(backbone, row.name, column.label, seed)
                    found[place] = self._cell(place, row, column, *images)
        return found

    def _images(self, row: Row, column: Column, plan_seed: int) -> tuple[dict[str, Any], bool]:
        """What determines the images that a row trains on, and whether some of them are generated."""
        asked = self.sets.asked(row, column, plan_seed)
        return self.sets.facts(row, column, plan_seed), bool(asked.generated)

    def columns_of(self, row: Row) -> list[Column]:
        """The columns that a row has."""
        listed = row.columns if isinstance(row, Folder) else None
        return [column for column in self.columns if listed is None or column.value in listed]

    def _cell(self, place: Place, row: Row, column: Column, images: dict[str, Any], generated: bool) -> Cell:
        settings = self.recipe.settings(place.backbone, place.seed, row)
        if not generated:
            settings = settings.without_generated()
        settings = replace(settings, amp=resolve_amp(settings.amp, resolve_device(self.device), settings.size))
        told = settings.facts()
        if settings.init == "wheel" and settings.backbone in WHEELS:
            told["init"] = WHEELS[settings.backbone].sha256
        elif settings.init not in ("scratch", "imagenet", "wheel"):
            told["init"] = sha256_file(settings.init)
        steps = self.steps(place.backbone) * (row.times if isinstance(row, MorePeople) else 1)
        facts = {**images, "steps": steps, "settings": told}
        curve = self.recipe.curve_of(row)
        if curve:
            facts["curve"] = curve
        return Cell(cell_key(facts), place, column, facts, settings, steps, curve)

    @cached_property
    def cells(self) -> list[Cell]:
        """The trainings, each once, in the order in which they are done."""
        first: dict[str, Cell] = {}
        for cell in self.places.values():
            first.setdefault(cell.key, cell)
        return list(first.values())

    def searches(self, cell: Cell) -> list[SearchCell]:
        """What is to be searched with a cell's network: what any row that shares it asks for, each once."""
        rows = {place.row for place, one in self.places.items() if one.key == cell.key}
        wanted = [search for search in self.recipe.test if search.rows is None or rows & set(search.rows)]
        found: dict[str, SearchCell] = {}
        for search in wanted:
            one = self.search_cell(cell, search)
            found.setdefault(one.key, one)
        return list(found.values())

    def is_done(self, cell: Cell) -> bool:
        """Whether the records of its training and of all its searches are there."""
        return all(key in self.records for key in (cell.key, *(one.key for one in self.searches(cell))))

    def search_cell(self, cell: Cell, search: Search) -> SearchCell:
        """A search with a cell's network, and its key."""
        facts = {**cell.facts, "search": self._search_facts(search)}
        return SearchCell(cell_key(facts), cell, search, facts)

    def _search_facts(self, search: Search) -> dict[str, Any]:
        told = search.model_dump(mode="json", exclude={"name", "rows", "weights_sha256"})
        if isinstance(search, Views):
            told["weights"] = search.weights_sha256 or self.sets.known(search.weights).sha256
            if isinstance(search.poses, str) and search.poses != "own":
                told["poses"] = sha256_file(search.poses)
        return told

    def training(self, cell: Cell) -> TrainingSet:
        """What a cell trains on, once its images are there."""
        return self.sets.made(self.row(cell.place.row), cell.column, self.recipe.plan_seed(cell.place.seed))


def images_beside(search: Search) -> tuple[Any, ...]:
    """What determines the images of a search, but for how many of the poses that ship there are: searches of which it
    is the same look at the same images."""
    ignored = {"name", "rows", "pose_weight", "calibrate", "rerank", "gallery"}
    told = search.model_dump(exclude=ignored)
    if isinstance(told.get("poses"), int):
        told["poses"] = "shipped"
    return tuple(sorted(told.items(), key=str))


def open_study(recipe: TableRecipe, out: Path, device: str, writes: bool = True) -> Study:
    """Open the recipe's data set.

    Raises:
        InputError: as `augment.table.table_data.open_data`.
    """
    return Study(recipe, out, open_data(recipe.data, device), device, writes)
