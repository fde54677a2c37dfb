"""Scores on the way, trainings that stop, and what a table could have seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid_eval.backbones import BACKBONES
from reid_eval.settings import TrainSettings
from reid_eval.table import Grid, Record, Scores, cell_key
from reid_eval.table.cells import Point, Queries, Records
from reid_eval.table.grid import Place
from reid_eval.table.printed import footnotes, power_notes
from reid_eval.table.stats import detectable, paired_p, seeds_interval, summarise, surviving
from reid_eval.table.step_curves import curve_points, write_curves
from reid_eval.training import Watch, train_on

SMALL: dict[str, Any] = {
    "backbone": "small",
    "size": (64, 32),
    "batch_size": 4,
    "device": "cpu",
    "amp": "off",
    "optimizer": "adam",
    "lr": 1e-3,
}


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def trunk(last_stride: int) -> tuple[torch.nn.Module, int]:
        layers = (torch.nn.Conv2d(3, 8, 5, 4), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2))
        return torch.nn.Sequential(*layers, torch.nn.Flatten()), 32

    monkeypatch.setitem(BACKBONES, "small", trunk)


def people(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Images of two people that a network tells apart at once: one dark, one light."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).integers(0, 40, (count, 3, 64, 32), np.uint8)
    return (noise + (labels * 200).astype(np.uint8)[:, None, None, None]).astype(np.uint8), labels


def test_watching_changes_nothing() -> None:
    images, labels = people()
    settings = TrainSettings(**SMALL, bn_batches=2)
    plain = train_on(images, labels, settings, 6)
    seen: dict[int, torch.Tensor] = {}

    def look(step: int, model: torch.nn.Module, amp: str) -> None:
        torch.rand(1)  # a looker's own draws
        assert not model.training
        assert amp == "off"
        seen[step] = next(model.parameters()).detach().clone()

    watched = train_on(images, labels, settings, 6, watch=Watch(2, look))
    assert list(seen) == [2, 4]
    assert not torch.equal(seen[2], seen[4])
    assert watched.losses == plain.losses
    for a, b in zip(plain.model.state_dict().values(), watched.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_is_watched_is_what_a_training_that_ended_there_would_give() -> None:
    images, labels = people()
    settings = TrainSettings(**SMALL, bn_batches=2, flip=False)
    states = {}
    train_on(images, labels, settings, 6, watch=Watch(3, lambda s, m, a: states.update({s: m.state_dict()})))
    # The step schedule without steps to fall at: three steps are the first three of six.
    short = train_on(images, labels, settings, 3).model.state_dict()
    for name, value in states[3].items():
        torch.testing.assert_close(value, short[name], atol=1e-6, rtol=1e-5)


def test_a_training_stops_when_it_is_right() -> None:
    images, labels = people()
    settings = TrainSettings(**SMALL, stop_accuracy=0.9)
    stopped = train_on(images, labels, settings, 60)
    assert stopped.steps < 60
    assert stopped.steps == len(stopped.losses)
    assert stopped.accuracy >= 0.9
    assert train_on(images, labels, TrainSettings(**SMALL), 60).steps == 60
    # One that cannot be right goes on to the end.
    wrong = train_on(np.zeros_like(images), labels, settings, 12)
    assert wrong.steps == 12
    assert "stop_accuracy" not in TrainSettings().facts()
    assert settings.facts()["stop_accuracy"] == 0.9


def record(name: str, mAP: list[float], curve: list[tuple[int, float]] | None = None, **facts: object) -> Record:
    """Of queries with these precisions, two a person."""
    told = {"name": name, **facts}
    scores = Scores(
        rank1=0.5, rank5=1, rank10=1, mAP=float(np.mean(mAP)), mINP=0.1, n_train=9, n_generated=0, n_query=len(mAP),
        n_gallery=9, n_skipped=0, steps=curve[-1][0] if curve else 9, train_accuracy=1.0,
    )  # fmt: skip
    queries = Queries(pids=[1 + i // 2 for i in range(len(mAP))], precisions=mAP, first_ranks=[1] * len(mAP))
    made = {"seconds": 1.0, "device": "cpu", "device_name": "abacus"}
    points = tuple(Point(steps=steps, mAP=value, rank1=value) for steps, value in curve or [])
    return Record(key=cell_key(told), facts=told, scores=scores, queries=queries, made=made, curve=points)


def table(records: dict[tuple[str, int], Record], seeds: int) -> Grid:
    keys = {Place("net", row, "0.5", seed): found.key for (row, seed), found in records.items()}
    return Grid("T", ("none", "patn"), ("0.5",), ("net",), tuple(range(seeds)), "none", keys)


def test_curves_say_how_many_seeds_are_there(tmp_path: Path) -> None:
    points = [(2, 0.1), (4, 0.3)]
    found = {("none", 0): record("a", [0.5], points), ("none", 1): record("b", [0.5], points)}
    records = {one.key: one for one in found.values()}
    for seeds, told in ((2, "mean over 2 seeds;"), (8, "mean over 2 of 8 seeds (`curve.csv` says of how many each);")):
        write_curves(table(found, seeds), records, tmp_path)
        assert told in (tmp_path / "curve.md").read_text()
    more = record("c", [0.5], points)
    write_curves(table({**found, ("patn", 0): more}, 8), {**records, more.key: more}, tmp_path)
    assert "mean over 1 to 2 of 8 seeds" in (tmp_path / "curve.md").read_text()


def test_curves(tmp_path: Path) -> None:
    found = {
        ("none", 0): record("a", [0.5], [(2, 0.1), (4, 0.3), (6, 0.5)]),
        ("none", 1): record("b", [0.3], [(2, 0.2), (3, 0.3)]),  # stopped
        ("patn", 0): record("c", [0.6], [(2, 0.3), (4, 0.4), (6, 0.6)]),
        ("patn", 1): record("d", [0.4], [(2, 0.2), (4, 0.2), (6, 0.4)]),
    }
    grid, records = table(found, 2), {one.key: one for one in found.values()}
    points = {(point.row, point.steps): point for point in curve_points(grid, records)}
    assert points["none", 4].values == (0.3, 0.3)
    assert points["none", 6].values == (0.5, 0.3)
    assert points["patn", 6].differences == pytest.approx((0.1, 0.1))
    assert points["patn", 2].differences == pytest.approx((0.2, 0.0))
    assert points["none", 2].differences == ()
    names = [path.name for path in write_curves(grid, records, tmp_path)]
    assert names == ["curve.md", "curve.csv", "curve.png"]
    text = (tmp_path / "curve.md").read_text()
    assert "| steps | 2 | 4 | 6 |" in text
    assert "| none | 15.0 | 30.0 | 40.0 |" in text
    assert "| patn minus none | +10.0 [" in text
    assert write_curves(grid, {}, tmp_path / "none") == []
    # Records without a curve are written as they always were, and those with one are read again.
    kept = Records(tmp_path / "records")
    plain = record("e", [0.5])
    for one in (plain, found["none", 0]):
        kept.write(one)
        assert kept.read(one.key) == one
    assert '"curve"' not in kept.path(plain.key).read_text()


def test_what_could_have_been_seen() -> None:
    # Normal differences of that size are found so often: by trial.
    rng, sd, seeds = np.random.default_rng(0), 1.5, 8
    shift = detectable(sd, seeds)
    trials = rng.normal(shift, sd, (20_000, seeds))
    t = trials.mean(1) / (trials.std(1, ddof=1) / seeds**0.5)
    assert (abs(t) > 2.3646).mean() == pytest.approx(0.8, abs=0.01)  # Student's t with 7 degrees, two-sided 5%
    assert detectable(sd, 3) > 2 * shift > 2 * detectable(sd, 32)
    assert detectable(2 * sd, seeds) == pytest.approx(2 * shift)
    with pytest.raises(ValueError, match="at least 2"):
        detectable(sd, 1)
    # By hand: gaps 1, 2, 3: mean 2, error 1 / sqrt(3), t 3.464 of 2 degrees, which is 4.3027 at 5%.
    assert seeds_interval([1, 2, 3]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert paired_p([1, 2, 3]) == pytest.approx(0.0742, abs=1e-4)
    assert paired_p([0, 0]) == paired_p([1]) == 1
    assert seeds_interval([1]) is None
    # Holm: 0.01 <= 0.05 / 4, 0.016 <= 0.05 / 3, 0.03 > 0.05 / 2, and nothing after it.
    assert surviving([0.03, 0.01, 0.016, 0.03]) == 2
    assert surviving([]) == 0


def test_the_notes_count_comparisons_and_steps() -> None:
    found = {
        (row, seed): record(f"{row}{seed}", [base + gain + 0.001 * seed * (gain > 0)] * 4,
                            settings={"stop_accuracy": 0.99}, steps=20)
        for row, gain in (("none", 0.0), ("patn", 0.05)) for seed, base in enumerate((0.3, 0.4, 0.5, 0.35))
    }  # fmt: skip
    grid, records = table(found, 4), {one.key: one for one in found.values()}
    [note, rank1] = power_notes(summarise(grid, records))
    assert note.startswith("mAP: 1 difference over 4 seeds; its bootstrap interval leaves out 0; it ")
    assert "; it holds at 5% (paired t-test over seeds). A true difference of " in note
    assert rank1.startswith("rank-1: 1 difference over 4 seeds; its bootstrap interval has in it 0; it does not hold")
    assert any("; 9 steps, until 99% of the training images were classified right or 20 steps were taken (8 of 8"
               in note for note in footnotes(grid, records))  # fmt: skip
    assert power_notes(summarise(table({k: v for k, v in found.items() if k[1] == 0}, 1), records)) == []
