"""The gate's test of the person, by a network that sees the mean colour and nothing else."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import hashes, standing
from PIL import Image
from torch import Tensor
from toy import Says, Toy

from augment.commands.main import main
from augment.folder.carry import Source
from augment.folder.generate import generate, verify
from augment.folder.manifest import Manifest, read_manifest
from augment.gate import kept_network
from augment.gate.finds_person import PersonTest, open_person_test
from augment.gate.judge import Gate, GateThresholds
from augment.gate.kept_network import KeptPhotos, folder_photos, planned_photos
from augment.gate.redraw import GateRun, read_log
from augment.gate.repair import repair
from augment.gate.strategy import GatedRendering
from augment.gate.thresholds import folder_person
from augment.gate.verdicts import judge_folder
from augment.plan.sampler import make_plan, read_plan
from augment.pose import load_annotations
from reid_eval.backbones import BACKBONES, ReidNet, save_model
from reid_eval.datasets import ReidData
from reid_eval.runtime import InputError
from reid_eval.settings import settings_from

SIZE = (128, 64)
LENIENT = GateThresholds(pose=2.0, colour=1e9, contrast=0.0, saturated=1.0, noise=1e9)
"""Nothing but the person can fail."""


class MeanColour(torch.nn.Module):
    """Features `[B, 3]`: the mean of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def colour_net() -> ReidNet:
    """Means of red, green and blue in 0..1."""
    return ReidNet(MeanColour(), 3, 2, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).eval()


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """Images of one colour each, uint8 `[N, H, W, 3]`."""
    return np.tile(np.array(colours, np.uint8)[:, None, None], (1, *SIZE, 1))


@pytest.fixture
def photos(tmp_path: Path) -> KeptPhotos:
    """A red photo of person 5, a green one of 9."""
    for name, image in zip(("red.png", "green.png"), plain((250, 0, 0), (0, 250, 0)), strict=True):
        Image.fromarray(image).save(tmp_path / name)
    return KeptPhotos(tmp_path, ("red.png", "green.png"), np.array([5, 9]))


def test_margins_and_verdicts_by_hand(photos: KeptPhotos) -> None:
    person = PersonTest(colour_net(), "0" * 64, photos, SIZE)
    images = plain((200, 0, 0), (120, 160, 0), (120, 160, 0), (0, 0, 90), (200, 0, 0))
    pids = np.array([5, 5, 9, 9, 7])
    found = person.margins(images, pids)
    assert found[:4] == pytest.approx([1.0, 0.6 - 0.8, 0.8 - 0.6, 0.0], abs=1e-6)
    assert np.isnan(found[4])  # nobody kept a photo of 7
    poses = np.stack([standing()] * 5)
    verdicts = Gate(Says(standing()), LENIENT, person).judge(images, poses, images, poses, pids)
    assert [verdict.reasons for verdict in verdicts] == [(), ("person",), (), ("person",), ()]
    assert [verdict.numbers()["margin"] for verdict in verdicts] == [1.0, -0.2, 0.2, 0.0, None]
    strict = PersonTest(colour_net(), "0" * 64, photos, SIZE, least=0.5)
    verdicts = Gate(Says(standing()), LENIENT, strict).judge(images, poses, images, poses, pids)
    assert [verdict.ok for verdict in verdicts] == [True, False, False, False, True]
    without = Gate(Says(standing()), LENIENT).judge(images, poses, images, poses)
    assert "margin" not in without[0].numbers()


def test_one_person_cannot_be_told_from_others(photos: KeptPhotos) -> None:
    alone = KeptPhotos(photos.root, photos.paths[:1], photos.pids[:1])
    with pytest.raises(InputError, match="takes kept photos of 2 people, there are those of 1"):
        PersonTest(colour_net(), "0" * 64, alone, SIZE)


class Exchanging(Toy):
    """Copies the photo, but for the first and the last of the first batch, which change places."""

    name = "exchanging"

    def transfer(
        self, image: Tensor, source: Tensor, target: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        made, self.calls = image.clone(), self.calls + 1
        if self.calls == 1:
            made[[0, -1]] = made[[-1, 0]]
        return made


def through(data: ReidData, out: Path, *, mode: str = "replace", toy: Any = None, **more: Any) -> Manifest | None:
    """A generation through a gate that tests nothing but the person, one retry."""
    joints = load_annotations(data.root)
    plan = make_plan(data.train, joints, ratio=0.6, mode=mode, seed=1)
    source = Source(data, joints)
    person = PersonTest(colour_net(), "a" * 64, planned_photos(source, plan), SIZE, more.pop("least", 0.0))
    run = GateRun(Gate(Says(standing()), LENIENT, person), retries=more.pop("retries", 1), seed=1)
    return generate(source, plan, toy or Exchanging(), out, rendering=GatedRendering(run), **more)


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_an_image_of_another_person_is_rejected_for_it(tiny_data: ReidData, tmp_path: Path, mode: str) -> None:
    manifest = through(tiny_data, tmp_path / "out", mode=mode, retries=0)
    assert manifest is not None
    assert manifest.gate is not None
    joints = load_annotations(tiny_data.root)
    plan = make_plan(tiny_data.train, joints, ratio=0.6, mode=mode, seed=1)
    made = plan[plan["action"] == "generate"].reset_index(drop=True)
    assert made["pid"][0] != made["pid"][7]
    assert manifest.gate["reasons"] == {"pose": 0, "identity": 0, "statistics": 0, "person": 2}
    assert manifest.reports["gate_given_up"] == sorted(made["output"][[0, 7]])
    assert len(manifest.reports["gate_kept_instead"]) == (2 if mode == "replace" else 0)
    assert manifest.counts["train_generated"] == len(made) - 2
    assert manifest.job.arguments["gate"]["person"] == {"network_sha256": "a" * 64, "margin": 0.0}
    with open(tmp_path / "out/augmentation/gate.csv") as file:
        log = {row["output"]: row for row in csv.DictReader(file)}
    assert {name for name, row in log.items() if row["reasons"] == "person"} == set(made["output"][[0, 7]])
    assert all((float(row["margin"]) > 0) == (row["accepted"] == "1") for row in log.values())
    kept = read_log(tmp_path / "out/augmentation/gate.csv")
    assert kept[made["output"][1]].margin == float(log[made["output"][1]]["margin"])
    assert verify(tmp_path / "out").ok


def test_an_image_that_was_swapped_in_later_is_found_and_made_again(tiny_data: ReidData, tmp_path: Path) -> None:
    out, joints = tmp_path / "out", load_annotations(tiny_data.root)
    through(tiny_data, out, toy=Exchanging())  # exchanged ones are made again, alone
    source, photos = Source(tiny_data, joints), folder_photos(out)
    gate = Gate(Says(standing()), LENIENT, PersonTest(colour_net(), "a" * 64, photos, SIZE))
    assert all(verdict.ok for verdict in judge_folder(out, gate).values())
    made = read_plan(out / "augmentation/plan.csv").query("action == 'generate'")
    first, last = made.iloc[0], made.iloc[-1]
    assert first["pid"] != last["pid"]
    spoilt = out / first["output"]
    spoilt.write_bytes((out / last["output"]).read_bytes())
    rejected = {name: verdict.reasons for name, verdict in judge_folder(out, gate).items() if not verdict.ok}
    assert rejected == {first["output"]: ("person",)}
    done = repair(out, source, list(rejected), Exchanging(), GateRun(gate, seed=1))
    assert (done.asked, done.mended) == (1, 1)
    assert all(verdict.ok for verdict in judge_folder(out, gate).values())
    assert read_manifest(out).job.arguments["repairs"][0]["person"]["margin"] == 0.0
    assert verify(out).ok


def test_kept_photos_are_those_that_the_gate_saw(tiny_data: ReidData, tmp_path: Path) -> None:
    """Real images that stand in for what was given up were no part of the search, and are none afterwards."""
    manifest = through(tiny_data, tmp_path / "out", retries=0)
    assert manifest is not None
    joints = load_annotations(tiny_data.root)
    plan = make_plan(tiny_data.train, joints, ratio=0.6, seed=1)
    before, after = planned_photos(Source(tiny_data, joints), plan), folder_photos(tmp_path / "out")
    assert manifest.reports["gate_kept_instead"]
    assert before.pids.tolist() == after.pids.tolist()
    for old, new in zip(before.paths, after.paths, strict=True):
        assert (before.root / old).read_bytes() == (after.root / new).read_bytes()


def test_killed_and_sharded_runs_give_the_same_bytes(tiny_data: ReidData, tmp_path: Path) -> None:
    through(tiny_data, tmp_path / "whole", toy=Toy())
    facts = read_manifest(tmp_path / "whole").gate
    assert facts is not None
    assert 0 < facts["reasons"]["person"] < facts["attempts"]
    with pytest.raises(KeyboardInterrupt):
        through(tiny_data, tmp_path / "killed", toy=Toy(stop=2))
    through(tiny_data, tmp_path / "killed", toy=Toy(), resume=True)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert through(tiny_data, tmp_path / "parts", toy=Toy(), shard=(1, 2)) is None
    with pytest.raises(InputError, match=r"was made with other settings .gate: .*.margin.: 0\.0"):
        through(tiny_data, tmp_path / "parts", toy=Toy(), shard=(0, 2), least=0.5)
    assert through(tiny_data, tmp_path / "parts", toy=Toy(), shard=(0, 2)) is not None
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")


# --- networks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A backbone and a training that take no time, and a cache of our own."""
    monkeypatch.setitem(BACKBONES, "mean", lambda last_stride: (MeanColour(), 3))
    monkeypatch.setattr(kept_network, "BACKBONE", "mean")
    monkeypatch.setattr(kept_network, "STEPS", 2)
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path / "cache"))


def saved(path: Path, **data: Any) -> Path:
    """A network's file that tells what it was trained on."""
    model = colour_net()
    model.settings = settings_from("quick", {"backbone": "mean"})
    save_model(path, model, {"data": data} if data else {})
    return path


def test_a_network_says_what_it_saw(quick: None, photos: KeptPhotos, tmp_path: Path) -> None:
    told: list[str] = []

    def opened(path: Path) -> PersonTest:
        told.clear()
        return open_person_test(photos, path, SIZE, 0.0, "cpu", told.append)

    with pytest.raises(InputError, match=r"was trained on 3 generated images, too: .* kept photos only") as error:
        opened(saved(tmp_path / "a.safetensors", n_train=5, n_generated=3))
    assert error.value.argument == "reid_weights"
    opened(saved(tmp_path / "b.safetensors", n_train=7, n_generated=0))
    assert told[0].endswith("was trained on 7 photos, 2 are kept: if removed ones are among them, it passes on what it "
                            "knows of these")  # fmt: skip
    opened(saved(tmp_path / "c.safetensors"))
    assert "does not say what it was trained on" in told[0]
    opened(saved(tmp_path / "d.safetensors", n_train=2, n_generated=0))
    assert told == [f"Test of the person: by {tmp_path / 'd.safetensors'}"]


def test_a_trained_network_stays_in_the_cache(quick: None, photos: KeptPhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[int] = []
    train = kept_network.train_on_kept

    def counted(*arguments: Any) -> Any:
        trainings.append(1)
        return train(*arguments)

    monkeypatch.setattr(kept_network, "train_on_kept", counted)
    first = kept_network.kept_network(photos, "cpu")
    assert kept_network.kept_network(photos, "cpu") == first == kept_network.cached_network(photos)
    assert len(trainings) == 1
    Image.fromarray(plain((250, 9, 0))[0]).save(photos.root / "red.png")  # other pixels, another network
    assert kept_network.cached_network(photos) is None
    assert kept_network.kept_network(photos, "cpu") != first
    first.write_bytes(first.read_bytes()[:100])  # damaged
    Image.fromarray(plain((250, 0, 0))[0]).save(photos.root / "red.png")
    assert kept_network.cached_network(photos) is None
    kept_network.kept_network(photos, "cpu")
    assert len(trainings) == 3


def test_the_commands_train_record_and_find_the_network(
    quick: None, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--ratio", "0.5", "--gate", "--gate-person", "--weights", "entry:copy", "--device", "cpu"]
    main(["generate", str(tiny_root), "--out", str(tmp_path / "whole"), *words])
    assert "by a network trained on the 10 kept photos alone" in capsys.readouterr().out
    for shard in ("1/2", "0/2"):
        main(["generate", str(tiny_root), "--out", str(tmp_path / "parts"), *words, "--shard", shard])
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    assert set(read_manifest(tmp_path / "whole").gate["reasons"]) == {"pose", "identity", "statistics", "person"}  # type: ignore[index]
    (network,) = (tmp_path / "cache").glob("kept-*.safetensors")
    record = folder_person(tmp_path / "whole")
    assert record is not None
    assert (record.network_sha256, record.margin) == (kept_network.sha256_bytes(network.read_bytes()), 0.0)

    def judged(*more: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) if "2.0" in more else nullcontext():
            main(["gate", str(tmp_path / "whole"), "--device", "cpu", *more])
        return capsys.readouterr().out

    assert "by the network that the folder was made with" in judged()
    assert "person 0)" in judged()
    told = judged("--margin", "2.0", "--csv", str(tmp_path / "v.csv"))
    count = read_manifest(tmp_path / "whole").counts["train_generated"]
    assert count > 3
    assert f"person {count})" in told  # no margin is that large
    assert (tmp_path / "v.csv").read_text().splitlines()[0].endswith(",noise,margin")
    assert "--repair --margin 2.0" in told
    elsewhere = network.rename(tmp_path / "network.safetensors")
    assert "the test of the person is left out: its network" in judged()
    assert "person 0)" in judged("--reid-weights", str(elsewhere))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gate", "--gate-margin", "0.1"], "--gate-margin is for --gate-person: give both, or neither"),
        (["--gate", "--reid-weights", "gate.py"], "--reid-weights is for --gate-person"),
        (["--gate-person"], "--gate-person is for --gate: give both"),
        (["--gate", "--gate-person", "--gate-margin", "3"], "3.0 is not in the range"),
    ],
)
def test_options_that_nothing_would_read(
    tiny_root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    words = [str(Path(__file__)) if word == "gate.py" else word for word in words]
    with pytest.raises(SystemExit) as error:
        main(["generate", str(tiny_root), "--ratio", "0.5", "--out", str(tmp_path / "out"), *words])
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_file_that_is_no_network_is_refused_before_the_thresholds_are_set(
    tiny_root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augment.gate.thresholds.open_gate", lambda *_: pytest.fail("worked"))
    words = ["--ratio", "0.5", "--gate", "--gate-person", "--reid-weights", __file__, "--weights", "entry:copy"]
    with pytest.raises(SystemExit) as error:
        main(["generate", str(tiny_root), *words, "--device", "cpu", "--out", str(tmp_path / "out")])
    assert error.value.code == 2
    assert "is not a readable safetensors file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "record",
    [5, [], {}, {"network_sha256": "a" * 64}, {"network_sha256": "a" * 63, "margin": 0.0},
     {"network_sha256": "a" * 64, "margin": "0"}, {"network_sha256": "a" * 64, "margin": 3.0},
     {"network_sha256": "a" * 64, "margin": 0.0, "more": 1}],
)  # fmt: skip
def test_a_manifest_that_tells_no_such_test(tiny_data: ReidData, tmp_path: Path, record: object) -> None:
    through(tiny_data, tmp_path / "out")
    assert folder_person(tmp_path / "out") is not None
    path = tmp_path / "out/augmentation/manifest.json"
    told = json.loads(path.read_text())
    told["job"]["arguments"]["gate"]["person"] = record
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"manifest\.json holds no test of the person"):
        folder_person(tmp_path / "out")
