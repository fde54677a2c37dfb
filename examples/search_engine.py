"""Purpose: search the features that `patn-augment embed` wrote by a faiss index, score it, and look at the results.

Needs:   pip install 'patn-augment[search]'; features.npz of a data set (default: the embedded one), its folder.
Run:     python examples/search_engine.py --features features.npz --root Market-1501 --out sheet.jpg
Override: --hnsw --queries 12
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from augment.search.embed import read_embedded
from augment.synth.dataset import source_data
from reid_eval.runtime import InputError, atomic_path

TOP = 10
PHOTO, FRAME, GAP, HEAD = (96, 192), 5, 8, 18  # of the sheet, in pixels; (W, H)
GREEN, RED, BLACK = (0, 150, 60), (215, 40, 40), (20, 20, 20)


def build_index(features: np.ndarray, hnsw: bool) -> Any:
    """An index by inner product, which for features of length 1 is the cosine: exact, or a graph (HNSW)."""
    import faiss

    if not hnsw:
        index = faiss.IndexFlatIP(features.shape[1])
    else:
        index = faiss.IndexHNSWFlat(features.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 200, 128
    index.add(features)
    return index


def draw_sheet(root: Path, queries: list[str], results: list[list[tuple[str, bool]]]) -> Image.Image:
    """A row for each query: its photo, then what was found, in a green frame where it is the same person, else red."""
    step = tuple(length + 2 * FRAME + GAP for length in PHOTO)
    sheet = Image.new("RGB", ((TOP + 1) * step[0] + 3 * GAP, len(queries) * step[1] + HEAD + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (query, found) in enumerate(zip(queries, results, strict=True)):
        for column, (name, frame) in enumerate([(query, BLACK), *((n, GREEN if ok else RED) for n, ok in found)]):
            x, y = GAP + column * step[0] + (2 * GAP if column else 0), HEAD + row * step[1]
            with Image.open(root / name) as photo:
                cell = ImageOps.pad(photo.convert("RGB"), PHOTO, color="white")
            sheet.paste(ImageOps.expand(cell, FRAME, frame), (x, y))
            if row == 0:
                draw.text((x + step[0] // 2, HEAD // 2), str(column or "query"), BLACK, anchor="mm")
    return sheet


def main(arguments: list[str] | None = None) -> None:
    """Search every query; print rank-1 and speed; write the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--features", type=Path, default=Path("features.npz"), help="what patn-augment embed wrote")
    parser.add_argument("--root", type=Path, help="the data set they are of; default: the embedded one")
    parser.add_argument("--hnsw", action="store_true", help="a graph, for large galleries: fast, not exact")
    parser.add_argument("--queries", type=int, default=6, help="so many on the sheet")
    parser.add_argument("--out", type=Path, default=Path("sheet.jpg"), help="the sheet, a JPEG")
    o = parser.parse_args(arguments)
    try:
        made = read_embedded(o.features)
        root = source_data(o.root, print)
    except InputError as error:
        parser.error(str(error))
    query, gallery = (np.flatnonzero((made.splits == split) & (made.pids != -1)) for split in ("query", "gallery"))
    if not len(query) or not len(gallery):
        parser.error(f"{o.features} has no query or no gallery")
    try:
        index = build_index(made.features[gallery], o.hnsw)
    except ImportError:
        parser.error("faiss is not installed: pip install 'patn-augment[search]'")
    # Market-1501 leaves out what one's own camera saw of the same person: so much more must be asked for.
    cameras = made.camids if len(set(made.camids.tolist())) > 1 else np.arange(len(made.camids))  # one: not known
    _, own = np.unique(np.stack([made.pids, cameras])[:, gallery], axis=1, return_counts=True)
    wanted = min(len(gallery), TOP + int(own.max()))
    start = time.perf_counter()
    _, found = index.search(made.features[query], wanted)
    speed = len(query) / (time.perf_counter() - start)
    results, first = {}, []
    for at, row in zip(query, found, strict=True):
        near = gallery[row[row >= 0]]  # -1: the graph found fewer
        near = near[(made.pids[near] != made.pids[at]) | (cameras[near] != cameras[at])][:TOP]
        if ((made.pids[gallery] == made.pids[at]) & (cameras[gallery] != cameras[at])).any():  # there is one to find
            results[int(at)] = [(str(made.names[n]), bool(made.pids[n] == made.pids[at])) for n in near]
            first.append(bool(results[int(at)]) and results[int(at)][0][1])
    if not results:
        parser.error(f"no query of {o.features} has an image by another camera in the gallery")
    print(f"rank-1 {100 * np.mean(first):.1f} over {len(first)} queries, {len(gallery)} in the gallery, "
          f"{speed:.0f} queries/s; {int(made.joints_used.sum())} of {len(made.names)} images with views")  # fmt: skip
    shown = [list(results)[i] for i in np.linspace(0, len(results) - 1, min(o.queries, len(results))).astype(int)]
    try:
        sheet = draw_sheet(root, [str(made.names[at]) for at in shown], [results[at] for at in shown])
    except OSError as error:
        parser.error(f"{root} does not hold the images of {o.features} ({error}): give its data set as --root")
    with atomic_path(o.out) as temporary:
        sheet.save(temporary, "JPEG", quality=90)
    print(f"Wrote {o.out}")


if __name__ == "__main__":
    main()
