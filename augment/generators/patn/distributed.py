"""One training in several processes: `accelerate launch` or `torchrun`, on one machine or many.

The batch size is that of all processes together, and a step is the same whatever their number: every process draws
the whole batch (a pure function of the step) and computes its part; gradients, losses, BatchNorm's statistics and the
discriminators' pools are shared. Dropout alone differs, as random numbers are drawn part by part.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as differentiable
from torch.nn import functional

from augment.generators.patn.batch import PairBatch
from reid_eval.runtime import InputError

BATCHNORMS = ("synced", "local", "frozen")


class Processes:
    """The processes of a training, and this one's place among them; a single one shares nothing.

    Args:
        rank: 0 ... world - 1; 0 writes files and shows progress.
        world: how many there are.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def part(self, batch: PairBatch) -> PairBatch:
        """This process's rows of the batch.

        Raises:
            InputError: the batch can't be shared evenly.
        """
        if self.world == 1:
            return batch
        rows = len(batch.image)
        if rows % self.world:
            raise InputError(f"batch_size {rows} is that of all {self.world} processes: it must be divisible by them")
        tensors = {f.name: getattr(batch, f.name) for f in fields(batch)}
        return replace(batch, **{name: self.rows(v) for name, v in tensors.items() if isinstance(v, Tensor)})

    def rows(self, tensor: Tensor) -> Tensor:
        """This process's rows of something that all have."""
        each = len(tensor) // self.world
        return tensor[self.rank * each : (self.rank + 1) * each]

    @torch.no_grad()
    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in order of rank."""
        if self.world == 1:
            return tensor
        pieces = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.world)]
        dist.all_gather(pieces, tensor.contiguous())
        return torch.cat(pieces)

    @torch.no_grad()
    def average(self, tensor: Tensor) -> Tensor:
        """The mean over processes, of equal parts."""
        if self.world == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.world

    @torch.no_grad()
    def average_gradients(self, network: nn.Module) -> None:
        """Make the gradients those of the whole batch, in one message."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, shared in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(shared.view(gradient.shape))

    def agree(self, decision: bool) -> bool:
        """The first process's decision, for all."""
        if self.world == 1:
            return decision
        box: list[Any] = [decision]
        dist.broadcast_object_list(box)
        return bool(box[0])

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes, in order of rank; plain values and CPU tensors."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


def launched_processes(device: torch.device) -> tuple[Processes, torch.device]:
    """Join the processes that `accelerate launch` or `torchrun` started, if any did.

    Args:
        device: the user's choice; on GPUs each process gets its own.

    Returns:
        The processes, and this one's device.

    Raises:
        InputError: there are several and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(), device
    try:
        from accelerate import PartialState
    except ImportError:
        raise InputError(
            "training in several processes needs accelerate: pip install 'patn-augment[distributed]'"
        ) from None
    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.process_index, state.num_processes), state.device


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batch of all processes, on any device; parts must be of equal size.

    `nn.SyncBatchNorm` does the same on GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        world = dist.get_world_size()
        count = x.numel() // x.shape[1] * world
        mean = differentiable.all_reduce(values.mean((0, 2, 3))) / world
        centred = values - mean.view(1, -1, 1, 1)
        variance = differentiable.all_reduce(centred.square().mean((0, 2, 3))) / world
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # type: ignore[union-attr, arg-type]
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


def sync_batchnorm(network: nn.Module, device: torch.device) -> nn.Module:
    """Let every BatchNorm of the network, in place, see the batch of all processes; names of weights stay."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return _become(network, SyncedBatchNorm2d)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm by the statistics that it has, also in training; gain and bias are trained."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


def freeze_batchnorm(network: nn.Module) -> nn.Module:
    """Let every BatchNorm of the network, in place, keep its statistics; names of weights stay."""
    return _become(network, FrozenBatchNorm2d)


def _become(network: nn.Module, kind: type[nn.BatchNorm2d]) -> nn.Module:
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = kind
    return network
