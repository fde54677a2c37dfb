"""Makes the folders that a table's cells train on, each once, whoever else is at work."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from filelock import FileLock

from augment.folder.carry import Source
from augment.folder.generate import RenderSettings, finished, generate
from augment.gate.judge import Gate
from augment.gate.redraw import GateRun
from augment.gate.strategy import GatedRendering
from augment.gate.thresholds import open_gate
from augment.generators.open import generator_sha256
from augment.synth.dataset import embedded_dataset, further_shots
from augment.table.drawn_rows import draw_in_poses, draw_photos
from augment.table.filtered import write_choice
from augment.table.study import Cell, Study
from augment.table.table_recipe import Generated, MorePeople, MoreReal, TrulyDrawn
from augment.table.training_sets import JPEG_QUALITY, row_library, wanted_photos
from reid_eval.runtime import InputError


class CellFolders:
    """The folders of a study, as one process makes them."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._gates: dict[tuple[int, int], Gate] = {}
        """Set on the data set for images of a size (H, W), for all gated rows."""

    def ensure(self, cell: Cell) -> None:
        """Generate the images that a cell trains on, unless they are there; two processes never do one folder twice.

        Raises:
            InputError: as `augment.folder.generate.generate`, or the generator is no longer what it was.
        """
        study = self.study
        row, seed = study.row(cell.place.row), study.recipe.plan_seed(cell.place.seed)
        if isinstance(row, MorePeople):
            embedded_dataset(row.settings(), study.device)
        if not isinstance(row, (Generated, TrulyDrawn, MoreReal)):
            return
        if not study.sets.asked(row, cell.column, seed).others:
            return
        out = study.sets.folder(row, cell.column, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(out.name + ".lock")):  # the system frees it when the process ends, however it ends
            if not isinstance(row, Generated):
                self._draw(row, study.sets.plan(cell.column, seed, row), out)
                return
            self._generate(row, cell, seed, out)
            choice = study.sets.choice(row, cell.column, seed) if row.filter else None
            if row.filter is not None and choice is not None and not choice.is_file():
                unfiltered = study.sets.made(row.model_copy(update={"filter": None}), cell.column, seed)
                write_choice(choice, study.reid, unfiltered, row.filter, seed, study.device)

    def _generate(self, row: Generated, cell: Cell, seed: int, out: Path) -> None:
        """Make a generator's folder, unless it is there."""
        study = self.study
        if finished(out) is not None:
            return
        known = study.sets.generator(row, cell.column, seed)
        generator = known.open(study.device)
        if generator_sha256(generator) != known.sha256:
            raise InputError(f"generator {known.spec} changed while the table was at work: start it again")
        generate(
            Source(study.reid, study.data.joints(), row_library(row)),
            study.sets.plan(cell.column, seed, row),
            generator,
            out,
            settings=RenderSettings(row.precision, JPEG_QUALITY),
            rendering=GatedRendering(self._gate_run(row, generator.size, seed)) if row.gate else None,
            link="symlink",
            resume=True,
            arguments={"ratio": cell.column.ratio, "mode": cell.column.mode, "seed": seed},
        )

    def _draw(self, row: TrulyDrawn | MoreReal, plan: pd.DataFrame, out: Path) -> None:
        made, settings = plan[plan["action"] == "generate"], self.study.data.drawn
        assert settings is not None  # or there would be no such row
        if isinstance(row, TrulyDrawn):
            photos, poses, outputs = (made[key].tolist() for key in ("condition", "pose", "output"))
            draw_in_poses(settings, photos, poses, outputs, out, JPEG_QUALITY, self.study.device)
        else:
            draw_photos(settings, further_shots(settings, wanted_photos(row, made)), out, self.study.device)

    def _gate_run(self, row: Generated, size: tuple[int, int], seed: int) -> GateRun:
        study = self.study
        if size not in self._gates:
            joints = study.data.joints()
            self._gates[size] = open_gate(study.reid, joints, None, size, study.device, lambda _: None)
        return GateRun(self._gates[size], source=row.pose_source, exclude=row.exclude_same_image, seed=seed)
