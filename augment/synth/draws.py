"""Random numbers that depend on names, not on order: the root of "same seed, same bytes".

Every number is a hash of (seed, stream name, keys, counter), computed in integer arithmetic, so it is the same in any
batch, on any device, in any order. Two 32-bit lanes keep a million identities apart.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_LANES = ((0x9E3779B9, 0x85EBCA6B), (0x7F4A7C15, 0xC2B2AE35))


def _mix(value: Tensor) -> Tensor:
    """MurmurHash3's 32-bit finaliser on int64 tensors (their products wrap, the low 32 bits stay right)."""
    value = value & _MASK
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def hashed_uniforms(seed: int, stream: str, keys: tuple[Tensor, ...], count: int) -> Tensor:
    """`[B, count]` float32 in [0, 1), a pure function of (seed, stream, keys); keys are int64 `[B]` tensors."""
    name = zlib.crc32(stream.encode())
    counter = torch.arange(count, device=keys[0].device, dtype=torch.int64)
    lanes = []
    for odd, salt in _LANES:
        state = torch.full_like(keys[0], (seed * odd + name) & _MASK)
        state = _mix(state ^ ((seed >> 32) & _MASK) ^ salt)
        for key in keys:
            state = _mix(state + _mix(key * odd + salt))
        lanes.append(_mix(state[:, None] + counter * odd))
    bits = _mix(lanes[0] ^ (lanes[1] * 3))
    return (bits >> 8).to(torch.float32) * (1.0 / (1 << 24))


class Draws:
    """A row of uniforms per item, handed out column by column through the distributions a renderer needs."""

    def __init__(self, seed: int, stream: str, *keys: Tensor, count: int = 96) -> None:
        self._uniforms = hashed_uniforms(seed, stream, keys, count).t().contiguous()
        self._next = 0
        self.batch, self.device = self._uniforms.shape[1], self._uniforms.device

    def unit(self) -> Tensor:
        """`[B]` uniform in [0, 1)."""
        column = self._uniforms[self._next]
        self._next += 1
        return column

    def between(self, low: float, high: float) -> Tensor:
        """`[B]` uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def bell(self, mean: float, spread: float) -> Tensor:
        """`[B]` near-normal (sum of four uniforms): mean, standard deviation; never beyond 3.5 deviations."""
        total = self.unit() + self.unit() + self.unit() + self.unit()
        return mean + spread * 3.0**0.5 * (total - 2.0)

    def chance(self, probability: float | Tensor) -> Tensor:
        """`[B]` bool, true with the given probability."""
        return self.unit() < probability

    def choice(self, weights: list[float]) -> Tensor:
        """`[B]` int64 index drawn with the given weights."""
        edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        edges = (edges / edges[-1]).to(torch.float32).to(self.device)
        return torch.bucketize(self.unit(), edges, right=True).clamp_max(len(weights) - 1)

    def row(self, values: Tensor, weights: list[float] | None = None) -> Tensor:
        """`[B, ...]`: a row of the table `values` for each item."""
        index = self.choice(weights if weights is not None else [1.0] * len(values))
        return values.to(self.device)[index]
