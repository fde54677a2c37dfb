"""Filling a table: killed and resumed, in shards and workers, with others' folders, gated, not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn import hashes
from filelock import FileLock
from small_tables import OUTPUTS, TinyTable, tiny_trunk
from toy import Toy

import augment.folder.render
from augment.gate.judge import GateThresholds
from augment.generators.open import CONTROLS
from augment.report.page_settings import Settings as PageSettings
from augment.report.pages import write_report_page
from augment.table import compute
from augment.table.run import spread
from augment.table.study import open_study
from augment.table.table_recipe import Patn
from augment.table.training_sets import gate_facts
from reid_eval.backbones import BACKBONES
from reid_eval.runtime import InputError
from reid_eval.settings import PRESETS
from reid_eval.table import Records
from reid_eval.table.runner import Runner


def test_a_table_killed_three_times_resumes_to_the_same_bytes(
    table: TinyTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A generator that takes no time: what is tested does not hang on it.
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())
    monkeypatch.setattr("augment.table.run.REPORT_EVERY", 0.0)
    columns, weights = "columns=[0.5, 1.0]", ("entry:toy",)
    whole = table.run(columns, out=tmp_path / "whole", weights=weights).out
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
                table.run(columns, weights=weights)
    done = len(list((table.out / "records").iterdir()))
    assert 3 <= done < 8
    assert "Unfinished: " in (table.out / "table.md").read_text()  # a killed table shows what it has
    table.run(columns, weights=weights)
    for name in (*OUTPUTS, "table.grid.json"):
        assert (table.out / name).read_bytes() == (whole / name).read_bytes(), name
    keys = list(Records(whole / "records"))
    for key in keys:  # the page of a table shows what was ranked first
        lists = [out / "lists" / f"{key}.npz" for out in (whole, table.out)]
        assert lists[0].read_bytes() == lists[1].read_bytes()
    (page,) = write_report_page(whole, tmp_path / "page.html", PageSettings(), lambda _: None)
    assert page.read_text().count('class="shot query"') > 0
    assert sorted(p.name for p in (whole / "records").iterdir()) == sorted(
        p.name for p in (table.out / "records").iterdir()
    )
    # Nothing is left to do: no record, folder or output is touched again.
    before = hashes(table.out)
    monkeypatch.setattr(Runner, "run", None)
    table.run(columns, weights=weights)
    after = hashes(table.out)
    assert {key for key in before if before[key] != after.get(key)} <= {"run.json"}


def test_time_limit_and_missing_cells(table: TinyTable) -> None:
    said: list[str] = []
    table.run(say=said.append, max_seconds=1e-9)
    assert "0 of 12 trainings in the table" in said[-2]
    assert "with 12 trainings to go: the same command goes on" in said[-1]
    text = (table.out / "table.md").read_text()
    assert "| none | ... | ... | ... |" in text
    assert "0 of 12 trainings are there" in text


def test_workers_and_shards_fill_one_table(table: TinyTable, tiny_root: Path, tmp_path: Path) -> None:
    rows = [{"kind": "leave_out"}, {"kind": "duplicate"}]
    table.write(tiny_root, rows=rows, backbones=["inception_v2"])
    small = ("columns=[0.5, 1.0]", "seeds=[0]", "train.bn_batches=0")
    alone = table.run(*small, out=tmp_path / "alone").out
    table.run(*small, shard=(1, 3))
    assert len(list((table.out / "records").iterdir())) == 1
    table.run(*small, jobs=2)
    for name in OUTPUTS:
        assert (table.out / name).read_bytes() == (alone / name).read_bytes(), name


def test_torchrun_says_which_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)
    assert spread(None, "cpu") == ((2, 4), "cpu")
    assert spread((0, 3), "cpu") == ((0, 3), "cpu")
    with pytest.raises(InputError, match="shard 3/3: expected 0 <= I < N"):
        spread((3, 3), "cpu")


def test_dry_run_does_nothing_but_count(table: TinyTable) -> None:
    said: list[str] = []
    table.run(say=said.append, dry_run=True)
    assert sum("missing" in line for line in said) == 12
    assert said[-1].startswith("12 trainings to go: about ")
    assert "measured on a few steps of tiny" in said[-1]
    assert not (table.out / "records").exists()
    assert not (table.out / "table.md").exists()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_dry_run_with_every_preset(table: TinyTable, preset: str) -> None:
    said: list[str] = []
    small = ("train.size=[64, 32]", "train.batch_size=8", "train.max_steps=2", f"train.preset={preset}")
    table.run(*small, say=said.append, dry_run=True)
    assert said[-1].startswith("12 trainings to go: about ")


def test_dry_run_trains_each_network_for_its_own_budget(table: TinyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    from augment.table import forecast
    from augment.table.study import open_study

    monkeypatch.setitem(BACKBONES, "small", tiny_trunk)
    study = open_study(
        table.load("backbones=[tiny, small]", "train_for={small: {max_steps: 20}}", "rows=[{kind: leave_out}]"),
        table.out, "cpu",
    )  # fmt: skip
    ticks = iter(range(100))
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(forecast, "train_on", lambda *_: [next(ticks) for _ in range(_[3])])
    [small] = {cell.steps for cell in study.cells if cell.place.backbone == "small"}
    assert small == 20
    times = {name: forecast._trial(study, name) for name in ("tiny", "small")}
    assert times["small"] - times["tiny"] == pytest.approx(18)  # a second a step, 18 steps more


def test_seeds_of_one_plan_look_at_it_once(table: TinyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe may name a thousand seeds, and a plan of a million rows."""
    from augment.table.study import open_study
    from augment.table.training_sets import TrainingSets

    asked = []
    original = TrainingSets.facts
    monkeypatch.setattr(TrainingSets, "facts", lambda sets, *of: asked.append(of) or original(sets, *of))
    study = open_study(table.load("seeds=[0, 1, 2, 3, 4]", "plan_seeds=[5, 6]"), table.out, "cpu")
    plans = len(study.recipe.rows) * len(study.recipe.columns) * 2
    assert len(study.places) > plans
    assert len(asked) == plans
    assert len({(row.name, column.label, seed) for row, column, seed in asked}) == plans


def test_a_forecast_is_made_on_a_batch_of_a_size(table: TinyTable) -> None:
    from augment.table.forecast import small_enough

    settings = replace(table.load().settings("tiny", 0), size=(256, 128), batch_size=4096)
    assert small_enough(settings).batch_size == 128
    assert small_enough(replace(settings, batch_size=64)).batch_size == 64
    assert small_enough(replace(settings, size=(1024, 1024), batch_size=256)).batch_size == 2 * settings.images_per_id


def test_another_methods_folders(table: TinyTable, tiny_root: Path, tmp_path: Path) -> None:
    made = tmp_path / "other-0.5"
    shutil.copytree(tiny_root, made)
    extra = made / "bounding_box_train" / "0002_c1s1_000001_00_gen0000.jpg"
    shutil.copy(made / "bounding_box_train" / "0002_c1s1_000001_00.jpg", extra)
    row = {"kind": "folder", "name": "other", "folder": str(tmp_path / "other-{p}"), "columns": [0.5]}
    table.write(tiny_root, rows=[{"kind": "leave_out"}, row])
    study = table.run("seeds=[0]", "columns=[0.5, 1.0]")
    place = next(place for place in study.places if place.row == "other")
    assert study.records.read(study.places[place].key).scores.n_generated == 1
    assert "| other | " in (text := (table.out / "table.md").read_text())
    assert [line.rstrip(" |").endswith("| -") for line in text.splitlines() if line.startswith("| other")].count(
        True
    ) == 2
    shutil.copy(tiny_root / "query" / "0101_c1s1_000001_00.jpg", made / "bounding_box_train")
    (made / "query" / "0101_c1s1_000001_00.jpg").unlink()
    for folder in ("query", "bounding_box_test"):
        for path in (made / folder).glob("0101*"):
            path.unlink()
    with pytest.raises(InputError, match=r"trains on 1 identities that are tested on: \[101\]"):
        table.run("seeds=[0]", "columns=[0.5]")


def test_gated_rows_train_on_what_the_gate_left(
    table: TinyTable, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr("augment.table.cell_folders.open_gate", lambda *_: gate)
    rows = [
        {"kind": "leave_out", "name": "none"},
        {"kind": "patn", "weights": "patn-synth-tiny"},
        {"kind": "patn", "name": "gated", "weights": "patn-synth-tiny", "gate": True},
    ]
    table.write(tiny_root, rows=rows, columns=[0.5], seeds=[0], baseline="patn")
    study = table.run()
    cells = {cell.place.row: cell for cell in study.cells}
    assert cells["patn"].key != cells["gated"].key
    plain, gated = (study.records.read(cells[name].key).scores for name in ("patn", "gated"))
    assert plain.n_train == gated.n_train  # a real image is kept for each one that is given up
    assert 0 < gated.n_generated < plain.n_generated
    training = study.training(cells["gated"])
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
        table.load(weights=("a.safetensors", "b.safetensors"))
    with pytest.raises(InputError, match="baseline 'patm' is no row: choose from none, patn, gated"):
        table.load("baseline=patm")


def test_it_is_told_who_is_at_work(table: TinyTable, tiny_root: Path) -> None:
    table.write(tiny_root, rows=[{"kind": "leave_out"}])
    small, said = ("columns=[0.5]", "seeds=[0]"), list[str]()
    key = open_study(table.load(*small), table.out, "cpu").cells[0].key
    lock = table.out / f"records/.{key}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        lock.write_text("4711\nfarm\n")
        table.run(*small, say=said.append)
    assert (
        said[-1]
        == "Stopped, since process 4711 of farm is at work on them, with 1 trainings to go: the same command goes on."
    )
    assert "1 of 1" in table_of(table, *small)


def table_of(table: TinyTable, *small: str) -> str:
    said: list[str] = []
    table.run(*small, say=said.append)
    return "\n".join(said)


def test_a_cell_whose_worker_died_meanwhile_is_done_after_all(
    table: TinyTable, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that another process is at work where there is none: whoever held the cell has ended."""
    table.write(tiny_root, rows=[{"kind": "leave_out"}])
    small, said = ("columns=[0.5]", "seeds=[0]"), list[str]()
    key = open_study(table.load(*small), table.out, "cpu").cells[0].key
    lock = table.out / f"records/.{key}.lock"
    lock.parent.mkdir(parents=True)
    held = FileLock(lock)
    held.acquire()
    real = compute.CellWorker.record

    def record(worker: Any, cell: Any) -> Any:
        found = real(worker, cell)
        held.release(force=True)
        return found

    monkeypatch.setattr(compute.CellWorker, "record", record)
    table.run(*small, say=said.append)
    assert any(line.startswith("1 of 1 trainings in the table") for line in said)
    assert not any("to go" in line for line in said)
