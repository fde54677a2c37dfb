"""One run and a comparison on drawn people; the package's borders."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid_eval.datasets import read_dataset
from reid_eval.harness import (
    Comparison,
    SearchFeatures,
    TrainSettings,
    compare,
    format_breakdown,
    format_comparison,
    run,
)
from reid_eval.ranking import Part
from reid_eval.results import Searched
from reid_eval.runtime import InputError

TINY = TrainSettings(
    backbone="torchreid:osnet_x0_25", size=(64, 32), epochs=1, batch_size=4, optimizer="adam", lr=1e-3, device="cpu"
)


@pytest.fixture
def augmented(market: Path) -> Path:
    """The drawn folder with every second training image copied as a generated one."""
    root = market.parent / "augmented"
    shutil.copytree(market, root)
    for path in sorted((root / "bounding_box_train").iterdir())[::2]:
        shutil.copy(path, path.with_name(f"{path.stem}_gen0000.jpg"))
    return root


def test_run_reports_all_it_did(market: Path) -> None:
    result = run(read_dataset(market), replace(TINY, seed=3), name="drawn")
    assert (result.n_train, result.n_generated, result.n_query, result.n_gallery) == (18, 0, 6, 6)
    assert (result.name, result.seed, result.init, result.preset, result.steps) == ("drawn", 3, "scratch", "custom", 5)
    assert 0 <= result.rank1 <= result.rank5 <= result.rank10 == 1
    assert 0 < result.mINP <= result.mAP <= 1
    assert result.amp in ("bf16", "off")
    assert json.loads(json.dumps(result.to_dict()))["settings"]["size"] == [64, 32]


def test_comparison_spends_the_same_on_both(market: Path, augmented: Path) -> None:
    comparison = compare(read_dataset(market), read_dataset(augmented), TINY, seeds=[0, 1])
    assert {result.steps for result in comparison.original + comparison.augmented} == {5}
    assert [result.n_generated for result in comparison.augmented] == [9, 9]
    assert [result.seed for result in comparison.augmented] == [0, 1]
    mean, sd = comparison.gains["mAP"]
    gains = [b.mAP - a.mAP for a, b in zip(comparison.original, comparison.augmented, strict=True)]
    assert mean == pytest.approx(sum(gains) / 2)
    assert sd == pytest.approx(abs(gains[0] - gains[1]) / 2**0.5)
    json.dumps(comparison.to_dict())
    same = compare(read_dataset(market), read_dataset(market), TINY)
    assert same.gains["rank1"] == (0, None)
    assert same.original[0].mAP == comparison.original[0].mAP


def a_comparison(**more: object) -> Comparison:
    first = {"name": "", "backbone": "resnet50", "init": "scratch", "preset": "quick", "mINP": 0.1, "n_query": 9}
    rest = {"n_gallery": 20, "n_skipped": 1, "steps": 7, "train_accuracy": 1, "amp": "bf16", "device": "cpu"}

    def result(seed: int, score: float, generated: int) -> object:
        scores = dict.fromkeys(("rank1", "rank5", "rank10", "mAP"), score)
        counts = {"n_train": 10, "n_generated": generated, "seconds": 2, "seed": seed}
        from reid_eval.harness import RunResult

        return RunResult(**{**first, **rest, **scores, **counts, "settings": TINY, **more})  # type: ignore[arg-type]

    return Comparison([result(0, 0.5, 0)], [result(0, 0.625, 5)])  # type: ignore[list-item]


def test_format() -> None:
    one = a_comparison()
    text = format_comparison(one)
    for part in ("resnet50, init scratch, preset quick", "rank-10", "10 (5 generated)", "50.0", "62.5", "+12.5"):
        assert part in text
    assert "Quick preset" in text
    assert "One seed" in text
    assert "8 queries, 20 gallery images" in text
    two = Comparison(one.original * 2, [one.augmented[0], replace(one.augmented[0], mAP=0.6, seed=1)])
    assert "+11.2 ± 1.8" in format_comparison(two)


def test_skipped_queries_are_counted_and_named() -> None:
    text = " ".join(format_comparison(a_comparison(skipped=("query/0007_c1s1_000001_00.jpg",))).split())
    assert "1 of 9 queries have no correct image in the gallery" in text
    assert "count for nothing: query/0007_c1s1_000001_00.jpg." in text
    assert "no correct image" not in format_comparison(a_comparison(n_skipped=0))
    part = Part(queries=3, skipped=1, rank1=0.5, mAP=0.5, mINP=0.5)
    assert "2 (1 left out)" in format_breakdown(a_comparison(breakdown={"camera": {"1": part}}))


def test_names_are_no_markup() -> None:
    """What rich would take for styles, for an emoji or for a fault of its markup is printed as it is."""
    part = Part(queries=2, skipped=0, rank1=0.5, mAP=0.5, mINP=0.5)
    odd = {"backbone": "[red]x[/]", "init": "[/]", "device": ":warning: [bold]y", "breakdown": {"[/c]": {"[/]": part}}}
    odd |= {"searched": Searched("[i]z[/i] :star:", 1, 1, 1, 1, 1, {"about": "[u]known[/u]"})}
    text = format_comparison(a_comparison(**odd), 160)
    for name in ("[red]x[/], init [/],", ":warning: [bold]y", "original, [i]z[/i] :star:", "[u]known[/u]"):
        assert name in text
    broken_down = format_breakdown(a_comparison(**odd), 160)
    assert "By [/c] of the query" in broken_down
    assert re.search(r"^│ \[/\] +│ 2", broken_down, re.M)


def test_no_test_images(tmp_path: Path, write_images: Callable[[Path, list[str]], Path]) -> None:
    data = read_dataset(write_images(tmp_path, ["a/1.jpg", "b/1.jpg"]))
    with pytest.raises(InputError, match="has no query and no gallery: an evaluation needs people"):
        run(data, TINY, name="x")
    with pytest.raises(InputError, match="has no query and no gallery"):
        compare(data, data, TINY)


def test_training_on_test_people_is_refused(market: Path, augmented: Path) -> None:
    for folder in ("query", "bounding_box_test"):
        for path in sorted((augmented / folder).glob("0102*")):
            path.unlink()
    shutil.copy(
        market / "query" / "0102_c1s1_000000_00.jpg", augmented / "bounding_box_train" / "0102_c1s1_000000_00.jpg"
    )
    with pytest.raises(InputError, match=r"trains on 1 identities that .*market tests on: \[102\]"):
        compare(read_dataset(market), read_dataset(augmented), TINY)


def test_people_without_cameras_are_evaluated(
    market: Path, tmp_path: Path, write_images: Callable[[Path, list[str]], Path]
) -> None:
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        for path in sorted((market / folder).iterdir()):
            target = tmp_path / "folders" / split / f"person{path.name[:4]}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    result = run(read_dataset(tmp_path / "folders"), TINY, name="folders")
    assert result.n_skipped == 0


def test_reid_eval_never_imports_augment() -> None:
    package = Path(__file__).resolve().parents[2] / "reid_eval"
    files = sorted(package.rglob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "augment" for name in names), f"{file} imports augment"


def test_reranked_scores_come_from_the_reranked_distances(market: Path) -> None:
    import numpy as np

    from reid_eval.harness import rank
    from reid_eval.ranking import evaluate
    from reid_eval.rerank import rerank_features

    data = read_dataset(market)
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
    with pytest.raises(InputError, match=r"re-ranking: k1 20, .* with 12 images"):
        rank(query, gallery, data, replace(TINY, rerank=True), "cpu")
    many = replace(data, gallery=data.gallery.loc[data.gallery.index.repeat(6)].reset_index(drop=True))
    gallery = rng.normal(size=(36, 4)).astype(np.float32)
    columns = (many.query["pid"], many.gallery["pid"], many.query["camid"], many.gallery["camid"])
    plain = rank(query, gallery, many, TINY, "cpu")
    found = rank(query, gallery, many, replace(TINY, rerank=True), "cpu")
    assert found.mAP == evaluate(rerank_features(query, gallery), *columns).mAP != plain.mAP


def test_breakdowns_of_a_comparison(market: Path) -> None:
    data = read_dataset(market)
    groups = {"pose": ["front", "back"] * 3}
    comparison = compare(data, data, TINY, groups=groups)
    text = format_breakdown(comparison)
    for part in ("By camera of the query", "By pose of the query", "front", "back"):
        assert part in text
    parts = comparison.original[0].breakdown
    assert [part.queries for part in parts["camera"].values()] == [2, 2, 2]
    assert sum(part.mAP for part in parts["pose"].values()) / 2 == pytest.approx(comparison.original[0].mAP)
    json.dumps(comparison.to_dict())


def test_another_search_beside_the_photos(market: Path, augmented: Path) -> None:
    data = read_dataset(market)
    pids = sorted({*data.query["pid"], *data.gallery["pid"]})

    def knows(model: object, settings: TrainSettings, amp: str) -> SearchFeatures:
        """Features that are right: one direction a person."""
        query, gallery = (
            np.eye(len(pids), dtype=np.float32)[[pids.index(pid) for pid in table["pid"]]]
            for table in (data.query, data.gallery)
        )
        return SearchFeatures(query, gallery, "the truth", {"about": "known beforehand"})

    comparison = compare(data, read_dataset(augmented), TINY, search=knows)
    assert comparison.searched is not None
    assert [result.mAP for result in comparison.searched.original + comparison.searched.augmented] == [1.0, 1.0]
    assert comparison.searched.gains["mAP"][0] == 0.0
    assert comparison.original[0].mAP < 1
    told = json.loads(json.dumps(comparison.to_dict()))
    assert told["original"][0]["searched"]["facts"] == {"about": "known beforehand"}
    assert told["gains_searched"]["rank1"]["mean"] == 0.0
    text = format_comparison(comparison)
    assert "original, the truth" in text
    assert "the truth: known beforehand." in text
    assert compare(data, read_dataset(augmented), TINY).searched is None
