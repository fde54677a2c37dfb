"""Choosing bfloat16 or float32."""

from __future__ import annotations

from typing import Literal

import torch

from reid_eval.runtime import InputError

NARROWEST_ON_CPU = 64
"""Pixels. oneDNN's bfloat16 convolutions of stride 2 return garbage where their output is one pixel wide (seen with
torch 2.14 on a CPU with AMX: 3x3, maps 1 or 2 wide). Networks that halve five times get there below this width."""


def resolve_amp(amp: str, device: torch.device, size: tuple[int, int] = (128, 64)) -> Literal["bf16", "off"]:
    """Turn `auto`, `bf16` or `off` into `bf16` or `off`, for images of `size` (H, W).

    `auto` takes bfloat16 on CUDA devices that compute it and on CPUs with AMX or AVX512-BF16, where a training step
    is several times faster than in float32; elsewhere bfloat16 is emulated and slower.

    Raises:
        InputError: another word, or `bf16` for images too narrow for it on a CPU.
    """
    if amp not in ("auto", "bf16", "off"):
        raise InputError(f"amp {amp!r}: choose from auto, bf16, off")
    narrow = device.type == "cpu" and size[1] < NARROWEST_ON_CPU
    if amp == "bf16" and narrow:
        raise InputError(
            f"amp bf16: images {size[1]} pixels wide are computed wrong on a CPU; "
            f"use amp off, or a width of at least {NARROWEST_ON_CPU}"
        )
    if amp != "auto":
        return "bf16" if amp == "bf16" else "off"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "off"
    return "bf16" if device.type == "cpu" and not narrow and cpu_has_bf16() else "off"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware; False where torch cannot tell."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):  # private: torch has no public question
        question = getattr(torch.cpu, name, None)
        try:
            if question is not None and question():
                return True
        except RuntimeError:
            continue
    return False


def autocast(amp: str, device: torch.device) -> torch.autocast:
    """The autocast context for a resolved `amp`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=amp == "bf16")
