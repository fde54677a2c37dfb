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
from augment.generators.patn.step import LOSS_NAMES
from augment.generators.patn.train import (
    Scalars,
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


def flat(value: object, name: str = "") -> dict[str, object]:
    """Every leaf of a state."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for place, inner in items for key, leaf in flat(inner, f"{name}/{place}").items()}
    return {name: value}


def unequal(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Places where two flat states differ."""
    apart = []
    for name in {**one, **other}:
        a, b = one.get(name), other.get(name)
        alike = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
        apart += [] if alike else [name]
    return apart


def test_all_that_a_step_changes_comes_back(tmp_path: Path) -> None:
    chosen = settings(ema_decay=0.5)
    state = build_state(chosen)
    assert state.average is not None
    for part in (state, state.appearance, state.shape):
        network = part.generator if isinstance(part, TrainState) else part.network
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        part.optimizer.step()
    next(state.average.parameters()).fill_(0.25)
    for pool in (state.appearance.pool, state.shape.pool):
        pool.query(torch.rand(5, 6, 2, 2))
    state.step, state.losses = 7, {"l1": 0.5}
    save_checkpoint(tmp_path / "c.pt", state, chosen)
    again = build_state(chosen)
    parts = ("network", "optimizer/state", "pool/kept", "pool/count", "pool/random")
    apart = unequal(flat(again.state_dict()), flat(state.state_dict()))
    for place in ("step", "losses", "generator", "optimizer/state", "average", *(
        f"{name}/{part}" for name in ("appearance", "shape") for part in parts
    )):  # fmt: skip
        assert any(name.startswith(f"/{place}") for name in apart), place
    load_checkpoint(tmp_path / "c.pt", again, chosen)
    assert unequal(flat(again.state_dict()), flat(state.state_dict())) == []


def test_statistics_are_frozen_if_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[object] = []
    monkeypatch.setattr(state_module, "freeze_batchnorm", frozen.append)
    build_state(settings())
    assert not frozen
    state = build_state(settings(batchnorm="frozen"))
    assert frozen == [state.generator]


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    state = build_state(settings())
    torch.manual_seed(5)
    torch.rand(3)
    save_checkpoint(tmp_path / "c.pt", state, settings())
    expected = torch.rand(4)
    torch.manual_seed(6)
    load_checkpoint(tmp_path / "c.pt", state, settings())
    assert torch.equal(torch.rand(4), expected)


def test_a_gpus_random_numbers_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: what would be asked of it. One that is there but was not used is left alone."""
    taken: list[object] = []
    numbers = [torch.tensor([1, 2], dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: numbers)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", taken.append)
    for there, used in ((False, False), (True, False), (False, True), (True, True)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda used=used: used)
        assert train_module._random_state()["cuda"] == (numbers if there and used else [])
    path, contents = kept(tmp_path)
    assert torch.equal(contents["random"][0]["cuda"][0], numbers[0])
    load_checkpoint(path, build_state(settings()), settings())
    assert [torch.equal(one[0], numbers[0]) for one in taken] == [True]  # type: ignore[index]
    contents["random"][0]["cuda"] = []
    save_torch(path, contents)
    load_checkpoint(path, build_state(settings()), settings())
    assert len(taken) == 1


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


@pytest.mark.parametrize(("every", "expected"), [(4, [4, 6]), (5, [5, 6]), (3, [3, 6]), (0, []), (99, [6])])
def test_sheets_are_drawn_every_so_often_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, expected: list[int]
) -> None:
    def step(state: TrainState, *_: object) -> torch.Tensor:
        state.step += 1
        return torch.zeros(len(LOSS_NAMES))

    monkeypatch.setattr(train_module, "train_step", step)
    drawn: list[int] = []
    for processes in (None, Two(rank=1, says=False)):
        loop = loop_of(tmp_path, processes, sheet_every=every, batchnorm="local", checkpoint_every=99)
        monkeypatch.setattr(loop.state.processes, "part", lambda batch: batch)
        monkeypatch.setattr(loop.state.processes, "collect", lambda value: [value])
        loop.run(Bar(), None, lambda state: drawn.append(state.step))  # type: ignore[arg-type]
        assert loop.state.step == 6
        assert drawn == expected  # the second process draws none


def test_a_loss_that_is_no_number_is_told_with_what_was_fed(tmp_path: Path) -> None:
    loop = loop_of(tmp_path)
    good, bad = torch.ones(len(LOSS_NAMES)), torch.ones(len(LOSS_NAMES))
    bad[LOSS_NAMES.index("l1")] = float("inf")
    loop.pending = [(4, "these", good), (5, ["those"], bad), (6, "more", bad)]
    with pytest.raises(
        TrainingDivergedError, match=r"^step 5: l1 is inf; fed \['those'\] \(also in .*nonfinite.json\)"
    ):
        loop._look()
    told = json.loads((tmp_path / "nonfinite.json").read_text())
    assert told == {"step": 5, "losses": ["l1 is inf"], "fed": ["those"]}


def test_a_start_is_told_before_anything_is_written_and_not_of_what_is_refused(tmp_path: Path) -> None:
    told: list[list[Path]] = []

    def start() -> None:
        told.append(sorted(tmp_path.iterdir()))

    chosen = settings(constant_steps=1, decay_steps=0)
    train_generator(chosen, pairs(), tmp_path, on_start=start)
    assert told == [[]]
    with pytest.raises(InputError, match="other settings: seed was 0, is 5"):
        train_generator(dataclasses.replace(chosen, seed=5), pairs(), tmp_path, resume=True, on_start=start)
    assert len(told) == 1


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


def test_cudnn_looks_for_its_best_way_on_a_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    chosen = settings(constant_steps=1, decay_steps=0)
    train_generator(chosen, pairs(), tmp_path / "cpu")
    assert not torch.backends.cudnn.benchmark
    done = dataclasses.replace(build_state(chosen), device=torch.device("cuda"), step=1)  # nothing is left to do
    monkeypatch.setattr(train_module, "_begin", lambda *_: done)
    train_generator(chosen, pairs(), tmp_path / "gpu")
    assert torch.backends.cudnn.benchmark


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


def at_chance(loop: _Loop, appearance: float, shape: float, step: int = 3) -> int:
    """How often in a row, after a look at such losses."""
    loop.state.losses = {"d_appearance": appearance, "d_shape": shape}
    loop._stop_at_chance(step)
    return loop.at_chance


def test_discriminators_are_at_chance_so_often_in_a_row(tmp_path: Path) -> None:
    """A loss of 1 a discriminator is chance; they are logged times `lambda_gan`, here 4."""
    loop = loop_of(tmp_path, gan="hinge", lambda_gan=4.0, stop_at_chance=3, gan_start=1, d_alone=2)
    assert at_chance(loop, 4.0, 4.0, step=2) == 0  # the generator does not hear them yet
    assert [at_chance(loop, 3.4, 4.0), at_chance(loop, 4.0, 3.4)] == [1, 2]
    assert at_chance(loop, 3.6, 3.6) == 0  # 0.9, not above it
    assert [at_chance(loop, 4.0, 4.0), at_chance(loop, 4.0, 4.0)] == [1, 2]
    with pytest.raises(TrainingDivergedError, match=r"step 7: .* for 3 iterations; there is no checkpoint yet; raise"):
        at_chance(loop, 4.0, 4.0, step=7)
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(TrainingDivergedError, match=r"4 iterations; the last good state is .*checkpoint.pt; raise"):
        at_chance(loop, 4.0, 4.0)
    assert at_chance(loop_of(tmp_path, gan="hinge"), 4.0, 4.0) == 0  # nobody asked


def test_how_often_losses_are_looked_at_where_nobody_says(tmp_path: Path) -> None:
    """A GPU would wait at each look; nothing is done on it here."""
    state = build_state(settings())
    on_gpu = dataclasses.replace(state, device=torch.device("cuda"))
    often = [_Loop(settings(), pairs(), tmp_path, one, 0.0).check_every for one in (state, on_gpu)]
    assert often == [1, 20]
    assert _Loop(settings(check_every=7), pairs(), tmp_path, on_gpu, 0.0).check_every == 7


def test_events_of_steps_to_be_done_again_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.utils.tensorboard

    told: list[object] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            told.append((folder, purge_step))

        def add_scalar(self, *words: object) -> None:
            told.append(words)

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(torch.utils.tensorboard, "SummaryWriter", Writer)
    for folder, step in ((tmp_path, 0), (tmp_path, 5), (None, 5)):
        with Scalars(folder, step) as scalars:
            scalars.add({"step": 6, "seconds": 1.0, "l1": 0.5, "lr": 0.1})
    lines = [("l1", 0.5, 6), ("lr", 0.1, 6), "closed"]
    assert told == [(str(tmp_path), None), *lines, (str(tmp_path), 6), *lines]
    told.clear()
    state = build_state(settings())
    state.step = 2
    _Loop(settings(tensorboard=True), pairs(), tmp_path, state, 0.0)
    _Loop(settings(), pairs(), tmp_path, state, 0.0)
    state.processes = Two(rank=1)
    _Loop(settings(tensorboard=True), pairs(), tmp_path, state, 0.0)
    assert told == [(str(tmp_path / "tensorboard"), 3)]


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
