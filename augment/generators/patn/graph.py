"""An optimisation step as one CUDA graph: launched once, not kernel by kernel.

At small batches the many kernels of a step take longer to launch than to run. The step is recorded once
for each of its forms (with and without discriminators, each number of blocks) and replayed; inputs are copied to where
the recording reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

# Real steps that run as usual before the recording: optimizers make their state in them, cuDNN picks its algorithms.
_WARM_UP = 3


class GraphedStep:
    """Runs a step kernel by kernel a few times, then records and replays it.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._memory = torch.cuda.graph_pool_handle()
        self._calls: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._inputs: dict[str, Tensor] = {}

    def __call__(
        self, form: Hashable, inputs: dict[str, Tensor], step: Callable[[dict[str, Tensor]], Tensor]
    ) -> Tensor:
        """Do the step.

        Args:
            form: all that makes Python take another way through `step`.
            inputs: tensors of the same names, shapes and dtypes each time, on any device.
            step: the work: device only, no look at a value. What it returns is a tensor on the device.

        Returns:
            What `step` returned, a copy that the next call leaves alone.
        """
        static = self._fill(inputs)
        if form not in self._graphs:
            self._calls[form] += 1
            if self._calls[form] <= _WARM_UP:
                return self._aside(static, step)
            self._graphs[form] = self._record(static, step)
        graph, out = self._graphs[form]
        graph.replay()
        return out.clone()

    def _fill(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, value in inputs.items():
            if name not in self._inputs:
                self._inputs[name] = torch.empty_like(value, device=self._device)
            self._inputs[name].copy_(value, non_blocking=True)
        return self._inputs

    def _aside(self, static: dict[str, Tensor], step: Callable[[dict[str, Tensor]], Tensor]) -> Tensor:
        """On a stream of its own, as CUDA graphs ask of warm-ups."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            out = step(static)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return out

    def _record(
        self, static: dict[str, Tensor], step: Callable[[dict[str, Tensor]], Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory, stream=self._stream):
            out = step(static)
        return graph, out
