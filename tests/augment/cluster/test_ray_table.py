"""A table by the workers of a Ray cluster: the same table as of one process, whoever is killed; errors name the
training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from small_tables import OUTPUTS, TinyTable

from augment.cluster.ray_pool import Cluster
from augment.cluster.ray_table import RayComputing, build_worker
from augment.commands.main import main
from augment.table.study import Study, open_study
from reid_eval.runtime import InputError, RunError

pytest.importorskip("ray")


@pytest.fixture
def table(tiny_root: Path, tmp_path: Path) -> TinyTable:
    """Of two trainings, one of them on a generator's images, which take three calls."""
    found = TinyTable(tmp_path / "tiny.yaml", tmp_path / "out")
    rows = [{"kind": "leave_out", "name": "none"}, {"kind": "patn", "weights": "patn-synth-tiny"}]
    train = {"size": [64, 32], "batch_size": 4, "max_steps": 2, "bn_batches": 0}
    found.write(tiny_root, rows=rows, columns=["double"], backbones=["inception_v2"], seeds=[0], train=train)
    return found


def test_a_worker_that_is_killed_in_the_middle_and_another_process_at_a_training(
    address: str, table: TinyTable, tmp_path: Path, marks: Path
) -> None:
    weights = ("mortal:dies_once",)
    (marks / "once").touch()  # as if it had died: this process stays
    alone = table.run(out=tmp_path / "alone", weights=weights).out
    (marks / "once").unlink()
    said: list[str] = []
    lock = table.out / f"records/.{open_study(table.load(weights=weights), table.out, 'cpu').cells[0].key}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        lock.write_text("4711\nfarm\n")
        table.run(weights=weights, say=said.append, computing=RayComputing(Cluster(workers=2)))
    assert int((marks / "once").read_text()) > 0
    assert [line.partition(", p = ")[0] for line in said if ": mAP " in line] == ["inception_v2, patn"]
    assert said[-1].startswith("Stopped, since process 4711 of farm is at work on them, with 1 trainings to go")
    table.run(weights=weights, say=said.append)
    assert said[-1].startswith("2 of 2 trainings in the table")
    for name in OUTPUTS:
        assert (table.out / name).read_bytes() == (alone / name).read_bytes(), name


def test_a_training_that_fails_is_named_once(address: str, table: TinyTable) -> None:
    with pytest.raises(RunError) as caught:
        table.run(weights=("mortal:fails",), computing=RayComputing(Cluster(workers=1)))
    assert str(caught.value).startswith("ValueError: none is to my liking (at inception_v2, patn, p = ")
    assert "and more" not in str(caught.value)
    assert len(list((table.out / "records").glob("*.json"))) == 1  # of the one before it


def test_a_worker_on_a_machine_without_the_data_set(table: TinyTable, tmp_path: Path) -> None:
    study: Study = open_study(table.load(), table.out, "cpu")
    study.data = replace(study.data, reid=replace(study.reid, root=tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere is not on .*: all machines need it under that path"):
        build_worker(study, None)


@pytest.mark.parametrize(
    "words", [["--ray-workers", "2"], ["--ray", "local", "--jobs", "2"], ["--ray", "local", "--device", "cuda"]]
)
def test_options_that_do_not_go_together(
    words: list[str], table: TinyTable, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["table", str(table.recipe), "--out", str(table.out), *words])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("Error: --")
