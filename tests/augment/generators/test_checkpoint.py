"""What a training keeps and takes up again: the checkpoint's contents, the log, the state as it is built."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import Killed, KilledAt, pairs, settings

from augment.generators.patn import state as state_module
from augment.generators.patn import train as train_module
from augment.generators.patn.batch import PairBatch
from augment.generators.patn.builders import build_discriminators
from augment.generators.patn.distributed import Processes
from augment.generators.patn.image_pool import ImagePool
from augment.generators.patn.load import load_generator
from augment.generators.patn.state import TrainState, build_state
from augment.generators.patn.train import (
    TrainingDivergedError,
    _Loop,
    load_checkpoint,
    save_checkpoint,
    train_generator,
)
from reid_eval.runtime import InputError
from reid_eval.torch_file import read_torch, save_torch

torch.set_num_threads(1)


def kept(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of the beginning."""
    path = tmp_path / "c.pt"
    save_checkpoint(path, build_state(settings()), settings())
    return path, read_torch(path)


def test_a_checkpoint_of_the_beginning_is_taken_up(tmp_path: Path) -> None:
    path, _ = kept(tmp_path)
    state = build_state(settings(seed=0))
    state.step = 9
    load_checkpoint(path, state, settings())
    assert state.step == 0


@pytest.mark.parametrize(
    ("key", "value"), [("step", -1), ("step", True), ("step", "1"), ("step", 1.0), ("losses", [1]), ("losses", None)]
)
def test_a_step_and_losses_that_are_none(tmp_path: Path, key: str, value: object) -> None:
    path, contents = kept(tmp_path)
    contents["state"][key] = value
    save_torch(path, contents)
    with pytest.raises(InputError, match=r"can't resume from .* \(its step and losses are no numbers\): remove it"):
        load_checkpoint(path, build_state(settings()), settings())


def test_another_format_is_told(tmp_path: Path) -> None:
    path, contents = kept(tmp_path)
    save_torch(path, {**contents, "format": 99})
    with pytest.raises(InputError, match=r"c.pt has checkpoint format 99, this program reads 3"):
        load_checkpoint(path, build_state(settings()), settings())


@pytest.mark.parametrize("key", ["format", "settings", "state", "random"])
def test_a_part_that_is_missing(tmp_path: Path, key: str) -> None:
    path, contents = kept(tmp_path)
    del contents[key]
    save_torch(path, contents)
    with pytest.raises(InputError, match=r"can't resume from .*: remove it to start afresh"):
        load_checkpoint(path, build_state(settings()), settings())


def test_numbers_of_the_optimizers_are_those_of_the_settings(tmp_path: Path) -> None:
    """Whatever a file says: weight decay or another rate in it would change the training in silence."""
    path, contents = kept(tmp_path)
    for optimizer in (contents["state"]["optimizer"], contents["state"]["shape"]["optimizer"]):
        optimizer["param_groups"][0].update(lr=0.7, weight_decay=0.5, betas=(0.1, 0.2))
    save_torch(path, contents)
    state = build_state(settings())
    load_checkpoint(path, state, settings())
    for optimizer in (state.optimizer, state.appearance.optimizer, state.shape.optimizer):
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"], group["betas"]) == (2e-4, 0, (0.5, 0.999))


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    state = build_state(settings())
    torch.manual_seed(5)
    torch.rand(3)
    save_checkpoint(tmp_path / "c.pt", state, settings())
    expected = torch.rand(4)
    torch.manual_seed(6)
    load_checkpoint(tmp_path / "c.pt", state, settings())
    assert torch.equal(torch.rand(4), expected)


def test_a_process_that_was_not_there_before_draws_from_its_own_seed(tmp_path: Path) -> None:
    path, _ = kept(tmp_path)
    state = build_state(settings(), processes=Processes(1, 2))
    expected = torch.get_rng_state()
    load_checkpoint(path, state, settings())
    assert torch.equal(torch.get_rng_state(), expected)


def test_each_process_has_its_own_random_numbers() -> None:
    drawn = []
    for rank in range(3):
        build_state(settings(seed=3, batchnorm="local"), processes=Processes(rank, 3))
        drawn.append(torch.initial_seed())
    assert drawn == [3, 3 + 7919, 3 + 2 * 7919]


def test_batchnorm_is_shared_where_there_are_several_and_only_if_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[object] = []
    monkeypatch.setattr(state_module, "sync_batchnorm", lambda network, device: shared.append(network) or network)
    for world, batchnorm, count in ((1, "synced", 0), (2, "local", 0), (2, "synced", 3)):
        shared.clear()
        build_state(settings(batchnorm=batchnorm), processes=Processes(0, world))
        assert len(shared) == count


def test_the_state_is_built_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []

    def spy(*words: Any, **named: Any) -> Any:
        given.append((words, named))
        return build_discriminators(*words, **named)

    compiled: list[object] = []
    monkeypatch.setattr(state_module, "build_discriminators", spy)
    monkeypatch.setattr(state_module, "_compile", lambda *networks: compiled.append(networks))
    chosen = settings(ndf=3, d_blocks=2, d_dropout=0.25, pool_size=5, seed=4, batchnorm_gain="ones", cuda_graph=True,
                      channels_last=True)  # fmt: skip
    state = build_state(chosen)
    norm = state.generator.architecture["norm"]
    assert given == [((3, 18, "ones"), {"ndf": 3, "n_blocks": 2, "norm": norm, "dropout": 0.25})]
    for number, discriminator in enumerate((state.appearance, state.shape)):
        assert discriminator.pool.state_dict() == ImagePool(5, 8 + number).state_dict()
        assert discriminator.pool.size == 5
    assert not compiled
    assert state.graph is None  # not on a CPU
    assert state.generator.training
    weights = [weight for weight in state.generator.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    build_state(settings(compile=True))
    assert len(compiled) == 1


def test_the_average_is_apart_and_still(tmp_path: Path) -> None:
    state = build_state(settings(ema_decay=0.5))
    assert state.average is not None
    assert state.exported is state.average
    assert not state.average.training
    assert not any(weight.requires_grad for weight in state.average.parameters())
    assert build_state(settings()).average is None
    with torch.no_grad():
        next(state.average.parameters()).fill_(0.25)
    save_checkpoint(tmp_path / "c.pt", state, settings(ema_decay=0.5))
    again = build_state(settings(ema_decay=0.5))
    load_checkpoint(tmp_path / "c.pt", again, settings(ema_decay=0.5))
    assert again.average is not None
    assert (next(again.average.parameters()) == 0.25).all()


class Watched(KilledAt):
    """Notes the steps that it is asked for."""

    def __init__(self, poisoned: int | None = None) -> None:
        super().__init__(pairs(), -1)
        self.poisoned, self.asked = poisoned, []

    def sample(self, step: int, batch_size: int) -> PairBatch:
        self.asked.append(step)
        batch = self.source.sample(step, batch_size)
        if step == self.poisoned:
            batch.target_image[0, 0, 0, 0] = float("nan")
        return batch


@pytest.mark.parametrize(("check_every", "noticed"), [(1, 1), (2, 1), (3, 2), (4, 3), (0, 1)])
def test_losses_are_looked_at_every_so_often(tmp_path: Path, check_every: int, noticed: int) -> None:
    source = Watched(poisoned=1)
    chosen = settings(check_every=check_every, log_every=99, checkpoint_every=99)
    with pytest.raises(TrainingDivergedError, match="step 1: total is nan"):
        train_generator(chosen, source, tmp_path)
    assert source.asked == list(range(noticed + 1))


@pytest.mark.parametrize("often", ["log_every", "checkpoint_every"])
def test_losses_are_looked_at_before_they_are_told_or_kept(tmp_path: Path, often: str) -> None:
    source = Watched(poisoned=1)
    every = {"log_every": 99, "checkpoint_every": 99, often: 3, "check_every": 99}
    with pytest.raises(TrainingDivergedError, match="step 1: total is nan"):
        train_generator(settings(**every), source, tmp_path)
    assert source.asked == [0, 1, 2]
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "train.jsonl").exists()


def loop_of(tmp_path: Path, processes: Processes | None = None, **changes: Any) -> _Loop:
    chosen = settings(**changes)
    return _Loop(chosen, pairs(), tmp_path, build_state(chosen, processes=processes), start=0.0)


class Bar:
    def __init__(self) -> None:
        self.rate, self.told, self.skipped = 1.0, [], []

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def skip(self, count: int) -> None:
        self.skipped.append(count)

    def advance(self, count: int, note: str) -> None:
        self.told.append((count, note[:3]))


def test_what_was_looked_at_is_let_go(tmp_path: Path) -> None:
    loop = loop_of(tmp_path)
    loop.run(Bar(), None, None)  # type: ignore[arg-type]
    assert loop.pending == []
    assert loop.state.step == 6


def test_the_bar_counts_pairs_and_begins_where_the_training_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Bar] = []
    asked: list[tuple[object, ...]] = []

    def progress(*words: object) -> Bar:
        asked.append(words)
        bars.append(Bar())
        return bars[-1]

    monkeypatch.setattr(train_module, "progress", progress)
    with pytest.raises(Killed):
        train_generator(settings(check_every=2, log_every=99), KilledAt(pairs(), 3), tmp_path)
    train_generator(settings(), pairs(), tmp_path, resume=True)
    assert asked == [("Training", 12, "pairs")] * 2
    assert [bar.skipped for bar in bars] == [[0], [4]]
    assert bars[0].told == [(2, ""), (2, "l1 "), (2, "l1 ")]
    assert len(bars[1].told) == 4


def test_a_cpu_keeps_cudnns_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    train_generator(settings(constant_steps=1, decay_steps=0), pairs(), tmp_path)
    assert not torch.backends.cudnn.benchmark


def test_weights_are_written_at_the_end_alone_and_by_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    monkeypatch.setattr(train_module, "save_generator", lambda path, *_: written.append(path))
    part = train_generator(settings(max_seconds=0.0), pairs(), tmp_path / "part")
    assert (part.step, part.finished, part.weights, written) == (1, False, None, [])

    class Second(Processes):
        first = False  # type: ignore[assignment]

    train_generator(settings(constant_steps=1, decay_steps=0), pairs(), tmp_path / "second", processes=Second())
    assert written == []
    done = train_generator(settings(constant_steps=1, decay_steps=0), pairs(), tmp_path / "done")
    assert written == [done.weights] == [tmp_path / "done" / "generator.safetensors"]


def test_the_end_is_logged_and_kept_whatever_the_intervals(tmp_path: Path) -> None:
    chosen = settings(constant_steps=3, decay_steps=0, checkpoint_every=99, log_every=99)
    done = train_generator(chosen, pairs(), tmp_path)
    assert (done.step, done.finished) == (3, True)
    assert read_torch(done.checkpoint)["state"]["step"] == 3
    assert [json.loads(line)["step"] for line in (tmp_path / "train.jsonl").read_text().splitlines()] == [3]
    before = done.checkpoint.read_bytes()
    source = Watched()
    again = train_generator(chosen, source, tmp_path, resume=True)
    assert (again.step, again.finished, source.asked) == (3, True, [])
    assert done.checkpoint.read_bytes() == before


def test_the_perceptual_loss_is_loaded_where_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(state_module, "load_perceptual", lambda *words: asked.append(words))
    build_state(settings(perceptual="lite0", lambda_perceptual=0.0))
    build_state(settings(perceptual="lite0", lambda_perceptual=1.0, perceptual_texture=2.0))
    assert asked == [("off", 0.0), ("lite0", 2.0)]


def test_an_any_depth_network_starts_from_one(tmp_path: Path) -> None:
    chosen = settings(overrides={"ngf": 4, "n_blocks": 2, "any_depth": True}, constant_steps=1, decay_steps=0)
    first = train_generator(chosen, pairs(), tmp_path)
    state = build_state(dataclasses.replace(chosen, init_weights=str(first.weights)))
    loaded = load_generator(str(first.weights)).state_dict()
    assert any("exits" in name for name in loaded)
    assert all(torch.equal(weight, loaded[name]) for name, weight in state.generator.state_dict().items())


def test_a_log_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").mkdir()
    with pytest.raises(
        InputError, match=r"can't go on with the log .*train.jsonl \(it is no regular file\): remove it"
    ):
        train_generator(settings(), pairs(), tmp_path)


def test_a_finished_network_uses_all_its_blocks(tmp_path: Path) -> None:
    chosen = settings(overrides={"ngf": 4, "n_blocks": 3, "any_depth": True}, exit_share=1.0)
    seen: list[TrainState] = []
    train_generator(chosen, pairs(), tmp_path, on_checkpoint=seen.append)
    assert seen[-1].generator.blocks == 3


class Two(Processes):
    """Two processes of which this is one, without the other."""

    def __init__(self, rank: int = 0, says: bool = True) -> None:
        super().__init__(rank, 2)
        self.says, self.asked = says, []

    def agree(self, decision: bool) -> bool:
        self.asked.append(decision)
        return self.says


@pytest.mark.parametrize(
    ("limit", "step", "asked", "ends"),
    [
        (None, 4, [], False),
        (0.0, 4, [True], True),
        (0.0, 3, [], False),
        (0.0, 0, [True], True),
        (1e12, 4, [False], True),
    ],
)
def test_several_processes_stop_together_at_a_look(
    tmp_path: Path, limit: float | None, step: int, asked: list[bool], ends: bool
) -> None:
    """They ask each other at looks alone, and do what the first says, whatever their own clocks say."""
    loop = loop_of(tmp_path, Two(), max_seconds=limit, check_every=2, batchnorm="local")
    loop.state.step = step
    assert loop._out_of_time() is ends
    assert loop.state.processes.asked == asked  # type: ignore[attr-defined]


def test_one_process_stops_at_any_step(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, max_seconds=0.0, check_every=2)
    loop.state.step = 3
    assert loop._out_of_time() is True
    assert loop_of(tmp_path)._out_of_time() is False
    assert loop_of(tmp_path, max_seconds=1e12)._out_of_time() is False
    soon = loop_of(tmp_path, max_seconds=60.0)
    soon.start = time.monotonic()
    assert soon._out_of_time() is False
    soon.start -= 61
    assert soon._out_of_time() is True


def test_lines_of_steps_to_be_done_again_are_dropped(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train_generator(settings(), KilledAt(pairs(), 3), tmp_path)
    log = tmp_path / "train.jsonl"
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3]
    with log.open("a") as file:
        file.write('{"pairs": 1}\n{"step": 4, "pai')
    loop = loop_of(tmp_path)
    assert log.read_text() == ""
    loop.run(Bar(), None, None)  # type: ignore[arg-type]
    whole = log.read_text()
    save_checkpoint(tmp_path / "checkpoint.pt", loop.state, settings())
    loop.state.step = 2
    _Loop(settings(), pairs(), tmp_path, loop.state, 0.0)
    assert log.read_text() == "".join(line for line in whole.splitlines(keepends=True)[:2])


@pytest.mark.parametrize(
    "line",
    [b"5", b"[]", b'{"step": "2"}', b'{"step": null}', b"\xff\xfe", b"[" * 100_000, b'{"step": 1e999}', b"null"],
    ids=lambda line: str(line[:12]),
)
def test_lines_that_are_none_are_dropped(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(Killed):
        train_generator(settings(), KilledAt(pairs(), 3), tmp_path)
    log = tmp_path / "train.jsonl"
    good = log.read_bytes().splitlines(keepends=True)[:2]
    log.write_bytes(line + b"\n" + log.read_bytes())
    train_generator(dataclasses.replace(settings(), log_every=6), pairs(), tmp_path, resume=True)
    assert log.read_bytes().splitlines(keepends=True)[:2] == good
    assert [json.loads(one)["step"] for one in log.read_bytes().splitlines()] == [1, 2, 6]


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Two(rank=1)
    monkeypatch.setattr(other, "collect", lambda value: [value, value])
    chosen = settings(batchnorm="local")
    state = build_state(chosen, processes=other)
    save_checkpoint(tmp_path / "c.pt", state, chosen)
    assert other.asked == [True]  # it waits until the file is there
    (tmp_path / "train.jsonl").write_text("{half")
    _Loop(chosen, pairs(), tmp_path, state, 0.0)._log(1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]
    assert (tmp_path / "train.jsonl").read_text() == "{half"
