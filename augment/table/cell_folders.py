"""Makes the folders that a table's cells train on, each once, whoever else is at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.folder.layout import MANIFEST
from augment.table.table_recipe import Patn
from reid_eval.runtime import InputError, sha256_bytes, sha256_file

if TYPE_CHECKING:
    from augment.gate.redraw import GateRun
    from augment.table.study import Cell, Study

JPEG_QUALITY = 95


def ensure_folder(study: Study, cell: Cell, device: str) -> None:
    """Generate the images that a cell trains on, unless they are there; two processes never do one folder twice."""
    from augment.folder.generate import PLAIN, generate
    from augment.folder.settings import RenderSettings
    from augment.folder.source import Source
    from augment.gate.strategy import Gated
    from augment.generators.patn.patn_transfer import PATNTransfer

    row, seed = study.row(cell.place.row), study.recipe.plan_seed(cell.place.seed)
    if not isinstance(row, Patn) or not study.training(row, cell.column, seed).others:
        return
    out = study.folder(row, cell.column, seed)
    with _locked(out.with_name(out.name + ".lock")):
        if (out / MANIFEST).is_file():
            return
        name, file = study.weights(row, cell.column, seed)
        generator = PATNTransfer.open(file, device, Path(name).name)
        generate(
            Source(study.data, study.joints()),
            study.plan(cell.column, seed, row),
            generator,
            out=out,
            settings=RenderSettings(row.precision, JPEG_QUALITY),
            link="symlink",
            resume=True,
            arguments={"ratio": cell.column.ratio, "mode": cell.column.mode, "seed": seed},
            strategy=Gated(_gate_run(study, row, generator.size, seed, device)) if row.gate else PLAIN,
        )


def gate_facts(row: Patn, seed: int) -> dict[str, Any]:
    """What determines the gate of a gated row besides the data set: it is set on that, by the estimator that ships.

    Args:
        row: tells where other poses are looked for.
        seed: of the plan, and of those draws.
    """
    from augment.estimators.agreement import reference_poses
    from augment.estimators.weights import shipped_weights
    from augment.gate.calibrate import COUNT, FALSE_ALARMS, VERSION
    from augment.gate.redraw import RETRIES

    file = shipped_weights()
    if file is None:
        raise InputError("this installation has no weights of the estimator synth: rows with `gate: true` need them")
    return {
        "estimator": sha256_file(file),
        "version": VERSION,
        "images": COUNT,
        "false_alarms": FALSE_ALARMS,
        "retries": RETRIES,
        "pose_source": row.pose_source,
        "exclude_same_image": row.exclude_same_image,
        "seed": seed,
        "references": sha256_bytes(reference_poses((128, 64)).tobytes()),
    }


def _gate_run(study: Study, row: Patn, size: tuple[int, int], seed: int, device: str) -> GateRun:
    from augment.gate.redraw import GateRun
    from augment.gate.thresholds import open_gate

    if size not in study.gates:
        study.gates[size] = open_gate(study.data, study.joints(), None, size, device, lambda _: None)
    return GateRun(study.gates[size], source=row.pose_source, exclude=row.exclude_same_image, seed=seed)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system frees when the process ends, however it ends."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
