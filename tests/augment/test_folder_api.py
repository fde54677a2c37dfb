"""`plan_folder` and `augment_folder`: the commands' work, for Python."""

from __future__ import annotations

import doctest
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import hashes
from gated import Blind
from toy import Toy

from augment import api
from augment.api import FolderPlan, GateSettings, augment_folder, plan_folder
from augment.folder.generate import _job
from augment.folder.manifest import Job, read_manifest, verify
from augment.folder.settings import RenderSettings
from augment.folder.strategy import Work
from augment.plan.file import write_plan
from reid_eval.runtime import InputError


def test_the_doctest(tiny_root: Path, tmp_path: Path) -> None:
    found = doctest.testmod(
        api, extraglobs={"data": tiny_root, "out": tmp_path / "out", "generator": Toy()}, raise_on_error=False
    )
    assert found.attempted == 4
    assert found.failed == 0


def test_planned_and_carried_out(tiny_root: Path, tmp_path: Path) -> None:
    told: list[str] = []
    planned = plan_folder(tiny_root, ratio=0.5, seed=3, pose_source="identity", say=told.append)
    assert planned.summary is not None
    assert told == [planned.summary.message]
    made = augment_folder(planned, tmp_path / "a", weights=Toy(), say=told.append)
    assert made.manifest == read_manifest(made.path)
    assert made.manifest.job.arguments == {
        **planned.facts, "generator": {"generator": "toy", "version": 1}
    }  # fmt: skip
    assert made.data == tiny_root
    assert told[1:] == ["Weights: toy; device: cpu; precision: float32"]
    assert json.loads((tmp_path / "a.run.json").read_text())["data"] == str(tiny_root)
    augment_folder(tiny_root, tmp_path / "b", weights=Toy(), ratio=0.5, seed=3, pose_source="identity")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_a_plan_that_was_edited(tiny_root: Path, tmp_path: Path) -> None:
    planned = plan_folder(tiny_root, ratio=0.5)
    surplus = planned.plan.index[planned.plan["action"] == "generate"][1:]
    planned = replace(planned, plan=planned.plan.drop(surplus))
    made = augment_folder(planned, tmp_path / "a", weights=Toy())
    assert made.manifest is not None
    assert made.manifest.counts["train_generated"] == 1
    write_plan(tmp_path / "plan.csv", planned.plan)
    again = augment_folder(tiny_root, tmp_path / "b", weights=Toy(), plan=tmp_path / "plan.csv")
    differing = {name for name, digest in hashes(made.path).items() if hashes(again.path)[name] != digest}
    assert differing == {"augmentation/manifest.json"}


def test_shards_and_a_gate(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.gate.thresholds.open_gate", lambda *_, **__: Blind(0.5))
    planned = plan_folder(tiny_root, ratio=0.6, seed=1)
    given: dict[str, Any] = {"weights": Toy(), "gate": GateSettings(retries=1)}
    first = augment_folder(planned, tmp_path / "out", shard=(0, 2), **given)
    assert first.manifest is None
    assert not (tmp_path / "out.run.json").exists()
    last = augment_folder(planned, tmp_path / "out", shard=(1, 2), **given)
    assert last.manifest is not None
    assert last.manifest.gate is not None
    assert last.manifest.job.arguments["gate"]["retries"] == 1
    assert verify(last.path).ok


def test_a_plan_from_a_file_says_what_repeats(tiny_root: Path, tmp_path: Path) -> None:
    told: list[str] = []
    plan = plan_folder(tiny_root, ratio=0.5).plan
    made = plan.index[plan["action"] == "generate"]
    plan.loc[made[1], ["condition", "pose", "camid"]] = plan.loc[made[0], ["condition", "pose", "camid"]]
    write_plan(tmp_path / "plan.csv", plan)
    plan_folder(tiny_root, plan=tmp_path / "plan.csv", say=told.append)
    assert told[-1] == "1 of them repeat another one, the same photo in the same pose"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a ratio, such as 0.5, or a plan"),
        ({"ratio": 0.5, "plan": "p.csv"}, "ratio 0.5 beside a plan, which settles it"),
        ({"mode": "add", "plan": "p.csv"}, "mode add beside a plan, which settles it"),
        ({"ratio": 0.5, "library": "p.csv"}, "library: its poses are for the pose source `library`"),
        ({"ratio": 1.5}, "ratio 1.5: expected 0 to 1 with mode replace"),
        ({"ratio": 0.5, "pose_source": "x"}, "pose_source 'x': choose from"),
    ],
)
def test_what_does_not_fit_together(tiny_root: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        plan_folder(tiny_root, **arguments)
    assert "--" not in str(error.value)


def test_a_plan_and_how_to_draw_one(tiny_root: Path, tmp_path: Path) -> None:
    planned = plan_folder(tiny_root, ratio=0.5)
    assert isinstance(planned, FolderPlan)
    with pytest.raises(InputError, match="seed beside a plan, which settles it"):
        augment_folder(planned, tmp_path / "out", weights=Toy(), seed=3)
    with pytest.raises(InputError, match="for shards, name the folder"):
        augment_folder(planned, weights=Toy(), shard=(0, 2))


def test_global_state_stays_as_it_was(tiny_root: Path, tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        flags = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), flags

    toy = Toy()
    before = state()
    augment_folder(tiny_root, tmp_path / "out", weights=toy, ratio=0.5)
    assert state() == before


def test_a_script_is_not_taken_for_the_command_line(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/mine.py", "--fast"])
    augment_folder(tiny_root, tmp_path / "out", weights=Toy(), ratio=0.5)
    assert json.loads((tmp_path / "out.run.json").read_text())["command"] == ["mine.py", "--fast"]


# --- batch size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "batch", "chunk"), [("cpu", 64, 8), ("cpu", 1, 8), ("cuda", 64, 64), ("mps", 3, 3)])
def test_images_that_a_network_sees_at_once(kind: str, batch: int, chunk: int) -> None:
    assert RenderSettings(batch_size=batch).chunk(kind) == chunk


@pytest.mark.parametrize("gate", [None, GateSettings(retries=1)])
def test_on_a_gpu_the_network_sees_the_users_batch(
    gate: GateSettings | None, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toy that is as near to the last bit as a GPU is not: the images are those of chunks of eight."""
    monkeypatch.setattr("augment.gate.thresholds.open_gate", lambda *_, **__: Blind(0.5))
    planned, found = plan_folder(tiny_root, ratio=2.0, mode="add"), {}
    for size in (8, 16):
        monkeypatch.setattr(RenderSettings, "chunk", lambda self, _: self.batch_size)
        toy = Toy()
        out, settings = tmp_path / str(size), RenderSettings(batch_size=size)
        parts = [augment_folder(planned, out, weights=toy, settings=settings, gate=gate, shard=(i, 2)) for i in (0, 1)]
        assert [part.manifest is not None for part in parts] == [False, True]
        assert toy.batches == {size}
        assert not (out / "augmentation/gate").exists()
        found[size] = sorted(hashes(out))
    assert found[8] == found[16]


@pytest.mark.parametrize(("kind", "written"), [("cpu", None), ("cuda", 16)])
def test_the_manifest_names_the_batch_where_bytes_depend_on_it(
    kind: str, written: int | None, tiny_root: Path, tmp_path: Path
) -> None:
    planned, toy = plan_folder(tiny_root, ratio=0.5), Toy()
    toy.device = torch.device(kind)
    work = Work(planned.source, planned.plan, tmp_path, toy, RenderSettings(batch_size=16))
    job = _job(work, "copy", {})
    assert job.to_dict().get("batch_size") == written
    assert Job.model_validate(job.to_dict()) == job
