"""A plan through the gate, from tasks to what the folder's plan, log and manifest say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from augment.folder.render import CHUNK, Generator, Settings, Task
from augment.gate.attempts import Asked, numbered, read_records, render_gated
from augment.gate.redraw import LOG, GateRun, Outcome, Redrawing, outcome, write_log
from augment.pose.keypoints import Keypoints
from reid_eval.datasets import ReidData
from reid_eval.runtime import progress


@dataclass(frozen=True)
class Gated:
    """What came through the gate."""

    attempts: Sequence[Mapping[str, Any]]
    outcome: Outcome

    def write_log(self, out: Path) -> list[str]:
        """Write the log of all attempts; the chunks' records stay until the manifest is there."""
        write_log(out, self.attempts)
        return [LOG]

    def reports(self) -> dict[str, list[str]]:
        """Images that the gate changed the plan for."""
        return {
            "gate_given_up": list(self.outcome.given_up),
            "gate_kept_instead": list(self.outcome.kept_instead),
        }


def render_plan(
    gate: GateRun,
    data: ReidData,
    keypoints: Keypoints,
    library: Keypoints | None,
    plan: pd.DataFrame,
    out: Path,
    tasks: Sequence[Task],
    generator: Generator,
    settings: Settings,
    shard: tuple[int, int],
) -> None:
    """Render this shard's chunks through the gate."""
    made = plan[plan["action"] == "generate"]
    named = zip(tasks, made["pose"], made["output"], strict=True)
    asked = [Asked(index, task, pose, output) for index, (task, pose, output) in enumerate(named)]
    chunks = list(numbered(asked, CHUNK))
    mine = chunks[shard[0] :: shard[1]]
    redraw = Redrawing(gate, data, keypoints, library, plan)
    with progress("Generating", sum(len(chunk) for _, chunk in mine)) as bar:
        render_gated(mine, generator, settings, gate.gate, redraw, gate.retries, out, bar)


def gather(plan: pd.DataFrame, out: Path, layout: str) -> Gated | None:
    """What came of all chunks of a plan; None while others are at work, or once they have finished the folder."""
    count = int((plan["action"] == "generate").sum())
    attempts = read_records(out, -(-count // CHUNK))
    return None if attempts is None else Gated(attempts, outcome(plan, attempts, layout))
