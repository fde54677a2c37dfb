"""What a network sees at once: eight images on a CPU, the user's batch on a GPU; and what the manifest says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from drawn import hashes
from gated import Blind
from toy import Toy

from augment.api import plan_folder
from augment.folder.carry import PlainRendering, Work
from augment.folder.generate import RenderSettings, generate, job_of
from augment.folder.manifest import Job
from augment.folder.render import Settings
from augment.gate.redraw import GateRun
from augment.gate.strategy import GatedRendering


@pytest.mark.parametrize(("kind", "batch", "chunk"), [("cpu", 64, 8), ("cpu", 1, 8), ("cuda", 64, 64), ("mps", 3, 3)])
def test_images_that_a_network_sees_at_once(kind: str, batch: int, chunk: int) -> None:
    assert Settings((128, 64), torch.device(kind), "float32", 95, batch).chunk == chunk


@pytest.mark.parametrize("gated", [False, True])
def test_batches_of_another_size_cover_the_plan(
    gated: bool, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: shards, the last batch, and the gate's records all go by the batch."""
    monkeypatch.setattr(Settings, "chunk", property(lambda self: self.batch_size))
    planned, found = plan_folder(tiny_root, ratio=2.0, mode="add"), {}
    rendering = GatedRendering(GateRun(Blind(0.5), retries=1)) if gated else PlainRendering()
    for size in (8, 16):
        toy, out, settings = Toy(), tmp_path / str(size), RenderSettings(batch_size=size)
        made = [
            generate(planned.source, planned.table, toy, out, settings=settings, rendering=rendering, shard=(part, 2))
            for part in (0, 1)
        ]
        assert [manifest is not None for manifest in made] == [False, True]
        assert toy.batches == {size}
        found[size] = sorted(hashes(out))
    assert found[8] == found[16]


@pytest.mark.parametrize(("kind", "written"), [("cpu", None), ("cuda", 16)])
def test_the_manifest_names_the_batch_where_bytes_depend_on_it(
    kind: str, written: int | None, tiny_root: Path, tmp_path: Path
) -> None:
    planned, toy = plan_folder(tiny_root, ratio=0.5), Toy()
    toy.device = torch.device(kind)
    settings = RenderSettings(batch_size=16).on(toy)
    job = job_of(Work(planned.source, planned.table, toy, tmp_path, settings, (0, 1)), "copy", {})
    assert job.arguments.get("batch_size") == written
    assert Job.model_validate(job.model_dump(mode="json")) == job
