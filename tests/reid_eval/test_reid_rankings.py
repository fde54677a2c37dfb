"""The first of each ranking against brute force; what a comparison keeps, and reads again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reid_eval.comparison_file import (
    EVALUATION,
    SIDES,
    keep_comparison,
    plot_cmc,
    read_evaluation,
    read_kept,
    write_kept,
)
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.harness import TrainSettings, compare, rank
from reid_eval.rankings import choose_queries, read_lists, top_lists, write_lists
from reid_eval.result_file import read_result
from reid_eval.runtime import InputError, write_json

TINY = TrainSettings(
    backbone="torchreid:osnet_x0_25", size=(64, 32), epochs=1, batch_size=4, optimizer="adam", lr=1e-3, device="cpu"
)


@pytest.fixture
def data(market: Path) -> ReidData:
    return read_dataset(market)


def features(data: ReidData, seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(len(t), width)).astype(np.float32) for t in (data.query, data.gallery))  # type: ignore[return-value]


def test_lists_are_the_ranking_that_scores_are_of(data: ReidData) -> None:
    query, gallery = features(data, 0)
    gallery[3] = gallery[1]  # a tie: the gallery's order stays
    lists = top_lists(query, gallery, data, TINY, k=4)
    ranking = rank(query, gallery, data, TINY, "cpu")
    for row, told in enumerate(data.query.itertuples()):
        unit = [f / np.linalg.norm(f) for f in gallery]
        near = [1 - float(one @ query[row] / np.linalg.norm(query[row])) for one in unit]
        counted = [
            at for at, other in enumerate(data.gallery.itertuples())
            if other.pid != -1 and not (other.pid == told.pid and other.camid == told.camid)
        ]  # fmt: skip
        expected = sorted(counted, key=lambda at: (round(near[at], 6), at))[:4]
        assert lists[row].tolist() == expected + [-1] * (4 - len(expected))
        right = [place for place, at in enumerate(lists[row], 1) if data.gallery["pid"][at] == told.pid]
        first = int(ranking.first_ranks[row])
        assert (right[0] if right else None) == (first if 0 < first <= 4 else None)


def test_a_list_is_as_long_as_the_ranking(data: ReidData) -> None:
    query, gallery = features(data, 1)
    lists = top_lists(query, gallery, data, TINY, k=10)  # of 6 gallery images
    assert (lists[:, 6:] == -1).all()
    assert ((lists >= 0).sum(1) < 6).any()  # the query's own camera is left out


def test_reranked_lists_are_those_of_the_reranked_scores(data: ReidData) -> None:
    settings = replace(TINY, rerank=True)
    several = [f"{number}/" for number in range(4)]  # re-ranking looks at twenty neighbours
    many = pd.concat([data.gallery.assign(path=prefix + data.gallery["path"]) for prefix in several], ignore_index=True)
    data = replace(data, gallery=many)
    query, gallery = features(data, 2)
    lists, ranking = top_lists(query, gallery, data, settings), rank(query, gallery, data, settings, "cpu")
    for row, pid in enumerate(data.query["pid"]):
        right = [place for place, at in enumerate(lists[row], 1) if at >= 0 and data.gallery["pid"][at] == pid]
        first = int(ranking.first_ranks[row])
        assert (right[0] if right else None) == (first if first <= 10 else None)


def test_wins_losses_and_a_sample_that_looks_at_no_score() -> None:
    paths = [f"{name}.jpg" for name in "abcdef"]
    theirs = np.array([0.5, 0.5, 0.5, np.nan, 0.5, 0.2])
    ours = np.array([0.6, 0.9, 0.1, np.nan, 0.5, 0.1])
    chosen = choose_queries(paths, ours, theirs, 5)
    assert chosen["wins"].tolist() == [1, 0]
    assert chosen["losses"].tolist() == [2, 5]
    assert sorted(chosen["sample"].tolist()) == [0, 1, 2, 4, 5]
    assert choose_queries(paths, theirs, ours, 5)["sample"].tolist() == chosen["sample"].tolist()
    assert choose_queries(paths, ours, theirs, 1)["wins"].tolist() == [1]
    other = {tuple(choose_queries(paths, ours, theirs, 5, seed)["sample"]) for seed in range(9)}
    assert len(other) > 1


def test_lists_come_back_and_those_of_other_data_do_not(tmp_path: Path) -> None:
    lists = np.array([[0, 2, -1]], np.int32)
    write_lists(tmp_path / "a.npz", lists)
    assert read_lists(tmp_path / "a.npz", 1, 3).tolist() == lists.tolist()
    with pytest.raises(InputError, match="no rankings of 2 queries"):
        read_lists(tmp_path / "a.npz", 2, 3)
    with pytest.raises(InputError, match="a gallery of 2 has not"):
        read_lists(tmp_path / "a.npz", 1, 2)
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="delete it"):
        read_lists(tmp_path / "a.npz", 1, 3)


@pytest.fixture
def kept(data: ReidData, tmp_path: Path) -> Path:
    """What a comparison of two networks keeps, whose features are drawn."""
    files = {}
    for number, side in enumerate(SIDES):
        files[side, 7] = tmp_path / f"net-{side}-seed7.npz"
        query, gallery = features(data, 10 + number)
        write_kept(files[side, 7], query, gallery, rank(query, gallery, data, TINY, "cpu"))
    return keep_comparison(tmp_path / "net", files, data, TINY, 2)


def test_features_of_strangers(tmp_path: Path) -> None:
    good = {"query": np.eye(2, dtype=np.float32), "gallery": np.eye(2, dtype=np.float32), "cmc": np.ones(3),
            "precisions": np.ones(2), "first_ranks": np.ones(2, np.int64)}  # fmt: skip
    np.savez(tmp_path / "k.npz", **good)
    assert read_kept(tmp_path / "k.npz").cmc.shape == (3,)
    for change, message in (
        ({"query": np.eye(2)}, "an array is of another type"),
        ({"first_ranks": np.ones(2)}, "an array is of another type"),
        ({"gallery": np.ones((2, 3), np.float32)}, "features are of other shapes"),
        ({"query": np.ones((2, 2, 1), np.float32)}, "features are of other shapes"),
        ({"precisions": np.ones(3)}, "scores are not of these queries"),
        ({"cmc": np.ones((1, 3))}, "scores are not of these queries"),
    ):
        np.savez(tmp_path / "k.npz", **{**good, **change})
        with pytest.raises(InputError, match=message):
            read_kept(tmp_path / "k.npz")


def test_what_a_comparison_keeps_is_read_again(kept: Path, data: ReidData) -> None:
    assert kept.name == f"net{EVALUATION}"
    found = read_evaluation(kept)
    assert (found.seeds, found.seed, found.skipped, Path(found.root)) == ([7], 7, [], data.root.resolve())
    one = read_kept(kept.with_name("net-original-seed7.npz"))
    assert one.query.shape == (6, 6)
    assert found.cmc["original"] == [one.cmc.tolist()]
    rows = list(csv.reader(kept.with_name("net-cmc.csv").open()))
    assert rows[0] == ["rank", "original-seed7", "augmented-seed7"]
    assert float(rows[1][1]) == pytest.approx(one.cmc[0], abs=1e-6)
    gains = [q.precision["augmented"] - q.precision["original"] for q in found.rankings["wins"]]
    assert gains == sorted(gains, reverse=True)
    assert all(gain > 0 for gain in gains)
    losses = [q.precision["augmented"] - q.precision["original"] for q in found.rankings["losses"]]
    assert losses == sorted(losses)
    assert all(loss < 0 for loss in losses)
    for ranked in found.rankings["sample"]:
        assert ranked.query.right is None
        for photos in ranked.lists.values():
            assert [photo.right for photo in photos] == [photo.pid == ranked.query.pid for photo in photos]
    assert kept.with_name("net-cmc.svg").read_text().startswith("<?xml")
    sheets = sorted(path.name for path in kept.with_name("net-rankings").iterdir())
    assert "sample-01.jpg" in sheets
    assert len(sheets) == sum(map(len, found.rankings.values()))
    with Image.open(kept.with_name("net-rankings") / "sample-01.jpg") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    green = (pixels[..., 1] - pixels[..., [0, 2]].max(-1) > 60).sum()
    assert green > 200, "a right image has a green frame"


def test_the_curve_is_written_as_its_suffix_says(kept: Path, tmp_path: Path) -> None:
    found = read_evaluation(kept)
    assert plot_cmc(found, tmp_path / "a.pdf", tmp_path / "b.pdf", tmp_path / "c.svg", tmp_path / "d.svg")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "c.svg").read_bytes() == (tmp_path / "d.svg").read_bytes()
    with pytest.raises(InputError, match=r"not as \.gif"):
        plot_cmc(found, tmp_path / "a.gif")


def test_an_evaluation_of_a_stranger_is_refused_in_a_line(kept: Path) -> None:
    told = json.loads(kept.read_text())
    for change in ({"cmc": {"original": [[2.0]]}}, {"seeds": [1, 2]}, {"more": 1}, {"version": 2}, {"root": 5}):
        write_json(kept, {**told, **change})
        with pytest.raises(InputError, match="cannot read"):
            read_evaluation(kept)
    del told["rankings"]["sample"][0]["precision"]["original"]
    write_json(kept, told)
    with pytest.raises(InputError, match="lacks a side"):
        read_evaluation(kept)


def test_a_saved_comparison_keeps_all_that_and_its_result_is_read(market: Path, tmp_path: Path) -> None:
    data = read_dataset(market)
    with pytest.raises(InputError, match="say where to save"):
        compare(data, data, TINY, rankings=3)
    comparison = compare(data, data, TINY, save=tmp_path / "nets", rankings=3)
    names = sorted(path.name for path in (tmp_path / "nets").iterdir() if path.is_file())
    slug = "torchreid-osnet_x0_25"
    assert names == [
        *(f"{slug}-augmented-seed0.{kind}" for kind in ("npz", "safetensors")),
        *(f"{slug}-cmc.{kind}" for kind in ("csv", "png", "svg")),
        f"{slug}{EVALUATION}",
        *(f"{slug}-original-seed0.{kind}" for kind in ("npz", "safetensors")),
    ]
    found = read_evaluation(tmp_path / "nets" / f"{slug}{EVALUATION}")
    assert found.cmc["original"][0][0] == comparison.original[0].rank1
    assert found.rankings["wins"] == []  # the same training twice
    assert len(found.rankings["sample"]) == 3
    with pytest.raises(InputError, match="already"):
        compare(data, data, TINY, save=tmp_path / "nets")
    write_json(tmp_path / "result.json", comparison.to_dict())
    assert read_result(tmp_path / "result.json").original[0].mAP == comparison.original[0].mAP
    write_json(tmp_path / "result.json", {"original": []})
    with pytest.raises(InputError, match="not the result of reid-eval"):
        read_result(tmp_path / "result.json")
