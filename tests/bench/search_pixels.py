"""Purpose: what generated views give to features that nobody trained: mean colours of a grid of cells.

Where even those gain, the gain is one of aligned colours, and says little of re-ID networks.

Needs:   the folder of `patn-augment table table_search`, for the views that it keeps; a minute or two.
Run:     python tests/bench/search_pixels.py runs/table-search --out pixels.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.search.fusion import Parts, calibrate, fuse, unit
from augment.search.searched_photos import Photos
from augment.table.search_recipe import Search, poses_asked
from augment.table.searching import Searcher
from augment.table.study import open_study
from augment.table.table_recipe import load_table
from reid_eval.datasets import load_images
from reid_eval.harness import rank
from reid_eval.runtime import write_json
from reid_eval.table.runner import Runner

GRID = (16, 8)
CENTRE = 0.25  # of the width is cut away at either side
WEIGHTS = (3.0, 100.0)  # the default, and the views nearly alone
SEARCHES = ("own pose", "1 view", "4 views", "true mask", "4 views, truly drawn", "4 views, truly drawn, no background")


def mean_colours(centre: bool) -> Callable[[Tensor], Tensor]:
    """Features `[B, 3 * 16 * 8]` of images uint8 `[B, 3, H, W]`: of the whole, or of the middle columns."""

    def extract(images: Tensor) -> Tensor:
        margin = round(images.shape[3] * CENTRE) if centre else 0
        cut = images[..., margin : images.shape[3] - margin].float() / 255 - 0.5
        return torch.nn.functional.adaptive_avg_pool2d(cut, GRID).flatten(1)

    return extract


def main() -> None:
    """Search with mean colours, alone and with what the table keeps beside the photos."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="folder of the table")
    parser.add_argument("--recipe", default="table_search")
    parser.add_argument("--out", type=Path, help="JSON")
    o = parser.parse_args()
    study = open_study(load_table(o.recipe), o.table, "cpu")
    searcher = Searcher(study, Runner(study.reid, torch.device("cpu")))
    named = {search.name: search for search in study.recipe.test}
    settings = replace(study.cells[0].settings, device="cpu")

    def score(extract: Callable[[Tensor], Tensor], search: Search | None, weight: float) -> dict[str, float]:
        found, others = (_parts(searcher, photos, extract, search, settings.size) for photos in searcher.both)
        features, count = fuse(found, weight, calibrate(others)), len(study.reid.query)
        ranking = rank(features[:count], features[count:], study.reid, settings, "cpu")
        return {"mAP": round(100 * ranking.mAP, 1), "rank1": round(100 * ranking.rank(1), 1)}

    results = {}
    for centre in (False, True):
        extract = mean_colours(centre)
        where = "middle columns" if centre else "whole image"
        results[f"{where}: photo alone"] = score(extract, None, 0)
        for name in SEARCHES:
            for weight in WEIGHTS:
                results[f"{where}: {name}, weight {weight:g}"] = score(extract, named[name], weight)
    for name, row in results.items():
        print(f"{name:70} mAP {row['mAP']:5.1f}  rank-1 {row['rank1']:5.1f}")
    if o.out:
        write_json(o.out, results)


def _parts(
    searcher: Searcher,
    photos: Photos,
    extract: Callable[[Tensor], Tensor],
    search: Search | None,
    size: tuple[int, int],
) -> Parts:
    own = unit(extract(torch.from_numpy(load_images(photos.root, photos.names, size))).numpy())
    if search is None:
        return Parts(own, np.zeros((len(own), 0, own.shape[1]), np.float32), np.zeros(len(own), np.bool_))
    stored = searcher.store.ensure(searcher.maker(search, size), photos)
    return stored.beside(own, extract, poses_asked(search) or None)


if __name__ == "__main__":
    main()
