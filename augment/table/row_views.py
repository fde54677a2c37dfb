"""Rows that train for the search with views: each photo with generated views of its person beside it."""

from __future__ import annotations

from augment.generators.open import generator_sha256
from augment.search.makers import GeneratedViews
from augment.search.searched_photos import photos_of
from augment.search.store import ViewStore
from augment.search.training_views import beside_photos
from augment.search.views import shipped_views
from augment.table.study import Cell, Study
from augment.table.table_recipe import WithViews
from reid_eval.beside import Beside
from reid_eval.runtime import InputError


def views_beside(study: Study, row: WithViews, cell: Cell, photos: tuple[str, ...]) -> Beside:
    """The views that a cell's photos are trained on with, at the size of its settings; made once for all columns.

    They lie where those of the test photos do, in `OUT/views` (see `augment.search.store`).

    Args:
        study: of the table.
        row: the cell's.
        cell: of it.
        photos: paths in the data set.

    Raises:
        InputError: the generator is no longer what it was, or views on the disk cannot be read.
    """
    known = study.sets.viewer(row, cell.column, study.recipe.plan_seed(cell.place.seed))
    generator = known.open(study.device)
    if generator_sha256(generator) != known.sha256:
        raise InputError(f"generator {known.spec} changed while the table was at work: start it again")
    maker = GeneratedViews(generator, shipped_views(row.poses), row.precision)
    every = photos_of(study.reid, study.data.joints(), study.reid.train["path"].tolist())
    stored = ViewStore(study.out / "views", study.data.sha256).ensure(maker, every)
    return beside_photos(stored, photos, cell.settings.size)
