"""Convolutions in 8 bits, by NNCF: ranges of values are measured on drawn people, at every start; nothing is kept.

All convolutions are quantised; docs/speed.md has what it gains and loses to leave groups of them out. OpenVINO computes
them in 8 bits where the processor has VNNI or AMX.
"""

from __future__ import annotations

import logging
from typing import Any

from augment.generators.patn.openvino_extra import core, kept_signal_stack, need_openvino
from augment.generators.patn.slim import Inputs

_BATCH = 4


def quantise(model: Any, calibration: Inputs) -> Any:
    """An `openvino.Model` with its convolutions in 8 bits.

    Args:
        model: float32, from `augment.generators.patn.engines.convert`.
        calibration: inputs that show the range of values.

    Raises:
        InputError: NNCF is not installed.
    """
    logging.getLogger("nncf").setLevel(logging.ERROR)
    nncf = need_openvino("nncf")
    starts = range(0, len(calibration[0]), _BATCH)
    batches = [[value[start : start + _BATCH].contiguous().numpy() for value in calibration] for start in starts]
    # subset_size counts batches, not images
    how = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": len(batches), "fast_bias_correction": True}
    core()  # before NNCF's own ones
    with kept_signal_stack():
        return nncf.quantize(model, nncf.Dataset(batches), **how)
