"""A plan through the gate: the `Rendering` of `generate --gate`."""

from __future__ import annotations

from typing import Any

from augment.folder.carry import Carried, Work, tasks_of
from augment.folder.layout import GATE_LOG
from augment.gate.attempts import Asked, Chunk, Judging, is_done, numbered, read_records, render_gated
from augment.gate.redraw import GateRun, Redrawing, log_text, outcome
from reid_eval.runtime import progress


class GatedRendering:
    """Makes every image, judges it, and tries other poses for what is rejected; see `augment.gate.attempts`.

    Args:
        run: the gate and how it is used.
    """

    def __init__(self, run: GateRun) -> None:
        self.run = run

    def facts(self) -> dict[str, Any]:
        """The gate's thresholds, its test of the person and how often it tries, for the manifest."""
        return {"gate": self.run.described()}

    def render(self, work: Work) -> None:
        """Make this part's chunks; each leaves a record of its attempts."""
        mine = _own(work)
        judging = Judging(self.run.gate, self._redraw(work), self.run.retries)
        with progress("Generating", sum(len(chunk) for _, chunk in mine)) as bar:
            render_gated(mine, work.generator, work.settings, judging, work.out, bar)

    def carried(self, work: Work) -> Carried | None:
        """The plan as it came through, from the records of all parts."""
        attempts = read_records(work.out, _chunks(work), self._redraw(work))
        if attempts is None:
            return None
        found = outcome(work.plan, attempts, work.source.data.layout, work.source.data.renamed)
        reports = {"gate_given_up": found.given_up, "gate_kept_instead": found.kept_instead}
        return Carried(found.plan, reports, found.facts, {GATE_LOG: log_text(attempts)})

    def lacking(self, work: Work) -> list[str]:
        """Records of this part that are not there, or whose images are not."""
        redraw = self._redraw(work)
        lacks = (chunk for number, chunk in _own(work) if not is_done(work.out, number, chunk, redraw))
        return [f"the chunk from {chunk[0].output}" for chunk in lacks]

    def _redraw(self, work: Work) -> Redrawing:
        return Redrawing(self.run, work.source, work.plan)


def _own(work: Work) -> list[tuple[int, Chunk]]:
    return _chunks(work)[work.shard[0] :: work.shard[1]]


def _chunks(work: Work) -> list[tuple[int, Chunk]]:
    made = work.plan[work.plan["action"] == "generate"]
    named = zip(tasks_of(work.source, work.plan, work.out), made["pose"], made["output"], made["pid"], strict=True)
    asked = [Asked(index, *each) for index, each in enumerate(named)]
    return list(numbered(asked, work.settings.chunk))
