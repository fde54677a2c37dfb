"""What carries a trained PATN out: torch, or OpenVINO (extra `openvino`), in a form and a precision.

An engine has a network of its own, made from the generator's: changing the one does not change the other. The forms:
`whole` is the network as it was trained, but for the rounding of float32; `slim` replaces convolutions by cheaper ones
(`augment.generators.patn.slim`). A file whose weights are stored in 8 bits has nothing to do with the precision `int8`,
which computes in 8 bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from augment.generators.patn.folded import FoldedPATN
from augment.generators.patn.openvino_extra import core, need_openvino
from augment.generators.patn.quantised import quantise
from augment.generators.patn.slim import Inputs
from reid_eval.runtime import InputError

BACKENDS = ("torch", "openvino")
FORMS = ("whole", "slim")
PRECISIONS = ("float32", "bf16", "int8")
AUTO = "auto"
_MOST_COMPILED = 4  # numbers of images that OpenVINO has a network for at a time


@dataclass(frozen=True)
class How:
    """How a generator is carried out; each may be `auto` where it is asked for, and is settled in an engine."""

    backend: str = "torch"
    form: str = "whole"
    precision: str = "float32"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {value!r}: choose from {', '.join((AUTO, *known))}"
            for name, value, known in (
                ("backend", self.backend, BACKENDS),
                ("form", self.form, FORMS),
                ("precision", self.precision, PRECISIONS),
            )
            if value not in (AUTO, *known)
        ]
        if wrong:
            raise InputError("; ".join(wrong))

    def __str__(self) -> str:
        return f"{self.backend}, {self.form} network, {self.precision}"


PLAIN = How()
"""What a generator does without an engine: the network that is trained, layer by layer."""
FASTEST = How(AUTO, AUTO, AUTO)
"""What commands take where nothing is asked for: what is fast here at next to no loss."""


class Engine(Protocol):
    """Carries a network out."""

    @property
    def how(self) -> How:
        """Backend, form and precision; nothing `auto`."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else bears on its bytes, JSON-able."""
        ...

    def __call__(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> Tensor:
        """As `PATNGenerator.forward`; the result is float32."""
        ...


class TorchEngine:
    """The folded network in torch, float32 or bfloat16 throughout.

    Args:
        network: float32; taken over.
        form: of it.
        precision: `float32` or `bf16`.
        facts: see `Engine`.

    Raises:
        InputError: another precision.
    """

    def __init__(self, network: FoldedPATN, form: str, precision: str, facts: Mapping[str, Any] | None = None) -> None:
        if precision not in ("float32", "bf16"):
            raise InputError(f"precision {precision}: torch computes float32 or bf16 here; int8 needs OpenVINO")
        self.how, self.facts = How("torch", form, precision), dict(facts or {})
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._network = network.to(self._dtype)

    def __call__(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> Tensor:
        """As `Engine` says."""
        inputs = (value.to(self._dtype) for value in (image, condition_map, target_map))
        with torch.inference_mode(), torch.autocast(image.device.type, enabled=False):
            made: Tensor = self._network(*inputs)
        return made.float()


class OpenVINOEngine:
    """The folded network in OpenVINO, on the CPU.

    Args:
        network: float32; on the CPU.
        form: of it.
        precision: `float32`, `bf16`, or `int8`.
        facts: see `Engine`.
        calibration: for `int8`, inputs that show the range of values.

    Raises:
        InputError: OpenVINO, or for int8 NNCF, is not installed.
    """

    def __init__(
        self,
        network: FoldedPATN,
        form: str,
        precision: str,
        facts: Mapping[str, Any] | None = None,
        calibration: Inputs | None = None,
    ) -> None:
        self.how, self.facts = How("openvino", form, precision), dict(facts or {})
        self._model = convert(network, _EXAMPLE)
        if precision == "int8":
            assert calibration is not None
            self._model = quantise(self._model, calibration)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> Tensor:
        """As `Engine` says."""
        compiled = self._of_shape(tuple(image.shape))
        made = compiled([value.float().contiguous().numpy() for value in (image, condition_map, target_map)])
        return torch.from_numpy(made[0].copy())

    def _of_shape(self, shape: tuple[int, ...]) -> Any:
        """Compiled for one number and size of images: shapes that are known beforehand are faster."""
        if shape not in self._compiled:
            if len(self._compiled) >= _MOST_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            model = self._model.clone()
            batch, _, height, width = shape
            model.reshape({one: [batch, int(one.partial_shape[1].get_length()), height, width] for one in model.inputs})
            self._compiled[shape] = core().compile_model(model, "CPU", _settings(self.how.precision))
        return self._compiled[shape]


_EXAMPLE = (1, 128, 64)


def _settings(precision: str) -> dict[str, Any]:
    """Of the compilation. Threads are torch's, so that one setting (OMP_NUM_THREADS) holds for all.

    They are not pinned to cores: OpenVINO begins with the first one in every process, so that shards and Ray's workers
    of one machine would share it while the others idle.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
    }


def convert(network: FoldedPATN, example: tuple[int, int, int]) -> Any:
    """An `openvino.Model` of a network, of any number of images; `example` is (B, H, W)."""
    openvino = need_openvino()
    batch, height, width = example
    pose = network.pose_channels
    inputs = tuple(torch.zeros(batch, channels, height, width) for channels in (3, pose, pose))
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of tracing, which is what OpenVINO takes
        # As a function: as a module it is copied first, layer by layer, which takes longer than the tracing
        traced = torch.jit.trace(lambda *given: network(*given), inputs, check_trace=False)
    shapes = [[-1, channels, -1, -1] for channels in (3, pose, pose)]
    return openvino.convert_model(traced, input=shapes, example_input=inputs)
