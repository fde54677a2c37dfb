"""Rankings as a page shows them: each query with the first of the gallery by each network, right and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.report.thumbnails import Thumbnails
from reid_eval.comparison_file import GROUPS
from reid_eval.rankings import Photo, RankedQuery

TITLES = {"wins": "Wins", "losses": "Losses", "sample": "Random sample"}


def shown_rankings(
    groups: Mapping[str, Sequence[RankedQuery]], names: tuple[str, str], root: Path, thumbs: Thumbnails
) -> list[dict[str, Any]]:
    """Groups for the template; a photo that is not there any more has no picture, but its words.

    Args:
        groups: as `Evaluation.rankings`.
        names: of the two networks, the baseline first.
        root: of the data set.
        thumbs: of the page.
    """
    every = [photo for found in groups.values() for one in found for photo in _photos(one)]
    numbers = dict(
        zip([photo.path for photo in every], thumbs.add([root / photo.path for photo in every]), strict=True)
    )
    return [
        {"name": kind, "title": TITLES[kind], "about": GROUPS[kind],
         "queries": [_query(one, names, numbers) for one in groups[kind]]}
        for kind in GROUPS if groups.get(kind)
    ]  # fmt: skip


def _photos(one: RankedQuery) -> list[Photo]:
    return [one.query, *(photo for photos in one.lists.values() for photo in photos)]


def _query(one: RankedQuery, names: tuple[str, str], numbers: Mapping[str, int | None]) -> dict[str, Any]:
    baseline, ours = names
    gain = one.precision[ours] - one.precision[baseline]
    return {
        "query": _photo(one.query, numbers, "query"),
        "gain": f"{100 * gain:+.1f}",
        "rows": [
            {
                "name": name,
                "precision": f"{100 * one.precision[name]:.1f}",
                "first": one.first_rank[name],
                "photos": [_photo(photo, numbers, f"rank {rank}") for rank, photo in enumerate(one.lists[name], 1)],
            }
            for name in names
        ],
    }


def _photo(photo: Photo, numbers: Mapping[str, int | None], place: str) -> dict[str, Any]:
    word = {None: "query", True: "right", False: "wrong"}[photo.right]
    told = f"{place}, {word}: " if word != place else "query: "
    return {
        "picture": numbers.get(photo.path),
        "word": word,
        "pid": photo.pid,
        "camid": photo.camid,
        "path": photo.path,
        "alt": f"{told}person {photo.pid}, camera {photo.camid}",
    }
