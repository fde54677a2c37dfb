"""Rows that the renderer draws: the true look of each planned image, and further photos of the same people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tables import TinyTable
from toy import Toy

from augment.generators.open import CONTROLS
from augment.synth.again import drawn_in_pose_of
from augment.synth.dataset import SynthSettings, further_shots, plan_shots
from augment.table.run import report
from augment.table.study import Study, open_study
from reid_eval.datasets.images import read_image
from reid_eval.runtime import InputError

DATA = {"source": "synth", "train_ids": 3, "test_ids": 3, "images_per_id": 4, "cameras": 2}
ROWS: list[dict[str, Any]] = [
    {"kind": "leave_out", "name": "none"},
    {"kind": "patn", "weights": "entry:toy"},
    {"kind": "oracle"},
    {"kind": "more_real"},
    {"kind": "more_real", "name": "more real, same cameras", "cameras": "condition"},
]


@pytest.fixture
def drawn(table: TinyTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TinyTable:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(CONTROLS, "toy", lambda device: Toy())
    table.write(Path(), data=DATA, rows=ROWS, columns=[0.5, 1.0, "double"], seeds=[0], plan_seeds=[0])
    return table


def cells(study: Study, column: str) -> dict[str, Any]:
    return {place.row: cell for place, cell in study.places.items() if place.column == column}


def test_rows_are_paired_with_the_plan_of_a_generator(drawn: TinyTable) -> None:
    study = drawn.run()
    for column, made in (("0.5", 6), ("1.0 doubled", 12)):
        found = cells(study, column)
        sets = {name: study.training(cell) for name, cell in found.items()}
        scores = {name: study.records.read(cell.key).scores for name, cell in found.items()}
        patn, oracle = sets["patn"], sets["oracle"]
        # Same images kept, same names, same labels, and just as generated as a generator's.
        assert (oracle.real, oracle.others, oracle.pids, oracle.made) == (
            patn.real,
            patn.others,
            patn.pids,
            patn.made,
        )
        for name in ("more real", "more real, same cameras"):
            assert sets[name].real == patn.real
            assert Counter(sets[name].pids) == Counter(patn.pids)
            assert (scores[name].n_train, scores[name].n_generated) == (scores["patn"].n_train, 0)
        assert scores["oracle"].n_generated == scores["patn"].n_generated == made
        assert len({found[name].key for name in sets}) == len(sets)
    assert len({cell.key for cell in cells(study, "1.0").values()}) == 1  # nothing is to be drawn
    text = (drawn.out / "table.md").read_text()
    for row in ("| oracle |", "| more real |", "| more real, same cameras |"):
        assert text.count(row) >= 2


def test_the_oracle_draws_the_person_of_the_photo_in_the_pose_of_the_other(drawn: TinyTable) -> None:
    study = drawn.run("columns=[0.5]")
    cell = cells(study, "0.5")["oracle"]
    plan = study.sets.plan(cell.column, 0, study.row("oracle"))
    made = plan[plan["action"] == "generate"]
    names = [[Path(path).name for path in made[key]] for key in ("condition", "pose")]
    settings = study.data.drawn
    assert settings is not None
    truth = drawn_in_pose_of(settings, *names).numpy()
    folder = study.sets.folder(study.row("oracle"), cell.column, 0)  # type: ignore[arg-type]
    for image, output in zip(truth, made["output"], strict=True):
        written = read_image(folder / output).transpose(2, 0, 1)
        assert np.abs(written.astype(int) - image).mean() < 4  # JPEG of quality 95
    others = {str(path.relative_to(folder)) for path in folder.rglob("*.jpg")}
    assert others == set(made["output"])


def test_further_photos_are_of_the_same_people_and_of_no_moment_that_the_data_set_has(drawn: TinyTable) -> None:
    study = drawn.run()
    reid = study.reid
    own = {Path(path).name for table in (reid.train, reid.query, reid.gallery) for path in table["path"]}
    seen = {(pid, camid) for pid, camid in zip(reid.train["pid"], reid.train["camid"], strict=True)}
    for column in ("0.5", "1.0 doubled"):
        for name in ("more real", "more real, same cameras"):
            cell = cells(study, column)[name]
            training = study.training(cell)
            assert training.folder is not None
            names = [Path(path).name for path in training.others]
            assert len(set(names)) == len(names)
            assert not set(names) & own
            assert {path.name for path in training.folder.rglob("*.jpg")} == set(names)
            told = [(int(n[:4]), int(n.split("_c")[1][0])) for n in names]
            assert set(told) <= seen
            assert tuple(pid for pid, _ in told) == training.pids[len(training.real) :]
            plan = study.sets.plan(cell.column, 0)
            made = plan[plan["action"] == "generate"]
            asked = Counter(zip(made["pid"], made["camid"], strict=True))
            if name.endswith("same cameras"):
                assert Counter(told) == asked
            # Those of one person differ from each other as photos do.
            first = [read_image(training.folder / path) for path in training.others[:2]]
            assert np.abs(first[0].astype(int) - first[1]).mean() > 4


def test_further_shots_go_on_where_the_data_set_ends() -> None:
    short = SynthSettings(train_ids=3, test_ids=2, images_per_id=12, cameras=6, seed=4)
    longer = SynthSettings(train_ids=3, test_ids=2, images_per_id=24, cameras=6, seed=4)
    whole = {shot for shot in plan_shots(longer) if shot.split == "bounding_box_train"}
    there = set(plan_shots(short))
    further = set(further_shots(short, {pid: [None] * 12 for pid in (1, 2, 3)}))
    assert further == whole - there
    # As many of one camera as are asked for, and of an odd number of images none twice.
    odd = SynthSettings(train_ids=2, test_ids=2, images_per_id=5, cameras=2, seed=4)
    camid = plan_shots(odd)[0].camid
    more = further_shots(odd, {1: [camid, camid, None, None, None]})
    assert len({shot.name for shot in more} | {shot.name for shot in plan_shots(odd)}) == 5 + len(plan_shots(odd))
    assert Counter(shot.camid for shot in more)[camid] >= 3
    with pytest.raises(InputError, match="identity 4 does not train"):
        further_shots(short, {4: [None]})
    with pytest.raises(InputError, match="camera 7 never sees identity 1"):
        further_shots(short, {1: [7]})


def test_killed_drawing_goes_on(drawn: TinyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    study = drawn.run("columns=[0.5]")
    cell = cells(study, "0.5")["oracle"]
    training = study.training(cell)
    assert training.folder is not None
    files = [training.folder / path for path in training.others]
    before = [path.read_bytes() for path in files]
    files[1].unlink()
    files[2].write_bytes(before[2][:40])  # cut short
    times = files[0].stat().st_mtime_ns
    study.records.path(cell.key).unlink()
    record = study.records.found([cell.key])
    assert not record
    again = drawn.run("columns=[0.5]")
    assert [path.read_bytes() for path in files] == before
    assert files[0].stat().st_mtime_ns == times
    report(again, lambda _: None)


def test_only_drawn_people_can_be_drawn_again(table: TinyTable, tiny_root: Path, drawn: TinyTable) -> None:
    keys = {cell.key for cell in open_study(drawn.load(), drawn.out, "cpu").cells}
    other = open_study(drawn.load("data.seed=1"), drawn.out, "cpu")
    assert not keys & {cell.key for cell in other.cells}
    for kind in ("oracle", "more_real"):
        table.write(tiny_root, rows=[{"kind": "leave_out"}, {"kind": kind}])
        with pytest.raises(InputError, match=f"only drawn people can be drawn again .kind {kind}"):
            table.load()
    table.write(Path(), data=DATA, rows=[{"kind": "oracle", "train": {"lr": 1}}])
    with pytest.raises(InputError, match="lr: a row has only settings named generated_"):
        table.load()
