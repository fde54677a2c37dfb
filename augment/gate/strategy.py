"""A plan through the gate: the strategy that `augment.folder.generate.generate` renders by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from augment.folder.layout import GATE_LOG
from augment.folder.strategy import CarriedOut, Work
from augment.gate.attempts import Asked, read_records, render_gated
from augment.gate.redraw import GateRun, Redrawing, log_text, outcome
from reid_eval.runtime import progress


@dataclass(frozen=True)
class Gated:
    """Rejects bad images: each is made again in other poses, then given up, and a real image kept in its place."""

    run: GateRun

    def described(self) -> dict[str, Any]:
        """Thresholds and retries, for the manifest's arguments."""
        return {"gate": self.run.described()}

    def render(self, work: Work) -> None:
        """Render this shard's chunks through the gate."""
        made = work.plan[work.plan["action"] == "generate"]
        named = zip(work.tasks, made["pose"], made["output"], strict=True)
        asked = [Asked(index, task, pose, output) for index, (task, pose, output) in enumerate(named)]
        mine = [(number, [asked[place] for place in work.places(number)]) for number in work.mine()]
        redraw = Redrawing(self.run, work.source, work.plan)
        with progress("Generating", sum(len(chunk) for _, chunk in mine)) as bar:
            render_gated(mine, work, self.run, redraw, bar)

    def gather(self, work: Work) -> CarriedOut | None:
        """What came of all chunks; None while others are at work, or once they have finished the folder."""
        attempts = read_records(work.out, work.chunk_count)
        if attempts is None:
            return None
        came = outcome(work.plan, attempts, work.source.data.layout)
        reports = {"gate_given_up": list(came.given_up), "gate_kept_instead": list(came.kept_instead)}
        return CarriedOut(came.plan, reports, came.facts, {GATE_LOG: log_text(attempts)})
