"""Training: the whole training set as one uint8 tensor on the device, and all random numbers drawn beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from reid_eval.backbones import ReidNet, build_for
from reid_eval.beside import Beside, ViewStack, look, side_by_side
from reid_eval.datasets import ReidData, load_images
from reid_eval.losses import Targets, reid_loss
from reid_eval.precision import autocast, resolve_amp
from reid_eval.runtime import InputError, kept_generators, progress, resolve_device, seed_everything
from reid_eval.sampling import Deck, make_batches
from reid_eval.settings import TrainSettings, budget, settings_from
from reid_eval.transforms import draw_boxes, draw_shifts, move, paint, to_float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Trained:
    """What `train` returns."""

    model: ReidNet
    """In evaluation mode, on the device."""
    losses: list[float]
    """Loss of every step."""
    accuracy: float
    """Share of the last 10% of the training images seen that were classified right, 0..1."""
    amp: str
    """`bf16` or `off`: what was used."""
    steps: int
    """That were taken."""


@dataclass(frozen=True)
class Watch:
    """Who looks at a network while it trains: after each `every` steps, but not after the last of a full budget."""

    every: int
    look: Callable[[int, ReidNet, str], None]
    """Takes the steps taken, a copy of the network in evaluation mode with its statistics measured, and `amp`."""

    def wants(self, step: int) -> bool:
        """Whether to look after so many steps."""
        return self.every > 0 and step % self.every == 0


def learning_rate(settings: TrainSettings, epoch: float) -> float:
    """Factor on `settings.lr` at `epoch`, a fraction of which counts: warm-up times steps or cosine."""
    warm = min(1.0, (epoch + 1e-3) / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    if settings.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / settings.epochs)))
    return warm * float(settings.lr_gamma ** sum(epoch >= step for step in settings.lr_steps))


def make_optimizer(model: ReidNet, settings: TrainSettings) -> torch.optim.Optimizer:
    """SGD or Adam with two groups, trunk and head (neck and classifier); a group's full rate is kept as `full_lr`."""
    try:
        return _optimizer(model, settings, fused=True)
    except RuntimeError:  # a torch before 2.4 fuses on CUDA only
        return _optimizer(model, settings, fused=False)


def _optimizer(model: ReidNet, settings: TrainSettings, fused: bool) -> torch.optim.Optimizer:
    factor = 1.0 if settings.init == "scratch" else settings.trunk_lr_factor
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "full_lr": rate}
        for parameters, rate in ((list(model.trunk.parameters()), settings.lr * factor), (model.head(), settings.lr))
    ]
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay, fused=fused)


def train_step(
    model: ReidNet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Targets,
    settings: TrainSettings,
    amp: str = "off",
    beside: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """One optimisation step.

    Args:
        model: in training mode; its parameters change.
        optimizer: over its parameters.
        images: float32 [B, 3, H, W] in [-1, 1].
        targets: of the batch.
        settings: what the loss is, see `reid_loss`, and how views count.
        amp: `bf16` or `off`.
        beside: views of the batch, from `reid_eval.beside.ViewStack.batch`; None: photos alone.

    Returns:
        The loss and the number of images classified right, both detached scalars on the device.
    """
    if beside is None:
        with autocast(amp, images.device):
            features, logits = model(images)
        loss = reid_loss(features, logits, targets, settings)
    else:
        with autocast(amp, images.device):
            own, both = look(model, images, *beside, settings.views_weight)
        logits = both.logits
        loss = reid_loss(both.features, logits, targets, settings)
        loss = loss + settings.views_photo_weight * reid_loss(own.features, own.logits, targets, settings)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach(), (logits.detach().argmax(1) == targets.labels).sum()


def train_on(
    images: NDArray[np.uint8] | Tensor,
    labels: NDArray[np.int64],
    settings: TrainSettings,
    steps: int | None = None,
    generated: NDArray[np.bool_] | None = None,
    label: str = "",
    people: Sequence[int | str] | None = None,
    watch: Watch | None = None,
    beside: Beside | None = None,
) -> Trained:
    """Train a network on images in memory; the caller's global random generators stay as they are.

    The same seed, machine and thread count give the same network on a CPU; CUDA kernels add rounding noise.

    Args:
        images: uint8 [N, 3, H, W], RGB.
        labels: int64 [N], 0..C-1.
        settings: see `TrainSettings`; `size` is not looked at.
        steps: optimisation steps instead of `settings.epochs` passes; the schedule stretches over them.
        generated: bool [N], which images are generated; None: none of them.
        label: of the progress bar; default: the backbone.
        people: pid (or name) of each label, [C], kept with the network; a file of `init` for the same people gives
            its classifier, too.
        watch: looks at networks as they would be if the training ended there; changes nothing of it.
        beside: views of the images, where `settings.views` asks for some.

    Raises:
        InputError: fewer than two identities, or fewer than a batch of `pk` needs; the loss is no longer a number; or
            views that are asked for are not there.
    """
    classes = _classes(labels)
    device = resolve_device(settings.device)
    size = (images.shape[2], images.shape[3])
    amp = resolve_amp(settings.amp, device, size)
    made = np.zeros(len(labels), np.bool_) if generated is None else np.array(generated, np.bool_)
    steps = budget(len(images), settings) if steps is None else steps
    with kept_generators():
        seed_everything(settings.seed)
        model = build_for(settings, classes, size, people)
        model = model.to(device).to(memory_format=torch.channels_last).train()
        stack = torch.as_tensor(images).to(device)
        draws = draw(labels, made, steps, settings, size, device)
        views = ViewStack(beside, len(images), settings, size, device) if settings.views else None

        def finish(network: ReidNet) -> ReidNet:
            if settings.bn_batches:
                measure_statistics(network, stack, labels, made, settings, amp, views)
            return network.eval()

        def glance(step: int) -> None:
            if watch is not None and watch.wants(step):
                with kept_generators():
                    watch.look(step, finish(deepcopy(model)), amp)

        losses, right = _loop(model, stack, draws, settings, amp, label or settings.backbone, glance, views)
        _check_finite(losses[-1], settings)
        finish(model)
    tail = right[-max(1, steps // 10) :]
    return Trained(model, losses, sum(tail) / (len(tail) * settings.batch_size), amp, len(losses))


def _classes(labels: NDArray[np.int64]) -> int:
    classes = int(labels.max(initial=-1)) + 1
    if classes < 2:
        raise InputError(f"training needs at least two identities, this data set has {classes}")
    return classes


@dataclass(frozen=True)
class Draws:
    """All random numbers of a training, drawn beforehand: the loop then never waits for a copy to the device."""

    index: Tensor
    """int64 [S, B]: images of each step."""
    labels: Tensor
    """int64 [S, B]: of these images."""
    generated: Tensor
    """bool [S, B]."""
    shift: Tensor
    """int64 [S, B, 2]."""
    mirror: Tensor
    """bool [S, B]."""
    boxes: Tensor | None
    """float32 [S, B, 4], or None without erasing."""

    def batch(self, step: int, stack: Tensor) -> Tensor:
        """The images of one step, uint8 [B, 3, H, W], channels-last."""
        images = move(stack, self.index[step], self.shift[step], self.mirror[step])
        return images if self.boxes is None else paint(images, self.boxes[step])

    def targets(self, step: int) -> Targets:
        """Labels of the same images."""
        return Targets(self.labels[step], self.generated[step])


def draw(
    labels: NDArray[np.int64],
    generated: NDArray[np.bool_],
    steps: int,
    settings: TrainSettings,
    size: tuple[int, int],
    device: torch.device,
) -> Draws:
    """The draws of a training on images of `size` (H, W); the same for a seed on every device.

    Args:
        labels: int64 [N].
        generated: bool [N].
        steps: of the training.
        settings: what is drawn.
        size: (H, W).
        device: where they are needed.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    order = make_batches(labels, generated, settings, generator)
    index, shift, mirror, boxes = [], [], [], []
    for _ in range(steps):
        index.append(next(order))
        moved, turned = draw_shifts(settings.batch_size, settings.pad, generator)
        shift.append(moved)
        mirror.append(turned & settings.flip)
        if settings.erasing:
            boxes.append(draw_boxes(settings.batch_size, size, settings.erasing, generator))
    drawn = torch.stack(index)
    return Draws(
        index=drawn.to(device),
        labels=torch.as_tensor(labels)[drawn].to(device),
        generated=torch.as_tensor(generated)[drawn].to(device),
        shift=torch.stack(shift).to(device),
        mirror=torch.stack(mirror).to(device),
        boxes=torch.stack(boxes).to(device) if boxes else None,
    )


def _loop(
    model: ReidNet,
    stack: Tensor,
    draws: Draws,
    settings: TrainSettings,
    amp: str,
    label: str,
    glance: Callable[[int], None],
    views: ViewStack | None = None,
) -> tuple[list[float], list[int]]:
    """Losses, and images classified right, of every step taken."""
    steps = len(draws.index)
    enough = settings.stop_accuracy * settings.batch_size
    tail = max(1, steps // 10)
    optimizer = make_optimizer(model, settings)
    # Reading a loss makes the host wait for the device, which must not run dry.
    every = 10 if stack.device.type == "cpu" else 100
    losses, right, note = [], [], ""
    with progress(f"Training {label}", steps, "steps") as bar:
        for step in range(steps):
            factor = learning_rate(settings, step / steps * settings.epochs)
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * factor
            images = to_float(draws.batch(step, stack))
            beside = None if views is None else views.batch(draws.index[step], draws.shift[step], draws.mirror[step])
            loss, correct = train_step(model, optimizer, images, draws.targets(step), settings, amp, beside)
            losses.append(loss)
            right.append(correct)
            if step % every == 0:
                note = f"loss {_check_finite(loss.item(), settings):.2f}"
            bar.advance(note=note)
            if step + 1 < steps:
                glance(step + 1)
            if enough and step % every == 0 and step + 1 >= tail and _mean(right[-tail:]) >= enough:
                break
    return torch.stack(losses).tolist(), torch.stack(right).tolist()


def _mean(counts: list[Tensor]) -> float:
    return float(torch.stack(counts).double().mean())


@torch.no_grad()
def measure_statistics(
    model: ReidNet,
    stack: Tensor,
    labels: NDArray[np.int64],
    generated: NDArray[np.bool_],
    settings: TrainSettings,
    amp: str = "off",
    views: ViewStack | None = None,
) -> None:
    """Set batch normalisation's statistics, in place, to their mean over `bn_batches` plain batches.

    With views, these stand beside their photos, as they did in training: by the statistics of photos alone neither's
    features are what was trained (20 mAP by the photo instead of 41, 14 instead of 52 with four views).

    Args:
        model: on the stack's device.
        stack: uint8 [N, 3, H, W].
        labels: int64 [N].
        generated: bool [N].
        settings: `bn_statistics` says of which images; mirrored by chance if `flip`, not shifted or erased.
        amp: `bf16` or `off`.
        views: of the stack, where the training had some.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.bn_statistics == "sampler":
        order = make_batches(labels, generated, settings, generator)
    else:
        only_real = settings.bn_statistics == "real" and not generated.all()
        deck = Deck(np.flatnonzero(~generated) if only_real else range(len(stack)), generator)
        order = iter(lambda: deck.draw(settings.batch_size), None)

    def plain(index: Tensor) -> Tensor:
        shift, mirror = draw_shifts(len(index), 0, generator)
        how = [tensor.to(stack.device) for tensor in (index, shift, mirror & settings.flip)]
        photos = to_float(move(stack, *how))
        return photos if views is None else side_by_side(photos, *views.batch(*how))

    with autocast(amp, stack.device):
        update_bn((plain(next(order)) for _ in range(settings.bn_batches)), model)


def _check_finite(loss: float, settings: TrainSettings) -> float:
    if not math.isfinite(loss):
        raise InputError(f"the training diverged (loss {loss}): lower lr, now {settings.lr}, or warm up longer")
    return loss


def train(
    data: ReidData,
    settings: TrainSettings | str = "quick",
    steps: int | None = None,
    label: str = "",
    beside: Beside | None = None,
) -> Trained:
    """Train on the training images of a data set; see `train_on`.

    Args:
        data: as `read_dataset` gives it.
        settings: or the name of a preset.
        steps: optimisation steps instead of `settings.epochs` passes.
        label: of the progress bar.
        beside: views of the training images, where `settings.views` asks for some.

    Raises:
        InputError: an image cannot be read, or as in `train_on`.
    """
    settings = settings_from(settings) if isinstance(settings, str) else settings
    images = load_images(data.root, data.train["path"], settings.size)
    generated = (data.train["source"] == "generated").to_numpy()
    people = [data.identities.get(pid, pid) for pid in sorted(set(data.train["pid"].tolist()))]
    return train_on(images, data.train_labels(), settings, steps, generated, label, people, beside=beside)
