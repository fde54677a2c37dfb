"""What `generate --gate` does between reading options and calling the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augment.gate.thresholds import open_gate
from augment.runs import Say

if TYPE_CHECKING:
    from augment.commands.generate import GenerateOptions, Inputs
    from augment.gate.redraw import GateRun


def gate_run(options: GenerateOptions, inputs: Inputs, size: tuple[int, int], say: Say) -> GateRun:
    """The gate of `--gate`: thresholds from a file, or set on this data set's real images."""
    from augment.gate.redraw import GateRun

    limits, weights = options.gate_thresholds, options.gate_weights
    gate = open_gate(inputs.data, inputs.keypoints, limits, size, options.device, say, weights)
    return GateRun(gate, options.gate_retries, options.pose_source, options.exclude_same_image, options.seed)


def gate_message(facts: dict[str, Any]) -> str:
    """A line about what the gate did, from a manifest."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in facts["reasons"].items())
    return (
        f"Gate: {facts['accepted_at_once']} of {facts['asked']} accepted at once, {facts['accepted_after_retry']} "
        f"after another try, {facts['given_up']} given up; {facts['rejections']} rejections ({reasons})"
    )
