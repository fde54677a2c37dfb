"""The table's cells, its resuming, its leak check; every table recipe that ships."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from drawn import hashes
from toy import Toy

import augment.folder.render
from augment.gate.judge import GateThresholds
from augment.generators.weights import WeightsFile, names_digest
from augment.table.cell_folders import gate_facts
from augment.table.leaks import Seen, judge, seen_images
from augment.table.run import TableOptions, run_table
from augment.table.study import Study, open_study
from augment.table.table_recipe import Patn, TableRecipe, load_table
from reid_eval.backbones import BACKBONES
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError
from reid_eval.table import Records
from reid_eval.table.runner import Runner

RECIPES = sorted((Path(__file__).resolve().parents[3] / "recipes").rglob("table_*.yaml"))
OUTPUTS = ("table.md", "table.csv", "table.tex", "table.png")


def tiny_trunk(last_stride: int) -> tuple[torch.nn.Module, int]:
    """A backbone that takes milliseconds."""
    layers = (torch.nn.Conv2d(3, 8, 5, 4), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2))
    return torch.nn.Sequential(*layers, torch.nn.Flatten()), 32


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", tiny_trunk)


def tiny(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "title": "Drawn people",
        "data": {"source": "folder", "root": str(root)},
        "rows": [
            {"kind": "leave_out", "name": "none"},
            {"kind": "duplicate"},
            {"kind": "patn", "weights": "patn-synth-tiny"},
        ],
        "columns": [0.5, 1.0, "double"],
        "backbones": ["tiny"],
        "seeds": [0, 1],
        "plan_seeds": [0, 1],
        "train": {"size": [64, 32], "batch_size": 4, "max_steps": 2, "bn_batches": 1},
        **changes,
    }


@pytest.fixture
def options(tiny_root: Path, tmp_path: Path) -> TableOptions:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny(tiny_root)))
    return TableOptions(str(path), tmp_path / "out", device="cpu")


@pytest.fixture
def study(options: TableOptions) -> Study:
    return open_study(load_table(options.recipe), options.out, "cpu")


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    recipe = load_table(str(path))
    assert recipe.rows[0].kind == "leave_out"
    assert {row.kind for row in recipe.rows} >= {"leave_out", "duplicate", "patn"}
    assert {1.0, "double"} < set(recipe.columns)
    head = path.read_text().split("title:")[0]
    for word in ("# Purpose:", "# Needs:", f"# Run:     patn-augment table {path.stem}", "# Override:"):
        assert word in head
    assert load_table(path.stem) == recipe


def test_cells_that_train_on_the_same_images_are_one(study: Study) -> None:
    places, cells = study.places, study.cells
    assert len(places) == 3 * 3 * 2
    # p = 1.0 is one training whatever the row, and so is doubling by nothing: 6 a seed remain.
    assert len(cells) == 2 * 6
    keys = {(place.row, place.column): cell.key for place, cell in places.items() if place.seed == 0}
    whole = keys["none", "1.0"]
    assert {keys[row, "1.0"] for row in ("none", "duplicate", "patn")} == {keys["none", "1.0 doubled"]} == {whole}
    assert Counter(keys.values())[whole] == 4
    assert len({cell.key for cell in places.values()}) == len(cells)
    again = Study(study.recipe, study.out / "elsewhere", study.data, study.data_sha, study.keypoints)
    assert [cell.key for cell in again.cells] == [cell.key for cell in cells]


def test_gated_rows_train_on_what_the_gate_left(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import augment.gate.thresholds
    from augment.gate.judge import Gate, Verdict
    from augment.plan.sampler import read_plan

    class HalfBlind(Gate):
        def __init__(self) -> None:
            pass

        def judge(self, images: Any, *_: Any) -> list[Verdict]:
            bad = [int(image.astype(int).sum()) % 2 for image in images]
            return [Verdict(0.5, 1.0, 50.0, 0.0, 2.0, ("pose",) if b else ()) for b in bad]

    limits = GateThresholds(pose=0.0, colour=12.0, contrast=8.0, saturated=0.5, noise=15.0)
    gate = HalfBlind()
    gate.thresholds = limits
    monkeypatch.setattr(augment.gate.thresholds, "open_gate", lambda *_: gate)
    rows = [
        {"kind": "leave_out", "name": "none"},
        {"kind": "patn", "weights": "patn-synth-tiny"},
        {"kind": "patn", "name": "gated", "weights": "patn-synth-tiny", "gate": True},
    ]
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny(tiny_root, rows=rows, columns=[0.5], seeds=[0], baseline="patn")))
    study = run_table(TableOptions(str(path), tmp_path / "out", device="cpu"), quiet)
    cells = {cell.place.row: cell for cell in study.cells}
    assert cells["patn"].key != cells["gated"].key
    plain, gated = (study.records.read(cells[name].key).scores for name in ("patn", "gated"))
    assert plain.n_train == gated.n_train  # a real image is kept for each one that is given up
    assert 0 < gated.n_generated < plain.n_generated
    training = study.cell_training(cells["gated"])
    assert training.folder is not None
    carried_out = read_plan(training.folder / "augmentation/plan.csv")
    assert sorted(training.others) == sorted(carried_out.loc[carried_out["action"] == "generate", "output"])
    assert "minus `patn`" in (tmp_path / "out/table.md").read_text()
    gated_row, facts = study.row("gated"), cells["gated"].facts["others"]["gate"]
    assert isinstance(gated_row, Patn)
    for changed, seed in ((gated_row, 1), (gated_row.model_copy(update={"pose_source": "diverse"}), 0),
                          (gated_row.model_copy(update={"exclude_same_image": True}), 0)):  # fmt: skip
        assert gate_facts(changed, seed) != facts  # they bear on the poses that a rejected image is made in again
    with pytest.raises(InputError, match="the baseline 'patn' is now one of none, patn a, patn b, gated a"):
        load_table(str(path), weights=["a.safetensors", "b.safetensors"])
    with pytest.raises(InputError, match="baseline 'patm' is no row: choose from none, patn, gated"):
        load_table(str(path), ("baseline=patm",))


def test_keys_hang_on_all_that_matters(study: Study, options: TableOptions) -> None:
    keys = {cell.key for cell in study.cells}
    recipe = study.recipe
    for changed in (
        recipe.model_copy(update={"train": {**recipe.train, "lr": 1e-3}}),
        recipe.model_copy(update={"train": {**recipe.train, "max_steps": 3}}),
        recipe.model_copy(update={"seeds": (7, 8)}),
        recipe.model_copy(update={"backbones": ("resnet50",)}),
    ):
        assert not keys & {cell.key for cell in replace(study, recipe=changed).cells}
    other = replace(study, data_sha="0" * 64)
    assert not keys & {cell.key for cell in other.cells}
    more = recipe.model_copy(update={"plan_seeds": (0, 5)})
    shared = keys & {cell.key for cell in replace(study, recipe=more).cells}
    assert len(shared) == 6 + 1  # seed 0, and the whole set of seed 1, which no plan bears on


def test_rows_of_a_column_differ_in_one_thing(study: Study) -> None:
    column = study.columns[0]
    none, twice, patn = (study.training(row, column, 0) for row in study.recipe.rows)
    dropped = len(study.data.train) - len(none.real)
    assert dropped > 0
    assert twice.real[: len(none.real)] == patn.real == none.real
    assert set(twice.real[len(none.real) :]) <= set(none.real)
    assert len(twice.pids) == len(patn.pids) == len(study.data.train)
    assert Counter(twice.pids) == Counter(patn.pids) == Counter(study.data.train["pid"])
    assert (none.generated, twice.generated, patn.generated) == (0, 0, dropped)
    doubled = study.training(study.recipe.rows[1], study.columns[2], 0)
    assert Counter(doubled.pids) == {pid: 2 * count for pid, count in Counter(study.data.train["pid"]).items()}


def test_a_table_killed_three_times_resumes_to_the_same_bytes(
    options: TableOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A generator that takes no time: what is tested does not hang on it.
    monkeypatch.setattr("augment.generators.patn.patn_transfer.PATNTransfer.open", lambda *_: Toy())
    monkeypatch.setattr("augment.table.run.REPORT_EVERY", 0.0)
    options = replace(options, overrides=("columns=[0.5, 1.0]",))
    whole = run_table(replace(options, out=tmp_path / "whole"), quiet).out
    assert all((whole / name).stat().st_size > 0 for name in OUTPUTS)

    def die_after(context: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
        real, left = getattr(owner, name), [calls]

        def mortal(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        context.setattr(owner, name, mortal)

    for owner, name, calls in ((Runner, "rank", 1), (augment.folder.render, "save_image", 4), (Records, "write", 2)):
        with monkeypatch.context() as context:
            die_after(context, owner, name, calls)
            with pytest.raises(KeyboardInterrupt):
                run_table(options, quiet)
    done = len(list((options.out / "records").iterdir()))
    assert 3 <= done < 8
    assert "Unfinished: " in (options.out / "table.md").read_text()  # a killed table shows what it has
    run_table(options, quiet)
    for name in OUTPUTS:
        assert (options.out / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(p.name for p in (whole / "records").iterdir()) == sorted(
        p.name for p in (options.out / "records").iterdir()
    )
    # Nothing is left to do: no record, folder or output is touched again.
    before = hashes(options.out)
    monkeypatch.setattr(Runner, "run", None)
    run_table(options, quiet)
    after = hashes(options.out)
    assert {key for key in before if before[key] != after.get(key)} <= {"run.json"}


def test_time_limit_and_missing_cells(options: TableOptions) -> None:
    said: list[str] = []
    ticking = replace(options, max_seconds=1e-9)
    run_table(ticking, said.append)
    assert "0 of 12 trainings in the table" in said[-2]
    assert "with 12 trainings to go: the same command goes on" in said[-1]
    text = (options.out / "table.md").read_text()
    assert "| none | ... | ... | ... |" in text
    assert "0 of 12 trainings are there" in text


def test_workers_and_shards_fill_one_table(options: TableOptions, tiny_root: Path, tmp_path: Path) -> None:
    rows = [{"kind": "leave_out"}, {"kind": "duplicate"}]
    Path(options.recipe).write_text(yaml.safe_dump(tiny(tiny_root, rows=rows, backbones=["inception_v2"])))
    small = replace(options, overrides=("columns=[0.5, 1.0]", "seeds=[0]", "train.bn_batches=0"))
    alone = run_table(replace(small, out=tmp_path / "alone"), quiet).out
    run_table(replace(small, shard=(1, 3)), quiet)
    assert len(list((options.out / "records").iterdir())) == 1
    run_table(replace(small, jobs=2), quiet)
    for name in OUTPUTS:
        assert (options.out / name).read_bytes() == (alone / name).read_bytes(), name


def test_torchrun_says_which_shard(options: TableOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    from augment.table.run import _spread

    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)
    assert _spread(options) == ((2, 4), "cpu")
    assert _spread(replace(options, shard=(0, 3))) == ((0, 3), "cpu")
    with pytest.raises(InputError, match="--shard 3/3: expected 0 <= I < N"):
        replace(options, shard=(3, 3))


def test_dry_run_does_nothing_but_count(options: TableOptions) -> None:
    said: list[str] = []
    run_table(replace(options, dry_run=True), said.append)
    assert sum("missing" in line for line in said) == 12
    assert said[-1].startswith("12 trainings to go: about ")
    assert "measured on a few steps of tiny" in said[-1]
    assert not (options.out / "records").exists()
    assert not (options.out / "table.md").exists()


def test_another_methods_folders(options: TableOptions, tiny_root: Path, tmp_path: Path) -> None:
    made = tmp_path / "other-0.5"
    shutil.copytree(tiny_root, made)
    extra = made / "bounding_box_train" / "0002_c1s1_000001_00_gen0000.jpg"
    shutil.copy(made / "bounding_box_train" / "0002_c1s1_000001_00.jpg", extra)
    row = {"kind": "folder", "name": "other", "folder": str(tmp_path / "other-{p}"), "columns": [0.5]}
    Path(options.recipe).write_text(yaml.safe_dump(tiny(tiny_root, rows=[{"kind": "leave_out"}, row])))
    study = run_table(replace(options, overrides=("seeds=[0]", "columns=[0.5, 1.0]")), quiet)
    place = next(place for place in study.places if place.row == "other")
    assert study.records.read(study.places[place].key).scores.n_generated == 1
    assert "| other | " in (text := (options.out / "table.md").read_text())
    assert [line.rstrip(" |").endswith("| -") for line in text.splitlines() if line.startswith("| other")].count(
        True
    ) == 2
    shutil.copy(tiny_root / "query" / "0101_c1s1_000001_00.jpg", made / "bounding_box_train")
    (made / "query" / "0101_c1s1_000001_00.jpg").unlink()
    for folder in ("query", "bounding_box_test"):
        for path in (made / folder).glob("0101*"):
            path.unlink()
    with pytest.raises(InputError, match=r"trains on 1 identities that are tested on: \[101\]"):
        run_table(replace(options, overrides=("seeds=[0]", "columns=[0.5]")), quiet)


@pytest.fixture
def plan(tiny_data: ReidData) -> pd.DataFrame:
    paths = tiny_data.train["path"].tolist()
    actions = ["drop" if number < 5 else "keep" for number in range(len(paths))]
    return pd.DataFrame({"action": actions, "image": paths})


def test_leaks_are_found_by_name(tiny_data: ReidData, plan: pd.DataFrame) -> None:
    dropped, kept = (plan.loc[plan["action"] == action, "image"].tolist() for action in ("drop", "keep"))
    everything = dropped + kept
    stem: Callable[[str], str] = lambda path: Path(path).stem  # noqa: E731
    query = stem(tiny_data.query["path"][0])
    for seen, label, reason in (
        (Seen(names=frozenset()), "leakage-free", "none of the dropped images"),
        (Seen(names=frozenset(map(stem, kept))), "leakage-free", "none of the dropped images"),
        (Seen(names=frozenset(map(stem, everything))), "leaky", "5 of the 5 dropped images"),
        (Seen(names=frozenset([stem(dropped[0]), query])), "leaky", "1 of the 5 dropped images and 1 of the 12 test"),
        (Seen(digest=names_digest(kept)), "leakage-free", "exactly the kept images"),
        (Seen(digest=names_digest(everything)), "leaky", "all 5 dropped images"),
        (Seen(digest="0" * 64), "unknown", "do not say"),
        (Seen(split=("train", tiny_data.root.name)), "leaky", "all 5 dropped images"),
        (Seen(split=("gallery", tiny_data.root.name)), "leaky", "gallery split, which is tested on"),
        (Seen(split=("train", "Other")), "unknown", "do not say"),
        (Seen(), "unknown", "do not say"),
    ):
        verdict = judge(seen, plan, tiny_data)
        assert verdict.label == label, (seen, verdict)
        assert reason in verdict.reason
    whole = plan.assign(action="keep")
    assert judge(Seen(digest=names_digest(everything)), whole, tiny_data).label == "leakage-free"


def test_weights_tell_what_they_saw(tmp_path: Path) -> None:
    def file(**info: Any) -> WeightsFile:
        return WeightsFile("w", {"info": info}, {}, "")

    told = "synthetic pedestrians, augment.synth, world 3 (endless stream)"
    assert seen_images(file(data=told), None) == Seen(names=frozenset())
    assert seen_images(file(data="the train split of Market-1501"), None) == Seen(split=("train", "Market-1501"))
    assert seen_images(file(data="whatever the authors' latest_net_netG.pth was trained on"), None) == Seen()
    assert seen_images(file(training_images=["a/1.jpg", "2.png"]), None) == Seen(names=frozenset({"1", "2"}))
    assert seen_images(file(training_images={"sha256": "ab", "count": 2}), None) == Seen(digest="ab")
    path = tmp_path / "w.safetensors"
    path.with_name("w.training_images.txt").write_text("a/1.jpg\n\n2.jpg\n")
    assert seen_images(file(data=told), path) == Seen(names=frozenset({"1", "2"}))


def test_a_leak_is_named_in_the_table(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study.grid().label("patn") == "patn (leakage-free)"
    split = ("train", study.data.root.name)
    monkeypatch.setattr("augment.table.study.seen_images", lambda file, path: Seen(split=split))
    grid = study.grid()
    assert grid.label("patn") == "patn (leaky)"
    [leak] = [note for note in grid.notes if note.startswith("LEAK: the generator of `patn` (patn-synth-tiny)")]
    assert "is leaky at p = 0.5: trained on the whole training split" in leak


def test_recipe_errors(tiny_root: Path, tmp_path: Path) -> None:
    def load(*overrides: str, **changes: Any) -> TableRecipe:
        path = tmp_path / "bad.yaml"
        path.write_text(yaml.safe_dump(tiny(tiny_root, **changes)))
        return load_table(str(path), overrides)

    with pytest.raises(InputError, match=r"colour: unknown key; known: backbones"):
        load(colour=1)
    for kind, known in (("folder", "columns, folder, kind, name"), ("patn", "exclude_same_image, gate, kind")):
        with pytest.raises(InputError, match=rf"rows\.0\.{kind}\.colour: unknown key; known: {known}"):
            load(rows=[{"kind": kind, "name": "x", "folder": "x", "weights": "x", "colour": 1}])
    with pytest.raises(InputError, match=r"data\.folder\.colour: unknown key; known: keypoints, layout"):
        load(data={"source": "folder", "root": "x", "colour": 1})
    with pytest.raises(InputError, match=r"columns\.0\.\S+: Input should be less than or equal to 1"):
        load(columns=[1.5])
    with pytest.raises(InputError, match="rows are named twice"):
        load(rows=[{"kind": "leave_out"}, {"kind": "duplicate", "name": "none"}])
    with pytest.raises(InputError, match="unknown training settings epoch; the known ones are backbone, init"):
        load("train.epoch=3")
    with pytest.raises(InputError, match="train: seed cannot be set here"):
        load("train.seed=3")
    with pytest.raises(InputError, match="train_for names backbones that the table lacks: resnet50"):
        load(train_for={"resnet50": {"init": "scratch"}})
    with pytest.raises(InputError, match="no table recipe 'tabel': give a file, or one of table_market1501"):
        load_table("tabel")
    named = load().with_weights(["a.safetensors", "b.safetensors"])
    assert [row.name for row in named.rows] == ["none", "duplicate", "patn a", "patn b"]
    remedies = load_table("table_remedies", weights=["a.safetensors"]).rows
    assert [row.name for row in remedies] == [row.name for row in load_table("table_remedies").rows]
    assert {row.weights for row in remedies if isinstance(row, Patn)} == {"a.safetensors"}
    assert load("train.lr=1e-4").settings("resnet50", 0).lr == 1e-4
