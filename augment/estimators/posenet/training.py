"""Trains the shipped estimator on an endless stream of synthetic pedestrians; killed at any moment, it goes on.

A run directory holds `checkpoint.pt`, `train.jsonl` (one line every `log_every` steps), and at the end
`weights.safetensors` and `figures.json`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.estimators.posenet.augmentation import Example, augment
from augment.estimators.posenet.maps import decode, target_maps
from augment.estimators.posenet.network import PoseNet, build_network
from augment.estimators.posenet.pool import Pool
from augment.estimators.posenet.training_settings import PoseTrainSettings
from augment.runs import trim_log
from augment.synth.stream import PedestrianStream, StreamSettings
from reid_eval.foreign import reason_of
from reid_eval.runtime import InputError, progress
from reid_eval.torch_file import read_torch, save_torch

CHECKPOINT, LOG = "checkpoint.pt", "train.jsonl"
_FORMAT = 1


def losses(network: PoseNet, example: Example, settings: PoseTrainSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of positions (nats above the target's own entropy), binary one of being seen, and the heat maps."""
    maps, seen = network(example.image)
    target = target_maps(example.xy, (maps.shape[2], maps.shape[3]), settings.sigma).flatten(2)
    there = ~example.xy.isnan().any(-1)
    weight = there * torch.where(example.seen, 1.0, settings.hidden_weight)
    surplus = torch.xlogy(target, target).sum(-1) - (target * maps.flatten(2).log_softmax(-1)).sum(-1)
    place = (surplus * weight).sum() / weight.sum().clamp_min(1.0)
    presence = torch.nn.functional.binary_cross_entropy_with_logits(seen, example.seen.float())
    return place, presence, maps


class Trainer:
    """Everything that a step changes."""

    def __init__(self, settings: PoseTrainSettings, device: torch.device | str) -> None:
        self.settings, self.device = settings, torch.device(device)
        with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as if nothing had been
            torch.random.default_generator.manual_seed(settings.seed)
            network = build_network(settings.network)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.lr,
            fused=self.device.type == "cuda",
        )
        self.step = 0
        self.seconds = 0.0

    def take_step(self, pool: Pool, share: float) -> tuple[Tensor, Tensor, Tensor, Example]:
        """One step of the optimizer; returns the two losses, the heat maps and the batch, all detached."""
        settings = self.settings
        generator = _generator(settings.seed, self.step, self.device)
        with torch.no_grad():
            example = augment(*pool.sample(generator, settings.batch_size), generator)
            example = example._replace(image=example.image.contiguous(memory_format=torch.channels_last))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(share)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            place, presence, maps = losses(self.network, example, settings)
        self.optimizer.zero_grad(set_to_none=True)
        (place + presence).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        return place.detach(), presence.detach(), maps.detach(), example

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        mine, theirs = (list(n.state_dict().values()) for n in (self.average, self.network))
        floats = [i for i, value in enumerate(mine) if value.is_floating_point()]
        torch._foreach_lerp_([mine[i] for i in floats], [theirs[i] for i in floats], 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, on the CPU or not, as it lies."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        return {**parts, "step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as when `state_dict` was called; the optimizer's own numbers stay those of the settings.

        Raises:
            ValueError: steps and seconds are no such numbers.
        """
        step, seconds = state["step"], state["seconds"]
        if type(step) is not int or step < 0 or type(seconds) is not float or not 0 <= seconds < math.inf:
            raise ValueError("its step and seconds are no numbers")
        own = [{key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups]
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        for group, numbers in zip(self.optimizer.param_groups, own, strict=True):
            group.update(numbers)
        self.step, self.seconds = step, seconds


@dataclass(frozen=True)
class PoseTrainResult:
    """How a training ended: the averaged network in evaluation mode, and facts for its file."""

    network: PoseNet
    facts: dict[str, Any]


def train_poses(
    settings: PoseTrainSettings, out: Path | str, device: torch.device | str = "cpu", resume: bool = False
) -> PoseTrainResult:
    """Train, or go on training, in the directory `out`, to the end.

    Raises:
        InputError: a directory that already holds a training, a checkpoint that cannot be read, or other settings on
            resuming.
        RuntimeError: a loss is not finite; the checkpoint is from before.
    """
    out, start = Path(out), time.monotonic()
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise InputError(f"{out} already holds a training: resume it, or name another folder", "resume")
    trainer = Trainer(settings, device)
    stream = StreamSettings(
        settings.world,
        settings.identities,
        settings.images_per_id,
        settings.cameras,
        settings.size,
        world=settings.world_version,
    )
    pool = Pool(PedestrianStream(stream, device), settings.pool)
    if checkpoint.exists():
        _go_on(checkpoint, settings, trainer, pool)
    else:
        pool.grow(quiet=False)
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = benchmark or trainer.device.type == "cuda"  # all batches have one shape
        _Loop(settings, trainer, pool, out, start).run()
    finally:
        torch.backends.cudnn.benchmark = benchmark
    facts = {
        "settings": settings.model_dump(),
        "steps": trainer.step,
        "images_seen": trainer.step * settings.batch_size,
        "images_drawn": pool.drawn * settings.identities * settings.images_per_id,
        "seconds": round(trainer.seconds, 1),
        "render_seconds": round(pool.seconds, 1),
        "device": torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else "cpu",
    }
    return PoseTrainResult(trainer.average, facts)


class _Loop:
    """Steps, generations, log and checkpoints."""

    def __init__(self, settings: PoseTrainSettings, trainer: Trainer, pool: Pool, out: Path, start: float) -> None:
        self.settings, self.trainer, self.pool, self.out = settings, trainer, pool, out
        self.before, self.start = trainer.seconds, start
        trim_log(out / LOG, trainer.step)

    def share(self) -> float:
        """How much of the training is done, in [0, 1]: of its steps or of its time, whichever is more."""
        trainer, settings = self.trainer, self.settings
        trainer.seconds = self.before + time.monotonic() - self.start
        timed = trainer.seconds / settings.max_seconds if settings.max_seconds else 0.0
        return min(max(trainer.step / settings.steps, timed), 1.0)

    def run(self) -> None:
        settings, trainer = self.settings, self.trainer
        # Counted in what ends it: steps, or seconds.
        total, unit = (round(settings.max_seconds), "s") if settings.max_seconds else (settings.steps, "steps")
        with progress("Training", total, unit) as bar:
            bar.skip(round(self.share() * total))
            while (share := self.share()) < 1.0:
                if self._wants_people():
                    self.pool.grow()
                result = trainer.take_step(self.pool, share)
                note = ""
                if trainer.step % settings.log_every == 0 or trainer.step == settings.steps:
                    note = self._log(share, *result)
                bar.advance(round(self.share() * total) - bar.done, note)
                if trainer.step % settings.checkpoint_every == 0:
                    self._save()
        self._save()

    def _wants_people(self) -> bool:
        """Whether the next generation is due; never before the first batch, and not while rendering eats the time."""
        due = self.trainer.step >= self.pool.drawn * self.settings.steps_per_generation
        if not due or self.settings.max_seconds is None:
            return due
        return self.pool.seconds <= self.settings.render_share * self.trainer.seconds

    def _log(self, share: float, place: Tensor, presence: Tensor, maps: Tensor, example: Example) -> str:
        xy, _ = decode(maps)
        error = (xy - example.xy).norm(dim=-1)[example.seen].mean()
        values = torch.stack([place, presence, error]).tolist()
        if not all(math.isfinite(value) for value in values[:2]):
            raise RuntimeError(
                f"step {self.trainer.step}: losses are {values[0]} and {values[1]}; lower lr, or use float32"
            )
        line = {
            "step": self.trainer.step,
            "images": self.trainer.step * self.settings.batch_size,
            "seconds": round(self.trainer.seconds, 2),
            "render_seconds": round(self.pool.seconds, 2),
            "generations": self.pool.drawn,
            "lr": self.settings.rate(share),
            "images_per_second": round(self.trainer.step * self.settings.batch_size / self.trainer.seconds, 1),
            **dict(zip(("place", "presence", "error_px"), (round(v, 5) for v in values), strict=True)),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        return f"error {values[2]:.2f} px"

    def _save(self) -> None:
        contents = {
            "format": _FORMAT,
            "settings": self.settings.model_dump(mode="json"),
            "state": self.trainer.state_dict(),
            "drawn": self.pool.drawn,
            "render_seconds": self.pool.seconds,
        }
        save_torch(self.out / CHECKPOINT, contents)


def _load(path: Path, settings: PoseTrainSettings) -> dict[str, Any]:
    try:
        contents: dict[str, Any] = read_torch(path)
        earlier = dict(contents["settings"])
        if contents["format"] != _FORMAT:
            raise ValueError(f"format {contents['format']}")
    except Exception as error:  # damaged bytes raise many types
        raise InputError(f"can't resume from {path} ({reason_of(error)}): remove it to start afresh") from None
    settings.check_resumes(earlier)
    return contents


def _go_on(path: Path, settings: PoseTrainSettings, trainer: Trainer, pool: Pool) -> None:
    """Bring trainer and people to where the checkpoint was written."""
    contents = _load(path, settings)
    try:
        trainer.load_state_dict(contents["state"])
        drawn, seconds = contents["drawn"], contents["render_seconds"]
        most = trainer.step // settings.steps_per_generation + 1
        if type(drawn) is not int or not 0 < drawn <= most or type(seconds) is not float or not 0 <= seconds < math.inf:
            raise ValueError("its people are no numbers")
    except Exception as error:  # torch raises many types on what does not fit
        raise InputError(f"can't resume from {path} ({reason_of(error)}): remove it to start afresh") from None
    pool.restore(drawn)
    pool.seconds = seconds


def _generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    digest = hashlib.blake2b(f"poses/{seed}/{step}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)
