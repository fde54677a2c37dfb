"""Are the images that the gate rejects the bad ones? On test pairs, whose real image is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.gate.judge import Gate, Verdict, tests_made
from augment.gate.thresholds import open_gate
from augment.gate.verdicts import judge_material, reason_counts
from augment.pose.keypoints import load_annotations
from augment.quality.material import generated_pairs
from augment.quality.metrics import Material
from augment.quality.similarity import joints_masks
from augment.runs import Say
from reid_eval.datasets import read_dataset
from reid_eval.runtime import InputError


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts beside the truth; N images.

    Attributes:
        verdicts: of the gate.
        errors: `[N]`, mean absolute difference from the real image under the limbs of the pose, grey levels.
        exchanged: rows of images that changed places.
    """

    verdicts: Sequence[Verdict]
    errors: NDArray[np.float64]
    exchanged: NDArray[np.int64]

    @property
    def message(self) -> str:
        """Lines for people: what became of the exchanged images, and how bad accepted and rejected images are."""
        count, wrong = len(self.verdicts), self.exchanged
        good = np.array([verdict.ok for verdict in self.verdicts])
        lines = []
        if len(wrong):
            among = np.isin(np.arange(count), wrong)
            found, false = int((~good & among).sum()), int((~good & ~among).sum())
            lines.append(
                f"Of {len(wrong)} exchanged images it finds {found}; of the {count - len(wrong)} others it rejects "
                f"{false}."
            )
        lines.append(
            f"{int((~good).sum())} of {count} images rejected. L1 under the limbs, grey levels ± standard error:"
        )
        groups = {"all": np.ones_like(good), "accepted": good, "rejected": ~good}
        for reason in tests_made(of_person=False):
            groups[f"for {reason}"] = np.array([reason in verdict.reasons for verdict in self.verdicts])
        return "\n".join([*lines, *(_line(name, self.errors[chosen]) for name, chosen in groups.items())])

    def to_dict(self) -> dict[str, Any]:
        """Plain values: counts, and mean L1 under the limbs of accepted and of rejected images (None of no image)."""
        good = np.array([verdict.ok for verdict in self.verdicts])
        errors = {name: self.errors[chosen] for name, chosen in (("accepted", good), ("rejected", ~good))}
        return {
            "images": len(self.verdicts),
            "rejected": int((~good).sum()),
            "exchanged": len(self.exchanged),
            "exchanged_rejected": int((~good[self.exchanged]).sum()),
            "reasons": reason_counts(self.verdicts),
            "l1_under_limbs": {name: float(found.mean()) if len(found) else None for name, found in errors.items()},
        }


def _line(name: str, errors: NDArray[np.float64]) -> str:
    number = len(errors)
    spread = f" ± {errors.std(ddof=1) / np.sqrt(number):.1f}" if number > 1 else ""
    return f"  {name:14s} {number:5d} images  {f'{errors.mean():.1f}' if number else '-'}{spread}"


def exchanged_rows(count: int, share: float) -> NDArray[np.int64]:
    """Which of `count` images change places, for a `share` of them; always the same ones.

    Raises:
        InputError: fewer than two.
    """
    rows = np.sort(np.random.default_rng(0).permutation(count)[: round(share * count)])
    if share and len(rows) < 2:
        raise InputError(f"exchange {share:g} of {count} pairs is fewer than two images: give a larger count")
    return rows


def against_truth(gate: Gate, material: Material, exchanged: NDArray[np.int64]) -> Judged:
    """Judge images whose truth is known.

    Args:
        gate: judges.
        material: of pairs; `exchanged` rows of its generated images change places here.
        exchanged: from `exchanged_rows`; each then is what was made for another pair, in another pose and, but for
            chance, of another person.
    """
    assert material.real is not None
    material.generated[exchanged] = material.generated[np.roll(exchanged, 1)]
    masks = joints_masks(material.poses, (material.generated.shape[1], material.generated.shape[2]))
    apart = np.abs(material.generated.astype(np.float64) - material.real).mean(-1)
    errors = (apart * masks).sum((1, 2)) / np.maximum(masks.sum((1, 2)), 1)
    return Judged(judge_material(gate, material), errors, exchanged)


def judge_generator(
    weights: str,
    data: Path | None,
    thresholds: Path | None,
    estimator_weights: Path | None,
    count: int,
    exchange: float,
    device: str,
    say: Say,
    estimator: str | None = None,
) -> Judged:
    """Judge a generator's images of test pairs.

    Args:
        weights: the generator.
        data: data set of the pairs (its test split) and of the thresholds; default: unseen synthetic people, and
            thresholds of the embedded data set.
        thresholds: their file; default: set on the data set.
        estimator_weights: of the gate's estimator.
        count: pairs.
        exchange: the share of images that change places first.
        device: where all of it runs.
        say: told what is used.
        estimator: the gate's, see `augment.gate.thresholds.open_gate`.

    Raises:
        InputError: fewer than two images to exchange.
    """
    from augment.synth.dataset import source_data

    exchanged = exchanged_rows(count, exchange)
    material, _ = generated_pairs(weights, data, count, device, say)
    root = source_data(data, say)
    size = (material.generated.shape[1], material.generated.shape[2])
    joints = load_annotations(root)
    gate = open_gate(read_dataset(root), joints, thresholds, size, device, say, estimator_weights, estimator)
    return against_truth(gate, material, exchanged)
