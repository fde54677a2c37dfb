"""Tables that take seconds: a drawn data set, a network of three layers, a recipe file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from augment.table.run import run_table
from augment.table.study import Study
from augment.table.table_recipe import TableRecipe, load_table

OUTPUTS = ("table.md", "table.csv", "table.tex", "table.png", "table.svg", "table-gains.png", "table-gains.svg")


def tiny_trunk(last_stride: int) -> tuple[torch.nn.Module, int]:
    """A backbone that takes milliseconds."""
    layers = (torch.nn.Conv2d(3, 8, 5, 4), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2))
    return torch.nn.Sequential(*layers, torch.nn.Flatten()), 32


def tiny(root: Path, **changes: Any) -> dict[str, Any]:
    """A recipe as YAML has it."""
    return {
        "title": "Drawn people",
        "data": {"source": "folder", "root": str(root)},
        "rows": [
            {"kind": "leave_out", "name": "none"},
            {"kind": "duplicate"},
            {"kind": "patn", "weights": "patn-synth-tiny"},
        ],
        "columns": [0.5, 1.0, "double"],
        "backbones": ["tiny"],
        "seeds": [0, 1],
        "plan_seeds": [0, 1],
        "train": {"size": [64, 32], "batch_size": 4, "max_steps": 2, "bn_batches": 1},
        **changes,
    }


def quiet(_: str) -> None:
    pass


class TinyTable(NamedTuple):
    """A recipe file, and where its table goes."""

    recipe: Path
    out: Path

    def write(self, root: Path, **changes: Any) -> None:
        """Write another recipe."""
        self.recipe.write_text(yaml.safe_dump(tiny(root, **changes)))

    def load(self, *overrides: str, weights: tuple[str, ...] = ()) -> TableRecipe:
        """The recipe."""
        return load_table(str(self.recipe), overrides, weights)

    def run(self, *overrides: str, out: Path | None = None, weights: tuple[str, ...] = (), **options: Any) -> Study:
        """Fill the table on the CPU."""
        say = options.pop("say", quiet)
        return run_table(self.load(*overrides, weights=weights), out or self.out, say, device="cpu", **options)
