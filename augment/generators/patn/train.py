"""The training loop: steps, log, checkpoints; killed at any moment, it goes on as if it had not been.

A run directory holds `checkpoint.pt` (everything needed to go on), `train.jsonl` (one line every `log_every`
iterations) and, at the end, `generator.safetensors`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.generators.lineage import lineage
from augment.generators.patn.batch import PairSource
from augment.generators.patn.distributed import Processes
from augment.generators.patn.load import save_generator
from augment.generators.patn.settings import PATNTrainSettings
from augment.generators.patn.state import TrainState, build_state
from augment.generators.patn.step import LOSS_NAMES, train_step
from augment.runs import trim_log
from reid_eval.foreign import reason_of
from reid_eval.runtime import InputError, ProgressBar, progress, write_json
from reid_eval.torch_file import read_torch, save_torch
from reid_eval.writing import disk_errors

CHECKPOINT, LOG, WEIGHTS, CULPRIT = "checkpoint.pt", "train.jsonl", "generator.safetensors", "nonfinite.json"
EVENTS = "tensorboard"
_FORMAT = 3
_NEAR_CHANCE = 0.9


class TrainingDivergedError(RuntimeError):
    """A loss or a weight is not finite. The message tells the step, what was fed and which checkpoint is good."""


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended: iterations done in all, whether that is all of them, files, last losses.

    `weights` is None until the training is finished.
    """

    step: int
    finished: bool
    checkpoint: Path
    weights: Path | None
    losses: dict[str, float]


def train_generator(
    settings: PATNTrainSettings,
    source: PairSource,
    out: Path | str,
    device: torch.device | str = "cpu",
    resume: bool = False,
    info: Mapping[str, Any] | None = None,
    on_checkpoint: Callable[[TrainState], None] | None = None,
    on_sheet: Callable[[TrainState], None] | None = None,
    processes: Processes | None = None,
    on_start: Callable[[], None] | None = None,
) -> TrainResult:
    """Train, or go on training, in the directory `out`.

    On a CPU a training that was killed and resumed gives bit for bit the weights of one that was not, provided that
    the number of threads is the same.

    Args:
        settings: what to do.
        source: where pairs come from, on `device`.
        out: run directory, made if missing.
        device: where to train.
        resume: go on from `checkpoint.pt` if there is one; start afresh if there is none.
        info: JSON-able facts for the weights' metadata (data, licence, command); those of the weights that
            `init_weights` names are added, see `augment.generators.lineage`.
        on_checkpoint: called after each checkpoint, for samples and validation; it must not draw random numbers
            from torch's global generator.
        on_sheet: likewise, every `sheet_every` iterations, to draw samples of `state.exported`.
        processes: those that share the training, see `.distributed`; only the first writes files.
        on_start: called when the training is about to go on, before anything is written: nothing is refused after it.

    Returns:
        How it ended; stopping for `max_seconds` is not an error.

    Raises:
        InputError: bad settings, a directory that already holds a training, or other settings on resuming.
        TrainingDivergedError: a loss or weight is not finite; the last checkpoint is from before.
    """
    start = time.monotonic()
    out = Path(out)
    if (out / CHECKPOINT).exists() and not resume:
        raise InputError(f"{out} already holds a training: resume it, or give another folder")
    init = lineage(settings.init_weights) if settings.init_weights else None  # the file may be gone at the end
    state = _begin(settings, out / CHECKPOINT, device, processes)
    if on_start:
        on_start()
    if state.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes never change here
    loop = _Loop(settings, source, out, state, start)
    with loop.scalars, progress("Training", settings.total_steps * settings.batch_size, "pairs") as bar:
        bar.skip(state.step * settings.batch_size)
        loop.run(bar, on_checkpoint, on_sheet)
    state.generator.use_blocks(state.generator.architecture["n_blocks"])
    finished = state.step >= settings.total_steps
    weights = out / WEIGHTS if finished else None
    if weights and state.processes.first:
        facts = {"init": init, "size": list(source.size), **_facts(state, settings)}
        save_generator(weights, state.exported, {**(info or {}), **facts})
    return TrainResult(state.step, finished, out / CHECKPOINT, weights, state.losses)


def _begin(
    settings: PATNTrainSettings, checkpoint: Path, device: torch.device | str, processes: Processes | None
) -> TrainState:
    """The state that a training goes on from."""
    state = build_state(settings, device, processes)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, settings)
    return state


def _facts(state: TrainState, settings: PATNTrainSettings) -> dict[str, Any]:
    """What a finished training tells of itself."""
    return {
        "settings": asdict(settings),
        "pairs_seen": state.step * settings.batch_size,
        "perceptual": state.perceptual.source if state.perceptual else "off",
        "losses": state.losses,
    }


def save_checkpoint(path: Path | str, state: TrainState, settings: PATNTrainSettings) -> None:
    """Write everything needed to go on, atomically; the same state and settings give the same bytes.

    Raises:
        RunError: the disk is full, read-only or gone; the file is left as it was.
        TrainingDivergedError: a weight is not finite; the file is left as it was.
    """
    networks = {"generator": state.generator, "D_A": state.appearance.network, "D_S": state.shape.network}
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            if not value.isfinite().all():
                raise TrainingDivergedError(f"step {state.step}: {name} weight {key} is not finite; {_advice(path)}")
    randoms = state.processes.collect(_random_state())
    if state.processes.first:
        contents = {"format": _FORMAT, "settings": asdict(settings), "state": state.state_dict(), "random": randoms}
        save_torch(path, contents)
    state.processes.agree(True)  # nobody goes on before the file is there


def load_checkpoint(path: Path | str, state: TrainState, settings: PATNTrainSettings) -> None:
    """Bring `state` and the random generators to where `save_checkpoint` was called.

    Raises:
        InputError: a file that can't be read, of another format, or of a training with other settings.
    """
    try:
        contents = read_torch(path)
        form, earlier, saved, randoms = (contents[k] for k in ("format", "settings", "state", "random"))
        earlier = dict(earlier)
    except Exception as error:  # damaged bytes raise many types
        raise InputError(f"can't resume from {path} ({reason_of(error)}): remove it to start afresh") from None
    if form != _FORMAT:
        raise InputError(f"{path} has checkpoint format {form}, this program reads {_FORMAT}")
    settings.check_resumes(earlier)
    try:
        state.load_state_dict(saved)
        if state.processes.rank < len(randoms):  # else there are more processes now: they draw from their seeds
            own = randoms[state.processes.rank]
            torch.set_rng_state(own["cpu"])
            if own["cuda"]:
                torch.cuda.set_rng_state_all(own["cuda"])
    except Exception as error:  # torch raises many types on what does not fit
        raise InputError(f"can't resume from {path} ({reason_of(error)}): remove it to start afresh") from None


class Scalars:
    """What TensorBoard shows: the numbers of `train.jsonl`, by step. Without a folder it keeps nothing.

    On resuming, events of steps that the checkpoint does not know are hidden, as TensorBoard's `purge_step` does.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._writer: Any = None
        if folder:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line of the log."""
        if self._writer:
            for name, value in line.items():
                if name not in ("step", "seconds"):
                    self._writer.add_scalar(name, value, line["step"])

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer:
            self._writer.close()


class _Loop:
    """Runs steps; holds what was fed and what came out since the losses were last looked at."""

    def __init__(
        self, settings: PATNTrainSettings, source: PairSource, out: Path, state: TrainState, start: float
    ) -> None:
        self.settings, self.source, self.out, self.state, self.start = settings, source, out, state, start
        self.pending: list[tuple[int, object, Tensor]] = []
        self.check_every = settings.check_every or (1 if state.device.type == "cpu" else 20)
        self.at_chance = 0
        self.log_path = out / LOG
        if state.processes.first:
            trim_log(self.log_path, state.step)
        writes = settings.tensorboard and state.processes.first
        self.scalars = Scalars(out / EVENTS if writes else None, state.step)

    def run(
        self,
        bar: ProgressBar,
        on_checkpoint: Callable[[TrainState], None] | None,
        on_sheet: Callable[[TrainState], None] | None,
    ) -> None:
        settings, state = self.settings, self.state
        while state.step < settings.total_steps:
            batch = state.processes.part(self.source.sample(state.step, settings.batch_size))
            self.pending.append((state.step, batch.fed, train_step(state, batch, settings)))
            ends = state.step == settings.total_steps or self._out_of_time()
            saves = ends or state.step % settings.checkpoint_every == 0
            logs = ends or state.step % settings.steps_between_logs == 0
            sheet = settings.steps_between_sheets
            if saves or logs or state.step % self.check_every == 0:
                self._look()
            bar.advance(settings.batch_size, f"l1 {state.losses['l1']:.3f}" if state.losses else "")
            if logs:
                self._log(bar.rate)
            if on_sheet and state.processes.first and sheet and (ends or state.step % sheet == 0):
                on_sheet(state)
            if saves:
                save_checkpoint(self.out / CHECKPOINT, state, settings)
                if on_checkpoint and state.processes.first:
                    on_checkpoint(state)
            if ends:
                break

    def _out_of_time(self) -> bool:
        limit = self.settings.max_seconds
        if limit is None or (self.state.processes.world > 1 and self.state.step % self.check_every):
            return False
        return self.state.processes.agree(time.monotonic() - self.start >= limit)

    def _look(self) -> None:
        """Bring the pending losses to the host and stop at the first that is not finite."""
        for (step, fed, _), values in zip(
            self.pending, torch.stack([p[2] for p in self.pending]).tolist(), strict=True
        ):
            self.state.losses = dict(zip(LOSS_NAMES, values, strict=True))
            self._stop_at_chance(step)
            bad = [f"{name} is {value}" for name, value in self.state.losses.items() if not math.isfinite(value)]
            if bad:
                write_json(self.out / CULPRIT, {"step": step, "losses": bad, "fed": fed})
                raise TrainingDivergedError(
                    f"step {step}: {', '.join(bad)}; fed {fed} (also in {self.out / CULPRIT}); "
                    f"{_advice(self.out / CHECKPOINT)}"
                )
        self.pending.clear()

    def _stop_at_chance(self, step: int) -> None:
        """Discriminators that can't tell real from generated for long tell the generator noise."""
        settings, losses = self.settings, self.state.losses
        if not settings.stop_at_chance or not settings.generator_hears(step):
            return
        hinge = (losses["d_appearance"] + losses["d_shape"]) / (2 * settings.lambda_gan)
        self.at_chance = self.at_chance + 1 if hinge > _NEAR_CHANCE else 0
        if self.at_chance >= settings.stop_at_chance:
            raise TrainingDivergedError(
                f"step {step}: the discriminators' hinge loss has been above {_NEAR_CHANCE} (chance is 1) for "
                f"{self.at_chance} iterations; {_kept(self.out / CHECKPOINT)}; raise d_lr or d_alone, lower gan_ratio"
            )

    def _log(self, rate: float) -> None:
        if not self.state.processes.first:
            return
        line = {
            "step": self.state.step,
            "pairs": self.state.step * self.settings.batch_size,
            "lr": self.settings.learning_rate(self.state.step - 1),
            "pairs_per_second": round(rate, 2),
            "seconds": round(time.monotonic() - self.start, 2),
            **{name: round(value, 6) for name, value in self.state.losses.items()},
        }
        with disk_errors(self.log_path):
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(self.log_path), self.log_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.scalars.add(line)


def _advice(checkpoint: Path | str) -> str:
    return f"{_kept(checkpoint)}; lower lr, or use precision float32"


def _kept(checkpoint: Path | str) -> str:
    return f"the last good state is {checkpoint}" if Path(checkpoint).exists() else "there is no checkpoint yet"


def _random_state() -> dict[str, Any]:
    """The global generators, from which dropout draws."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}
